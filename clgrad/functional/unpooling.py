"""The partial inverse of max pooling: elements go back to where they came from, among zeros."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from clgrad.dispatch import apply
from clgrad.dtypes import int64
from clgrad.errors import ClgradRuntimeError, ClgradValueError, DTypeError, ShapeError
from clgrad.functional._at import known_bounds
from clgrad.functional.picking import gather
from clgrad.functional.placing import scatter_
from clgrad.functional.pooling import each, hashable
from clgrad.functional.shaping import squeeze, unsqueeze
from clgrad.ops.registry import REQUIRED, Op, composite
from clgrad.tensor import Tensor

__all__: list[str] = []
METHODS: tuple[str, ...] = ()

Sizes = int | Sequence[int]


def _forward(x: Tensor, indices: Tensor, size: tuple[int, ...]) -> Tensor:
    lead = x.shape[: x.ndim - len(size)]
    out = x._zeros((*lead, prod(size)))
    scatter_(out, -1, indices.reshape(*lead, -1), x.reshape(*lead, -1))
    made: Tensor = out.reshape(*lead, *size)
    return made


def _backward(ctx: Any, g: Any) -> tuple[Any, None]:
    indices, size = ctx.saved("indices"), ctx.param("size")
    lead = g.shape[: g.ndim - len(size)]
    picked = gather(g.reshape(*lead, -1), -1, indices.reshape(*lead, -1))
    return picked.reshape(indices.shape), None


def _record(rank: int) -> Op:
    return composite(
        f"_max_unpool{rank}d", "x, indices", _forward, backward=_backward,
        saves={"x": ("indices",)}, params=(("size", REQUIRED),),
        node_name=f"MaxUnpool{rank}DBackward0", doc="Zeros with elements at indices.",
    )  # fmt: skip


_RECORDS = {rank: _record(rank) for rank in (2, 3)}


def _size(
    op: str, x: Tensor, rank: int, kernel: tuple[int, ...], stride: tuple[int, ...],
    padding: tuple[int, ...], output_size: Any,
) -> tuple[int, ...]:  # fmt: skip
    """Return the spatial shape of the result.

    Raises:
        ClgradValueError: an `output_size` that pooling cannot have had.
    """
    default = tuple(
        (n - 1) * s + k - 2 * p
        for n, s, k, p in zip(x.shape[-rank:], stride, kernel, padding, strict=True)
    )
    if output_size is None:
        return default
    size = tuple(output_size)
    if len(size) == rank + 2:
        size = size[2:]
    if len(size) != rank:
        raise ClgradValueError(
            f"{op}: output_size should be a sequence containing {rank} or {rank + 2} elements, but "
            f"it has a length of '{len(size)}'."
        )
    for d, (n, one, s) in enumerate(zip(size, default, stride, strict=True)):
        if not one - s < n < one + s:
            raise ClgradValueError(
                f'{op}: invalid output_size "{size}" (dim {d} must be between {one - s} and '
                f"{one + s})."
            )
    return size


def _check(op: str, rank: int, x: Tensor, indices: Tensor, size: tuple[int, ...]) -> None:
    if indices._meta.dtype is not int64:
        raise DTypeError(
            f"{op}: elements in indices should be type int64 but got: {indices.dtype.name}."
        )
    if x._meta.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{op}: Input to {op} should be a {rank + 1}d or {rank + 2}d Tensor, but got a tensor "
            f"of shape {list(x.shape)}."
        )
    if indices._meta.shape != x._meta.shape:
        raise ShapeError(
            f"{op}: Expected shape of indices to be same as that of the input tensor "
            f"({list(x.shape)}) but got indices tensor with shape: {list(indices.shape)}."
        )
    bounds = known_bounds(indices)
    whole = indices._meta.numel == indices._storage.numel
    if bounds is not None and whole and (bounds[0] < 0 or bounds[1] >= prod(size)):
        wrong = bounds[0] if bounds[0] < 0 else bounds[1]
        raise ClgradRuntimeError(
            f"{op}: Found an invalid max index: {wrong} (output volumes are of size "
            f"{'x'.join(map(str, size))})."
        )


def _function(rank: int) -> Callable[..., Tensor]:
    op = f"max_unpool{rank}d"

    def call(
        input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None,
        padding: Sizes = 0, output_size: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        k = each(op, "kernel_size", hashable(kernel_size), rank)
        s = k if stride is None else each(op, "stride", hashable(stride), rank)
        p = each(op, "padding", hashable(padding), rank)
        size = _size(op, input, rank, k, s, p, output_size)
        _check(op, rank, input, indices, size)
        if rank == 1:
            operands = (unsqueeze(input, -2), unsqueeze(indices, -2))
            wide: Tensor = apply(_RECORDS[2], operands, ((1, *size),))
            return squeeze(wide, -2)
        made: Tensor = apply(_RECORDS[rank], (input, indices), (size,))
        return made

    call.__name__ = call.__qualname__ = op
    call.__doc__ = f"""Return zeros with the elements of `input` where `indices` say.

    Args:
        input: shape (N, C, *) or (C, *), as `max_pool{rank}d` makes it.
        indices: int64, of the same shape: positions in the images of the result.
        kernel_size, stride, padding: as of the pooling; they say how large the result is.
        output_size: its spatial size, where that leaves a choice.

    Raises:
        ShapeError, DTypeError: indices of another shape or dtype.
        ClgradRuntimeError: an index out of range. ClgradValueError: a size that cannot be.
    """
    return call


max_unpool1d = _function(1)
max_unpool2d = _function(2)
max_unpool3d = _function(3)
