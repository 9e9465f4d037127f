"""Pointwise comparisons, questions about numbers, logic, bits and divisors: no derivatives."""

from __future__ import annotations

from clgrad.ops.registry import pointwise

lt = pointwise(
    "lt", "a, b", "a < b", numbers=("b",), result="bool", aliases=("less",), doc="Whether a < b."
)
le = pointwise(
    "le",
    "a, b",
    "a <= b",
    numbers=("b",),
    result="bool",
    aliases=("less_equal",),
    doc="Whether a <= b.",
)
gt = pointwise(
    "gt", "a, b", "a > b", numbers=("b",), result="bool", aliases=("greater",), doc="Whether a > b."
)
ge = pointwise(
    "ge",
    "a, b",
    "a >= b",
    numbers=("b",),
    result="bool",
    aliases=("greater_equal",),
    doc="Whether a >= b.",
)
eq = pointwise("eq", "a, b", "a == b", numbers=("b",), result="bool", doc="Whether a equals b.")
ne = pointwise(
    "ne",
    "a, b",
    "a != b",
    numbers=("b",),
    result="bool",
    aliases=("not_equal",),
    doc="Whether a differs from b.",
)

isnan = pointwise("isnan", "x", "isnan(x)", result="bool", inplace=False, doc="Whether x is NaN.")
isinf = pointwise(
    "isinf", "x", "isinf(x)", result="bool", inplace=False, doc="Whether x is infinite."
)
isfinite = pointwise(
    "isfinite", "x", "isfinite(x)", result="bool", inplace=False,
    doc="Whether x is neither infinite nor NaN.",
)  # fmt: skip
isposinf = pointwise(
    "isposinf", "x", "isinf(x) and x > 0", result="bool", inplace=False,
    doc="Whether x is positive infinity.",
)  # fmt: skip
isneginf = pointwise(
    "isneginf", "x", "isinf(x) and x < 0", result="bool", inplace=False,
    doc="Whether x is negative infinity.",
)  # fmt: skip

# each operand is a truth value by itself: no promotion
logical_and = pointwise(
    "logical_and", "a, b", "bool(a) and bool(b)", numbers=(), promote="none", result="bool",
    doc="Whether both are true.",
)  # fmt: skip
logical_or = pointwise(
    "logical_or", "a, b", "bool(a) or bool(b)", numbers=(), promote="none", result="bool",
    doc="Whether one or both are true.",
)  # fmt: skip
logical_xor = pointwise(
    "logical_xor", "a, b", "bool(a) != bool(b)", numbers=(), promote="none", result="bool",
    doc="Whether exactly one is true.",
)  # fmt: skip
logical_not = pointwise(
    "logical_not", "x", "not bool(x)", promote="none", result="bool", doc="Whether it is false."
)

bitwise_and = pointwise("bitwise_and", "a, b", "a & b", takes="bui", doc="The bits that both have.")
bitwise_or = pointwise(
    "bitwise_or", "a, b", "a | b", takes="bui", doc="The bits that one or both have."
)
bitwise_xor = pointwise(
    "bitwise_xor", "a, b", "a ^ b", takes="bui", doc="The bits that exactly one has."
)
bitwise_not = pointwise(
    "bitwise_not", "x", "~x", takes="bui", doc="The other bits; of bools, the other value."
)
gcd = pointwise("gcd", "a, b", "gcd(a, b)", takes="ui", numbers=(), doc="Greatest common divisor.")
lcm = pointwise(
    "lcm", "a, b", "0 if gcd(a, b) == 0 else abs(trunc_divide(a, gcd(a, b)) * b)", takes="ui",
    numbers=(), doc="Least common multiple; 0 of zeros.",
)  # fmt: skip
bitwise_left_shift = pointwise(
    "bitwise_left_shift", "a, b", "a << b", takes="ui",
    doc="a with its bits moved up by b; 0 where b is out of range.",
)  # fmt: skip
bitwise_right_shift = pointwise(
    "bitwise_right_shift", "a, b", "a >> b", takes="ui",
    doc="a with its bits moved down by b; only its sign where b is out of range.",
)  # fmt: skip
