"""Elements in another order or repeated: `flip`, `roll`, `repeat` and their like; all copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad import dispatch
from clgrad.creation import empty, tensor
from clgrad.dispatch import apply, fresh
from clgrad.dtypes import int32, int64
from clgrad.errors import ClgradIndexError, ClgradRuntimeError, DTypeError, ShapeError
from clgrad.functional import _windows as windows
from clgrad.functional._arguments import numpy_names
from clgrad.functional._at import write_at
from clgrad.functional._given import integer, integers
from clgrad.functional.picking import index_select
from clgrad.functional.scans import cumsum
from clgrad.functional.shaping import (
    clone,
    expand,
    flatten,
    narrow,
    reshape,
    unsafe_view,
    unsqueeze,
)
from clgrad.layout import wrap_dim
from clgrad.ops.indexing import picking as new_picking
from clgrad.ops.meta import meta_of
from clgrad.ops.registry import OPS, REQUIRED, composite
from clgrad.ops.signature import signature
from clgrad.tensor import Tensor

__all__ = [
    "flip", "fliplr", "flipud", "repeat_interleave", "roll", "rot90", "tile",
]  # fmt: skip
METHODS = (*__all__, "repeat")

Dims = tuple[int, ...]


def _flip(x: Tensor, dims: Dims) -> Tensor:
    """Copy through a layout that goes backwards, which only a read may do."""
    meta = x._meta
    read = meta_of(meta.dtype, meta.layout.flip(dims), meta.device)
    sig = signature(OPS["copy"], (read,), ())
    return fresh(dispatch.backend.record(sig, (x._storage.value,), ()), sig.meta)


_flip_op = composite(
    "flip", "x", _flip, backward=lambda ctx, g: (g.flip(ctx.param("dims")),), add=False,
    params=(("dims", REQUIRED),),
)  # fmt: skip


def flip(input: Tensor, *args: Any, dims: Any = None) -> Tensor:
    """Return `input` with the order of its entries reversed along `dims`.

    Raises:
        ShapeError: a dim is named twice. ClgradIndexError: one is out of range.
    """
    made: Tensor = apply(_flip_op, (input,), (integers("flip", args, dims),))
    return made


def fliplr(input: Tensor) -> Tensor:
    """Return `input`, of two dims or more, reversed along dimension 1."""
    if input._meta.ndim < 2:
        raise ShapeError(f"fliplr: Input must be >= 2-d, got {input._meta.ndim} dimensions.")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Return `input`, of one dim or more, reversed along dimension 0."""
    if input._meta.ndim < 1:
        raise ShapeError("flipud: Input must be >= 1-d, got 0 dimensions.")
    return flip(input, 0)


def _roll(x: Tensor, shifts: Dims, dims: Dims) -> Tensor:
    shape = x._meta.shape
    if not dims:
        return unsafe_view(_roll(reshape(x, -1), shifts, (0,)), shape)
    starts: dict[int, int] = {}
    for shift, dim in zip(shifts, dims, strict=True):
        if shape and shape[dim]:
            starts[dim] = (starts.get(dim, 0) - shift) % shape[dim]
    moved = tuple([(d, start) for d, start in starts.items() if start])
    return windows.roll(x, moved) if moved and x._meta.numel else clone(x)


_roll_op = composite(
    "roll", "x", _roll, add=False, params=(("shifts", REQUIRED), ("dims", REQUIRED)),
    backward=lambda ctx, g: (g.roll([-s for s in ctx.param("shifts")], ctx.param("dims")),),
)  # fmt: skip


def roll(input: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    """Return `input` with entries moved by `shifts` along `dims`; what leaves comes in again.

    Args:
        shifts: an int, or one for each dim. dims: none takes `input` as if it had one dim.

    Raises:
        ShapeError: other numbers of shifts than of dims. ClgradIndexError: a dim out of range.
    """
    by = integers("roll", (shifts,))
    along = () if dims is None else integers("roll", (dims,))
    if along and not input._meta.ndim:
        raise ClgradIndexError(
            f"roll: Dimension specified as {along[0]} but tensor has no dimensions"
        )
    along = tuple([wrap_dim(d, input._meta.ndim, "roll") for d in along])
    if not by or len(by) != max(len(along), 1):
        raise ShapeError(
            f"roll: shifts and dimensions must align. shifts: {len(by)}, dims: {len(along)}. "
            "Expected as many of each, or one shift and no dim."
        )
    made: Tensor = apply(_roll_op, (input,), (by, along))
    return made


def _rot90(x: Tensor, k: int, dims: Dims) -> Tensor:
    turns = k % 4
    if turns == 0:
        return clone(x)
    if turns == 2:
        return _flip(x, dims)
    layout = x._meta.layout.flip((dims[1] if turns == 1 else dims[0],)).transpose(*dims)
    sig = signature(OPS["copy"], (meta_of(x._meta.dtype, layout, x._meta.device),), ())
    return fresh(dispatch.backend.record(sig, (x._storage.value,), ()), sig.meta)


_rot90_op = composite(
    "rot90", "x", _rot90, add=False, params=(("k", REQUIRED), ("dims", REQUIRED)),
    backward=lambda ctx, g: (g.rot90(-ctx.param("k"), ctx.param("dims")),),
)  # fmt: skip


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Return `input` rotated `k` times by a quarter in the plane of two dims, first to second.

    Raises:
        ShapeError: other than two different dims, or too few in `input`.
    """
    plane = integers("rot90", (dims,))
    ndim = input._meta.ndim
    if len(plane) != 2:
        raise ShapeError(f"rot90: expected total rotation dims == 2, but got dims = {len(plane)}.")
    if ndim < 2:
        raise ShapeError(f"rot90: expected total dims >= 2, but got total dims = {ndim}.")
    a, b = plane
    if a == b or abs(a - b) == ndim:
        raise ShapeError(f"rot90: expected rotation dims to be different, but got {a} and {b}.")
    plane = tuple([wrap_dim(d, ndim, "rot90") for d in plane])
    made: Tensor = apply(_rot90_op, (input,), (integer("rot90", k), plane))
    return made


# ---- repeated ----------------------------------------------------------------------------------


def _repeat(x: Tensor, repeats: Dims) -> Tensor:
    shape = x._meta.shape
    lead = len(repeats) - len(shape)
    shape = (1,) * lead + shape
    apart = [n for size in shape for n in (1, size)]
    wide = [n for times, size in zip(repeats, shape, strict=True) for n in (times, size)]
    copied: Tensor = apply(OPS["copy"], (expand(reshape(x, apart), wide),))
    return unsafe_view(copied, tuple([r * n for r, n in zip(repeats, shape, strict=True)]))


def _repeat_back(ctx: Any, g: Any) -> tuple[Any]:
    shape, repeats = ctx.shape("x"), ctx.param("repeats")
    padded = (1,) * (len(repeats) - len(shape)) + tuple(shape)
    apart = [n for times, size in zip(repeats, padded, strict=True) for n in (times, size)]
    if not apart:
        return (g,)
    total = g.reshape(apart).sum(dim=tuple(range(0, len(apart), 2)))
    return (total.reshape(shape),)


_repeat_op = composite(
    "repeat", "x", _repeat, backward=_repeat_back, add=False, params=(("repeats", REQUIRED),)
)


def repeat(input: Tensor, *args: Any, repeats: Any = None) -> Tensor:
    """Return `input` repeated so many times along each dimension; leading dims may be new.

    Raises:
        ShapeError: fewer repeats than dims, or a negative one.
    """
    times = integers("repeat", args, repeats)
    if len(times) < input._meta.ndim:
        raise ShapeError(
            "repeat: Number of dimensions of repeat dims can not be smaller than number of "
            f"dimensions of tensor: {len(times)} < {input._meta.ndim}."
        )
    if min(times, default=0) < 0:
        raise ShapeError(
            f"repeat: Trying to create tensor with negative dimension, repeats {list(times)}."
        )
    made: Tensor = apply(_repeat_op, (input,), (times,))
    return made


def tile(input: Tensor, *args: Any, dims: Any = None) -> Tensor:
    """Return `input` repeated along each dimension; dims that are left out are not."""
    times = integers("tile", args, dims)
    return repeat(input, (1,) * (input._meta.ndim - len(times)) + times)


@numpy_names
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Return `input` with each entry along `dim` repeated right after itself.

    Args:
        repeats: an int, or an integer tensor with a number for each entry. Left out, `input` is
            the numbers, and the result says which entry each position comes from.
        dim: None takes `input` as if it had one dim.
        output_size: how many entries that makes, if it is known.

    Raises:
        DTypeError: `repeats` is no integer tensor. ShapeError: its shape does not fit.
        ClgradRuntimeError: a negative number, or another total than `output_size`.
    """
    if repeats is None:
        return _sources(input, output_size)
    if dim is None:
        input, dim = flatten(input), 0
    shape = input._meta.shape
    d = wrap_dim(dim, len(shape), "repeat_interleave")
    if not isinstance(repeats, Tensor):
        times = integers("repeat_interleave", (repeats,))
        if len(times) == 1:
            _check_repeats(min(times), times[0] * shape[d] if shape else times[0], output_size)
            wide = expand(unsqueeze(input, d + 1), (*shape[: d + 1], times[0], *shape[d + 1 :]))
            return flatten(clone(wide), d, d + 1)
        repeats = tensor(times, device=input.device)
    if repeats._meta.ndim > 1 or repeats._meta.numel not in (1, shape[d] if shape else 1):
        raise ShapeError(
            "repeat_interleave: repeats must be 0-dim or 1-dim tensor, and must have the same size "
            f"as input along dim: shape {list(repeats._meta.shape)} for {list(shape)}, dim {d}."
        )
    numbers = expand(reshape(repeats, -1), (shape[d] if shape else 1,))
    return index_select(input, d, _sources(numbers, output_size))


def _check_repeats(least: int, total: int, output_size: int | None) -> None:
    if least < 0:
        raise ClgradRuntimeError(f"repeat_interleave: repeats can not be negative, got {least}.")
    if output_size is not None and output_size != total:
        raise ClgradRuntimeError(
            f"repeat_interleave: allocated size does not match required size: {output_size} is not "
            f"{total}."
        )


def _sources(repeats: Tensor, output_size: int | None) -> Tensor:
    """Return which entry each position of a repetition comes from; waits for the numbers."""
    if repeats._meta.dtype not in (int64, int32):
        raise DTypeError(
            f"repeat_interleave: repeats has to be Long or Int tensor, got {repeats.dtype.name}."
        )
    if repeats._meta.ndim != 1:
        raise ShapeError(
            f"repeat_interleave: only accept 1D vector as repeat, got {repeats._meta.ndim}D."
        )
    if not repeats._meta.numel:
        return empty(0, dtype=repeats.dtype, device=repeats.device)
    ends = cumsum(repeats, 0)
    total = int(ends[-1].item())
    _check_repeats(int(repeats.min().item()), total, output_size)
    marks: Tensor = apply(OPS["full"], (0,), ((total + 1,), repeats.dtype), repeats.device)
    picking = new_picking(ends._meta.shape, (-1,), (0,), ((0,),), False, False)
    write_at(marks, 1, (ends,), picking, "add")
    found: Tensor = cumsum(narrow(marks, 0, 0, total), 0).to(repeats.dtype)
    found._storage.value.bounds = (0, repeats._meta.numel - 1)
    return found
