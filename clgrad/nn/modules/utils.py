"""Settings that are one number or one for each dimension, and how modules print theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any


def _ntuple(count: int) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that makes a number a tuple of `count`; what is iterable, a tuple."""

    def each(value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, Iterable) else tuple(repeat(value, count))

    return each


_single, _pair, _triple = _ntuple(1), _ntuple(2), _ntuple(3)
_quadruple = _ntuple(4)
BY_DIMS = {1: _single, 2: _pair, 3: _triple}


def _reverse_repeat_tuple(values: tuple[int, ...], times: int) -> tuple[int, ...]:
    """Return values from the last to the first, each repeated: paddings as `pad` takes them."""
    return tuple(value for value in reversed(values) for _ in range(times))


def described(module: Any, *names: str) -> str:
    """Return attributes as `name=value, …`."""
    return ", ".join(f"{name}={getattr(module, name)}" for name in names)
