"""Activation functions as modules; what they compute is in `functional`."""

from __future__ import annotations

from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.tensor import Tensor


class ReLU(Module):
    """The positive part; `inplace` overwrites the input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.relu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return whether it works in place."""
        return "inplace=True" if self.inplace else ""


class SiLU(Module):
    """`x * sigmoid(x)`; `inplace` overwrites the input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.silu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return whether it works in place."""
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """The logistic function."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.tanh(input)


class _AlongDim(Module):
    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """Return the dim."""
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """Exponentials that sum to 1 along `dim`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of `input`."""
        return functional.softmax(input, self.dim)


class LogSoftmax(_AlongDim):
    """The logarithm of `Softmax`, without its overflow."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the logarithm of the softmax of `input`."""
        return functional.log_softmax(input, self.dim)
