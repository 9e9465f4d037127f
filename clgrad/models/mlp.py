"""A network of maps with a nonlinearity between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from clgrad import nn
from clgrad.tensor import Tensor


class MLP(nn.Module):
    """Maps from size to size.

    Args:
        sizes: features of the input, of each layer between, and of the result.
        activation: makes the module between two maps.
        dropout: probability of zeros after each activation while training.
        bias: whether maps have biases.

    Example:
        >>> clgrad.models.MLP([784, 128, 10])(clgrad.zeros(2, 784)).shape
        clgrad.Size([2, 10])
    """

    def __init__(
        self, sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            if layers:
                layers.append(activation())
                if dropout:
                    layers.append(nn.Dropout(dropout))
            layers.append(nn.Linear(before, after, bias))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return (*, last size) of (*, first size)."""
        made: Tensor = self.layers(x)
        return made
