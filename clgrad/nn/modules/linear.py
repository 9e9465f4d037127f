"""Layers that are a product with a weight, and the one that does nothing."""

from __future__ import annotations

import math
from typing import Any

from clgrad.creation import empty
from clgrad.errors import ClgradValueError
from clgrad.nn import functional, init
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import described
from clgrad.nn.parameter import Parameter
from clgrad.tensor import Tensor


class Identity(Module):
    """Returns its input; takes any arguments and ignores them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return `input`."""
        return input


class _Product(Module):
    weight: Parameter
    bias: Parameter | None

    def _make(self, shape: tuple[int, ...], bias: bool, device: Any, dtype: Any) -> None:
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(shape[0], device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        raise NotImplementedError


class Linear(_Product):
    """An affine map of the last dimension: `x @ weight.T + bias`.

    Args:
        in_features: size of the input's last dimension.
        out_features: size of the result's last dimension.
        bias: whether something is added.
        device: where the parameters live; the default device if None.
        dtype: of the parameters; the default dtype if None.

    Attributes:
        weight: shape (out_features, in_features), uniform within ±1/sqrt(in_features).
        bias: shape (out_features), drawn likewise, or None.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self._make((out_features, in_features), bias, device, dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew. Source: PyTorch's defaults (He et al. 2015 with a = √5)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return the map of `input`, shape (*, in_features), as (*, out_features)."""
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return sizes, and whether there is a bias."""
        return f"{described(self, 'in_features', 'out_features')}, bias={self.bias is not None}"


class Bilinear(_Product):
    """A map of the last dimensions of two inputs: `x1 @ weight[k] @ x2 + bias[k]` for each k.

    Args:
        in1_features, in2_features: sizes of the inputs' last dimensions.
        out_features: size of the result's last dimension.
        bias: whether something is added.
        device, dtype: of the parameters.

    Attributes:
        weight: shape (out_features, in1_features, in2_features), uniform within
            ±1/sqrt(in1_features).
        bias: shape (out_features), drawn likewise, or None.

    Raises:
        ClgradValueError: no features.
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if in1_features <= 0:
            raise ClgradValueError(
                f"in1_features must be > 0, but got (in1_features={in1_features})"
            )
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self._make((out_features, in1_features, in2_features), bias, device, dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Return (*, out_features) of (*, in1_features) and (*, in2_features)."""
        return functional.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return sizes, and whether there is a bias."""
        sizes = described(self, "in1_features", "in2_features", "out_features")
        return f"{sizes}, bias={self.bias is not None}"
