"""`x[index]` and `x[index] = value`.

Integers, slices, None and `...` become a chain of views; tensors, arrays, lists and bools choose
elements of what that chain shows (`functional.advanced`).
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from clgrad import creation, writing
from clgrad.dispatch import NUMBERS, as_operand
from clgrad.dtypes import bool_, int64, uint8
from clgrad.errors import ClgradIndexError, ClgradTypeError, ClgradValueError, DTypeError
from clgrad.functional import shaping
from clgrad.functional._at import pick, place_
from clgrad.functional.advanced import as_index, picking_of
from clgrad.functional.picking import at_mask
from clgrad.functional.placing import as_number, check_value, put_masked_
from clgrad.tensor import Tensor

_SHORT = 64
"""Lists up to this length stay on the device."""
_OLD_LIST = 32
"""Lists up to this length may stand for a tuple of indices, as in PyTorch."""


def _integer(item: Any) -> int | None:
    """Return an index as an int, or None if it is none."""
    if isinstance(item, bool | np.bool_ | Tensor | np.ndarray):
        return None
    try:
        return operator.index(item)
    except TypeError:
        return None


def _bound(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, Tensor):
        return int(value)
    try:
        found: int = operator.index(value)
    except TypeError:
        raise ClgradTypeError(
            "index: slice indices must be integers or None or have an __index__ method, got "
            f"{type(value).__name__}."
        ) from None
    return found


def _items(index: Any) -> tuple[Any, ...]:
    """Return an index as a tuple of items; some lists stand for one."""
    if isinstance(index, tuple):
        return index
    if isinstance(index, list) and len(index) < _OLD_LIST:
        several = (slice, Tensor, Sequence, np.ndarray)
        if any(i is None or i is Ellipsis or isinstance(i, several) for i in index):
            warnings.warn(
                "Using a non-tuple sequence for multidimensional indexing is deprecated and will "
                "be changed; use x[tuple(seq)] instead of x[seq].",
                UserWarning,
                stacklevel=4,
            )
            return tuple(index)
    return (index,)


def _tensor(x: Tensor, item: Any) -> Tensor:
    """Return an item that chooses elements as a tensor.

    Raises:
        ClgradIndexError: it is nothing that may; of a string ClgradTypeError.
    """
    if isinstance(item, Tensor):
        return item
    if isinstance(item, np.ndarray | list | tuple | range):
        data: Any = list(item) if isinstance(item, range) else item
        if type(data) is list and 0 < len(data) <= _SHORT and {*map(type, data)} == {int}:
            return _uploaded(x.device, tuple(data))
        empty = not isinstance(data, np.ndarray) and not len(data)
        return creation.tensor(data, dtype=int64 if empty else None, device=x.device)
    error = ClgradTypeError if isinstance(item, str | bytes) else ClgradIndexError
    raise error(
        "index: only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables "
        f"are valid indices (got {type(item).__name__})."
    )


@dataclass(frozen=True)
class _Flag:
    """A bool, or a mask without dims, as an item: a new dim of size 1 or 0."""

    mask: Tensor


def _read(x: Tensor, index: Any) -> tuple[list[Any], int]:
    """Return the items of an index in one form each, and how many dims they speak of.

    An item becomes None, `...`, a slice, an int, an index tensor or a `_Flag`.

    Raises:
        ClgradIndexError: too many items, or one that is no index.
    """
    items: list[Any] = []
    used = 0
    for item in _items(index):
        if isinstance(item, bool | np.bool_):
            item = _Flag(creation.tensor([bool(item)], device=x.device))
        elif not (item is None or item is Ellipsis or isinstance(item, slice)):
            number = _integer(item)
            item = _tensor(x, item) if number is None else number
        if isinstance(item, Tensor):
            dtype = item._meta.dtype
            if not item._meta.ndim and dtype.is_integral and dtype is not uint8:
                item = int(item)
            else:
                item = as_index("index", item)
                item = item if item._meta.ndim else _Flag(shaping.reshape(item, 1))
        items.append(item)
        if isinstance(item, Tensor) and item._meta.dtype is bool_:
            used += item._meta.ndim
        elif isinstance(item, slice | int | Tensor):
            used += 1
    ndim = x._meta.ndim
    if used > ndim:
        raise ClgradIndexError(
            f"index: too many indices for tensor of dimension {ndim} (got {used})."
            if ndim or any(isinstance(i, Tensor) for i in items)
            else "index: invalid index of a 0-dim tensor. Use `tensor.item()` to convert a 0-dim "
            "tensor to a number."
        )
    return items, used


@lru_cache(maxsize=256)
def _uploaded(device: Any, numbers: tuple[int, ...]) -> Tensor:
    """Return a list of indices as a tensor: loops index by the same few again and again."""
    return creation.tensor(list(numbers), device=device)


def _only_tensor(x: Tensor, index: Any) -> bool:
    """Whether an index is one integer tensor for the first dim: there is nothing to parse."""
    return bool(
        type(index) is Tensor and index._meta.dtype is int64 and index._meta.ndim and x._meta.ndim
    )


def _parse(x: Tensor, index: Any) -> tuple[Tensor, list[Tensor | None]]:
    """Return the view that the basic items of an index show, and what else chooses from its dims.

    Raises:
        ClgradIndexError: see `_read`; an integer out of range.
    """
    items, used = _read(x, index)
    view, dim = x, 0
    source = 0  # which dim of `x` comes next
    chosen: list[Tensor | None] = []
    covered = 0  # dims of which `chosen` speaks
    for item in items:
        if item is None:
            view = shaping.unsqueeze(view, dim)
            dim += 1
        elif item is Ellipsis:
            dim += x._meta.ndim - used
            source += x._meta.ndim - used
        elif isinstance(item, slice):
            view = _slice(view, dim, item)
            dim += 1
            source += 1
        elif isinstance(item, int):
            size = view._meta.shape[dim]
            if not -size <= item < size:
                raise ClgradIndexError(
                    f"index {item} is out of bounds for dimension {source} with size {size}. "
                    f"Expected {-size} to {size - 1} for a tensor of shape {list(x._meta.shape)}."
                )
            view = shaping.select(view, dim, item)
            source += 1
        else:
            if isinstance(item, _Flag):
                item = item.mask
                view = shaping.unsqueeze(view, dim)
            else:
                source += item._meta.ndim if item._meta.dtype is bool_ else 1
            chosen += [None] * (dim - covered)
            chosen.append(item)
            dim += item._meta.ndim if item._meta.dtype is bool_ else 1
            covered = dim
    return view, chosen


def _slice(view: Tensor, dim: int, item: slice) -> Tensor:
    start, stop, step = _bound(item.start), _bound(item.stop), _bound(item.step)
    if step == 0:
        raise ClgradValueError("index: slice step cannot be zero. Expected 1 or more.")
    if start in (None, 0) and step in (None, 1) and (
            stop is None or stop >= view._meta.shape[dim]):  # fmt: skip
        return view
    return shaping.slice_(view, dim, start, stop, 1 if step is None else step)


def _only_mask(chosen: list[Tensor | None]) -> Tensor | None:
    """Return the mask if nothing else chooses, and none of its dims is left out before it."""
    (first, *rest) = chosen
    alone = first is not None and not rest and first._meta.dtype is bool_
    return first if alone else None


def getitem(x: Tensor, index: Any) -> Tensor:
    """Return the part of `x` that an index shows: a view, or a copy where tensors choose.

    Raises:
        ClgradIndexError: too many indices, one out of range, or something that is no index.
    """
    view, chosen = (x, [index]) if _only_tensor(x, index) else _parse(x, index)
    if not chosen:
        return shaping.alias(x) if view is x else view
    mask = _only_mask(chosen)
    if mask is not None and mask._meta.shape == view._meta.shape:
        return at_mask("index", view, mask)
    indices, picking = picking_of("index", view._meta.shape, chosen)
    return pick("index", view, indices, picking)


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """Write `value`, broadcast, over the part of `x` that `index` shows.

    Where an index names an element repeatedly, the last of its values stays.

    Raises:
        ClgradIndexError: see `getitem`. ClgradTypeError: `value` is no tensor and no number.
        ShapeError: it does not broadcast. DTypeError: tensors choose, and its dtype differs.
    """
    if index is False:
        return
    value = as_operand(value)
    if value is NotImplemented:
        raise ClgradTypeError(
            "index: can't assign something that is no tensor and no number to a tensor. "
            "Hint: clgrad.tensor(...) makes a tensor of a list or an array."
        )
    view, chosen = (x, [index]) if _only_tensor(x, index) else _parse(x, index)
    if not chosen:
        _write(view, value)
        return
    number = type(value) in NUMBERS
    mask = _only_mask(chosen)
    if mask is not None and (number or value._meta.numel == 1):
        have = mask._meta.shape
        if have == view._meta.shape[: len(have)]:
            one = value if number else shaping.reshape(value, ())
            put_masked_(view, mask.reshape((*have, *(1,) * (view.ndim - len(have)))), one)
            return
    if not number and value._meta.dtype is not view._meta.dtype:
        raise DTypeError(
            "index: Index put requires the source and destination dtypes match, got "
            f"{view._meta.dtype.name} for the destination and {value._meta.dtype.name} for the "
            "source. Hint: value.to(x.dtype)."
        )
    indices, picking = picking_of("index", view._meta.shape, chosen)
    if number:
        value = as_number(value, view._meta.dtype)
    else:
        value = _without_ones(value, len(picking.space))
        check_value("index", value, picking.space)
    place_("index_put", view, value, indices, picking, "set")


def _without_ones(value: Tensor, ndim: int) -> Tensor:
    """Return a value without the leading dims of size 1 that are more than `ndim`."""
    extra = value._meta.ndim - ndim
    if extra > 0 and all(n == 1 for n in value._meta.shape[:extra]):
        return shaping.reshape(value, value._meta.shape[extra:])
    return value


def _write(part: Tensor, value: Any) -> None:
    if type(value) in NUMBERS:
        writing.fill_(part, as_number(value, part._meta.dtype))
        return
    value = _without_ones(value, part._meta.ndim)
    if value._meta.shape != part._meta.shape:
        value = shaping.expand(value, part._meta.shape)  # x[:] = x[0] is no overlap, as in PyTorch
    writing.copy_(part, value)


def length(x: Tensor) -> int:
    """Return the size of the first dimension."""
    if not x._meta.shape:
        raise ClgradTypeError("len() of a 0-d tensor")
    return x._meta.shape[0]
