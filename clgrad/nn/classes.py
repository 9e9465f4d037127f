"""Class indices on the host's side: their bounds, and the check of targets.

Where the host knows the bounds of an index tensor (it was uploaded, or checked before), the check
costs nothing; where only the device knows, the tensor is read back once, which waits for it.
"""

from __future__ import annotations

from typing import Any

from clgrad.batching import whole
from clgrad.errors import ClgradIndexError
from clgrad.host import array_of
from clgrad.tensor import Tensor

Bounds = tuple[int, int]


def known_bounds(x: Tensor) -> Bounds | None:
    """Return the least and largest element of the storage of `x` if the host knows them."""
    bounds: Bounds | None = x._storage.value.bounds
    return bounds


def check_targets(op: str, target: Tensor, classes: int, ignore_index: int) -> bool:
    """Check that targets are classes or ignored; return whether some may be ignored.

    Raises:
        ClgradIndexError: a target that is neither.
    """
    bounds = known_bounds(target)
    if bounds is not None and bounds[0] >= 0 and bounds[1] < classes:
        return bounds[0] <= ignore_index <= bounds[1]
    if not target.numel():
        return True
    array = array_of(whole(target))
    wrong = (array != ignore_index) & ((array < 0) | (array >= classes))
    if wrong.any():
        raise ClgradIndexError(
            f"{op}: Target {int(array[wrong][0])} is out of bounds. Expected classes from 0 to "
            f"{classes - 1}, as the input has {classes}, or ignore_index={ignore_index}. "
            "Hint: compare the number of outputs of the last layer with that of the labels."
        )
    remember(target, array)
    return bool((array == ignore_index).any())


def remember(x: Tensor, array: Any) -> None:
    """Keep the bounds of a tensor that shows its whole storage and was read."""
    value = x._storage.value
    if array.size == value.numel:
        value.bounds = (int(array.min()), int(array.max()))
