"""Basic indexing: integers, slices, None and `...` become a chain of views.

Indexing by tensors, arrays or boolean masks needs kernels that do not exist yet; it is an error
that says so.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from clgrad import writing
from clgrad.errors import ClgradIndexError, ClgradTypeError
from clgrad.functional import shaping
from clgrad.tensor import Tensor


def _integer(item: Any) -> int | None:
    """Return an index as an int, or None if it is none."""
    if isinstance(item, bool | np.bool_ | Tensor | np.ndarray):
        return None
    try:
        return operator.index(item)
    except TypeError:
        return None


def _refuse(item: Any) -> None:
    if isinstance(item, Tensor | np.ndarray | list | range | bool | np.bool_):
        raise ClgradIndexError(
            f"index: indexing with {type(item).__name__} is not there yet. Expected integers, "
            "slices, None and `...`. Hint: index_select, gather or where may do, or a loop over "
            "integer indices."
        )
    raise ClgradTypeError(
        f"index: only integers, slices (`:`), ellipsis (`...`) and None are valid indices, got "
        f"{type(item).__name__}."
    )


def _bound(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, Tensor):
        return int(value)
    found: int = operator.index(value)
    return found


def getitem(x: Tensor, index: Any) -> Tensor:
    """Return a view of `x` by basic indexing.

    Raises:
        ClgradIndexError: too many indices, one out of range, or a tensor as index.
    """
    items = index if isinstance(index, tuple) else (index,)
    items = tuple([int(i) if isinstance(i, Tensor) and not i.ndim and i.dtype.is_integral else i
                   for i in items])  # fmt: skip
    for item in items:
        basic = item is None or item is Ellipsis or isinstance(item, slice)
        if not basic and _integer(item) is None:
            _refuse(item)
    used = sum(1 for item in items if item is not None and item is not Ellipsis)
    if used > x._meta.ndim:
        raise ClgradIndexError(
            f"index: too many indices for tensor of dimension {x._meta.ndim}: got {used}."
        )
    result, dim, seen = x, 0, False
    for item in items:
        if item is None:
            result = shaping.unsqueeze(result, dim)
            dim += 1
        elif item is Ellipsis:
            if seen:
                raise ClgradIndexError("index: an index can only have a single ellipsis ('...').")
            seen = True
            dim += x._meta.ndim - used
        elif isinstance(item, slice):
            start, stop, step = _bound(item.start), _bound(item.stop), _bound(item.step)
            if not (start in (None, 0) and step in (None, 1) and (
                    stop is None or stop >= result._meta.shape[dim])):  # fmt: skip
                result = shaping.slice_(result, dim, start, stop, 1 if step is None else step)
            dim += 1
        else:
            number = _integer(item)
            assert number is not None
            result = shaping.select(result, dim, number)
    return shaping.alias(x) if result is x else result


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """Write `value`, broadcast, over the part of `x` that `index` shows."""
    part = getitem(x, index)
    if isinstance(value, Tensor):
        extra = value._meta.ndim - part._meta.ndim
        if extra > 0 and all(n == 1 for n in value._meta.shape[:extra]):
            value = value.reshape(value._meta.shape[extra:])  # leading 1s count as broadcast
        if value._meta.shape != part._meta.shape:
            value = value.expand(part._meta.shape)  # x[:] = x[0] is no overlap, as in PyTorch
        writing.copy_(part, value)
    elif isinstance(value, int | float | np.number | np.bool_):
        writing.fill_(part, value)
    else:
        from clgrad.creation import tensor

        writing.copy_(part, tensor(value, dtype=x.dtype, device=x.device))


def length(x: Tensor) -> int:
    """Return the size of the first dimension."""
    if not x._meta.shape:
        raise ClgradTypeError("len() of a 0-d tensor")
    return x._meta.shape[0]
