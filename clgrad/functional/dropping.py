"""Dropout as functions of `clgrad` itself; `nn.functional` has the same with other defaults."""

from __future__ import annotations

from typing import Any

from clgrad.dispatch import apply
from clgrad.dtypes import bool_, float32
from clgrad.errors import ClgradRuntimeError
from clgrad.functional import dropout as _dropout
from clgrad.functional.sampling import check_float, draw
from clgrad.ops import creation as _ops
from clgrad.ops.registry import composite as _composite
from clgrad.tensor import Tensor


def _checked(p: float) -> None:
    if not 0 <= p <= 1:
        raise ClgradRuntimeError(
            f"dropout probability has to be between 0 and 1, but got {p}. Expected 0 to 1."
        )


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Return `input` with zeros at random places, the rest divided by 1 - p.

    Args:
        input: floats of any shape.
        p: probability of a zero.
        train: otherwise `input` is returned as it is.

    Raises:
        ClgradRuntimeError: p outside of 0 to 1. DTypeError: no floats.
    """
    _checked(p)
    return _dropout.dropout(input, p, train)


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """Do `dropout` in place."""
    _checked(p)
    return _dropout.dropout(input, p, train, inplace=True)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Return `input` with SELU's lowest value at random places, of the same mean and variance."""
    _checked(p)
    return _dropout.alpha_dropout(input, p, train)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """Do `alpha_dropout` in place."""
    _checked(p)
    return _dropout.alpha_dropout(input, p, train, inplace=True)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Return `input`, shape (N, C, *), with zeros for whole channels.

    Raises:
        ClgradRuntimeError: p outside of 0 to 1, or fewer than two dimensions.
    """
    _checked(p)
    return _dropout.feature_dropout(input, p, train)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """Do `feature_dropout` in place."""
    _checked(p)
    return _dropout.feature_dropout(input, p, train, inplace=True)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Return `input`, shape (N, C, *), with whole channels as `alpha_dropout` has elements."""
    _checked(p)
    return _dropout.feature_alpha_dropout(input, p, train)


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """Do `feature_alpha_dropout` in place."""
    _checked(p)
    return _dropout.feature_alpha_dropout(input, p, train, inplace=True)


def _scaled(x: Tensor, mask: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    return x * mask * scale, mask


def _scaled_back(ctx: Any, g: Any) -> tuple[Any, None]:
    (first, _) = g
    if first is None:
        return None, None
    return first * ctx.saved("mask") * ctx.param("scale"), None


_native = _composite(
    "_native_dropout", "x, mask", _scaled, backward=_scaled_back, saves={"x": ("mask",)},
    params=(("scale", 1.0),), node_name="NativeDropoutBackward0",
    doc="x where the mask is true, times a scale; and the mask.",
)  # fmt: skip


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """Return what `dropout` does, and the mask of what was kept.

    Args:
        input: floats of any shape.
        p: probability of a zero.
        train: if False, everything is kept.
    """
    _checked(p)
    check_float("native_dropout", input.dtype)
    keep = 1.0 if train is False else 1.0 - p
    shape, device = input._meta.shape, input.device
    mask = draw(_ops.bernoulli, shape, float32, device, None, keep, 1.0).to(bool_)
    made: tuple[Tensor, Tensor] = apply(_native, (input, mask), (1 / keep if keep else 0.0,))
    return made


__all__ = [
    "alpha_dropout", "alpha_dropout_", "dropout", "dropout_", "feature_alpha_dropout",
    "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "native_dropout",
]  # fmt: skip
METHODS: list[str] = []
