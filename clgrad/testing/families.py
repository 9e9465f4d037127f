"""What kernel families compute, in NumPy: for the interpreter that tests run without a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad.errors import ClgradIndexError
from clgrad.ops.finding import Count, Find
from clgrad.ops.indexing import Pick, Picking
from clgrad.ops.signature import Signature

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


FAMILIES: dict[type, Callable[[Any, Signature, Sequence[Array]], Array]] = {
    Pick: pick,
    Count: _count,
    Find: _find,
}
"""By what lowers a signature: its values."""
