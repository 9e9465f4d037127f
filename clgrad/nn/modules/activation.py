"""Activation functions as modules; what they compute is in `functional`."""

from __future__ import annotations

from clgrad.errors import ClgradValueError
from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import described
from clgrad.tensor import Tensor


class _Activation(Module):
    """An activation that may overwrite its input, with settings that it prints."""

    _settings: tuple[str, ...] = ()
    inplace: bool = False

    def extra_repr(self) -> str:
        """Return the settings, and whether it works in place."""
        shown = [described(self, name) for name in self._settings]
        return ", ".join(shown + ["inplace=True"] * self.inplace)


class _InPlace(_Activation):
    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class ReLU(_InPlace):
    """The positive part; `inplace` overwrites the input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.relu(input, self.inplace)


class SiLU(_InPlace):
    """`x * sigmoid(x)`; `inplace` overwrites the input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.silu(input, self.inplace)


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


# ---- along a dim -------------------------------------------------------------------------------


class _AlongDim(_Activation):
    _settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class Softmax(_AlongDim):
    """Exponentials that sum to 1 along `dim`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of `input`."""
        return functional.softmax(input, self.dim)


class Softmin(_AlongDim):
    """The softmax of the negative."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmin of `input`."""
        return functional.softmin(input, self.dim)


class LogSoftmax(_AlongDim):
    """The logarithm of `Softmax`, without its overflow."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the logarithm of the softmax of `input`."""
        return functional.log_softmax(input, self.dim)


class Softmax2d(Module):
    """The softmax over the channels of images."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of `input`, shape (N, C, H, W) or (C, H, W), over C.

        Raises:
            ClgradValueError: another number of dims.
        """
        if input.ndim not in (3, 4):
            raise ClgradValueError(
                f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead"
            )
        return functional.softmax(input, -3)
