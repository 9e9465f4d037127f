"""Pointwise special functions."""

from __future__ import annotations

from clgrad.ops.registry import pointwise

# 2 / sqrt(pi), and half of sqrt(pi)
erf = pointwise(
    "erf", "x", "erf(x)", dx="1.1283791670955126 * exp(-(x * x)) * g", promote="float",
    doc="The error function.",
)  # fmt: skip
erfc = pointwise(
    "erfc", "x", "erfc(x)", dx="-1.1283791670955126 * exp(-(x * x)) * g", promote="float",
    doc="1 - erf(x), exact where that is small.",
)  # fmt: skip
erfinv = pointwise(
    "erfinv", "x", "erfinv(x)", dx="0.8862269254527579 * exp(erfinv(x) * erfinv(x)) * g",
    promote="float", domain={"x": (-0.9, 0.9)}, doc="The number whose erf is x.",
)  # fmt: skip
lgamma = pointwise(
    "lgamma", "x", "lgamma(x)", dx="g * digamma(x)", promote="float", domain={"x": (0.3, 4)},
    doc="Logarithm of the size of the gamma function.",
)  # fmt: skip
digamma = pointwise(
    "digamma", "x", "digamma(x)", dx="g * trigamma(x)", promote="float", domain={"x": (0.3, 4)},
    doc="Derivative of lgamma.",
)  # fmt: skip
logit = pointwise(
    "_logit", "x", "log(x / (1 - x))",
    dx="nan if x < 0 or x > 1 else (g * inf if x == 0 or x == 1 else g / (x * (1 - x)))",
    promote="float", domain={"x": (0.1, 0.9)}, node_name="LogitBackward0", doc="log(x / (1 - x)).",
)  # fmt: skip
logit_clamped = pointwise(
    "_logit_clamped", "x, *, eps", "log(minimum(maximum(x, eps), 1 - eps) "
    "/ (1 - minimum(maximum(x, eps), 1 - eps)))",
    dx="0 if x < eps or x > 1 - eps "
    "else (g * inf if x == 0 or x == 1 else g / (x * (1 - x)))",
    promote="float", domain={"x": (0.1, 0.9)},
    node_name="LogitBackward0", doc="logit of x between `eps` and `1 - eps`.",
)  # fmt: skip
