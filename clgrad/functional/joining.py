"""Joining tensors: `cat` and `stack`. Each is one op and one node, whatever their number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from clgrad import dispatch, writing
from clgrad.creation import empty, tensor
from clgrad.dispatch import apply, fresh
from clgrad.dtypes import result_type
from clgrad.errors import ClgradTypeError, ClgradValueError, ShapeError
from clgrad.functional._given import tensors as as_list
from clgrad.functional._out import with_out
from clgrad.functional.picking import take
from clgrad.functional.shaping import expand, reshape, unsqueeze
from clgrad.layout import Layout, wrap_dim
from clgrad.layout import broadcast_shapes as _common_shape
from clgrad.ops.joining import join_signature
from clgrad.ops.meta import Meta, fresh_meta, meta_of
from clgrad.ops.registry import OPS, REQUIRED, Op
from clgrad.ops.signature import Signature, common_device, signature, write_signature
from clgrad.tensor import Size, Tensor

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes",
    "broadcast_tensors", "cat", "column_stack", "combinations", "concat", "concatenate", "dstack",
    "hstack", "row_stack", "stack", "vstack",
]  # fmt: skip
METHODS: tuple[str, ...] = ()


def _cat(*arguments: Any) -> Tensor:
    *parts, dim = arguments
    return _joined(parts, *_cat_plan(tuple([p._meta for p in parts]), dim))


MANY = 8
"""Parts from which on they are joined by kernels of sixteen each, instead of a write for each. A
write takes what makes the part into its kernel; those parts are stored first."""

Plan = tuple[Meta, tuple[Signature | None, ...]]


def _joined(parts: Sequence[Tensor], meta: Meta, writes: Sequence[Signature | None]) -> Tensor:
    """Join parts by one signature, or write each into its place of a new tensor."""
    if len(writes) < len(parts):
        (whole,) = writes
        values = tuple([part._storage.value for part in parts])
        return fresh(dispatch.backend.record(whole, values, ()), meta)
    value = dispatch.backend.empty(meta.device, meta.numel, meta.dtype)
    for part, sig in zip(parts, writes, strict=True):
        if sig is None:
            continue
        if sig.kind == "map":  # it is all there is
            value = dispatch.backend.record(sig, (part._storage.value,), ())
        else:
            value = dispatch.backend.write(sig, value, (part._storage.value,), ())
    if meta.dtype.is_integral:
        bounds = [part._storage.value.bounds for part in parts]
        if None not in bounds:
            value.bounds = (min(b[0] for b in bounds if b), max(b[1] for b in bounds if b))
    return fresh(value, meta)


@lru_cache(maxsize=1024)
def _cat_plan(parts: tuple[Meta, ...], dim: int) -> Plan:
    """Return the meta of tensors one after the other, and how they are joined."""
    device = common_device(_cat_op(len(parts), "cat"), parts, None)
    dtype = result_type([(p.dtype, "dim" if p.ndim else "zero") for p in parts])
    shape = list(parts[0].shape)
    shape[dim] = sum(p.shape[dim] for p in parts)
    meta = fresh_meta(dtype, tuple(shape), device)
    plain = all(p.dtype is dtype and p.numel and p.layout.is_contiguous for p in parts)
    if len(parts) >= MANY and plain:
        return meta, (join_signature(_cat_op(len(parts), "cat"), parts, dim, meta),)
    start, places = 0, []
    for part in parts:
        places.append(meta.layout.narrow(dim, start, part.shape[dim]))
        start += part.shape[dim]
    return meta, _writes(meta, parts, places)


def _writes(
    meta: Meta, parts: Sequence[Meta], places: Sequence[Layout]
) -> tuple[Signature | None, ...]:
    """Return how each part is written at its place; None for one without elements."""
    base = fresh_meta(meta.dtype, (meta.numel,), meta.device)
    return tuple([
        write_signature(base, place, signature(OPS["copy"], (part,), ())) if part.numel else None
        for part, place in zip(parts, places, strict=True)
    ])  # fmt: skip


def put(out: Tensor, part: Tensor, layout: Layout) -> None:
    """Write `part` at a layout of the storage of `out`, which is new."""
    if part._meta.numel:
        source = signature(OPS["copy"], (part._meta,), ())
        writing.store(out, source, (part._storage.value,), (), layout)


def _cat_back(ctx: Any, g: Any) -> tuple[Any, ...]:
    dim, start, grads = ctx.param("dim"), 0, []
    for name in ctx.inputs():
        length = ctx.shape(name)[dim]
        grads.append(g.narrow(dim, start, length) if ctx.needs(name) else None)
        start += length
    return tuple(grads)


@lru_cache(maxsize=256)
def _cat_op(count: int, name: str) -> Op:
    return Op(
        name=name, kind="composite", inputs=tuple(f"x{k}" for k in range(count)),
        params=(("dim", REQUIRED),), forward=_cat if name == "cat" else _stack,
        backward=_cat_back if name == "cat" else _stack_back,
        node_name="CatBackward0" if name == "cat" else "StackBackward0",
    )  # fmt: skip


def _list(op: str, given: Any) -> list[Tensor]:
    if isinstance(given, Tensor):
        raise ClgradTypeError(f"{op}: got a tensor. Expected a sequence of tensors.")
    return as_list(op, (list(given),))


@with_out
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return tensors one after the other along an existing dimension.

    Args:
        tensors: shapes equal but along `dim`; an empty one of shape (0,) is passed over.

    Raises:
        ShapeError: another size differs.
    """
    if isinstance(tensors, list | tuple) and not tensors:
        raise ClgradValueError("cat: expected a non-empty list of Tensors.")
    found = _list("cat", tensors)
    kept = [t for t in found if t._meta.shape != (0,)] or found[:1]
    ndim = kept[0]._meta.ndim
    if not ndim:
        raise ShapeError("cat: zero-dimensional tensor cannot be concatenated. Hint: use stack().")
    d = wrap_dim(dim, ndim, "cat")
    want = kept[0]._meta.shape
    for k, one in enumerate(kept):
        have = one._meta.shape
        if len(have) != ndim or any(
            a != b for i, (a, b) in enumerate(zip(have, want, strict=True)) if i != d
        ):
            raise ShapeError(
                f"cat: Sizes of tensors must match except in dimension {d}. Expected sizes like "
                f"{list(want)} but got {list(have)} for tensor number {k} in the list."
            )
    made: Tensor = apply(_cat_op(len(kept), "cat"), tuple(kept), (d,))
    return made


concat = concatenate = cat


def _stack(*arguments: Any) -> Tensor:
    *parts, dim = arguments
    return _joined(parts, *_stack_plan(tuple([p._meta for p in parts]), dim))


@lru_cache(maxsize=1024)
def _stack_plan(parts: tuple[Meta, ...], dim: int) -> Plan:
    wide = [meta_of(p.dtype, p.layout.unsqueeze(dim), p.device) for p in parts]
    return _cat_plan(tuple(wide), dim)


def _stack_back(ctx: Any, g: Any) -> tuple[Any, ...]:
    dim = ctx.param("dim")
    return tuple([g.select(dim, k) if ctx.needs(n) else None for k, n in enumerate(ctx.inputs())])


@with_out
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return tensors of one shape one after the other along a new dimension.

    Raises:
        ShapeError: the shapes differ.
    """
    found = _list("stack", tensors)
    want = found[0]._meta.shape
    d = wrap_dim(dim, len(want) + 1, "stack")
    for k, one in enumerate(found):
        if one._meta.shape != want:
            raise ShapeError(
                f"stack: stack expects each tensor to be equal size, but got {list(want)} at "
                f"entry 0 and {list(one._meta.shape)} at entry {k}."
            )
    made: Tensor = apply(_cat_op(len(found), "stack"), tuple(found), (d,))
    return made


# ---- by other names of dims --------------------------------------------------------------------


def _atleast(ndim: int, given: tuple[Any, ...]) -> Any:
    several = len(given) != 1 or isinstance(given[0], list | tuple)
    made = tuple([_raised(x, ndim) for x in as_list(f"atleast_{ndim}d", given)]) if given else ()
    return made if several else made[0]


def _raised(x: Tensor, ndim: int) -> Tensor:
    have = x._meta.ndim
    if have >= ndim:
        return x
    if have == 0:
        return reshape(x, (1,) * ndim)
    x = unsqueeze(x, 0) if have == 1 else x  # a vector becomes a row
    return unsqueeze(x, -1) if x._meta.ndim < ndim else x


def atleast_1d(*tensors: Any) -> Any:
    """Return each tensor as a view of one dim or more: itself, if it has one."""
    return _atleast(1, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Return each tensor as a view of two dims or more; a vector becomes a row."""
    return _atleast(2, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Return tensors as views of three dims or more: (n,) as (1, n, 1), (m, n) as (m, n, 1)."""
    return _atleast(3, tensors)


@with_out
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors side by side: along dimension 1, vectors along 0."""
    found = [_raised(x, 1) for x in _list("hstack", tensors)]
    return cat(found, 0 if found[0]._meta.ndim == 1 else 1)


@with_out
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors on top of one another: along dimension 0, vectors as rows."""
    return cat([_raised(x, 2) for x in _list("vstack", tensors)], 0)


row_stack = vstack


@with_out
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors behind one another: along dimension 2; see `atleast_3d`."""
    return cat([_raised(x, 3) for x in _list("dstack", tensors)], 2)


@with_out
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors side by side, vectors as columns."""
    found = [
        x if x._meta.ndim > 1 else reshape(x, (x._meta.numel, 1))
        for x in _list("column_stack", tensors)
    ]
    return hstack(found)


def broadcast_shapes(*shapes: Any) -> Size:
    """Return the shape to which shapes broadcast.

    Raises:
        ShapeError: they do not.
    """
    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    return Size(_common_shape(*given, op="broadcast_shapes"))


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Return views of tensors, all of the shape to which they broadcast."""
    found = (
        list(tensors[0]) if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    )
    shape = _common_shape(*[x._meta.shape for x in found], op="broadcast_tensors")
    return tuple([x if x._meta.shape == shape else expand(x, shape) for x in found])


def _block_diag(*parts: Any) -> Tensor:
    dtype = result_type([(p._meta.dtype, "dim" if p._meta.ndim else "zero") for p in parts])
    shapes = [p._meta.shape for p in parts]
    size = (sum(s[0] for s in shapes), sum(s[1] for s in shapes))
    device = common_device(_block_op(len(parts)), [p._meta for p in parts], None)
    out: Tensor = apply(OPS["full"], (0,), (size, dtype), device)
    row = column = 0
    for part, (rows, columns) in zip(parts, shapes, strict=True):
        put(out, part, out._meta.layout.narrow(0, row, rows).narrow(1, column, columns))
        row, column = row + rows, column + columns
    return out


def _block_diag_back(ctx: Any, g: Any) -> tuple[Any, ...]:
    row = column = 0
    grads = []
    for name in ctx.inputs():
        rows, columns = ctx.shape(name)
        part = g.narrow(0, row, rows).narrow(1, column, columns) if ctx.needs(name) else None
        grads.append(part)
        row, column = row + rows, column + columns
    return tuple(grads)


@lru_cache(maxsize=256)
def _block_op(count: int) -> Op:
    return Op(
        name="block_diag", kind="composite", inputs=tuple(f"x{k}" for k in range(count)),
        forward=_block_diag, backward=_block_diag_back, node_name="BlockDiagBackward0",
    )  # fmt: skip


def block_diag(*tensors: Tensor) -> Tensor:
    """Return a matrix with the given ones along its diagonal and zeros elsewhere.

    Args:
        tensors: matrices, vectors (as rows) or tensors without dims.

    Raises:
        ShapeError: one has more than two dims.
    """
    for k, x in enumerate(tensors):
        if x._meta.ndim > 2:
            raise ShapeError(
                "block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{k} has {x._meta.ndim} dimensions."
            )
    if not tensors:
        return empty(1, 0)
    parts = tuple([_raised(x, 2) for x in tensors])
    made: Tensor = apply(_block_op(len(parts)), parts)
    return made


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Return the combinations of `r` elements of a vector, one in a row, in order.

    Raises:
        ShapeError: `input` is no vector, or `r` is negative.
    """
    if input._meta.ndim != 1 or r < 0:
        raise ShapeError(
            f"combinations: Expect a 1D vector and a non-negative number, got shape "
            f"{list(input._meta.shape)} and r={r}."
        )
    if r == 0:
        return empty(0, dtype=input.dtype, device=input.device)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input._meta.numel), r))
    at = tensor(np.asarray(rows, np.int64).reshape(len(rows), r), device=input.device)
    return take(input, at)
