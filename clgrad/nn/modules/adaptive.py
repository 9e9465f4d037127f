"""Softmax over many classes by clusters of rare ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.functional.joining import cat
from clgrad.nn import functional
from clgrad.nn.modules.container import ModuleList, Sequential
from clgrad.nn.modules.linear import Linear
from clgrad.nn.modules.module import Module
from clgrad.tensor import Tensor


class TargetsAndLoss(NamedTuple):
    """Logarithms of the targets' probabilities, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """A softmax whose rare classes stand in clusters with smaller projections.

    Args:
        in_features: size of the input.
        n_classes: sorted by frequency, the most frequent first.
        cutoffs: the first class of each cluster, ascending.
        div_value: how many times smaller each cluster's projection is than that before.
        head_bias: whether the frequent classes have biases.
        device, dtype: of the parameters.

    Raises:
        ClgradValueError: cutoffs that cannot be.

    Source: Grave et al. 2017, "Efficient softmax approximation for GPUs".
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
        head_bias: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ClgradValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(set(cutoffs))
            or cutoffs[0] <= 0
            or cutoffs[-1] > n_classes - 1
            or any(int(c) != c for c in cutoffs)
        ):
            raise ClgradValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for k, (first, end) in enumerate(pairwise(self.cutoffs)):
            size = int(in_features // (div_value ** (k + 1)))
            self.tail.append(
                Sequential(
                    Linear(in_features, size, bias=False, **made),
                    Linear(size, end - first, bias=False, **made),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.head.reset_parameters()
        for projection in self.tail:
            for part in projection:
                part.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> TargetsAndLoss:
        """Return the logarithms of the targets' probabilities, shape (N), and the loss.

        Args:
            input_: shape (N, in_features), or (in_features).
            target_: class indices, shape (N), or ().

        Raises:
            ClgradRuntimeError: shapes that do not fit, targets out of range.
        """
        if target_.ndim > 1:
            raise ClgradRuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if input_.ndim != target_.ndim + 1:
            raise ClgradRuntimeError(
                f"{target_.ndim}D target tensor expects {target_.ndim + 1}D input tensors, but "
                f"found inputs with size {list(input_.shape)}"
            )
        if target_.ndim and len(input_) != len(target_):
            raise ClgradRuntimeError(
                "Input and target should have the same size in the batch dimension."
            )
        input = input_ if target_.ndim else input_.unsqueeze(0)
        target = target_ if target_.ndim else target_.unsqueeze(0)
        low, high = (int(v) for v in (target.min(), target.max()))
        if low < 0 or high >= self.n_classes:
            raise ClgradRuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{low}, {high}] were found."
            )
        output = input.new_zeros(len(input))
        heads: Any = target.clone()
        for k, (first, end) in enumerate(pairwise(self.cutoffs)):
            mask: Any = (target >= first).logical_and(target < end)
            rows = mask.nonzero().squeeze(1)
            if not rows.numel():
                continue
            chosen = functional.log_softmax(self.tail[k](input.index_select(0, rows)), dim=1)
            at = target.index_select(0, rows) - first
            output = output.index_copy(0, rows, chosen.gather(1, at.unsqueeze(1)).squeeze(1))
            heads = heads.masked_fill(mask, self.shortlist_size + k)
        likely = functional.log_softmax(self.head(input), dim=1)
        total = output + likely.gather(1, heads.unsqueeze(1)).squeeze(1)
        loss = (-total).mean()
        return TargetsAndLoss(total if target_.ndim else total.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """Return the logarithms of all classes' probabilities, shape (N, n_classes)."""
        head = functional.log_softmax(self.head(input), dim=1)
        size = self.shortlist_size
        found = [head[:, :size]]
        for k, projection in enumerate(self.tail):
            inner = functional.log_softmax(projection(input), dim=1)
            found.append(inner + head[:, size + k].unsqueeze(1))
        return cat(found, 1)

    def predict(self, input: Tensor) -> Tensor:
        """Return the most probable class of each sample, shape (N)."""
        found: Tensor = self.log_prob(input).argmax(dim=1)
        return found


__all__ = ["AdaptiveLogSoftmaxWithLoss"]
