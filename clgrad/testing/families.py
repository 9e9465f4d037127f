"""What kernel families compute, in NumPy: for the interpreter that tests run without a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad.dtypes import bfloat16
from clgrad.errors import ClgradIndexError
from clgrad.expr import evaluate
from clgrad.ops.finding import Count, Find
from clgrad.ops.indexing import Pick, Picking
from clgrad.ops.joining import Join
from clgrad.ops.scan import Scan
from clgrad.ops.signature import Signature
from clgrad.ops.sorting import PositionsInOrder, SortedPositions

Array = Any


def _coordinates(picking: Picking, shape: tuple[int, ...], indices: Sequence[Array]) -> Any:
    """Return an index array for each dim of a tensor, over the space."""
    grid = np.indices(picking.space, sparse=True)
    shape = shape or (1,)
    place: list[Any] = [None] * len(shape)
    for axis, d in enumerate(picking.walk):
        if d >= 0:
            place[d] = grid[axis]
    for k, (index, d) in enumerate(zip(indices, picking.dims, strict=True)):
        sizes = [1] * len(picking.space)
        for n, axis in zip(index.shape, picking.axes[k], strict=True):
            sizes[axis] = n
        chosen = index.reshape(sizes)
        if picking.wrap:
            chosen = np.where(chosen < 0, chosen + shape[d], chosen)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= shape[d]):
            raise ClgradIndexError(f"index out of range for a dim of size {shape[d]}")
        place[d] = chosen
    return tuple(place)


def pick(family: Any, sig: Signature, reads: Sequence[Array]) -> Array:
    """Read at indices."""
    picking = family.picking
    x = reads[0] if reads[0].ndim else reads[0].reshape(1)
    return np.broadcast_to(x[_coordinates(picking, x.shape, reads[1:])], picking.space)


def place(family: Any, target: Array, reads: Sequence[Array]) -> None:
    """Write at indices, in order."""
    picking = family.picking
    target = target if target.ndim else target.reshape(1)  # which is a view
    at = _coordinates(picking, target.shape, reads[1:])
    at = tuple([np.broadcast_to(a, picking.space) for a in at])
    combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    source = np.broadcast_to(reads[0], picking.space)
    if family.combine == "set":
        for point in np.ndindex(*picking.space):
            target[tuple([a[point] for a in at])] = source[point]
    else:
        combine[family.combine].at(target, at, source)


def _count(family: Any, sig: Signature, reads: Sequence[Array]) -> Array:
    found = np.zeros(sig.meta.shape, np.int64)
    found[0] = np.count_nonzero(reads[0])
    return found


def _find(family: Any, sig: Signature, reads: Sequence[Array]) -> Array:
    return np.argwhere(reads[0]).T


def _scan(family: Any, sig: Signature, reads: Sequence[Array]) -> Array:
    """Fold along a dim, element by element."""
    fold, reverse = family.fold, family.problem.reverse
    x = np.moveaxis(reads[0] if reads[0].ndim else reads[0].reshape(1), family.dim, -1)
    rows, n = x.shape[:-1], x.shape[-1]
    state = [np.broadcast_to(evaluate(e, {}), rows) for e in fold.init]
    found: list[Array] = [None] * n
    for k in range(n - 1, -1, -1) if reverse else range(n):
        env = {"x0": x[..., k], "i": np.asarray(k, np.int64)}
        next_ = [np.broadcast_to(evaluate(e, env), rows) for e in fold.element]
        sides = {f"a{j}": v for j, v in enumerate(state)}
        sides |= {f"b{j}": v for j, v in enumerate(next_)}
        state = [evaluate(e, sides) for e in fold.combine]
        found[k] = evaluate(fold.finish, {f"a{j}": v for j, v in enumerate(state)})
    if not n:
        return np.zeros(sig.meta.shape, sig.meta.dtype.numpy)
    result = np.stack([np.broadcast_to(f, rows) for f in found], -1)
    return np.moveaxis(result, -1, family.dim)


def _sorted_positions(family: Any, sig: Signature, reads: Sequence[Array]) -> Array:
    """Sort stably; NaN is the largest."""
    x = np.moveaxis(reads[0] if reads[0].ndim else reads[0].reshape(1), family.dim, -1)
    if sig.dtypes[0] is bfloat16:
        x = (x.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if family.problem.descending:  # of the reversed order, the last of equals is the first
        order = x.shape[-1] - 1 - np.flip(np.argsort(np.flip(x, -1), -1, kind="stable"), -1)
    else:
        order = np.argsort(x, -1, kind="stable")
    return np.moveaxis(order[..., : family.problem.take], -1, family.dim)


def _positions_in_order(family: Any, sig: Signature, reads: Sequence[Array]) -> Array:
    sequence, values = reads
    side: Any = "right" if family.problem.right else "left"
    if sequence.ndim == 1:
        return np.searchsorted(sequence, values, side)
    found = np.empty(values.shape, np.int64)
    for at in np.ndindex(*sequence.shape[:-1]):
        found[at] = np.searchsorted(sequence[at], values[at], side)
    return found


def _join(family: Any, sig: Signature, reads: Sequence[Array]) -> Array:
    return np.concatenate(reads, family.dim)


FAMILIES: dict[type, Callable[[Any, Signature, Sequence[Array]], Array]] = {
    Pick: pick,
    Count: _count,
    Find: _find,
    Join: _join,
    Scan: _scan,
    SortedPositions: _sorted_positions,
    PositionsInOrder: _positions_in_order,
}
"""By what lowers a signature: its values."""
