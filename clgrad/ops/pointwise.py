"""Pointwise ops: a formula and its derivatives each.

A formula reads the same arguments or the result as PyTorch's, because that decides which later
in-place writes are errors (`tanh` saves its result, `exp` too, `div` its operands). Values at kinks
and for NaN are PyTorch's.
"""

from __future__ import annotations

from clgrad.ops.registry import REQUIRED, pointwise

add = pointwise("add", "a, b", "a + b", da="g", db="g", doc="Sum of two tensors.")
sub = pointwise("sub", "a, b", "a - b", da="g", db="-g", doc="Difference of two tensors.")
mul = pointwise("mul", "a, b", "a * b", da="g * b", db="g * a", doc="Product of two tensors.")
div = pointwise(
    "div", "a, b", "a / b", da="g / b", db="-g * (a / b) / b", promote="float",
    domain={"b": (0.5, 2)}, doc="Quotient.",
)  # fmt: skip
neg = pointwise("neg", "x", "-x", dx="-g", doc="Negative.")
pow_ = pointwise(
    "pow", "a, b", "pow(a, b)",
    da="where(b == 0, 0, g * (b * pow(a, b - 1)))",
    db="g * where(a == 0 and b >= 0, 0, y * log(a))",
    domain={"a": (0.2, 2)},
    doc="`a` to the power of `b`.",
)  # fmt: skip
exp = pointwise("exp", "x", "exp(x)", dx="g * y", promote="float", doc="e to the power of x.")
log = pointwise(
    "log", "x", "log(x)", dx="g / x", promote="float", domain={"x": (0.1, 4)},
    doc="Natural logarithm.",
)  # fmt: skip
sqrt = pointwise(
    "sqrt", "x", "sqrt(x)", dx="g / (2 * y)", promote="float", domain={"x": (0.1, 4)},
    doc="Square root; NaN below zero.",
)  # fmt: skip
tanh = pointwise(
    "tanh", "x", "tanh(x)", dx="g * (1 - y * y)", promote="float", doc="Hyperbolic tangent."
)
sigmoid = pointwise(
    "sigmoid", "x", "1 / (1 + exp(-x))", dx="g * ((1 - y) * y)", promote="float",
    doc="Logistic function.",
)  # fmt: skip
relu = pointwise(
    "relu", "x", "where(x <= 0, 0, x)", dx="where(y <= 0, 0, g)",
    doc="The positive part of x; NaN stays NaN.",
)  # fmt: skip
abs_ = pointwise("abs", "x", "abs(x)", dx="g * sign(x)", doc="Absolute value.")
maximum = pointwise(
    "maximum", "a, b", "maximum(a, b)",
    da="where(a == b, g / 2, where(a < b, 0, g))",
    db="where(a == b, g / 2, where(b < a, 0, g))",
    doc="The larger of two; NaN wins. The gradient of a tie is halved.",
)  # fmt: skip
minimum = pointwise(
    "minimum", "a, b", "minimum(a, b)",
    da="where(a == b, g / 2, where(a > b, 0, g))",
    db="where(a == b, g / 2, where(b > a, 0, g))",
    doc="The smaller of two; NaN wins. The gradient of a tie is halved.",
)  # fmt: skip
where = pointwise(
    "where", "c, a, b", "where(c, a, b)", masks=("c",),
    da="where(c, g, 0)", db="where(c, 0, g)", inplace=False,
    doc="`a` where the mask `c` is true, else `b`.",
)  # fmt: skip

lt = pointwise("lt", "a, b", "a < b", result="bool", doc="Whether a < b.")
le = pointwise("le", "a, b", "a <= b", result="bool", doc="Whether a <= b.")
gt = pointwise("gt", "a, b", "a > b", result="bool", doc="Whether a > b.")
ge = pointwise("ge", "a, b", "a >= b", result="bool", doc="Whether a >= b.")
eq = pointwise("eq", "a, b", "a == b", result="bool", doc="Whether a equals b.")
ne = pointwise("ne", "a, b", "a != b", result="bool", doc="Whether a differs from b.")

to = pointwise(
    "to", "x", "x", dx="g", static=(("dtype", REQUIRED),), result="param:dtype",
    inplace=False, node_name="ToCopyBackward0", doc="The same values in another dtype.",
)  # fmt: skip
copy = pointwise(
    "copy", "x", "x", dx="g", inplace=False, node_name="CloneBackward0",
    doc="The same values in new memory.",
)  # fmt: skip
