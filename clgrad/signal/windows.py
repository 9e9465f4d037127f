"""Windows under the names of `torch.signal.windows`: vectors that rise and fall again.

All have shape (M,) and 1 as their largest value or near it. With `sym=False` a window has one
sample more, which is left out, so that it repeats without a seam.

Source: F. J. Harris, Proc. IEEE 66 (1978), 51-83; A. H. Nuttall, IEEE Trans. ASSP 29 (1981), 84-91.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from clgrad import creation
from clgrad.creation import maker, resolve_device
from clgrad.dtypes import DType, as_dtype, float32, float64, get_default_dtype
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.tensor import Tensor


def _kind(name: str, count: int, dtype: Any) -> DType:
    """Return the dtype of a window, once its arguments are checked."""
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    if count < 0:
        raise ClgradValueError(f"{name} requires non-negative window length, got M={count}")
    if kind not in (float32, float64):
        raise ClgradValueError(f"{name} expects float32 or float64 dtypes, got: {kind.name}")
    return kind


def _places(count: int, first: float, step: float, kind: DType, device: Any) -> Tensor:
    """Return `first + step * k` for k below `count`."""
    device = resolve_device(device)
    return creation.arange(count, dtype=kind, device=device) * step + first


def _periods(count: int, sym: bool) -> int:
    return count - 1 if sym else count


@maker
def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return the sum of `(-1)**k a[k] cos(2 π k i / (M - 1))` over k.

    Raises:
        ClgradValueError: no coefficients, a negative length, another dtype.
        ClgradTypeError: the coefficients are no sequence.
    """
    return _cosines("general_cosine", M, a, sym, dtype, device)


def _cosines(name: str, count: int, a: Any, sym: bool, dtype: Any, device: Any) -> Tensor:
    kind = _kind(name, count, dtype)
    if count <= 1:
        return creation.ones(count, dtype=kind, device=device)
    if not isinstance(a, Iterable):
        raise ClgradTypeError("general_cosine: Coefficients must be a list/tuple")
    weights = [(-1) ** k * float(w) for k, w in enumerate(a)]
    if not weights:
        raise ClgradValueError("general_cosine: Coefficients cannot be empty")
    angle = _places(count, 0.0, 2 * math.pi / _periods(count, sym), kind, device)
    made: Any = (angle * 0).cos() * weights[0]
    for k, weight in enumerate(weights[1:], 1):
        made = made + (angle * k).cos() * weight
    return made  # type: ignore[no-any-return]  # a Tensor


@maker
def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return `alpha - (1 - alpha) cos(2 π i / (M - 1))`."""
    return _cosines("general_hamming", M, (alpha, 1 - alpha), sym, dtype, device)


@maker
def hamming(M: int, *, sym: bool = True, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `0.54 - 0.46 cos(2 π i / (M - 1))`."""
    return _cosines("hamming", M, (0.54, 0.46), sym, dtype, device)


@maker
def hann(M: int, *, sym: bool = True, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `sin²(π i / (M - 1))`."""
    return _cosines("hann", M, (0.5, 0.5), sym, dtype, device)


@maker
def blackman(M: int, *, sym: bool = True, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `0.42 - 0.5 cos(2 π i / (M - 1)) + 0.08 cos(4 π i / (M - 1))`."""
    return _cosines("blackman", M, (0.42, 0.5, 0.08), sym, dtype, device)


@maker
def nuttall(M: int, *, sym: bool = True, dtype: Any = None, device: Any = None) -> Tensor:
    """Return the sum of four cosines with the least side lobes for a continuous slope."""
    weights = (0.3635819, 0.4891775, 0.1365995, 0.0106411)
    return _cosines("nuttall", M, weights, sym, dtype, device)


@maker
def cosine(M: int, *, sym: bool = True, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `sin(π (i + 0.5) / M)`."""
    kind = _kind("cosine", M, dtype)
    step = math.pi / (M + 1 if not sym and M > 1 else max(M, 1))
    made: Any = _places(M, 0.5 * step, step, kind, device).sin()
    return made  # type: ignore[no-any-return]  # a Tensor


@maker
def bartlett(M: int, *, sym: bool = True, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a triangle from 0 to 1 and back."""
    kind = _kind("bartlett", M, dtype)
    if M <= 1:
        return creation.ones(M, dtype=kind, device=device)
    made: Any = 1 - _places(M, -1.0, 2 / _periods(M, sym), kind, device).abs()
    return made  # type: ignore[no-any-return]  # a Tensor


@maker
def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """Return `exp(-|i - center| / tau)`; `center` is the middle.

    Raises:
        ClgradValueError: `tau` is not positive, or `center` is given for a symmetric window.
    """
    kind = _kind("exponential", M, dtype)
    if tau <= 0:
        raise ClgradValueError(f"exponential: Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ClgradValueError("exponential: Center must be None for symmetric windows")
    middle = _middle(M, sym) if center is None else center
    made: Any = (-_places(M, -middle / tau, 1 / tau, kind, device).abs()).exp()
    return made  # type: ignore[no-any-return]  # a Tensor


@maker
def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return `exp(-((i - middle) / std)² / 2)`.

    Raises:
        ClgradValueError: `std` is not positive.
    """
    kind = _kind("gaussian", M, dtype)
    if std <= 0:
        raise ClgradValueError(f"gaussian: Standard deviation must be positive, got: {std}.")
    scale = 1 / (std * math.sqrt(2))
    place: Any = _places(M, -_middle(M, sym) * scale, scale, kind, device)
    return (-(place * place)).exp()  # type: ignore[no-any-return]  # a Tensor


@maker
def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return `I₀(beta √(1 - (2 i / (M - 1) - 1)²)) / I₀(beta)`.

    Raises:
        ClgradValueError: `beta` is negative.
    """
    kind = _kind("kaiser", M, dtype)
    if beta < 0:
        raise ClgradValueError(f"kaiser: beta must be non-negative, got: {beta} instead.")
    if M <= 1:
        return creation.ones(M, dtype=kind, device=device)
    place: Any = _places(M, -1.0, 2 / _periods(M, sym), kind, device)
    height = (1 - place * place).clamp(min=0).sqrt() * beta
    most = creation.constant((), beta, kind, height.device)
    made: Tensor = height.i0() / most.i0()
    return made


def _middle(count: int, sym: bool) -> float:
    return (count if not sym and count > 1 else count - 1) / 2


__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine",
    "general_hamming", "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip
