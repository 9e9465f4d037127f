"""Losses as modules; what they compute is in `functional`."""

from __future__ import annotations

from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.tensor import Tensor


class MSELoss(Module):
    """Squared differences, averaged (`mean`), summed (`sum`) or as they are (`none`)."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` against `target`."""
        return functional.mse_loss(input, target, reduction=self.reduction)


class CrossEntropyLoss(Module):
    """Negative log-likelihood of classes under the softmax of logits.

    Args:
        weight: shape (C), weight of each class.
        ignore_index: a class that counts for nothing.
        reduction: `mean`, `sum` or `none`.
        label_smoothing: share of the probability that is spread over all classes, 0 to 1.
    """

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `input` against `target`; see `functional.cross_entropy`."""
        return functional.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index,
            reduction=self.reduction, label_smoothing=self.label_smoothing,
        )  # fmt: skip
