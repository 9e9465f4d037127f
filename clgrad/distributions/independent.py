"""`Independent`: dims of a batch become dims of one variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.distributions import constraints
from clgrad.distributions.constraints import Constraint
from clgrad.distributions.distribution import Distribution
from clgrad.errors import ClgradValueError
from clgrad.tensor import Tensor


class Independent(Distribution):
    """The last dims of a batch as one variable: their logarithms of probabilities are added.

    Args:
        base_distribution: what it is made of.
        reinterpreted_batch_ndims: how many dims.
        validate_args: see `Distribution`.

    Raises:
        ClgradValueError: the batch has fewer dims.
    """

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        batch = base_distribution.batch_shape
        if reinterpreted_batch_ndims > len(batch):
            raise ClgradValueError(
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                f"{reinterpreted_batch_ndims} vs {len(batch)}"
            )
        kept = len(batch) - reinterpreted_batch_ndims
        self.base_dist = base_distribution
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        super().__init__(
            batch[:kept], (*batch[kept:], *base_distribution.event_shape), validate_args
        )

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # as that of its parts
        """Whether samples have gradients."""
        return self.base_dist.has_rsample

    @property
    def support(self) -> Constraint:
        return constraints.independent(self.base_dist.support, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Any:
        return self.base_dist.mean

    @property
    def mode(self) -> Any:
        return self.base_dist.mode

    @property
    def variance(self) -> Any:
        return self.base_dist.variance

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Any:
        return self._summed(self.base_dist.log_prob(value))

    def entropy(self) -> Any:
        return self._summed(self.base_dist.entropy())

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Independent:
        """Return the same for a larger batch."""
        last = self.event_shape[: self.reinterpreted_batch_ndims]
        base = self.base_dist.expand((*batch_shape, *last))
        return Independent(base, self.reinterpreted_batch_ndims, validate_args=False)

    def _summed(self, x: Tensor) -> Any:
        return x.sum(tuple(range(-self.reinterpreted_batch_ndims, 0))) if (
            self.reinterpreted_batch_ndims
        ) else x  # fmt: skip

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"
