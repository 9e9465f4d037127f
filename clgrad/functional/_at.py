"""What reads and writes at indices share: the check of indices, and the write itself.

The host knows the bounds of indices that it uploaded; where it does, an index out of range is an
error at the call and the kernel checks nothing. Else the kernel does, and the error comes at the
next synchronisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clgrad import dispatch, writing
from clgrad.dispatch import NUMBERS, apply
from clgrad.dtypes import bool_, int32, int64
from clgrad.errors import ClgradIndexError, DTypeError
from clgrad.layout import Layout
from clgrad.ops.indexing import Picking, fill_op, pick_op, place_op, place_signature
from clgrad.ops.indexing import picking as new_picking
from clgrad.ops.meta import meta_of
from clgrad.ops.registry import OPS, Op, camel
from clgrad.tensor import Tensor

INDEX_DTYPES = (int64, int32)


class IndexValueError(ClgradIndexError, RuntimeError):
    """An index out of range; PyTorch raises either class, depending on the op."""


def known_bounds(index: Tensor) -> tuple[int, int] | None:
    """Return the least and largest element of the storage of an index, if the host knows them."""
    bounds: tuple[int, int] | None = index._storage.value.bounds
    return bounds


def must_check(op: str, index: Tensor, size: int, dim: int, wrap: bool) -> bool:
    """Return whether the device must check an index into a dim of `size` entries.

    Raises:
        IndexValueError: the host knows that an index is out of range, or there is no entry at all.
    """
    meta = index._meta
    if not meta.numel:
        return False
    least = -size if wrap else 0
    if size == 0:
        raise IndexValueError(
            f"{op}: index is out of bounds for dimension {dim} with size 0. Expected no index, or "
            "a dimension with entries."
        )
    bounds = known_bounds(index)
    if bounds is None:
        return True
    if bounds[0] >= least and bounds[1] < size:
        return False
    if meta.numel < index._storage.numel:  # a view may leave out what is wrong
        return True
    wrong = bounds[0] if bounds[0] < least else bounds[1]
    raise IndexValueError(
        f"{op}: index {wrong} is out of bounds for dimension {dim} with size {size}. Expected "
        f"{least} to {size - 1}."
    )


def check_dtype(op: str, index: Any, names: str = "index") -> Tensor:
    """Return an index tensor; raises `DTypeError` where it is not int64 or int32."""
    if not isinstance(index, Tensor) or index._meta.dtype not in INDEX_DTYPES:
        kind = index.dtype.name if isinstance(index, Tensor) else type(index).__name__
        raise DTypeError(
            f"{op}: Expected dtype int64 for {names}, got {kind}. Hint: {names}.long()."
        )
    return index


def check_long(op: str, index: Any) -> None:
    """Raise `DTypeError` where an index tensor is not int64."""
    if not isinstance(index, Tensor) or index._meta.dtype is not int64:
        kind = index.dtype.name if isinstance(index, Tensor) else type(index).__name__
        raise DTypeError(f"{op}: Expected a long tensor for index, but got {kind}. Hint: .long().")


def pick(
    name: str, x: Tensor, indices: Sequence[Tensor], picking: Picking, node_name: str = ""
) -> Tensor:
    """Return the elements of `x` that a picking chooses."""
    made: Tensor = apply(pick_op(name, len(indices), node_name), (x, *indices), (picking,))
    return made


def place(
    name: str, x: Tensor, source: Any, indices: Sequence[Tensor], picking: Picking, combine: str,
    node_name: str = "",
) -> Tensor:  # fmt: skip
    """Return a copy of `x` with a source, a tensor or a number, written where a picking chooses."""
    op = place_op(name, len(indices), node_name)
    made: Tensor = apply(op, (x, source, *indices), (picking, combine))
    return made


def place_(
    name: str, x: Tensor, source: Any, indices: Sequence[Tensor], picking: Picking, combine: str,
    node_name: str = "",
) -> Tensor:  # fmt: skip
    """Do the same in place."""
    op = place_op(name, len(indices), node_name)
    return writing.run_(
        op, (x, source, *indices), (picking, combine),
        lambda: write_at(x, source, tuple(indices), picking, combine),
    )  # fmt: skip


def _fill_op(name: str, value: Any) -> Op:
    return fill_op(name, f"{camel(name)}Backward{int(type(value) not in NUMBERS)}")


def fill(name: str, x: Tensor, value: Any, index: Tensor, picking: Picking) -> Tensor:
    """Return a copy of `x` with one value, a tensor or a number, where a picking chooses."""
    made: Tensor = apply(_fill_op(name, value), (x, value, index), (picking, "set"))
    return made


def fill_(name: str, x: Tensor, value: Any, index: Tensor, picking: Picking) -> Tensor:
    """Do the same in place."""
    return writing.run_(
        _fill_op(name, value), (x, value, index), (picking, "set"),
        lambda: write_at(x, value, (index,), picking, "set"),
    )  # fmt: skip


def write_at(
    target: Tensor, source: Any, indices: Sequence[Tensor], picking: Picking, combine: str
) -> None:
    """Write a source over `target` where a picking chooses; counts and records nothing.

    16-bit floats are combined in float32, so that many small terms are not lost.
    """
    meta = target._meta
    if combine != "set" and meta.dtype.kind == "f" and meta.dtype.itemsize == 2:
        wide = target.float()
        write_at(wide, source, indices, picking, combine)
        writing.store_tensor(target, wide)
        return
    if meta.dtype is bool_:
        combine = {"add": "max", "mul": "min"}.get(combine, combine)
    if type(source) in NUMBERS:
        full = apply(OPS["full"], (source,), ((), meta.dtype), meta.device)
    else:
        full = source if source._meta.dtype is meta.dtype else source.to(meta.dtype)
    read = full._meta
    if read.shape != picking.space:
        read = meta_of(read.dtype, read.layout.broadcast_to(picking.space), read.device)
    operands = (read, *(i._meta for i in indices))
    storage = target._storage
    sig = place_signature(
        place_op(picking.op, len(indices)), meta, storage.numel, operands, picking, combine
    )
    values = (full._storage.value, *(i._storage.value for i in indices))
    storage.replace(dispatch.backend.write(sig, storage.value, values, ()))


@lru_cache(maxsize=4096)
def along(
    op: str, shape: tuple[int, ...], dim: int, count: int, wrap: bool, checked: bool
) -> Picking:
    """Return the picking of `count` entries along `dim` by one index of one dimension."""
    space = (*shape[:dim], count, *shape[dim + 1 :])
    walk = tuple([-1 if d == dim else d for d in range(len(space))])
    return new_picking(space, walk, (dim,), ((dim,),), wrap, checked, op)


@lru_cache(maxsize=4096)
def each(op: str, shape: tuple[int, ...], dim: int, checked: bool) -> Picking:
    """Return the picking by one index per element, along `dim`; `shape` is that of the index."""
    walk = tuple([-1 if d == dim else d for d in range(len(shape))])
    return new_picking(shape, walk, (dim,), (tuple(range(len(shape))),), False, checked, op)


def flat(op: str, index: Layout, checked: bool) -> Picking:
    """Return the picking from a tensor of one dimension by an index of any shape."""
    dims = tuple(range(index.ndim))
    return new_picking(index.shape, (-1,) * index.ndim, (0,), (dims,), True, checked, op)
