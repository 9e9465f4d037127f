"""Ops that make tensors out of numbers and the element's own index; all are fusable for free.

Random numbers are counter-based (Philox4x32-10): element `i` of a call depends on
(seed, offset + i) alone, whatever the device, the fusion and the order of execution.
"""

from __future__ import annotations

from clgrad.ops.registry import creation

full = creation("full", "value", "value", doc="One number everywhere.")
arange = creation("arange", "start, step", "start + i * step", doc="Evenly spaced numbers.")
rand = creation(
    "rand", "seed, offset", "random_uniform(i, seed, offset)", numeric_dtypes="uint64",
    doc="Uniform random numbers in [0, 1).",
)  # fmt: skip
randn = creation(
    "randn", "seed, offset", "random_normal(i, seed, offset)", numeric_dtypes="uint64",
    doc="Normal random numbers, mean 0 and variance 1.",
)  # fmt: skip
