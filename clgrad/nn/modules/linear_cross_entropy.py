"""A linear layer and the cross entropy of what it makes, in one module."""

from __future__ import annotations

from math import prod
from typing import Any

from clgrad.errors import ClgradRuntimeError
from clgrad.nn import functional
from clgrad.nn.modules.linear import Linear
from clgrad.nn.modules.loss import _WeightedLoss
from clgrad.tensor import Tensor


class LinearCrossEntropyLoss(_WeightedLoss):
    """Cross entropy of what a linear layer makes of the input.

    Args:
        in_features, num_classes: sizes of the layer `linear`.
        out_features: sizes of the places at each of which there is a loss.
        bias: whether the layer adds one.
        device, dtype: of the layer.
        reduction, weight, ignore_index, label_smoothing, options: see
            `functional.linear_cross_entropy`.

    Raises:
        ClgradRuntimeError: weights of another shape, a smoothing outside of [0, 1].
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (),
        bias: bool = False, device: Any = None, dtype: Any = None,
        reduction: str = "mean", weight: Tensor | None = None, ignore_index: int | None = None,
        label_smoothing: float = 0.0, options: None = None,
    ) -> None:  # fmt: skip
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise ClgradRuntimeError(
                f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}"
            )
        if not 0 <= label_smoothing <= 1:
            raise ClgradRuntimeError(
                f"expected label_smoothing to be in range [0, 1], got {label_smoothing}"
            )
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        rows = prod(out_features, start=num_classes)
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of inputs (N, in_features) against `target`."""
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return functional.linear_cross_entropy(
            input, self.linear.weight.reshape((*shape, self.linear.in_features)), target,
            linear_bias=None if bias is None else bias.reshape(shape), weight=self.weight,
            reduction=self.reduction, ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing, options=self.options,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return the sizes and settings."""
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
