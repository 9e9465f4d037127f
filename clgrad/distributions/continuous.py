"""Distributions of numbers: all are sampled so that gradients flow to their parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from clgrad.distributions import constraints
from clgrad.distributions.constraints import Constraint
from clgrad.distributions.distribution import Distribution, together
from clgrad.errors import ClgradValueError
from clgrad.functional.making import eye
from clgrad.functional.sampling import rand, randn
from clgrad.layout import broadcast_shapes
from clgrad.linalg import cholesky, solve_triangular
from clgrad.tensor import Tensor

_HALF_LOG = 0.5 * math.log(2 * math.pi)


class _LocationScale(Distribution):
    """What is standard, times `scale`, plus `loc`."""

    has_rsample = True
    arg_constraints: ClassVar[dict[str, Constraint]] = {
        "loc": constraints.real, "scale": constraints.positive,
    }  # fmt: skip
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = together(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.real

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    def _standard(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return (value - self.loc) / self.scale

    def _uniform(self, sample_shape: Sequence[int]) -> Any:
        """Return numbers between 0 and 1, without 0."""
        shape = self._extended_shape(sample_shape)
        return 1 - rand(shape, dtype=self.loc.dtype, device=self.loc.device)


class Normal(_LocationScale):
    """Normal distribution.

    Args:
        loc: mean, a number or a tensor.
        scale: standard deviation, above 0; both broadcast.
        validate_args: see `Distribution`.
    """

    @property
    def stddev(self) -> Any:
        return self.scale

    @property
    def variance(self) -> Any:
        return self.scale**2

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        drawn = randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + drawn * self.scale

    def log_prob(self, value: Tensor) -> Any:
        return -0.5 * self._standard(value) ** 2 - self.scale.log() - _HALF_LOG

    def cdf(self, value: Tensor) -> Any:
        return 0.5 * (1 + (self._standard(value) / math.sqrt(2)).erf())

    def icdf(self, value: Tensor) -> Any:
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Any:
        return 0.5 + _HALF_LOG + self.scale.log()


class LogNormal(Normal):
    """What has a normally distributed logarithm, of mean `loc` and deviation `scale`."""

    @property
    def support(self) -> Constraint:
        return constraints.positive

    @property
    def mean(self) -> Any:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> Any:
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> Any:
        square = self.scale**2
        return square.expm1() * (2 * self.loc + square).exp()

    @property
    def stddev(self) -> Any:
        return self.variance.sqrt()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return super().rsample(sample_shape).exp()

    def _standard(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return (value.log() - self.loc) / self.scale

    def log_prob(self, value: Tensor) -> Any:
        return super().log_prob(value) - value.log()

    def icdf(self, value: Tensor) -> Any:
        return super().icdf(value).exp()

    def entropy(self) -> Any:
        return super().entropy() + self.loc


class Laplace(_LocationScale):
    """Laplace distribution: densities fall exponentially on both sides of `loc`."""

    @property
    def variance(self) -> Any:
        return 2 * self.scale**2

    @property
    def stddev(self) -> Any:
        return math.sqrt(2) * self.scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        centred = self._uniform(sample_shape) - 0.5
        return self.loc - self.scale * centred.sign() * (-2 * centred.abs()).clamp(min=-1).log1p()

    def log_prob(self, value: Tensor) -> Any:
        return -(2 * self.scale).log() - self._standard(value).abs()

    def cdf(self, value: Tensor) -> Any:
        x = self._standard(value)
        return 0.5 - 0.5 * x.sign() * (-x.abs()).expm1()

    def icdf(self, value: Tensor) -> Any:
        centred = value - 0.5
        return self.loc - self.scale * centred.sign() * (-2 * centred.abs()).log1p()

    def entropy(self) -> Any:
        return 1 + (2 * self.scale).log()


class Cauchy(_LocationScale):
    """Cauchy distribution: it has neither mean nor variance."""

    @property
    def mean(self) -> Any:
        return self.loc * math.nan

    @property
    def variance(self) -> Any:
        return self.scale * math.inf

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.icdf(self._uniform(sample_shape))

    def log_prob(self, value: Tensor) -> Any:
        return -math.log(math.pi) - self.scale.log() - (self._standard(value) ** 2).log1p()

    def cdf(self, value: Tensor) -> Any:
        return self._standard(value).atan() / math.pi + 0.5

    def icdf(self, value: Tensor) -> Any:
        return (math.pi * (value - 0.5)).tan() * self.scale + self.loc

    def entropy(self) -> Any:
        return math.log(4 * math.pi) + self.scale.log()


class Gumbel(_LocationScale):
    """Gumbel distribution: of the largest of many."""

    @property
    def mean(self) -> Any:
        return self.loc + self.scale * _EULER

    @property
    def variance(self) -> Any:
        return (math.pi * self.scale) ** 2 / 6

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.loc - self.scale * (-self._uniform(sample_shape).log()).clamp(min=1e-38).log()

    def log_prob(self, value: Tensor) -> Any:
        x = -self._standard(value)
        return x - x.exp() - self.scale.log()

    def cdf(self, value: Tensor) -> Any:
        return (-(-self._standard(value)).exp()).exp()

    def icdf(self, value: Tensor) -> Any:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Any:
        return self.scale.log() + (1 + _EULER)


_EULER = 0.57721566490153286060


class Uniform(Distribution):
    """Numbers from `low` to below `high`.

    Args:
        low, high: numbers or tensors, which broadcast.
        validate_args: see `Distribution`.

    Raises:
        ClgradValueError: `low` is not below `high`.
    """

    has_rsample = True
    arg_constraints: ClassVar[dict[str, Constraint]] = {
        "low": constraints.real, "high": constraints.real,
    }  # fmt: skip
    low: Tensor
    high: Tensor

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = together(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._validate_args and not (self.low < self.high).all().item():
            raise ClgradValueError("Uniform is not defined when low>= high")

    @property
    def support(self) -> Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Any:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Any:
        return self.high * math.nan

    @property
    def variance(self) -> Any:
        return (self.high - self.low) ** 2 / 12

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        drawn = rand(shape, dtype=self.low.dtype, device=self.low.device)
        return self.low + drawn * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        inside = (self.low <= value) & (value < self.high)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Any:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Any:
        return (self.high - self.low).log()


class Exponential(Distribution):
    """Times between events that come at a rate.

    Args:
        rate: above 0, a number or a tensor.
        validate_args: see `Distribution`.
    """

    has_rsample = True
    arg_constraints: ClassVar[dict[str, Constraint]] = {"rate": constraints.positive}
    rate: Tensor

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = together(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative

    @property
    def mean(self) -> Any:
        return self.rate.reciprocal()

    @property
    def mode(self) -> Any:
        return self.rate * 0

    @property
    def variance(self) -> Any:
        return self.rate**-2

    @property
    def stddev(self) -> Any:
        return self.rate.reciprocal()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        drawn = rand(shape, dtype=self.rate.dtype, device=self.rate.device)
        return -(-drawn).log1p() / self.rate

    def log_prob(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return -(-self.rate * value).expm1()

    def icdf(self, value: Tensor) -> Any:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Any:
        return 1 - self.rate.log()


class MultivariateNormal(Distribution):
    """Normal distribution of vectors; exactly one of the matrices is given.

    Args:
        loc: mean, shape (*, N).
        covariance_matrix, precision_matrix: shape (*, N, N), positive definite.
        scale_tril: the lower Cholesky factor of the covariance, shape (*, N, N).
        validate_args: see `Distribution`.

    Raises:
        ClgradValueError: none or several matrices are given, or a mean without dims.
    """

    has_rsample = True
    arg_constraints: ClassVar[dict[str, Constraint]] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    loc: Tensor

    def __init__(
        self, loc: Tensor, covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None, scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if loc.ndim < 1:
            raise ClgradValueError("loc must be at least one-dimensional.")
        given = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        named = [(name, matrix) for name, matrix in given.items() if matrix is not None]
        if len(named) != 1:
            raise ClgradValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be "
                f"specified, got {len(named)} of them."
            )
        name, matrix = named[0]
        size = loc.shape[-1]
        batch = broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]), op=name)
        self.loc = loc.expand((*batch, size))
        self.__dict__[name] = matrix.expand((*batch, size, size))
        super().__init__(batch, (size,), validate_args)
        if name == "covariance_matrix":
            self._factor = cholesky(self.__dict__[name])
        elif name == "precision_matrix":
            flipped = cholesky(self.__dict__[name].flip((-2, -1))).flip((-2, -1)).mT
            unit = eye(size, dtype=loc.dtype, device=loc.device)
            self._factor = solve_triangular(flipped, unit, upper=False)
        else:
            self._factor = self.__dict__[name]

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> MultivariateNormal:
        """Return the same for a larger batch."""
        made = super().expand(batch_shape)
        made._factor = self._factor.expand((*batch_shape, *self._factor.shape[-2:]))
        return made

    def __getattr__(self, name: str) -> Any:
        if name == "scale_tril":
            return self._factor
        if name == "covariance_matrix":
            return self._factor @ self._factor.mT
        if name == "precision_matrix":
            unit = eye(self.loc.shape[-1], dtype=self.loc.dtype, device=self.loc.device)
            inverse = solve_triangular(self._factor, unit, upper=False)
            return inverse.mT @ inverse
        raise AttributeError(f"'MultivariateNormal' object has no attribute {name!r}")

    @property
    def support(self) -> Constraint:
        return constraints.real_vector

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return (self._factor**2).sum(-1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        drawn = randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self._factor @ drawn.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        off = (value - self.loc).unsqueeze(-1)
        factor = self._factor.expand((*off.shape[:-2], *self._factor.shape[-2:]))
        square = (solve_triangular(factor, off, upper=False) ** 2).sum((-2, -1))
        return -0.5 * square - self._half_log_det() - self.loc.shape[-1] * _HALF_LOG

    def entropy(self) -> Any:
        return self.loc.shape[-1] * (0.5 + _HALF_LOG) + self._half_log_det()

    def _half_log_det(self) -> Any:
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
