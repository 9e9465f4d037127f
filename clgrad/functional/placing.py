"""Writing at indices: `scatter`, `index_add`, `index_put`, `masked_fill` and their like.

Each exists as a function that writes into a copy and as `name_`, which writes in place. Where
indices meet, they are taken in order: the last one that is put counts, sums have a fixed order.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clgrad import writing
from clgrad.dispatch import NUMBERS, apply, operand
from clgrad.dtypes import DType
from clgrad.errors import (
    ClgradIndexError,
    ClgradRuntimeError,
    ClgradTypeError,
    DTypeError,
    ShapeError,
)
from clgrad.functional import _at, reducing_at
from clgrad.functional._names import translation
from clgrad.functional._out import with_out
from clgrad.functional.advanced import picking_of
from clgrad.functional.finding import coordinates
from clgrad.functional.picking import check_mask, fits, points
from clgrad.functional.shaping import expand, narrow, reshape, slice_, unsafe_view
from clgrad.functional.splitting import unbind
from clgrad.layout import broadcast_shapes, wrap_dim
from clgrad.ops.indexing import Picking
from clgrad.ops.indexing import picking as new_picking
from clgrad.ops.registry import Op, pointwise
from clgrad.tensor import Tensor

__all__ = [
    "index_add", "index_copy", "index_fill", "index_put", "index_put_", "index_reduce",
    "masked_fill", "masked_scatter", "put", "scatter", "scatter_add", "scatter_reduce",
]  # fmt: skip
METHODS = (
    *__all__, "index_add_", "index_copy_", "index_fill_", "index_reduce_", "masked_fill_",
    "masked_scatter_", "put_", "scatter_", "scatter_add_", "scatter_reduce_",
)  # fmt: skip

Call = Callable[..., Any]


@dataclass(frozen=True)
class How:
    """Whether a function here writes into a copy or in place."""

    inplace: bool
    place: Call
    fill: Call
    reduce: Call
    pointwise: Call

    def flat(self, x: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
        """Do `work` on `x` as a tensor of one dim."""
        if not self.inplace:
            return unsafe_view(work(reshape(x, -1)), x._meta.shape)
        if x._meta.layout.is_contiguous:
            work(reshape(x, -1))
            return x
        return writing.copy_(x, reshape(COPY.flat(x, work), x._meta.shape))


COPY = How(False, _at.place, _at.fill, reducing_at.reduce_at, apply)
OVER = How(True, _at.place_, _at.fill_, reducing_at.reduce_at_, writing.apply_)


def _twins(core: Call) -> tuple[Call, Call]:
    """Return the function that writes into a copy, and the one that writes in place."""
    name = core.__name__.strip("_")
    signature = inspect.signature(core)
    visible = signature.replace(parameters=list(signature.parameters.values())[1:])

    @functools.wraps(core)
    def copy(*args: Any, **named: Any) -> Any:
        return core(COPY, *args, **named)

    @functools.wraps(core)
    def over(*args: Any, **named: Any) -> Any:
        return core(OVER, *args, **translated(named))

    for call, called in ((copy, name), (over, f"{name}_")):
        call.__name__ = call.__qualname__ = called
        call.__signature__ = visible  # type: ignore[attr-defined]  # read by inspect
    translated = translation(copy)
    return with_out(copy), over


def as_number(value: Any, dtype: DType) -> Any:
    """Return a Python number as one of a dtype's kind: 1.5 becomes 1 in an integer tensor."""
    kinds: dict[str, Call] = {"b": bool, "f": float}
    return kinds.get(dtype.kind, int)(value)


def _as_value(op: str, value: Any, x: Tensor) -> Any:
    """Return a number, or a tensor without dims, as what may be filled in."""
    value = operand(op, value)
    dtype = x._meta.dtype
    if type(value) in NUMBERS:
        return as_number(value, dtype)
    if value._meta.ndim:
        raise ShapeError(
            f"{op}: {op}_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._meta.ndim} dimension(s)."
        )
    return value if value._meta.dtype is dtype else value.to(dtype)


def _same_dtype(op: str, x: Tensor, source: Any) -> Tensor:
    if not isinstance(source, Tensor):
        raise ClgradTypeError(
            f"{op}: the source is a {type(source).__name__}. Expected a tensor. "
            "Hint: clgrad.tensor(...) makes one."
        )
    if source._meta.dtype is not x._meta.dtype:
        raise DTypeError(
            f"{op}: Expected self.dtype to be equal to src.dtype, got {x._meta.dtype.name} and "
            f"{source._meta.dtype.name}. Hint: source.to(input.dtype)."
        )
    return source


# ---- one index per element ---------------------------------------------------------------------


def _each(
    how: How, op: str, x: Tensor, dim: int, index: Tensor, source: Any,
    write: Callable[[Tensor, Any, Tensor, Picking], Tensor],
) -> Tensor:  # fmt: skip
    """Check what a scatter is given, and let `write` do it."""
    _at.check_dtype(op, index)
    d = fits(op, x, index, dim)
    if not index._meta.numel:  # of any number of dims
        empty = new_picking((0,), (-1,), (0,), ((0,),), False, False)
        return write(x, 0, reshape(index, -1), empty)
    shape = index._meta.shape
    if isinstance(source, Tensor):
        _same_dtype(op, x, source)
        have = source._meta.shape
        if not x._meta.ndim and source._meta.numel == index._meta.numel:
            source, have = reshape(source, shape), shape
        if len(have) != len(shape) or any(n > m for n, m in zip(shape, have, strict=False)):
            raise ShapeError(
                f"{op}: Expected index {list(shape)} to be no larger than self "
                f"{list(x._meta.shape)} apart from dimension {d} and to be no larger size than src "
                f"{list(have)}."
            )
        for k, n in enumerate(shape):
            if n != have[k]:
                source = narrow(source, k, 0, n)
    checked = _at.must_check(op, index, (x._meta.shape or (1,))[d], d, wrap=False)
    return write(x, source, index, _at.each(op, shape, d, checked))


def _scatter(
    how: How, input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None,
    reduce: str | None = None,
) -> Tensor:  # fmt: skip
    """Write `src`, a tensor or a number, where `index` chooses along `dim`.

    Args:
        index: int64 or int32, no larger than `src` in any dim, nor than `input` but in `dim`.
        reduce: None overwrites; `add` and `multiply` combine.

    Math:
        input[index[i][j]][j] = src[i][j] for `dim` 0.

    Raises:
        ShapeError: a shape that does not fit. DTypeError: dtypes differ.
        IndexValueError: an index out of range.
    """
    source = operand("scatter", value if src is None else src)
    number = type(source) in NUMBERS
    if number:
        source = as_number(source, input._meta.dtype)
    if reduce not in (None, "add", "multiply"):
        raise ClgradRuntimeError(
            f"scatter: reduce argument must be either add or multiply, got {reduce!r}. "
            "Hint: scatter_reduce knows more."
        )
    node = f"ScatterBackward{int(number)}"

    def write(x: Tensor, part: Any, at: Tensor, picking: Picking) -> Tensor:
        if reduce == "multiply":
            if type(part) in NUMBERS:
                part = x._ones(()) * part
            wide = expand(part, picking.space)
            return how.reduce("scatter", x, wide, at, picking, "prod", True)  # type: ignore[no-any-return]
        combine = "set" if reduce is None else "add"
        return how.place("scatter", x, part, (at,), picking, combine, node)  # type: ignore[no-any-return]

    return _each(how, "scatter", input, dim, index, source, write)


def _scatter_add(how: How, input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Add `src` where `index` chooses along `dim`, in order; see `scatter`."""
    _same_dtype("scatter_add", input, src)
    return _each(
        how, "scatter_add", input, dim, index, src,
        lambda x, part, at, picking: how.place("scatter_add", x, part, (at,), picking, "add"),
    )  # fmt: skip


def _check_reduction(op: str, reduce: str, names: Sequence[str]) -> None:
    if reduce not in names:
        raise ClgradRuntimeError(
            f"{op}: reduce argument must be either {', '.join(names[:-1])} or {names[-1]}, got "
            f"{reduce}."
        )


def _scatter_reduce(
    how: How, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *,
    include_self: bool = True,
) -> Tensor:  # fmt: skip
    """Reduce `src` where `index` chooses along `dim`; see `scatter`.

    Args:
        reduce: `sum`, `prod`, `mean`, `amax` or `amin`.
        include_self: whether what is there takes part; elements that no index reaches stay.
    """
    _check_reduction("scatter_reduce", reduce, ("sum", "prod", "mean", "amax", "amin"))
    _same_dtype("scatter_reduce", input, src)

    def write(x: Tensor, part: Any, at: Tensor, picking: Picking) -> Tensor:
        if type(part) in NUMBERS:
            part = slice_(reshape(src, -1), 0, 0, 0)
        return how.reduce("scatter_reduce", x, part, at, picking, reduce, include_self)  # type: ignore[no-any-return]

    return _each(how, "scatter_reduce", input, dim, index, src, write)


# ---- one index per entry along a dim -----------------------------------------------------------


def _entries(
    how: How, op: str, x: Tensor, dim: int, index: Tensor, source: Any, fill: bool,
    error: type[Exception], write: Callable[[Tensor, Any, Tensor, Picking], Tensor],
) -> Tensor:  # fmt: skip
    """Check what a write of entries is given, and let `write` do it.

    Args:
        source: one entry per index, or if `fill` one value for all; then indices may be negative.
        error: what another number of entries than of indices is.
    """
    d = wrap_dim(dim, x._meta.ndim, op)
    _at.check_dtype(op, index)
    if index._meta.ndim > 1:
        raise ClgradIndexError(
            f"{op}: Index is supposed to be a vector, but got {index._meta.ndim} dimensions."
        )
    vector = reshape(index, -1)
    count, shape = vector._meta.numel, x._meta.shape
    if not fill:
        have = source._meta.shape
        fits = not have or len(have) == len(shape)
        if not have:
            have = (1,) * max(len(shape), 1)
            source = reshape(source, have)
        if not fits or any(
            a != b for k, (a, b) in enumerate(zip(have, shape or (1,), strict=True)) if k != d
        ):
            raise ShapeError(
                f"{op}: source tensor shape must match self tensor shape, excluding the specified "
                f"dimension. Got self.shape = {list(shape)} source.shape = {list(have)}."
            )
        entries = have[d]
        if entries != count:
            raise error(
                f"{op}: Number of indices ({count}) should be equal to source.size(dim): "
                f"({entries}), for dim: {d}."
            )
    checked = _at.must_check(op, vector, (shape or (1,))[d], d, wrap=fill)
    return write(x, source, vector, _at.along(op, shape, d, count, fill, checked))


def _index_add(
    how: How, input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """Add `alpha` times the entries of `source` to the entries that `index` names, in order.

    Args:
        index: int64 or int32, one per entry of `source` along `dim`.

    Raises:
        ShapeError: a shape that does not fit. DTypeError: dtypes differ.
        IndexValueError: an index out of range.
    """
    _same_dtype("index_add", input, source)
    part = source if alpha == 1 else source * alpha
    return _entries(
        how, "index_add", input, dim, index, part, False, ShapeError,
        lambda x, part, at, picking: how.place("index_add", x, part, (at,), picking, "add"),
    )  # fmt: skip


def _index_copy(how: How, input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Write the entries of `source` over the entries that `index` names; see `index_add`."""
    _same_dtype("index_copy", input, source)
    return _entries(
        how, "index_copy", input, dim, index, source, False, ClgradIndexError,
        lambda x, part, at, picking: how.place("index_copy", x, part, (at,), picking, "set"),
    )  # fmt: skip


def _index_fill(how: How, input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Write one number, or a tensor without dims, over the entries that `index` names."""
    value = _as_value("index_fill", value, input)
    return _entries(
        how, "index_fill", input, dim, index, value, True, ClgradIndexError,
        lambda x, part, at, picking: how.fill("index_fill", x, part, at, picking),
    )  # fmt: skip


def _index_reduce(
    how: How, input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *,
    include_self: bool = True,
) -> Tensor:  # fmt: skip
    """Reduce the entries of `source` into those that `index` names; see `index_add`.

    Args:
        reduce: `prod`, `mean`, `amax` or `amin`.
        include_self: whether what is there takes part.
    """
    _check_reduction("index_reduce", reduce, ("prod", "mean", "amax", "amin"))
    _same_dtype("index_reduce", input, source)
    return _entries(
        how, "index_reduce", input, dim, index, source, False, ShapeError,
        lambda x, part, at, picking: how.reduce(
            "index_reduce", x, part, at, picking, reduce, include_self
        ),
    )  # fmt: skip


# ---- indices of every dim ----------------------------------------------------------------------


def _index_put(
    how: How, input: Tensor, indices: Any, values: Tensor,
    accumulate: bool = False,
) -> Tensor:  # fmt: skip
    """Write `values`, broadcast, where index tensors choose: `input[indices] = values`.

    Args:
        indices: for each dim an integer tensor, a mask, or None for all of it.
        accumulate: add instead.

    Raises:
        DTypeError: dtypes differ. ShapeError: `values` does not broadcast to what is chosen.
        ClgradIndexError: indices that do not fit; IndexValueError: one out of range.
    """
    if isinstance(indices, Tensor) or not isinstance(indices, Sequence):
        raise ClgradTypeError(
            f"index_put: indices is a {type(indices).__name__}. Expected a tuple of tensors."
        )
    if values._meta.dtype is not input._meta.dtype:
        raise DTypeError(
            "index_put: Index put requires the source and destination dtypes match, got "
            f"{input._meta.dtype.name} for the destination and {values._meta.dtype.name} for the "
            "source."
        )
    chosen, picking = picking_of("index_put", input._meta.shape, tuple(indices))
    check_value("index_put", values, picking.space)
    combine = "add" if accumulate else "set"
    return how.place("index_put", input, values, chosen, picking, combine)  # type: ignore[no-any-return]


def check_value(op: str, value: Tensor, space: tuple[int, ...]) -> None:
    """Raise `ShapeError` where a value does not broadcast to what indices choose."""
    try:
        fit = broadcast_shapes(value._meta.shape, space) == space
    except ShapeError:
        fit = False
    if not fit:
        raise ShapeError(
            f"{op}: shape mismatch: value tensor of shape {list(value._meta.shape)} cannot be "
            f"broadcast to indexing result of shape {list(space)}."
        )


def _put(
    how: How, input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False
) -> Tensor:
    """Write `source` at `index`, counted as if `input` had one dim.

    Args:
        index: int64, as many as `source` has elements.
        accumulate: add instead.

    Raises:
        ClgradIndexError: other numbers of elements. IndexValueError: an index out of range.
    """
    _same_dtype("put", input, source)
    _at.check_long("put", index)
    if index._meta.numel != source._meta.numel:
        raise ClgradIndexError(
            "put: Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source._meta.numel}, index.numel() = {index._meta.numel}."
        )
    checked = _at.must_check("put", index, input._meta.numel, 0, wrap=True)
    part = reshape(source, index._meta.shape)
    picking = _at.flat("put", index._meta.layout, checked)
    combine = "add" if accumulate else "set"
    return how.flat(input, lambda x: how.place("put", x, part, (index,), picking, combine))


# ---- masks -------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _fill_op(number: bool, node_name: str) -> Op:
    derivatives: dict[str, Any] = {} if number else {"dvalue": "where(mask, g, 0)"}
    return pointwise(
        "masked_fill", f"x, mask, {'*, value=0' if number else 'value'}", "where(mask, value, x)",
        masks=("mask",), add=False, dx="where(mask, 0, g)", node_name=node_name, **derivatives,
    )  # fmt: skip


def _masked_fill(how: How, input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Write a number, or a tensor without dims, where `mask` is true; both are broadcast.

    Raises:
        DTypeError: the mask is not bool. ShapeError: `value` has dims.
    """
    check_mask("masked_fill", mask)
    value = _as_value("masked_fill", value, input)
    number = not isinstance(value, Tensor)
    op = _fill_op(number, f"MaskedFillBackward{int(not number)}")
    return how.pointwise(op, (input, mask, value))  # type: ignore[no-any-return]


def put_masked_(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Do `x[mask] = value` with one value, which need not wait for the mask."""
    value = _as_value("index_put", value, x)
    op = _fill_op(not isinstance(value, Tensor), "IndexPutBackward0")
    return writing.apply_(op, (x, mask, value))


def _masked_scatter(how: How, input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Write the first elements of `source`, in order, where `mask` is true; waits.

    Raises:
        ShapeError: `source` has fewer elements than the mask has true ones.
        DTypeError: the mask is not bool, or dtypes differ.
    """
    check_mask("masked_scatter", mask)
    _same_dtype("masked_scatter", input, source)
    shape = broadcast_shapes(input._meta.shape, mask._meta.shape, op="masked_scatter")
    if how.inplace and shape != input._meta.shape:
        raise ShapeError(
            f"masked_scatter_: output with shape {list(input._meta.shape)} doesn't match the "
            f"broadcast shape {list(shape)}."
        )
    x = expand(input, shape) if shape != input._meta.shape else input
    mask = expand(mask, shape) if shape != mask._meta.shape else mask
    indices = unbind(coordinates(mask if shape else reshape(mask, 1)), 1)
    count = indices[0]._meta.numel
    if count > source._meta.numel:
        raise ShapeError(
            "masked_scatter: Number of elements of source < number of ones in mask: "
            f"{source._meta.numel} < {count}."
        )
    part = slice_(reshape(source, -1), 0, 0, count)
    picking = points(len(indices), count)
    return how.place("masked_scatter", x, part, indices, picking, "set")  # type: ignore[no-any-return]


index_add, index_add_ = _twins(_index_add)
index_copy, index_copy_ = _twins(_index_copy)
index_fill, index_fill_ = _twins(_index_fill)
index_put, index_put_ = _twins(_index_put)
index_reduce, index_reduce_ = _twins(_index_reduce)
masked_fill, masked_fill_ = _twins(_masked_fill)
masked_scatter, masked_scatter_ = _twins(_masked_scatter)
put, put_ = _twins(_put)
scatter, scatter_ = _twins(_scatter)
scatter_add, scatter_add_ = _twins(_scatter_add)
scatter_reduce, scatter_reduce_ = _twins(_scatter_reduce)
