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
polygamma = pointwise(
    "_polygamma", "x, *, n, factor", "factor * zeta(n + 1, x)",
    dx="g * (-factor * (n + 1) * zeta(n + 2, x))", promote="float", domain={"x": (0.3, 4)},
    node_name="PolygammaBackward0", doc="Derivative `n` of digamma; `factor` is (-1)**(n+1) n!.",
)  # fmt: skip
digamma_as_polygamma = pointwise(
    "_polygamma_0", "x, *, n=0", "digamma(x)", dx="g * trigamma(x)", promote="float",
    domain={"x": (0.3, 4)}, node_name="PolygammaBackward0", doc="digamma, as a polygamma.",
)  # fmt: skip
trigamma = pointwise(
    "_polygamma_1", "x, *, n=1", "trigamma(x)", dx="g * (-2 * zeta(3, x))", promote="float",
    domain={"x": (0.3, 4)}, node_name="PolygammaBackward0", doc="Derivative of digamma.",
)  # fmt: skip
zeta = pointwise(
    "_zeta", "s, q", "zeta(s, q)", dq="g * -s * zeta(s + 1, q)", promote="float",
    domain={"s": (1.5, 4), "q": (0.5, 4)}, node_name="SpecialZetaBackward0",
    doc="Hurwitz' zeta function, the sum of (q + k)**-s.",
)  # fmt: skip
igamma = pointwise(
    "igamma", "a, x", "igamma(a, x)", dx="g * exp((a - 1) * log(x) - x - lgamma(a))",
    takes="f", domain={"a": (0.5, 4), "x": (0.5, 4)},
    doc="The share of the gamma function of a below x.",
)  # fmt: skip
igammac = pointwise(
    "igammac", "a, x", "igammac(a, x)", dx="-g * exp((a - 1) * log(x) - x - lgamma(a))",
    takes="f", domain={"a": (0.5, 4), "x": (0.5, 4)},
    doc="The share of the gamma function of a above x.",
)  # fmt: skip
poisson = pointwise(
    "_poisson", "rate, u", "poisson(rate, u)", drate="0", inplace=False,
    domain={"rate": (0.5, 20), "u": (0.1, 0.9)}, node_name="PoissonBackward0",
    doc="The least count with a probability of u or more of so many or fewer.",
)  # fmt: skip
erfcx = pointwise(
    "_erfcx", "x", "erfcx(x)", dx="(2 * x * y - 1.1283791670955126) * g", promote="float",
    node_name="SpecialErfcxBackward0", doc="erfc(x) * exp(x * x).",
)  # fmt: skip
ndtri = pointwise(
    "_ndtri", "x", "ndtri(x)", dx="g * 2.5066282746310002 * exp(y * y / 2)", promote="float",
    domain={"x": (0.05, 0.95)}, node_name="SpecialNdtriBackward0",
    doc="The number below which a normal variable lies with probability x.",
)  # fmt: skip
log_ndtr = pointwise(
    "_log_ndtr", "x",
    "log(erfcx(x * -0.7071067811865476) / 2) - x * x / 2 if x < -1 "
    "else log1p(erfc(x * 0.7071067811865476) / -2)",
    dx="g / 2.5066282746310002 * exp(-(y + x * x / 2))", promote="float",
    node_name="SpecialLogNdtrBackward0",
    doc="Logarithm of the probability that a normal variable lies below x.",
)  # fmt: skip
entr = pointwise(
    "_entr", "x", "x if isnan(x) else (-x * log(x) if x > 0 else (0 if x == 0 else -inf))",
    dx="g * -(1 + log(x))", promote="float", domain={"x": (0.1, 4)},
    node_name="SpecialEntrBackward0", doc="-x * log(x), 0 at zero, -inf below.",
)  # fmt: skip
xlog1py = pointwise(
    "_xlog1py", "a, b", "where(isnan(b), nan, where(a == 0, 0, a * log1p(b)))",
    da="where(a == 0 and b <= -1, 0, where(isnan(b), nan, where(g == 0, 0, g * log1p(b))))",
    db="g * a / (b + 1)", promote="float", domain={"b": (-0.8, 4)},
    node_name="SpecialXlog1PyBackward0",
    node_names={"nt": "SpecialXlog1PyBackward1", "tn": "SpecialXlog1PyBackward2"},
    doc="a * log1p(b), and 0 where a is 0 and b is not NaN.",
)  # fmt: skip
i0 = pointwise(
    "i0", "x", "i0e(x) * exp(abs(x))", dx="g * (i1e(x) * exp(abs(x)))", promote="float",
    node_name="I0Backward0", doc="Modified Bessel function of order 0.",
)  # fmt: skip
i0e = pointwise(
    "_i0e", "x", "i0e(x)", dx="g * (i1e(x) - sign(x) * y)", promote="float",
    node_name="SpecialI0EBackward0", doc="i0 times exp(-|x|).",
)  # fmt: skip
i1 = pointwise(
    "_i1", "x", "i1e(x) * exp(abs(x))",
    dx="g * (i0e(x) * exp(abs(x)) - y / x if abs(x) > 0 else 0.5)", promote="float",
    node_name="SpecialI1Backward0", doc="Modified Bessel function of order 1.",
)  # fmt: skip
i1e = pointwise(
    "_i1e", "x", "i1e(x)", dx="g * (i0e(x) - y * (sign(x) + 1 / x) if abs(x) > 0 else 0.5)",
    promote="float", node_name="SpecialI1EBackward0", doc="i1 times exp(-|x|).",
)  # fmt: skip
