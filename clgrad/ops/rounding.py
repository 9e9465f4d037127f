"""Pointwise rounding, signs and exponents, and division with a rounded quotient.

The quotient of integers by zero is 0 (PyTorch raises where the host can see it; so does
`functional.arithmetic` for a number). A derivative of zero is a gradient of zeros, as in PyTorch.
"""

from __future__ import annotations

from clgrad.ops.registry import pointwise

_SMOOTH = {"a": (3.1, 3.9), "b": (2, 3)}  # the rounded quotient is 1

floor = pointwise(
    "floor", "x", "floor(x)", dx="0", takes="uif", doc="The largest whole number not above x."
)
ceil = pointwise(
    "ceil", "x", "ceil(x)", dx="0", takes="uif", doc="The smallest whole number not below x."
)
trunc = pointwise(
    "trunc", "x", "trunc(x)", dx="0", takes="uif", aliases=("fix",), doc="x without its fraction."
)
round_ = pointwise(
    "round", "x", "round(x)", dx="0", takes="uif", node_name="RoundBackward0",
    doc="The nearest whole number, the even one of two.",
)  # fmt: skip
round_decimals = pointwise(
    "_round_decimals", "x, *, scale", "round(x * scale) / scale", dx="0", takes="f",
    node_name="RoundBackward1", doc="x rounded to a multiple of `1 / scale`.",
)  # fmt: skip
round_tens = pointwise(
    "_round_tens", "x, *, scale", "round(x / scale) * scale", dx="0", takes="f",
    node_name="RoundBackward1", doc="x rounded to a multiple of `scale`.",
)  # fmt: skip
frac = pointwise("frac", "x", "x - trunc(x)", dx="g", takes="f", doc="The fraction of x.")
sign = pointwise("sign", "x", "sign(x)", dx="0", doc="-1, 0 or 1; 0 for NaN.")
sgn = pointwise("sgn", "x", "sign(x)", dx="0", doc="-1, 0 or 1; 0 for NaN.")
angle = pointwise(
    "angle", "x", "nan if isnan(x) else (pi if x < 0 else 0)", dx="0", promote="float",
    inplace=False, doc="Angle of x in the complex plane: 0, or pi below zero.",
)  # fmt: skip
mantissa = pointwise(
    "_mantissa", "x", "mantissa(x)", dx="g / exp2(exponent(x))", takes="f", inplace=False,
    node_name="FrexpBackward0", doc="x divided by the power of two that brings it to [0.5, 1).",
)  # fmt: skip
exponent = pointwise(
    "_exponent", "x", "exponent(x)", result="int32", takes="f", inplace=False,
    doc="The exponent of that power.",
)  # fmt: skip
signbit = pointwise(
    "signbit", "x", "signbit(x)", result="bool", inplace=False,
    doc="Whether x has a minus sign; -0.0 has one.",
)  # fmt: skip
floor_divide = pointwise(
    "floor_divide", "a, b", "floor_divide(a, b)", takes="uif",
    node_name="NotImplemented", doc="The quotient rounded down.",
)  # fmt: skip
divide_down = pointwise(
    "_divide_down", "a, b", "floor_divide(a, b)", da="0", db="0", takes="uif",
    domain=_SMOOTH, node_name="DivBackward2",
    doc="The quotient rounded down, with gradients of zero.",
)  # fmt: skip
divide_trunc = pointwise(
    "_divide_trunc", "a, b", "trunc_divide(a, b)", da="0", db="0", takes="uif",
    domain=_SMOOTH, node_name="DivBackward2",
    doc="The quotient rounded towards zero, with gradients of zero.",
)  # fmt: skip
remainder = pointwise(
    "remainder", "a, b", "remainder(a, b)", da="g", db="-g * floor_divide(a, b)", takes="uif",
    domain=_SMOOTH,
    node_name="RemainderBackward0", node_names={"tt": "RemainderBackward1"},
    doc="a - b * floor(a / b), which has the sign of b.",
)  # fmt: skip
fmod = pointwise(
    "fmod", "a, b", "fmod(a, b)", numbers=("b",), da="g", db="-g * trunc_divide(a, b)", takes="uif",
    domain=_SMOOTH, node_name="FmodBackward0", node_names={"tt": "FmodBackward1"},
    doc="a - b * trunc(a / b), which has the sign of a.",
)  # fmt: skip
