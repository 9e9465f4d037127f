"""Advanced indexing: tensors of integers or of bools where a dim of a tensor is meant.

Index tensors are broadcast together. Their dims stand where the indexed dims stood if those are
neighbours, else in front.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

from clgrad.dtypes import bool_, uint8
from clgrad.errors import ClgradIndexError, ShapeError
from clgrad.functional._at import INDEX_DTYPES, IndexValueError, must_check
from clgrad.functional.finding import as_mask, coordinates
from clgrad.functional.shaping import reshape
from clgrad.functional.splitting import unbind
from clgrad.layout import broadcast_shapes
from clgrad.ops.indexing import Picking
from clgrad.ops.indexing import picking as new_picking
from clgrad.tensor import Tensor

Items = Sequence[Tensor | None]


def as_index(op: str, item: Tensor) -> Tensor:
    """Return an index tensor, uint8 as a mask with PyTorch's warning.

    Raises:
        ClgradIndexError: another dtype.
    """
    dtype = item._meta.dtype
    if dtype is uint8:
        warnings.warn(
            "indexing with dtype uint8 is now deprecated, please use a dtype bool instead.",
            UserWarning,
            stacklevel=5,
        )
        return as_mask(item)
    if dtype is not bool_ and dtype not in INDEX_DTYPES:
        raise ClgradIndexError(
            f"{op}: tensors used as indices must be long, int, byte or bool tensors, got "
            f"{dtype.name}. Hint: .long()."
        )
    return item


def _found(op: str, shape: tuple[int, ...], mask: Tensor, dim: int) -> tuple[Tensor, ...]:
    """Return the coordinates at which a mask over dims from `dim` on is true; waits."""
    have = mask._meta.shape
    for k, n in enumerate(have):
        if dim + k >= len(shape) or n != shape[dim + k]:
            raise ClgradIndexError(
                f"{op}: The shape of the mask {list(have)} at index {k} does not match the shape "
                f"of the indexed tensor {list(shape)} at index {dim + k}."
            )
    return unbind(coordinates(mask if have else reshape(mask, 1)), 1)


def without_masks(op: str, shape: tuple[int, ...], items: Items) -> list[Tensor | None]:
    """Return one integer index, or None, for each dim that the items speak of.

    Raises:
        ClgradIndexError: too many items, a dtype that is no index, a mask of another shape.
    """
    made: list[Tensor | None] = []
    for item in items:
        if item is None:
            made.append(None)
            continue
        index = as_index(op, item)
        if index._meta.dtype is bool_:
            made += _found(op, shape, index, len(made))
        else:
            made.append(index)
    if len(made) > len(shape):
        raise ClgradIndexError(
            f"{op}: too many indices for tensor of dimension {len(shape)} (got {len(made)})."
        )
    return made


def picking_of(op: str, shape: tuple[int, ...], items: Items) -> tuple[tuple[Tensor, ...], Picking]:
    """Return the index tensors and the picking that items, one per dim, mean in a tensor.

    Raises:
        ClgradIndexError: see `without_masks`; index tensors that do not broadcast.
        IndexValueError: the host knows that an index is out of range.
    """
    placed = without_masks(op, shape, items)
    indices = tuple([item for item in placed if item is not None])
    if not indices:
        raise IndexValueError(f"{op}: at least one index must be provided.")
    checked = False
    empty = any(0 in i._meta.shape for i in indices)
    for d, index in enumerate(placed):
        if index is not None and not empty:
            checked = must_check(op, index, shape[d], d, wrap=True) or checked
    shapes = tuple([None if i is None else i._meta.shape for i in placed])
    return indices, _arranged(op, shape, shapes, checked)


@lru_cache(maxsize=4096)
def _arranged(
    op: str, shape: tuple[int, ...], placed: tuple[tuple[int, ...] | None, ...], checked: bool
) -> Picking:
    """Return the picking by index tensors of these shapes, None where there is none."""
    dims = [d for d, index in enumerate(placed) if index is not None]
    shapes = [index for index in placed if index is not None]
    try:
        block = broadcast_shapes(*shapes, op=op)
    except ShapeError:
        raise ClgradIndexError(
            f"{op}: shape mismatch: indexing tensors could not be broadcast together with shapes "
            f"{', '.join(str(list(s)) for s in shapes)}."
        ) from None
    together = dims[-1] - dims[0] == len(dims) - 1
    before = list(range(dims[0])) if together else []
    rest = [d for d in range(len(shape)) if d not in dims and d not in before]
    start = len(before) + len(block)
    return new_picking(
        (*[shape[d] for d in before], *block, *[shape[d] for d in rest]),
        (*before, *(-1,) * len(block), *rest),
        tuple(dims),
        tuple([tuple(range(start - len(s), start)) for s in shapes]),
        True,
        checked,
        op,
    )
