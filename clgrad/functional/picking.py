"""Reading at indices: `gather`, `index_select`, `take`, `masked_select` and their like."""

from __future__ import annotations

from typing import Any

from clgrad.dtypes import bool_
from clgrad.errors import ClgradIndexError, DTypeError, ShapeError
from clgrad.functional._at import along, check_dtype, check_long, each, flat, must_check, pick
from clgrad.functional._out import with_out
from clgrad.functional.finding import coordinates
from clgrad.functional.shaping import expand, reshape, slice_, unsafe_view
from clgrad.functional.splitting import unbind
from clgrad.layout import broadcast_shapes, wrap_dim
from clgrad.ops.indexing import Picking
from clgrad.ops.indexing import picking as new_picking
from clgrad.tensor import Tensor

__all__ = ["gather", "index_select", "masked_select", "take", "take_along_dim"]
METHODS = tuple(__all__)


def fits(op: str, x: Tensor, index: Tensor, dim: int) -> int:
    """Return the wrapped `dim` if an index with one entry per element may go with `x`.

    Raises:
        ShapeError: other numbers of dims, or a size beyond that of `x` in another dim.
        ClgradIndexError: `dim` is out of range.
    """
    have, shape = x._meta.shape, index._meta.shape
    d = wrap_dim(dim, len(have), op)
    if not index._meta.numel:
        return d
    if max(len(have), 1) != max(len(shape), 1):
        raise ShapeError(
            f"{op}: Index tensor must have the same number of dimensions as input tensor, got "
            f"shapes {list(shape)} and {list(have)}."
        )
    if any(n > m for k, (n, m) in enumerate(zip(shape, have, strict=False)) if k != d):
        raise ShapeError(
            f"{op}: Size does not match: expected index {list(shape)} to be no larger than self "
            f"{list(have)} apart from dimension {d}."
        )
    return d


@with_out
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Return the elements that `index` chooses along `dim`.

    Args:
        index: int64 or int32, as many dims as `input`; the result has its shape.

    Math:
        out[i][j][k] = input[index[i][j][k]][j][k] for `dim` 0.

    Raises:
        ShapeError: a shape that does not fit. IndexValueError: an index out of range.
    """
    if index._meta.numel:
        check_dtype("gather", index)
    elif index.dtype.kind in "ui":
        index = index.long()
    d = fits("gather", input, index, dim)
    shape = index._meta.shape
    if not index._meta.numel and index._meta.ndim != input._meta.ndim:
        return unsafe_view(slice_(reshape(input, -1), 0, 0, 0), shape)
    size = (input._meta.shape or (1,))[d]
    checked = must_check("gather", index, size, d, wrap=False)
    return pick("gather", input, (index,), each("gather", shape, d, checked))


@with_out
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the entries along `dim` that a vector of indices names, in its order.

    Raises:
        ClgradIndexError: `index` has more than one dim. IndexValueError: an index out of range.
    """
    d = wrap_dim(dim, input._meta.ndim, "index_select")
    check_dtype("index_select", index)
    if index._meta.ndim > 1:
        raise ClgradIndexError(
            f"index_select: Index is supposed to be a vector, got shape {list(index._meta.shape)}."
        )
    count = index._meta.numel
    shape = input._meta.shape
    checked = must_check("index_select", index, (shape or (1,))[d], d, wrap=False)
    if not shape:
        if count != 1:
            raise ShapeError(
                f"index_select: Index to scalar can have only 1 value, got {count} value(s)."
            )
        return pick(
            "index_select", input, (reshape(index, ()),), each("index_select", (), 0, checked)
        )
    vector = index if index._meta.ndim else reshape(index, 1)
    return pick(
        "index_select", input, (vector,), along("index_select", shape, d, count, False, checked)
    )


@with_out
def take(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements at `index`, counted as if `input` had one dim; the index's shape.

    Raises:
        IndexValueError: an index out of range.
    """
    check_long("take", index)
    x = input if input._meta.ndim == 1 else reshape(input, -1)
    checked = must_check("take", index, x._meta.numel, 0, wrap=True)
    return pick("take", x, (index,), flat("take", index._meta.layout, checked))


@with_out
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Return the elements that `indices` choose along `dim`; other dims are broadcast.

    Args:
        dim: None takes both as if they had one dim. Negative indices count from the end.

    Raises:
        ShapeError: other numbers of dims. DTypeError: the indices are not int64.
    """
    check_long("take_along_dim", indices)
    if dim is None:
        input, indices, dim = reshape(input, -1), reshape(indices, -1), 0
    have, shape = input._meta.shape, indices._meta.shape
    if len(have) != len(shape):
        raise ShapeError(
            "take_along_dim: input and indices should have the same number of dimensions, but got "
            f"{len(have)} dimensions for input, and {len(shape)} dimensions for indices."
        )
    d = wrap_dim(dim, len(have), "take_along_dim")
    if not have:
        return gather(input, 0, indices)
    wide = broadcast_shapes((*have[:d], 1, *have[d + 1 :]), (*shape[:d], 1, *shape[d + 1 :]))
    x = expand(input, (*wide[:d], have[d], *wide[d + 1 :]))
    column = expand(indices, (*wide[:d], shape[d], *wide[d + 1 :]))
    checked = must_check("take_along_dim", indices, have[d], d, wrap=True)
    walk = tuple([-1 if k == d else k for k in range(len(have))])
    axes = (tuple(range(len(have))),)
    picking = new_picking(column._meta.shape, walk, (d,), axes, True, checked, "take_along_dim")
    return pick("gather", x, (column,), picking)


def check_mask(op: str, mask: Any) -> None:
    """Raise `DTypeError` where a mask is not bool."""
    if not isinstance(mask, Tensor) or mask._meta.dtype is not bool_:
        kind = mask.dtype.name if isinstance(mask, Tensor) else type(mask).__name__
        raise DTypeError(
            f"{op}: only supports boolean masks, but got mask with dtype {kind}. "
            "Hint: mask != 0 makes one."
        )


def at_mask(name: str, x: Tensor, mask: Tensor, node_name: str = "") -> Tensor:
    """Return the elements of `x`, in order, where a mask of its shape is true; waits."""
    if not x._meta.ndim:
        x, mask = reshape(x, 1), reshape(mask, 1)
    if x._meta.ndim > 1 and x._meta.layout.is_contiguous:
        x, mask = reshape(x, -1), reshape(mask, -1)
    indices = unbind(coordinates(mask), 1)
    return pick(name, x, indices, points(x._meta.ndim, indices[0]._meta.numel), node_name)


def points(ndim: int, count: int) -> Picking:
    """Return the picking of single elements by one index of one dim per dim of the tensor."""
    return new_picking((count,), (-1,), tuple(range(ndim)), ((0,),) * ndim, False, False)


@with_out
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where `mask` is true, as a vector; both are broadcast. Waits.

    Raises:
        DTypeError: the mask is not bool.
    """
    check_mask("masked_select", mask)
    shape = broadcast_shapes(input._meta.shape, mask._meta.shape, op="masked_select")
    x = input if input._meta.shape == shape else expand(input, shape)
    return at_mask("masked_select", x, mask if mask._meta.shape == shape else expand(mask, shape))
