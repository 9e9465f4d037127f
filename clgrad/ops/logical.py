"""Pointwise comparisons, questions about numbers, logic, bits and divisors: no derivatives."""

from __future__ import annotations

from clgrad.ops.registry import pointwise

# written in place over floats, they have gradients of zero
for _name, _sign, _alias, _doc in (
    ("lt", "<", "less", "Whether a < b."), ("le", "<=", "less_equal", "Whether a <= b."),
    ("gt", ">", "greater", "Whether a > b."), ("ge", ">=", "greater_equal", "Whether a >= b."),
    ("eq", "==", None, "Whether a equals b."), ("ne", "!=", "not_equal", "Whether a is not b."),
):  # fmt: skip
    pointwise(
        _name, "a, b", f"a {_sign} b", da="0", db="0", numbers=("b",), result="bool",
        aliases=() if _alias is None else (_alias,),
        node_names={"tt": f"{_name.capitalize()}Backward1"}, doc=_doc,
    )  # fmt: skip

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
    "logical_and", "a, b", "bool(a) and bool(b)", da="0", db="0", numbers=(),
    promote="none", result="bool",
    doc="Whether both are true.",
)  # fmt: skip
logical_or = pointwise(
    "logical_or", "a, b", "bool(a) or bool(b)", da="0", db="0", numbers=(),
    promote="none", result="bool",
    doc="Whether one or both are true.",
)  # fmt: skip
logical_xor = pointwise(
    "logical_xor", "a, b", "bool(a) != bool(b)", da="0", db="0", numbers=(),
    promote="none", result="bool",
    doc="Whether exactly one is true.",
)  # fmt: skip
logical_not = pointwise(
    "logical_not",
    "x",
    "not bool(x)",
    dx="0",
    promote="none",
    result="bool",
    doc="Whether it is false.",
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
