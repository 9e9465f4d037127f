"""Distances and similarities as modules."""

from __future__ import annotations

from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.tensor import Tensor


class PairwiseDistance(Module):
    """The p-norm of differences along the last dim.

    Args:
        p: of the norm.
        eps: added to each difference.
        keepdim: keep the last dim with size 1.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return distances, shape (*), of shapes (*, D)."""
        return functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along a dim.

    Args:
        dim: along which the vectors lie.
        eps: norms are at least this large.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return cosines, of the shape without `dim`."""
        made: Tensor = functional.cosine_similarity(x1, x2, self.dim, self.eps)
        return made
