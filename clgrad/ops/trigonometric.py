"""Pointwise circular and hyperbolic functions, and their inverses."""

from __future__ import annotations

from clgrad.ops.registry import pointwise

sin = pointwise("sin", "x", "sin(x)", dx="g * cos(x)", promote="float", doc="Sine.")
cos = pointwise("cos", "x", "cos(x)", dx="g * -sin(x)", promote="float", doc="Cosine.")
tan = pointwise(
    "tan", "x", "tan(x)", dx="g * (1 + y * y)", promote="float", domain={"x": (-1.2, 1.2)},
    doc="Tangent.",
)  # fmt: skip
asin = pointwise(
    "asin", "x", "asin(x)", dx="g * rsqrt(1 - x * x)", promote="float", domain={"x": (-0.9, 0.9)},
    aliases=("arcsin",), doc="The angle whose sine is x.",
)  # fmt: skip
acos = pointwise(
    "acos", "x", "acos(x)", dx="g * -rsqrt(1 - x * x)", promote="float", domain={"x": (-0.9, 0.9)},
    aliases=("arccos",), doc="The angle whose cosine is x.",
)  # fmt: skip
atan = pointwise(
    "atan", "x", "atan(x)", dx="g / (x * x + 1)", promote="float", aliases=("arctan",),
    doc="The angle whose tangent is x.",
)  # fmt: skip
atan2 = pointwise(
    "atan2", "a, b", "atan2(a, b)", numbers=(),
    da="g * (b * where(a * a + b * b == 0, 0, 1 / (a * a + b * b)))",
    db="g * (-a * where(a * a + b * b == 0, 0, 1 / (a * a + b * b)))",
    promote="float", domain={"b": (0.5, 2)}, aliases=("arctan2",),
    doc="The angle of the point (b, a), in (-pi, pi].",
)  # fmt: skip
sinh = pointwise("sinh", "x", "sinh(x)", dx="g * cosh(x)", promote="float", doc="Hyperbolic sine.")
cosh = pointwise(
    "cosh", "x", "cosh(x)", dx="g * sinh(x)", promote="float", doc="Hyperbolic cosine."
)
tanh = pointwise(
    "tanh", "x", "tanh(x)", dx="g * (1 - y * y)", promote="float", doc="Hyperbolic tangent."
)
asinh = pointwise(
    "asinh", "x", "asinh(x)", dx="g * rsqrt(x * x + 1)", promote="float", aliases=("arcsinh",),
    doc="The number whose hyperbolic sine is x.",
)  # fmt: skip
acosh = pointwise(
    "acosh", "x", "acosh(x)", dx="g * rsqrt(x * x - 1)", promote="float", domain={"x": (1.2, 3)},
    aliases=("arccosh",), doc="The number whose hyperbolic cosine is x.",
)  # fmt: skip
atanh = pointwise(
    "atanh", "x", "atanh(x)", dx="g / (1 - x * x)", promote="float", domain={"x": (-0.8, 0.8)},
    aliases=("arctanh",), doc="The number whose hyperbolic tangent is x.",
)  # fmt: skip
hypot = pointwise(
    "hypot", "a, b", "hypot(a, b)", numbers=(), da="g * (a / y)", db="g * (b / y)", takes="f",
    doc="sqrt(a * a + b * b), without overflow.",
)  # fmt: skip
deg2rad = pointwise(
    "deg2rad", "x", "x * 0.017453292519943295", dx="g * 0.017453292519943295", promote="float",
    node_name="Deg2RadBackward0", doc="Degrees as radians.",
)  # fmt: skip
rad2deg = pointwise(
    "rad2deg", "x", "x * 57.29577951308232", dx="g * 57.29577951308232", promote="float",
    node_name="Rad2DegBackward0", doc="Radians as degrees.",
)  # fmt: skip
sinc = pointwise(
    "sinc", "x", "where(x == 0, 1, sin(pi * x) / (pi * x))",
    dx="where(x * x * pi == 0, 0, "
    "g * ((x * pi * cos(x * pi) - sin(x * pi)) / (x * x * pi)))",
    promote="float", domain={"x": (0.2, 2)}, doc="sin(pi x) / (pi x), 1 at zero.",
)  # fmt: skip
