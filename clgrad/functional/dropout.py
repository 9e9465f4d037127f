"""Dropout: zeros at random places; found in `clgrad.nn.functional`.

The mask is one op, made of counter-based random numbers: it fuses into what reads it, and for
backward it is drawn again rather than kept in memory.
"""

from __future__ import annotations

import math
import warnings

from clgrad.dtypes import DType
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, ClgradValueError, DTypeError
from clgrad.functional.sampling import draw
from clgrad.ops.creation import bernoulli
from clgrad.tensor import Tensor

_LOWEST = 1.7580993408473766
"""SELU's limit for small numbers, negated: scale * alpha. Source: Klambauer et al. 2017."""


def _check(name: str, input: Tensor, p: float) -> None:
    if not isinstance(input, Tensor):
        raise ClgradTypeError(f"{name}: got {type(input).__name__}. Expected a tensor.")
    if not 0.0 <= p <= 1.0:
        raise ClgradValueError(
            f"{name}: dropout probability has to be between 0 and 1, but got {p}"
        )


def _noise(name: str, input: Tensor, lead: int | None, p: float, value: float) -> Tensor:
    """Return `value` with probability 1 - p, else 0; one number for all dims after `lead`."""
    kind: DType = input.dtype
    if not kind.is_floating_point:
        raise DTypeError(
            f"{name}: result type Float can't be cast to the desired output type {kind.name}. "
            "Expected a floating-point dtype. Hint: .float()."
        )
    shape = tuple(input.shape)
    if lead is not None:
        if len(shape) < 2:
            raise ClgradRuntimeError(
                f"{name}: Feature dropout requires at least 2 dimensions in the input, got "
                f"{len(shape)}."
            )
        shape = shape[:lead] + (1,) * (len(shape) - lead)
    return draw(bernoulli, shape, kind, input.device, None, 1 - p, value)


def _dropped(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, lead: int | None = None
) -> Tensor:
    if not training or not p or not input.numel():
        return input
    kept = 0.0 if p == 1 else 1 / (1 - p)
    noise = _noise(name, input, lead, p, kept)
    made: Tensor = input.mul_(noise) if inplace else input * noise
    return made


def _lowered(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, lead: int | None = None
) -> Tensor:
    """Return `input` with its lowest possible value at random places, scaled to mean and variance.

    Math: x * scale where kept; elsewhere -lowest * scale; in both cases + lowest * scale * p.
    """
    if not training or not p or not input.numel():
        return input
    if p == 1:
        return _dropped(name, input, p, training, inplace)
    scale = 1 / math.sqrt((_LOWEST * _LOWEST * p + 1) * (1 - p))
    kept = _noise(name, input, lead, p, 1.0)
    shift = (kept - 1) * (_LOWEST * scale) + _LOWEST * scale * p
    made: Tensor = (input.mul_ if inplace else input.mul)(kept * scale)
    moved: Tensor = made.add_(shift) if inplace else made + shift
    return moved


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return `input` with zeros at random places, the rest divided by 1 - p.

    Args:
        input: floats of any shape.
        p: probability of a zero.
        training: otherwise `input` is returned as it is.
        inplace: overwrite `input`.

    Raises:
        ClgradValueError: p outside of 0 to 1.
        DTypeError: no floats.
    """
    _check("dropout", input, p)
    return _dropped("dropout", input, p, training, inplace)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Return `input`, shape (N, C, L) or (C, L), with random channels of zeros; see `dropout`.

    Raises:
        ClgradRuntimeError: another number of dims.
    """
    _check("dropout1d", input, p)
    if input.ndim not in (2, 3):
        raise ClgradRuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. "
            "Hint: shapes are (N, C, L) or (C, L); use dropout() for others."
        )
    return _dropped("dropout1d", input, p, training, inplace, input.ndim - 1)


def _warn(name: str, ndim: int, dims: int) -> None:
    warnings.warn(
        f"{name}: Received a {ndim}-D input to {name}, which is deprecated and will result in an "
        "error in a future release. To retain the behavior and silence this warning, please use "
        f"dropout instead. Note that {name} exists to provide channel-wise dropout on inputs with "
        f"{dims} spatial dimensions, a channel dimension, and an optional batch dimension.",
        UserWarning,
        stacklevel=3,
    )


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Return `input`, shape (N, C, H, W), with random channels of zeros; see `dropout`."""
    _check("dropout2d", input, p)
    if input.ndim not in (3, 4):
        _warn("dropout2d", input.ndim, 2)
    elif input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D "
            "dropout behavior is desired - input is interpreted as shape (N, C, L). To maintain "
            "it, please switch to using dropout1d instead.",
            UserWarning,
            stacklevel=2,
        )
    return _dropped("dropout2d", input, p, training, inplace, 2)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Return `input`, shape (N, C, D, H, W) or (C, D, H, W), with random channels of zeros."""
    _check("dropout3d", input, p)
    if input.ndim not in (4, 5):
        _warn("dropout3d", input.ndim, 3)
    if input.ndim < 2:
        return _dropped("dropout3d", input, p, training, inplace)
    return _dropped("dropout3d", input, p, training, inplace, 2 if input.ndim == 5 else 1)


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return `input` with SELU's lowest value at random places, of the same mean and variance.

    Args:
        input, p, inplace: see `dropout`.
        training: otherwise `input` is returned as it is, which is the default here.

    Source: Klambauer et al. 2017.
    """
    _check("alpha_dropout", input, p)
    return _lowered("alpha_dropout", input, p, training, inplace)


def feature_dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Return `input`, shape (N, C, *), with random channels of zeros; see `dropout`."""
    _check("feature_dropout", input, p)
    return _dropped("feature_dropout", input, p, training, inplace, 2)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return `input`, shape (N, C, *), with whole channels as `alpha_dropout` has elements."""
    _check("feature_alpha_dropout", input, p)
    return _lowered("feature_alpha_dropout", input, p, training, inplace, 2)


__all__ = [
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
]  # fmt: skip
