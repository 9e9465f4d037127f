"""Ops that make tensors out of numbers and the element's own index; all are fusable for free.

Random numbers are counter-based (Philox4x32-10): element `i` of a call depends on
(seed, offset + i) alone, whatever the device, the fusion and the order of execution. Nothing that
is random needs to be kept for backward: it is computed again.
"""

from __future__ import annotations

from clgrad.ops.registry import creation

full = creation("full", "value", "value", doc="One number everywhere.")
arange = creation("arange", "start, step", "start + i * step", doc="Evenly spaced numbers.")
positions = creation("_positions", "", "i", doc="0, 1, 2, …: `arange` without its arithmetic.")
linspace = creation(
    "linspace", "start, end, step, last: int64",
    "start + i * step if i < last - i else end - (last - i) * step",
    doc="Evenly spaced numbers, counted from the nearer end.",
)  # fmt: skip

rand = creation(
    "rand", "seed: uint64, offset: uint64", "random_uniform(i, seed, offset)",
    doc="Uniform random numbers in [0, 1).",
)  # fmt: skip
uniform = creation(
    "uniform", "seed: uint64, offset: uint64, low, width",
    "low + width * random_uniform(i, seed, offset)", doc="Uniform random numbers.",
)  # fmt: skip
randn = creation(
    "randn", "seed: uint64, offset: uint64", "random_normal(i, seed, offset)",
    doc="Normal random numbers, mean 0 and variance 1.",
)  # fmt: skip
normal = creation(
    "normal", "seed: uint64, offset: uint64, mean, std",
    "mean + std * random_normal(i, seed, offset)", doc="Normal random numbers.",
)  # fmt: skip
log_normal = creation(
    "log_normal", "seed: uint64, offset: uint64, mean, std",
    "exp(mean + std * random_normal(i, seed, offset))",
    doc="Numbers whose logarithm is normally distributed.",
)  # fmt: skip
cauchy = creation(
    "cauchy", "seed: uint64, offset: uint64, median, sigma",
    "median + sigma * tan(3.141592653589793 * (random_uniform(i, seed, offset) - 0.5))",
    doc="Random numbers of a Cauchy distribution.",
)  # fmt: skip
exponential = creation(
    "exponential", "seed: uint64, offset: uint64, rate",
    "random_exponential(i, seed, offset) / rate", doc="Exponential random numbers.",
)  # fmt: skip
geometric = creation(
    "geometric", "seed: uint64, offset: uint64, rate",
    "maximum(1, ceil(random_exponential(i, seed, offset) / rate))",
    doc="How often something of probability 1 - exp(-rate) is tried until it happens.",
)  # fmt: skip
randint = creation(
    "randint", "seed: uint64, offset: uint64, low, count: uint64",
    "low + random_integer(i, seed, offset, count)",
    doc="Random integers, `count` (0: all of 64 bits) from `low` on.",
)  # fmt: skip
bernoulli = creation(
    "bernoulli", "seed: uint64, offset: uint64, p, value",
    "value if random_uniform(i, seed, offset) < p else 0",
    doc="`value` with probability `p`, else 0.",
)  # fmt: skip
