"""Activation functions as modules; what they compute is in `functional`."""

from __future__ import annotations

import warnings
from typing import Any

from clgrad.creation import empty
from clgrad.errors import ClgradValueError
from clgrad.nn import functional, init
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import described
from clgrad.nn.parameter import Parameter
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


class Mish(_InPlace):
    """`x * tanh(softplus(x))`; `inplace` overwrites the input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.mish(input, self.inplace)


class SELU(_InPlace):
    """ELU scaled so that activations normalise themselves; `inplace` overwrites the input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.selu(input, self.inplace)


class _Silent(_InPlace):
    def extra_repr(self) -> str:
        """Return nothing, as PyTorch's."""
        return ""


class Hardsigmoid(_Silent):
    """A sigmoid of straight lines; `inplace` overwrites the input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.hardsigmoid(input, self.inplace)


class Hardswish(_Silent):
    """`x * hardsigmoid(x)`; `inplace` overwrites the input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.hardswish(input, self.inplace)


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


class LogSigmoid(Module):
    """The logarithm of the logistic function."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        made: Tensor = functional.logsigmoid(input)
        return made


class Softsign(Module):
    """`x / (1 + |x|)`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.softsign(input)


class Tanhshrink(Module):
    """`x - tanh(x)`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.tanhshrink(input)


class Threshold(_Activation):
    """What is above `threshold`, and `value` elsewhere."""

    _settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.threshold(input, self.threshold, self.value, self.inplace)


class RReLU(_Activation):
    """A leaky ReLU with random slopes from `lower` to `upper`, their mean in evaluation."""

    _settings = ("lower", "upper")

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Hardtanh(_Activation):
    """Cuts off what is below `min_val` or above `max_val`."""

    _settings: tuple[str, ...] = ("min_val", "max_val")

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False,
        min_value: float | None = None, max_value: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        for old, new, value in (
            ("min_value", "min_val", min_value), ("max_value", "max_val", max_value),
        ):  # fmt: skip
            if value is not None:
                warnings.warn(
                    f"keyword argument `{old}` is deprecated and renamed to `{new}`",
                    FutureWarning,
                    stacklevel=2,
                )
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise AssertionError(
                f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})"
            )

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """Cuts off what is below 0 or above 6."""

    _settings = ()

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)


class _Alpha(_Activation):
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace


class ELU(_Alpha):
    """`x` where positive, `alpha * (exp(x) - 1)` elsewhere."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.elu(input, self.alpha, self.inplace)


class CELU(_Alpha):
    """`x` where positive, `alpha * (exp(x / alpha) - 1)` elsewhere."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.celu(input, self.alpha, self.inplace)


class LeakyReLU(_Activation):
    """`x` where positive, `negative_slope * x` elsewhere."""

    _settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(_Activation):
    """A leaky ReLU whose slopes are learned.

    Args:
        num_parameters: 1 slope, or one for each channel.
        init: where slopes start.
        device, dtype: of the slopes.

    Attributes:
        weight: shape (num_parameters).
    """

    _settings = ("num_parameters",)
    weight: Parameter

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slopes back to where they start."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        return functional.prelu(input, self.weight)


class Softplus(_Activation):
    """`log(1 + exp(beta * x)) / beta`, and `x` where `beta * x` is above `threshold`."""

    _settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        made: Tensor = functional.softplus(input, self.beta, self.threshold)
        return made


class _Shrink(Module):
    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """Return the bound."""
        return str(self.lambd)


class Hardshrink(_Shrink):
    """`x` where its size is above `lambd`, 0 elsewhere."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        made: Tensor = functional.hardshrink(input, self.lambd)
        return made


class Softshrink(_Shrink):
    """`x` moved towards 0 by `lambd`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        made: Tensor = functional.softshrink(input, self.lambd)
        return made


class GELU(Module):
    """`x` times the normal distribution function; `approximate` is `none` or `tanh`."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`, element by element."""
        made: Tensor = functional.gelu(input, approximate=self.approximate)
        return made

    def extra_repr(self) -> str:
        """Return which formula it is."""
        return f"approximate={self.approximate!r}"


# ---- along a dim -------------------------------------------------------------------------------


class _AlongDim(_Activation):
    _settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class GLU(_Activation):
    """The first half of `dim` times the sigmoid of the second."""

    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with half of the size along `dim`."""
        return functional.glu(input, self.dim)


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
