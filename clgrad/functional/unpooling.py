"""The way back from max pooling: each element to where it was found, zeros elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from clgrad.creation import zeros
from clgrad.dtypes import int64
from clgrad.errors import ClgradValueError, DTypeError, ShapeError
from clgrad.functional.placing import scatter
from clgrad.functional.pooling import Sizes, each
from clgrad.tensor import Tensor


def _size(
    op: str, input: Tensor, settings: Sequence[tuple[int, ...]], wanted: Sequence[int] | None
) -> tuple[int, ...]:
    """Return the spatial size of the result."""
    rank = len(settings[0])
    sizes = tuple(input.shape[-rank:])
    plain = tuple([(n - 1) * s + k - 2 * p for n, k, s, p in zip(sizes, *settings, strict=True)])
    if wanted is None:
        return plain
    found = tuple(wanted)[2:] if len(wanted) == rank + 2 else tuple(wanted)
    if len(found) != rank:
        raise ClgradValueError(
            f"{op}: output_size should be a sequence containing {rank} or {rank + 2} elements, but "
            f"it has a length of '{len(wanted)}'"
        )
    for d, (n, near, step) in enumerate(zip(found, plain, settings[1], strict=True)):
        if not near - step < n < near + step:
            raise ClgradValueError(
                f'{op}: invalid output_size "{found}" (dim {d} must be between {near - step} and '
                f"{near + step})"
            )
    return found


def _function(rank: int) -> Callable[..., Tensor]:
    name = f"max_unpool{rank}d"

    def call(
        input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None,
        padding: Sizes = 0, output_size: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        if indices.dtype is not int64:
            raise DTypeError(
                f"{name}: elements in indices should be type int64 but got: {indices.dtype.name}"
            )
        if indices.shape != input.shape:
            raise ShapeError(
                f"{name}: Expected shape of indices to be same as that of the input tensor "
                f"({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}"
            )
        if input.ndim not in (rank + 1, rank + 2):
            raise ShapeError(
                f"{name}: Input should be a {rank + 1}d or {rank + 2}d Tensor, but got a tensor "
                f"with {input.ndim} dimensions. Hint: (N, C, *) or (C, *)."
            )
        kernel = each(name, "kernel_size", kernel_size, rank)
        step = kernel if stride is None else each(name, "stride", stride, rank)
        around = each(name, "padding", padding, rank)
        size = _size(name, input, (kernel, step, around), output_size)
        lead = tuple(input.shape[: input.ndim - rank])
        empty: Any = zeros(*lead, prod(size), dtype=input.dtype, device=input.device)
        placed: Tensor = scatter(empty, -1, indices.flatten(-rank), input.flatten(-rank))
        made: Tensor = placed.unflatten(-1, size)
        return made

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""Return planes of zeros with elements at the places that pooling returned.

    Args:
        input: what `max_pool{rank}d` returned, {rank} dimensions after (N, C) or (C).
        indices: where in its plane each element was, as it returned them too, int64.
        kernel_size, stride, padding: of the pooling.
        output_size: spatial size of the result, where that is not clear from the settings.

    Raises:
        ClgradValueError: a size that cannot be. ShapeError: shapes that differ.
        DTypeError: indices that are not int64. IndexValueError: an index beyond the plane.
    """
    return call


max_unpool1d, max_unpool2d, max_unpool3d = (_function(rank) for rank in (1, 2, 3))

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]
