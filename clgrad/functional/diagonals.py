"""Diagonals and triangles, and tensors with a part replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clgrad import writing
from clgrad.dispatch import apply
from clgrad.dtypes import int64
from clgrad.errors import ClgradIndexError, ShapeError
from clgrad.functional._arguments import numpy_names
from clgrad.functional._given import integer
from clgrad.functional._out import with_out
from clgrad.functional.shaping import clone, diagonal, reshape
from clgrad.layout import Layout, wrap_dim
from clgrad.ops.registry import OPS, REQUIRED, Op, camel, composite
from clgrad.ops.view import put_part, put_part_back
from clgrad.tensor import Tensor

__all__ = [
    "as_strided_scatter", "diag", "diag_embed", "diagflat", "diagonal_scatter", "select_scatter",
    "slice_scatter", "trace", "tril", "triu",
]  # fmt: skip
METHODS = (*__all__, "fill_diagonal_", "tril_", "triu_")


# ---- triangles ---------------------------------------------------------------------------------


def _zero(x: Tensor) -> Any:
    return False if x._meta.dtype.kind == "b" else 0


def _triangle(x: Tensor, diagonal: int, lower: bool) -> Tensor:
    """Compare the column of each element with its row: the mask is never in memory."""
    rows, columns = x._meta.shape[-2:]
    device = x._meta.device
    row = apply(OPS["arange"], (diagonal, 1), ((rows, 1), int64), device)
    column = apply(OPS["arange"], (0, 1), ((columns,), int64), device)
    keep = apply(OPS["le" if lower else "ge"], (column, row))
    made: Tensor = apply(OPS["where"], (keep, x, _zero(x)))
    return made


def _triangle_op(name: str, lower: bool) -> Op:
    return composite(
        name, "x", lambda x, diagonal: _triangle(x, diagonal, lower), add=False,
        params=(("diagonal", 0),),
        backward=lambda ctx, g: (getattr(g, name)(ctx.param("diagonal")),),
    )  # fmt: skip


_tril_op, _triu_op = _triangle_op("tril", True), _triangle_op("triu", False)


def _check_triangle(op: str, x: Tensor) -> None:
    if x._meta.ndim < 2:
        raise ShapeError(f"{op}: input tensor must have at least 2 dimensions, got {x._meta.ndim}.")


@with_out
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return matrices with what lies above a diagonal set to 0.

    Args:
        input: shape (*, m, n).
        diagonal: 0 is the main one, positive ones lie above it.
    """
    _check_triangle("tril", input)
    made: Tensor = apply(_tril_op, (input,), (integer("tril", diagonal),))
    return made


@with_out
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return matrices with what lies below a diagonal set to 0; see `tril`."""
    _check_triangle("triu", input)
    made: Tensor = apply(_triu_op, (input,), (integer("triu", diagonal),))
    return made


def tril_(input: Tensor, diagonal: int = 0) -> Tensor:
    """Set what lies above a diagonal to 0, in place."""
    _check_triangle("tril_", input)
    return writing.run_forward_(_tril_op, (input,), (integer("tril", diagonal),))


def triu_(input: Tensor, diagonal: int = 0) -> Tensor:
    """Set what lies below a diagonal to 0, in place."""
    _check_triangle("triu_", input)
    return writing.run_forward_(_triu_op, (input,), (integer("triu", diagonal),))


# ---- diagonals ---------------------------------------------------------------------------------


def _embed(x: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    *lead, n = x._meta.shape
    side = n + abs(offset)
    shape = list(lead)
    for d in sorted((dim1, dim2)):
        shape.insert(d, side)
    out: Tensor = x._zeros(tuple(shape))
    writing.store_tensor(diagonal(out, offset, dim1, dim2), x)
    return out


def _embed_back(ctx: Any, g: Any) -> tuple[Any]:
    return (g.diagonal(ctx.param("offset"), ctx.param("dim1"), ctx.param("dim2")),)


_embed_op = composite(
    "diag_embed", "x", _embed, backward=_embed_back, add=False,
    params=(("offset", 0), ("dim1", -2), ("dim2", -1)),
)  # fmt: skip


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return zeros with the last dim of `input` as a diagonal of two new dims.

    Raises:
        ShapeError: both dims are the same.
    """
    if not input._meta.ndim:
        raise ClgradIndexError("diag_embed: got a 0-d tensor. Expected one dimension or more.")
    ndim = input._meta.ndim + 1
    a, b = wrap_dim(dim1, ndim, "diag_embed"), wrap_dim(dim2, ndim, "diag_embed")
    if a == b:
        raise ShapeError(f"diag_embed: diagonal dimensions cannot be identical {dim1}, {dim2}.")
    made: Tensor = apply(_embed_op, (input,), (integer("diag_embed", offset), a, b))
    return made


_diagonal_copy = composite(
    "diagonal_copy", "x", lambda x, offset: clone(diagonal(x, offset)), add=False,
    params=(("offset", 0),), node_name="DiagonalBackward0_copy",
    backward=lambda ctx, g: (
        g._embed(Layout.contiguous(ctx.shape("x")).diagonal(ctx.param("offset")),
                 Layout.contiguous(ctx.shape("x"))),
    ),
)  # fmt: skip


@with_out
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return a matrix with `input`, a vector, as a diagonal, or a copy of that of a matrix.

    Raises:
        ShapeError: `input` has neither one nor two dims.
    """
    if input._meta.ndim == 1:
        return diag_embed(input, diagonal)
    if input._meta.ndim != 2:
        raise ShapeError(
            f"diag: Supports 1D or 2D tensors. Got {input._meta.ndim}D. Hint: diagonal()."
        )
    made: Tensor = apply(_diagonal_copy, (input,), (integer("diag", diagonal),))
    return made


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """Return a matrix with the elements of `input` as a diagonal."""
    return diag_embed(reshape(input, -1), offset)


def _trace_back(ctx: Any, g: Any) -> tuple[Any]:
    whole = Layout.contiguous(ctx.shape("x"))
    part = whole.diagonal()
    return (g.expand(part.shape)._embed(part, whole),)


_trace_op = composite(
    "trace", "x", lambda x: diagonal(x).sum(), backward=_trace_back, add=False
)  # fmt: skip


@with_out
def trace(input: Tensor) -> Tensor:
    """Return the sum of the diagonal of a matrix.

    Raises:
        ShapeError: `input` is no matrix.
    """
    if input._meta.ndim != 2:
        raise ShapeError(f"trace: expected a matrix, but got tensor with dim {input._meta.ndim}.")
    made: Tensor = apply(_trace_op, (input,))
    return made


def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Write a number over the diagonal of a matrix, or of a cube of equal sizes, in place.

    Args:
        wrap: of a tall matrix, go on below, with one row between.

    Raises:
        ShapeError: fewer than two dims, or more than two that differ.
    """
    shape, strides = input._meta.shape, input._meta.layout.strides
    if len(shape) < 2:
        raise ShapeError("fill_diagonal_: dimensions must larger than 1.")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise ShapeError("fill_diagonal_: all dimensions of input must be of equal length.")
    step, offset = sum(strides), input._meta.layout.offset
    size = min(shape)
    writing.fill_(input.as_strided((size,), (step,), offset), fill_value)
    if wrap and len(shape) == 2 and shape[0] > shape[1] + 1:
        start = shape[1] + 1
        while start < shape[0]:
            n = min(shape[1], shape[0] - start)
            writing.fill_(input.as_strided((n,), (step,), offset + strides[0] * start), fill_value)
            start += shape[1] + 1
    return input


# ---- a part replaced ---------------------------------------------------------------------------


def _replace_op(name: str) -> Op:
    return composite(
        name, "base, part", put_part, backward=put_part_back, add=False,
        params=(("layout", REQUIRED),), node_name=f"{camel(name)}Backward0",
    )  # fmt: skip


_REPLACE = {
    name: _replace_op(name)
    for name in ("as_strided_scatter", "diagonal_scatter", "select_scatter", "slice_scatter")
}


def _replaced(name: str, x: Tensor, src: Tensor, part: Callable[[Layout], Layout]) -> Tensor:
    """Return a copy of `x` with `src` at the layout that `part` makes of a contiguous one."""
    layout = part(Layout.contiguous(x._meta.shape))
    if src._meta.shape != layout.shape:
        raise ShapeError(
            f"{name}: expected src to have a size equal to the slice of self. src size = "
            f"{list(src._meta.shape)}, slice size = {list(layout.shape)}."
        )
    made: Tensor = apply(_REPLACE[name], (x, src), (layout,))
    return made


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """Return a copy of `input` with `src` as a diagonal; see `diagonal`."""
    return _replaced(
        "diagonal_scatter", input, src, lambda whole: whole.diagonal(offset, dim1, dim2)
    )


@numpy_names
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """Return a copy of `input` with `src` as entry `index` along `dim`."""
    return _replaced("select_scatter", input, src, lambda whole: whole.select(dim, index))


@with_out
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None,
    step: int = 1,
) -> Tensor:  # fmt: skip
    """Return a copy of `input` with `src` as the entries `start:end:step` along `dim`."""
    return _replaced("slice_scatter", input, src, lambda whole: whole.slice(dim, start, end, step))


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:  # fmt: skip
    """Return a copy of `input` with `src` at a layout over its elements, in order.

    Raises:
        ShapeError: the layout leaves the tensor, or `src` has another shape.
    """
    layout = Layout.contiguous(input._meta.shape).as_strided(
        tuple(size), tuple(stride), storage_offset
    )
    if layout.span[1] > input._meta.numel:
        raise ShapeError(
            f"as_strided_scatter: sizes {list(size)}, strides {list(stride)}, offset "
            f"{layout.offset} leave a tensor of {input._meta.numel} elements."
        )
    return _replaced("as_strided_scatter", input, src, lambda whole: layout)
