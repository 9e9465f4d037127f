"""Kullback-Leibler divergences between two distributions of one kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.distributions.continuous import (
    Exponential,
    Laplace,
    LogNormal,
    MultivariateNormal,
    Normal,
    Uniform,
)
from clgrad.distributions.discrete import (
    Bernoulli,
    Categorical,
    Geometric,
    OneHotCategorical,
    Poisson,
)
from clgrad.distributions.distribution import Distribution
from clgrad.distributions.independent import Independent
from clgrad.errors import ClgradNotImplementedError
from clgrad.linalg import solve_triangular
from clgrad.nn.functional import softplus

Divergence = Callable[[Any, Any], Any]
_known: dict[tuple[type, type], Divergence] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Divergence], Divergence]:
    """Return a decorator of the function that computes `kl_divergence` of two classes."""

    def decorate(function: Divergence) -> Divergence:
        _known[type_p, type_q] = function
        return function

    return decorate


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """Return the Kullback-Leibler divergence of `q` from `p`, shape `batch_shape`.

    Raises:
        ClgradNotImplementedError: none is known for these two classes.
    """
    for kind in type(p).__mro__:
        for other in type(q).__mro__:
            if (kind, other) in _known:
                return _known[kind, other](p, q)
    raise ClgradNotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type "
        f"{type(q).__name__}. Hint: register_kl declares one."
    )


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Any:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())


@register_kl(Normal, LogNormal)
@register_kl(LogNormal, Normal)
def _different(p: Normal, q: Normal) -> Any:
    raise ClgradNotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}."
    )


_known[LogNormal, LogNormal] = _normal


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Any:
    ratio, apart = p.scale / q.scale, (p.loc - q.loc).abs() / q.scale
    return -ratio.log() + apart + ratio * (-apart / ratio).exp() - 1


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Any:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return result.masked_fill((q.low > p.low) | (q.high < p.high), float("inf"))


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Any:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Any:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Any:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Any:
    first = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    first = first.masked_fill(q.probs == 0, float("inf")).masked_fill(p.probs == 0, 0.0)
    rest = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    rest = rest.masked_fill(q.probs == 1, float("inf")).masked_fill(p.probs == 1, 0.0)
    return first + rest


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Any:
    terms = p.probs * (p.logits - q.logits)
    terms = terms.masked_fill((q.probs == 0).expand(terms.shape), float("inf"))
    return terms.masked_fill((p.probs == 0).expand(terms.shape), 0.0).sum(-1)


_known[OneHotCategorical, OneHotCategorical] = _categorical


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p: MultivariateNormal, q: MultivariateNormal) -> Any:
    ratio = solve_triangular(q._factor, p._factor, upper=False)
    off = solve_triangular(q._factor, (q.loc - p.loc).unsqueeze(-1), upper=False)
    squares = (ratio**2).sum((-2, -1)) + (off**2).sum((-2, -1))
    return q._half_log_det() - p._half_log_det() + 0.5 * (squares - p.loc.shape[-1])


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise ClgradNotImplementedError("Independent: the dims of the variables differ.")
    return p._summed(kl_divergence(p.base_dist, q.base_dist))
