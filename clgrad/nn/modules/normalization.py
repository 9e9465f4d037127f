"""Normalisation within a sample: layers, groups of channels, root mean squares, neighbours."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from clgrad.creation import empty
from clgrad.errors import ClgradValueError
from clgrad.nn import functional, init
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import described
from clgrad.nn.parameter import Parameter
from clgrad.tensor import Tensor

Shape = int | Sequence[int]


class _Affine(Module):
    """What scales, and perhaps shifts, at the end."""

    weight: Parameter | None
    bias: Parameter | None

    def _make(self, shape: Any, weight: bool, bias: bool | None, device: Any, dtype: Any) -> None:
        """Enter parameters, or None for what is not wanted; no `bias` at all if it is None."""
        for name, wanted in (("weight", weight), ("bias", bias)):
            if wanted is not None:
                made = Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None
                self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights to one and biases to zero."""
        if self.weight is not None:
            init.ones_(self.weight)
        bias = self._parameters.get("bias")
        if bias is not None:
            init.zeros_(bias)


def _shape(value: Shape) -> tuple[int, ...]:
    return (int(value),) if isinstance(value, numbers.Integral) else tuple(value)  # type: ignore[arg-type]  # not an int, so a sequence


class LayerNorm(_Affine):
    """Normalises over the last dims, then scales and shifts each element.

    Args:
        normalized_shape: sizes of the last dims.
        eps: added to the variance.
        elementwise_affine: whether there are weights (and biases, if `bias`).
        bias: whether something is added.
        device, dtype: of the parameters.

    Attributes:
        weight, bias: of `normalized_shape`, ones and zeros, or None.

    Source: Ba et al. 2016.
    """

    def __init__(
        self, normalized_shape: Shape, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make(
            self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (*, *normalized_shape), normalised."""
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the settings."""
        rest = described(self, "eps", "elementwise_affine")
        return f"{self.normalized_shape}, {rest}, bias={self.bias is not None}"


class RMSNorm(_Affine):
    """Divides by the root mean square over the last dims, then scales each element.

    Args:
        normalized_shape: sizes of the last dims.
        eps: added to the mean square; the smallest step of the dtype if None.
        elementwise_affine: whether there are weights.
        device, dtype: of the weights.

    Attributes:
        weight: of `normalized_shape`, ones, or None.

    Source: Zhang and Sennrich 2019.
    """

    def __init__(
        self, normalized_shape: Shape, eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make(self.normalized_shape, elementwise_affine, None, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, shape (*, *normalized_shape), normalised."""
        return functional.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.normalized_shape}, {described(self, 'eps', 'elementwise_affine')}"


class GroupNorm(_Affine):
    """Normalises groups of channels of each sample, then scales and shifts each channel.

    Args:
        num_groups: into how many groups channels are divided.
        num_channels: number of channels.
        eps: added to the variance.
        affine: whether there are weights (and biases, if `bias`).
        device, dtype: of the parameters.
        bias: whether something is added.

    Raises:
        ClgradValueError: groups that do not divide the channels.

    Source: Wu and He 2018.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_channels % num_groups:
            raise ClgradValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make(num_channels, affine, affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (N, num_channels, *), normalised."""
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the settings."""
        rest = described(self, "eps", "affine")
        return f"{self.num_groups}, {self.num_channels}, {rest}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """Divides each channel by what its neighbours among the channels amount to.

    Math: x / (k + alpha * mean of squares over `size` channels) ** beta.

    Source: Krizhevsky et al. 2012.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (N, C, *), normalised."""
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.size}, {described(self, 'alpha', 'beta', 'k')}"
