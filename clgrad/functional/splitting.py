"""Taking a tensor apart: views of its parts along a dimension.

`split`, `chunk` and `unbind` are one node with several outputs each, whose results PyTorch forbids
to write in place; the parts of `tensor_split` and its like are ordinary slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clgrad.dispatch import apply_views
from clgrad.errors import ClgradIndexError, ClgradTypeError, ShapeError
from clgrad.functional._arguments import numpy_names
from clgrad.functional._given import integer, integers
from clgrad.functional.shaping import slice_
from clgrad.layout import wrap_dim
from clgrad.ops.meta import Meta, meta_of
from clgrad.tensor import Tensor

__all__ = [
    "chunk", "dsplit", "hsplit", "split", "split_with_sizes", "tensor_split", "unbind", "vsplit",
]  # fmt: skip
METHODS = tuple(__all__)

Parts = tuple[Tensor, ...]


@lru_cache(maxsize=2048)
def _pieces(meta: Meta, dim: int, lengths: tuple[int, ...]) -> tuple[Meta, ...]:
    """Return the metas of parts of these lengths along `dim`."""
    start, made = 0, []
    for n in lengths:
        made.append(meta_of(meta.dtype, meta.layout.narrow(dim, start, n), meta.device))
        start += n
    return tuple(made)


@lru_cache(maxsize=2048)
def _entries(meta: Meta, dim: int) -> tuple[Meta, ...]:
    """Return the metas of the entries along `dim`."""
    layout = meta.layout
    return tuple([
        meta_of(meta.dtype, layout.select(dim, k), meta.device) for k in range(layout.shape[dim])
    ])  # fmt: skip


def _dim(op: str, x: Tensor, dim: int) -> int:
    if not x._meta.ndim:
        raise ShapeError(f"{op}: {op} expects at least a 1-dimensional tensor, got a 0-d one.")
    return wrap_dim(integer(op, dim), x._meta.ndim, op)


@numpy_names
def split(
    tensor: Tensor, split_size_or_sections: Any = None, dim: int = 0, *, split_size: Any = None
) -> Parts:
    """Return views along `dim`: of one size (the last may be smaller), or of given sizes.

    Raises:
        ShapeError: a size below 0, or given sizes that do not add up.
    """
    how = split_size if split_size_or_sections is None else split_size_or_sections
    if isinstance(how, list | tuple):
        return split_with_sizes(tensor, how, dim)
    size = integer("split", how)
    d = _dim("split", tensor, dim)
    total = tensor._meta.shape[d]
    if size < 0 or (size == 0 and total):
        raise ShapeError(
            f"split: split expects split_size be non-negative, but got split_size={size}. Expected "
            f"at least 1 for {total} entries."
        )
    starts = range(0, total, size) if total else [0]
    lengths = tuple([min(size, total - s) for s in starts])
    return apply_views("SplitBackward0", tensor, _pieces(tensor._meta, d, lengths), ("_cat", d))


@numpy_names
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> Parts:
    """Return views of the given sizes along `dim`.

    Raises:
        ShapeError: a size below 0, or the sizes do not add up to that of the dimension.
    """
    d = _dim("split_with_sizes", input, dim)
    total = input._meta.shape[d]
    lengths = integers("split_with_sizes", (split_sizes,))
    if sum(lengths) != total or min(lengths, default=0) < 0:
        raise ShapeError(
            f"split_with_sizes: expects split_sizes to sum exactly to {total} (input tensor's size "
            f"at dimension {d}), but got split_sizes={list(lengths)}. Expected none below 0."
        )
    return apply_views(
        "SplitWithSizesBackward0", input, _pieces(input._meta, d, lengths), ("_cat", d)
    )


@numpy_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> Parts:
    """Return at most `chunks` views of equal size along `dim` (the last may be smaller)."""
    d = _dim("chunk", input, dim)
    chunks = integer("chunk", chunks)
    if chunks <= 0:
        raise ShapeError(f"chunk: chunk expects `chunks` to be greater than 0, got: {chunks}.")
    total = input._meta.shape[d]
    if total == 0:
        return split_with_sizes(input, [0] * chunks, d)
    return split(input, -(-total // chunks), d)


@numpy_names
def unbind(input: Tensor, dim: int = 0) -> Parts:
    """Return a view of each entry along `dim`."""
    if not input._meta.ndim:
        raise ClgradIndexError(
            f"unbind: Dimension specified as {dim} but tensor has no dimensions. Expected one."
        )
    d = wrap_dim(integer("unbind", dim), input._meta.ndim, "unbind")
    return apply_views("UnbindBackward0", input, _entries(input._meta, d), ("_stack", d))


def tensor_split(
    input: Tensor, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None,
    sections: Any = None,
) -> Parts:  # fmt: skip
    """Return slices along `dim`: as many as `sections`, or cut at `indices`.

    Args:
        indices_or_sections: an int (the first parts are one larger where it does not divide), or
            a sequence of where to cut, clamped as slices are; either may be an integer tensor.

    Raises:
        ShapeError: no section, or an index tensor of more than one dimension.
    """
    how = next((x for x in (indices_or_sections, indices, sections) if x is not None), None)
    if how is None:
        raise ClgradTypeError("tensor_split() missing required argument 'indices_or_sections'.")
    d = _dim("tensor_split", input, dim)
    total = input._meta.shape[d]
    if isinstance(how, Tensor):
        if how.dtype.name != "int64" or how.ndim > 1:
            raise ShapeError(
                "tensor_split: expected tensor_indices_or_sections to be a zero-dimensional or "
                f"one-dimensional int64 tensor, but got {how.ndim} dimensions of {how.dtype.name}."
            )
        how = how.tolist()
    if isinstance(how, list | tuple):
        cuts = [integer("tensor_split", k) for k in how]
        edges = [0, *cuts]
        return tuple([slice_(input, d, a, b) for a, b in zip(edges, [*cuts, total], strict=True)])
    count = integer("tensor_split", how)
    if count <= 0:
        raise ShapeError(f"tensor_split: number of sections must be larger than 0, got {count}.")
    least, more = divmod(total, count)
    parts, start = [], 0
    for k in range(count):
        end = start + least + (k < more)
        parts.append(slice_(input, d, start, end))
        start = end
    return tuple(parts)


def _split_along(
    op: str, input: Tensor, given: Any, named: dict[str, Any], dim: int, least: int
) -> Parts:
    """Split by what is `given` one by one, as one value, or by the one name that PyTorch knows."""
    given = (*given, *[named.pop(n) for n in ("indices", "sections") if n in named])
    if named or not given:
        raise ClgradTypeError(
            f"{op}() got {[*named] or 'nothing'}. Expected `sections`, a number of parts, or "
            "`indices`, where to cut."
        )
    how = given[0] if len(given) == 1 else given
    if input._meta.ndim < least:
        raise ShapeError(
            f"{op}: torch.{op} requires a tensor with at least {least} dimension"
            f"{'s' * (least > 1)}, but got a tensor with {input._meta.ndim} dimensions."
        )
    size = input._meta.shape[dim]
    if isinstance(how, int) and (how == 0 or size % how):
        raise ShapeError(
            f"{op}: torch.{op} attempted to split along dimension {dim}, but the size of the "
            f"dimension {size} is not divisible by the split_size {how}."
        )
    return tensor_split(input, how, dim)


def hsplit(input: Tensor, *how: Any, **named: Any) -> Parts:
    """Return slices along dimension 1 (0 of a vector); see `tensor_split`."""
    return _split_along("hsplit", input, how, named, 0 if input._meta.ndim == 1 else 1, 1)


def vsplit(input: Tensor, *how: Any, **named: Any) -> Parts:
    """Return slices along dimension 0; see `tensor_split`."""
    return _split_along("vsplit", input, how, named, 0, 2)


def dsplit(input: Tensor, *how: Any, **named: Any) -> Parts:
    """Return slices along dimension 2; see `tensor_split`."""
    return _split_along("dsplit", input, how, named, 2, 3)
