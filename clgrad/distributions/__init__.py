"""Probability distributions with PyTorch's names: the everyday ones.

    policy = clgrad.distributions.Categorical(logits=net(state))
    action = policy.sample()
    loss = -policy.log_prob(action) * reward

Parameters are checked, which waits for the device: `validate_args=False` leaves that out.
"""

from __future__ import annotations

from clgrad.distributions import constraints
from clgrad.distributions.continuous import (
    Cauchy,
    Exponential,
    Gumbel,
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
    OneHotCategoricalStraightThrough,
    Poisson,
)
from clgrad.distributions.distribution import Distribution
from clgrad.distributions.independent import Independent
from clgrad.distributions.kl import kl_divergence, register_kl

__all__ = [
    "Bernoulli", "Categorical", "Cauchy", "Distribution", "Exponential", "Geometric", "Gumbel",
    "Independent", "Laplace", "LogNormal", "MultivariateNormal", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Poisson", "Uniform", "constraints", "kl_divergence",
    "register_kl",
]  # fmt: skip
