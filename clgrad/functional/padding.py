"""`pad`: numbers, the mirrored or repeated border, or the other end, around a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from clgrad import writing
from clgrad.creation import arange
from clgrad.dispatch import apply
from clgrad.errors import ClgradError, ShapeError
from clgrad.functional import _windows as windows
from clgrad.functional._given import integers
from clgrad.functional.joining import cat
from clgrad.functional.placing import as_number
from clgrad.functional.shaping import clone, expand, narrow
from clgrad.ops.registry import OPS, REQUIRED, Op, composite
from clgrad.tensor import Tensor

__all__ = ["constant_pad_nd"]
METHODS: tuple[str, ...] = ()

Pairs = tuple[tuple[int, int], ...]
"""Entries to add before and after each dim; fewer than 0 takes away."""


class PadNotImplementedError(ClgradError, NotImplementedError):
    """A mode of `pad` that does not take so many dims."""


def _pairs(op: str, ndim: int, pad: Sequence[int]) -> Pairs:
    """Return what `pad`, which begins with the last dim, means for each dim."""
    sizes = integers(op, (pad,))
    if len(sizes) % 2:
        raise ShapeError(f"{op}: Padding length must be divisible by 2, got {len(sizes)}.")
    if len(sizes) > 2 * ndim:
        raise ShapeError(
            f"{op}: Padding length should be less than or equal to two times the input dimension "
            f"but got padding length {len(sizes)} and input of dimension {ndim}."
        )
    given = [(sizes[k], sizes[k + 1]) for k in range(0, len(sizes), 2)]
    return (*[(0, 0)] * (ndim - len(given)), *reversed(given))


def _check_sizes(op: str, shape: tuple[int, ...], pairs: Pairs) -> None:
    for d, (n, (before, after)) in enumerate(zip(shape, pairs, strict=True)):
        if n + before + after < 0:
            raise ShapeError(
                f"{op}: The input size {n}, plus negative padding {before} and {after}, resulted "
                f"in a negative output size, which is invalid. Check dimension {d} of your input."
            )


def _crop(x: Tensor, pairs: Pairs) -> Tensor:
    """Return the part of `x` that negative paddings leave."""
    for d, (before, after) in enumerate(pairs):
        if before < 0 or after < 0:
            start = max(-before, 0)
            length = max(x._meta.shape[d] - start - max(-after, 0), 0)
            x = narrow(x, d, min(start, x._meta.shape[d]), length)
    return x


# ---- constant ----------------------------------------------------------------------------------


def _constant(x: Tensor, value: float, pairs: Pairs) -> Tensor:
    meta = x._meta
    shape = tuple([n + a + b for n, (a, b) in zip(meta.shape, pairs, strict=True)])
    if value == 0 and math.copysign(1, value) > 0:
        made = windows.frame(x, shape, tuple([before for before, _ in pairs]))
        if made is not None:
            return made
    out: Tensor = apply(OPS["full"], (value,), (shape, meta.dtype), meta.device)
    inside = out
    for d, (before, _) in enumerate(pairs):
        start = max(before, 0)
        length = max(min(meta.shape[d] + min(before, 0), shape[d] - start), 0)
        inside = narrow(inside, d, min(start, shape[d]), length)
    writing.store_tensor(inside, _crop(x, pairs))
    return out


def _constant_back(ctx: Any, g: Any) -> tuple[Any]:
    pairs = tuple([(-a, -b) for a, b in ctx.param("pairs")])
    return (_padded(g, pairs, 0),)


_constant_op = composite(
    "constant_pad_nd", "x", _constant, backward=_constant_back, add=False,
    params=(("pairs", REQUIRED), ("value", 0)), numeric=("value",),
    node_name="ConstantPadNdBackward0",
)  # fmt: skip


def _padded(x: Tensor, pairs: Pairs, value: float) -> Tensor:
    made: Tensor = apply(_constant_op, (x, value), (pairs,))
    return made


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """Return `input` with a number around it; see `clgrad.nn.functional.pad`."""
    pairs = _pairs("pad", input._meta.ndim, pad)
    _check_sizes("pad", input._meta.shape, pairs)
    return _padded(input, pairs, as_number(value, input._meta.dtype))


# ---- borders -----------------------------------------------------------------------------------


def _mirrored(x: Tensor, d: int, before: int, after: int) -> Tensor:
    n = x._meta.shape[d]
    parts = [narrow(x, d, 1, before).flip(d)] if before else []
    parts.append(x)
    if after:
        parts.append(narrow(x, d, n - 1 - after, after).flip(d))
    return cat(parts, d)


def _repeated(x: Tensor, d: int, before: int, after: int) -> Tensor:
    n = x._meta.shape[d]
    parts = []
    for count, at in ((before, 0), (0, None), (after, n - 1)):
        if at is None:
            parts.append(x)
        elif count:
            shape = list(x._meta.shape)
            shape[d] = count
            parts.append(expand(narrow(x, d, at, 1), shape))
    return cat(parts, d)


def _around(x: Tensor, d: int, before: int, after: int) -> Tensor:
    n = x._meta.shape[d]
    parts = [narrow(x, d, n - before, before)] if before else []
    parts.append(x)
    if after:
        parts.append(narrow(x, d, 0, after))
    return cat(parts, d)


def _mirrored_back(g: Tensor, d: int, before: int, after: int) -> Any:
    n = g._meta.shape[d] - before - after
    total: Any = narrow(g, d, before, n)
    if before:
        total = total + _along(narrow(g, d, 0, before).flip(d), d, 1, n)
    if after:
        total = total + _along(narrow(g, d, before + n, after).flip(d), d, n - 1 - after, n)
    return total


def _repeated_back(g: Tensor, d: int, before: int, after: int) -> Any:
    n = g._meta.shape[d] - before - after
    total: Any = narrow(g, d, before, n)
    if before:
        total = total + _along(narrow(g, d, 0, before).sum(dim=d, keepdim=True), d, 0, n)
    if after:
        rest = narrow(g, d, before + n, after).sum(dim=d, keepdim=True)
        total = total + _along(rest, d, n - 1, n)
    return total


def _along(x: Tensor, d: int, start: int, size: int) -> Tensor:
    """Return zeros of `size` entries along `d` with `x` from `start` on."""
    rest = size - start - x._meta.shape[d]
    pairs = tuple([(start, rest) if k == d else (0, 0) for k in range(x._meta.ndim)])
    return _padded(x, pairs, 0)


Step = Callable[[Tensor, int, int, int], Any]


def _bordered_op(name: str, step: Step, back: Step) -> Op:
    def forward(x: Tensor, pairs: Pairs) -> Tensor:
        made = _crop(x, pairs)
        for d, (before, after) in enumerate(pairs):
            if before > 0 or after > 0:
                made = step(made, d, max(before, 0), max(after, 0))
        return made if made._storage is not x._storage else clone(made)

    def backward(ctx: Any, g: Any) -> tuple[Any]:
        pairs = ctx.param("pairs")
        for d in range(len(pairs) - 1, -1, -1):
            before, after = pairs[d]
            if before > 0 or after > 0:
                g = back(g, d, max(before, 0), max(after, 0))
        cropped = tuple([(max(-a, 0), max(-b, 0)) for a, b in pairs])
        return (_padded(g, cropped, 0) if any(map(any, cropped)) else g,)

    return composite(
        f"{name}_pad", "x", forward, backward=backward, add=False, params=(("pairs", REQUIRED),),
        node_name=name,
    )  # fmt: skip


_BORDERED = {
    (mode, rank): _bordered_op(f"{name}Pad{rank}DBackward0", step, back)
    for mode, name, step, back in (
        ("reflect", "Reflection", _mirrored, _mirrored_back),
        ("replicate", "Replication", _repeated, _repeated_back),
    )
    for rank in (1, 2, 3)
}


def _check_border(mode: str, x: Tensor, pairs: Pairs, rank: int) -> None:
    shape = x._meta.shape
    for d in range(len(shape) - rank, len(shape)):
        before, after = pairs[d]
        if mode == "reflect" and max(before, after) >= shape[d]:
            raise ShapeError(
                "pad: Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({before}, {after}) at dimension {d} of input {list(shape)}."
            )
        if mode == "circular" and max(before, after) > shape[d]:
            raise ShapeError(
                "pad: Padding value causes wrapping around more than once: "
                f"({before}, {after}) at dimension {d} of input {list(shape)}."
            )
        if shape[d] + before + after < 1 or (mode == "replicate" and shape[d] == 0):
            raise ShapeError(
                f"pad: input {list(shape)} is too small for padding ({before}, {after}) at "
                f"dimension {d}: the result would be empty."
            )


def _clamped(x: Tensor, pairs: Pairs) -> Tensor:
    """Return the nearest entries, also where a border is taken away altogether."""
    for d, (before, after) in enumerate(pairs):
        if before or after:
            n = x._meta.shape[d]
            places = arange(-before, n + after, device=x.device).clamp(0, n - 1)
            x = x.index_select(d, places)
    return x


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Return `input` with more entries around it, or fewer.

    Args:
        input: any shape; for other modes than `constant` (N, C, *) or (C, *) with one to three
            dims at `*`, which are all padded.
        pad: entries before and after the last dim, then the one before it, and so on; negative
            ones are taken away.
        mode: `constant`, `reflect` (the border is no part of the mirror image), `replicate`,
            or `circular` (the other end).
        value: number for `constant`, 0 if left out.

    Raises:
        ShapeError: paddings that do not fit. PadNotImplementedError: another mode or rank.
    """
    ndim = input._meta.ndim
    if mode == "constant":
        return constant_pad_nd(input, pad, 0 if value is None else value)
    pairs = _pairs("pad", ndim, pad)
    rank = len(pad) // 2
    if mode not in ("reflect", "replicate", "circular"):
        raise PadNotImplementedError(
            f"pad: Unrecognised padding mode {mode}. Expected constant, reflect, replicate or "
            "circular."
        )
    if value is not None and value != 0:
        raise ShapeError(f"pad: Padding mode {mode!r} doesn't take in value argument.")
    if rank not in (1, 2, 3) or ndim not in (rank + 1, rank + 2):
        raise PadNotImplementedError(
            "pad: Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: "
            f"{rank} dims of a tensor of {ndim}. Expected pad for all dims but one or two."
        )
    _check_border(mode, input, pairs, rank)
    if mode == "replicate" and any(min(pair) < 0 for pair in pairs):
        return _clamped(input, pairs)
    if mode != "circular":
        made: Tensor = apply(_BORDERED[mode, rank], (input,), (pairs,))
        return made
    made = _crop(input, pairs)
    for d, (before, after) in enumerate(pairs):
        if before > 0 or after > 0:
            made = _around(made, d, max(before, 0), max(after, 0))
    return clone(made) if made._storage is input._storage else made
