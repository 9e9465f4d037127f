"""Windows of signal processing: vectors that rise and fall again.

`periodic` ones have one sample more, which is left out: so that they repeat without a seam.
"""

from __future__ import annotations

import math
from typing import Any

from clgrad import creation
from clgrad.creation import maker, resolve_device
from clgrad.dtypes import DType, as_dtype, get_default_dtype
from clgrad.errors import ClgradRuntimeError, DTypeError
from clgrad.tensor import Tensor


def _cosines(
    op: str, window_length: int, periodic: bool, dtype: Any, device: Any, *weights: float
) -> Tensor:
    """Return the sum of `weights[k] * cos(2 π k i / n)` over k."""
    count, n, kind = _length(op, window_length, periodic, dtype)
    if n <= 1:
        return creation.ones(count, dtype=kind, device=device)
    angle = _places(count, kind, device) * (2 * math.pi / (n - 1))
    made: Tensor = angle.cos() * weights[1] + weights[0]
    for k, weight in enumerate(weights[2:], 2):
        made = made + (angle * k).cos() * weight
    return made.to(kind)  # type: ignore[no-any-return]  # a Tensor


def _length(op: str, count: int, periodic: bool, dtype: Any) -> tuple[int, int, DType]:
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    if not kind.is_floating_point:
        raise DTypeError(
            f"{op} expects floating point dtypes, got: {kind.name}. Hint: dtype=clgrad.float32."
        )
    if count < 0:
        raise ClgradRuntimeError(f"{op} requires non-negative window_length, got {count}")
    return count, count + 1 if periodic and count > 1 else count, kind


def _places(count: int, kind: DType, device: Any) -> Tensor:
    return creation.arange(count, dtype=kind.compute, device=resolve_device(device))


@maker
def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return sin²(π i / (n - 1)), shape (window_length,)."""
    return _cosines("hann_window", window_length, periodic, dtype, device, 0.5, -0.5)


@maker
def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
    dtype: Any = None, device: Any = None,
) -> Tensor:  # fmt: skip
    """Return alpha - beta cos(2 π i / (n - 1)), shape (window_length,)."""
    return _cosines("hamming_window", window_length, periodic, dtype, device, alpha, -beta)


@maker
def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return 0.42 - 0.5 cos(2 π i / (n - 1)) + 0.08 cos(4 π i / (n - 1))."""
    return _cosines("blackman_window", window_length, periodic, dtype, device, 0.42, -0.5, 0.08)


@maker
def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return a triangle from 0 to 1 and back, shape (window_length,)."""
    count, n, kind = _length("bartlett_window", window_length, periodic, dtype)
    if n <= 1:
        return creation.ones(count, dtype=kind, device=device)
    place = _places(count, kind, device) * (2 / (n - 1))
    made: Tensor = (1 - (place - 1).abs()).to(kind)
    return made


@maker
def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """Return I₀(beta √(1 - (2 i / (n - 1) - 1)²)) / I₀(beta), shape (window_length,).

    Source: Kaiser and Schafer 1980.
    """
    count, n, kind = _length("kaiser_window", window_length, periodic, dtype)
    if n <= 1:
        return creation.ones(count, dtype=kind, device=device)
    place: Any = _places(count, kind, device) * (2 / (n - 1)) - 1
    height = (1 - place * place).clamp(min=0).sqrt() * beta
    most = creation.constant((), beta, kind.compute, height.device)
    made: Tensor = (height.i0() / most.i0()).to(kind)
    return made


__all__ = [
    "bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window",
]  # fmt: skip
METHODS: list[str] = []
