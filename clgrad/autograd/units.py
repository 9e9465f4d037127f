"""Linear functions on all unit vectors at once: the rows or columns of a Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clgrad.batching import enter, leave, opened
from clgrad.functional.joining import cat
from clgrad.functional.making import eye
from clgrad.functional.shaping import reshape
from clgrad.tensor import Tensor


def for_units(
    x: Tensor, function: Callable[[Tensor], Sequence[Tensor]], most: int | None = None
) -> list[Tensor]:
    """Return what a linear function makes of tensors of the shape of `x`, stacked along dim 0.

    There is one for each element, one there and zero elsewhere. It is called once, as in `vmap`.

    Args:
        most: how many of them to take at once; None: all.
    """
    count = x.numel()
    basis = reshape(eye(count, dtype=x.dtype, device=x.device), (count, *x.shape))
    chunks = []
    for start in range(0, count, most or count) if count else (0,):
        units = basis[start : start + (most or count)]
        with opened(units.shape[0]) as level:
            made = function(enter(units, 0, level))
            chunks.append([leave(one, level) for one in made])
    if len(chunks) == 1:
        return chunks[0]
    return [cat(parts) for parts in zip(*chunks, strict=True)]
