"""Dropout: zeros at random places while training."""

from __future__ import annotations

from clgrad.errors import ClgradValueError
from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import described
from clgrad.tensor import Tensor


class _DropoutNd(Module):
    """Zeros at random places while training; the rest is scaled so that the mean stays.

    Args:
        p: probability of a zero.
        inplace: overwrite the input.

    Raises:
        ClgradValueError: p outside of 0 to 1.

    Source: Srivastava et al. 2014.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ClgradValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Return the settings."""
        return described(self, "p", "inplace")


class Dropout(_DropoutNd):
    __doc__ = _DropoutNd.__doc__

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with zeros."""
        return functional.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """As `Dropout`, but for whole channels of (N, C, L) or (C, L)."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with channels of zeros."""
        return functional.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """As `Dropout`, but for whole channels of (N, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with channels of zeros."""
        return functional.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """As `Dropout`, but for whole channels of (N, C, D, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with channels of zeros."""
        return functional.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance of what comes from `SELU`. Source: Klambauer 2017."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with elements at their lowest value."""
        return functional.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """As `AlphaDropout`, but for whole channels."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with channels at their lowest value."""
        return functional.feature_alpha_dropout(input, self.p, self.training)
