"""What to test an op with: numbers from its domain, special values, layouts of memory.

Everything is derived from the op's record and a seed, as NumPy arrays; what becomes of them is the
test's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clgrad.dtypes import DType
from clgrad.ops.registry import Op

Array = Any

INTERVAL = (-2.0, 2.0)
"""From where operands are drawn that may be anything."""
LAYOUTS = (
    "contiguous", "transposed", "sliced", "step", "expanded", "scalar", "empty", "single", "odd",
)  # fmt: skip
"""Kinds of operands; see `shape_of` and `arrange`."""
_SHAPES = {"scalar": (), "empty": (0, 5), "single": (1, 1), "odd": (3, 37)}
SHAPE = (4, 6)


def shape_of(layout: str) -> tuple[int, ...]:
    """Return the shape that tests of a layout have; (3, 37) is larger than any vector, and odd."""
    return _SHAPES.get(layout, SHAPE)


def smooth(op: Op, name: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Return float64 numbers from the domain of an operand where derivatives exist.

    All differ from each other, from zero and from those of other operands by much more than the
    step of a numerical derivative, so that no kink (of abs, maximum, amax) is near.
    """
    low, high = op.domain.get(name, INTERVAL)
    count = int(np.prod(shape, dtype=np.int64))
    place = op.inputs.index(name) if name in op.inputs else 0
    steps = (np.arange(count) + 0.37 + 0.31 * place / max(len(op.inputs) - 1, 1)) / max(count, 1)
    values = low + (high - low) * steps
    values = np.where(np.abs(values) < 0.01, 0.015 + 0.01 * place, values)
    rng = np.random.default_rng((seed, place))
    return rng.permutation(values).reshape(shape)


INTEGER_DIVISIONS = ("floor_divide", "remainder", "fmod")
"""Here PyTorch raises for the divisor 0, and dies of the smallest number by -1."""
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)


def any_values(op: Op, name: str, dtype: DType, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Return values of a dtype with its special ones among them, for the forward pass.

    Floats have NaN, infinities and both zeros; integers their extremes and zero. The exponent of
    an integer power is small and not negative, because anything else has no meaning.
    """
    count = int(np.prod(shape, dtype=np.int64))
    place = op.inputs.index(name) if name in op.inputs else 0
    rng = np.random.default_rng((seed, place, 1))
    if dtype.kind == "b" or name in op.masks:
        return rng.integers(0, 2, count).astype(bool).reshape(shape)
    values: Array
    if dtype.kind == "f":
        values = rng.uniform(-3, 3, count)
        special: Any = np.array(SPECIAL[1:] if op.name == "signbit" else SPECIAL)
    else:
        low = 0 if dtype.kind == "u" or name == "exponent" else -7
        values = rng.integers(low, 8, count)
        limits = np.iinfo(dtype.numpy)
        special = np.array([limits.min, limits.max, 0], dtype.numpy)
        values = values.astype(dtype.numpy)
        if op.name in ("pow", "gcd", "lcm"):
            special = special[:0]
        if name == "b" and op.name in INTEGER_DIVISIONS:
            values = np.where(abs(values) < 2, values + 2, values).astype(dtype.numpy)
            special = special[:0]
    if count > 8 and special.size:
        chosen = rng.choice(count, min(count // 3, 2 * special.size), replace=False)
        values[chosen] = rng.choice(special, chosen.size)
    return values.reshape(shape)


def arrange(array: Array, layout: str) -> tuple[Array, Any]:
    """Return what to put in memory so that a view of it, in a layout, shows `array`.

    Returns:
        A contiguous array, and a function that makes the view of a tensor with those elements.
        For `expanded` the view shows the first row in place of all others.
    """
    if layout == "transposed":
        return np.ascontiguousarray(array.T), lambda x: x.t()
    if layout == "sliced":
        padded = np.zeros((array.shape[0] + 2, array.shape[1] + 3), array.dtype)
        padded[1:-1, 2:-1] = array
        return padded, lambda x: x[1:-1, 2:-1]
    if layout == "step":
        spread = np.zeros((array.shape[0] * 2, array.shape[1]), array.dtype)
        spread[::2] = array
        return spread, lambda x: x[::2]
    if layout == "expanded":
        shape = array.shape
        return np.ascontiguousarray(array[:1]), lambda x: x.expand(*shape)
    return np.ascontiguousarray(array), lambda x: x
