"""The table of scalar functions: one record each, with all that the other files need to know.

Derivatives are formulas in the same language over the operands, `g` (the incoming derivative) and
`y` (the function's own result). Their values at kinks and poles are PyTorch's. What it is not:
the text of the helpers (`helpers`), the spelling in OpenCL C (`emit`) or the NumPy code (`host`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clgrad.expr import emit, host, host_gamma
from clgrad.expr.emit import Emit

TRANSCENDENTAL = 8


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the language.

    Attributes:
        name: how formulas call it, or the word behind an operator.
        params: names of its operands, as the derivatives use them.
        result: `same` (the compute dtype), `bool`, `bits` (uint32), `wide` (uint64), `float`
            (float64 where that is computed in, otherwise float32) or `cast` (the node's dtype).
        takes: kinds of dtype that it computes in, of `b` bool, `u` and `i` integer, `f` float.
        emit: the rule that writes it in OpenCL C.
        numpy: the same on arrays.
        derivatives: one formula per operand, None where it has none (an error to ask), `"0"` where
            the derivative is zero everywhere.
        cost: arithmetic operations that it stands for.
    """

    name: str
    params: tuple[str, ...]
    result: str
    takes: str
    emit: Emit
    numpy: host.Host
    derivatives: tuple[str | None, ...]
    cost: int = 1

    @property
    def arity(self) -> int:
        return len(self.params)


TABLE: dict[str, Function] = {}


def _add(
    name: str,
    params: str,
    emission: Emit,
    numpy: host.Host,
    *derivatives: str | None,
    result: str = "same",
    takes: str = "uif",
    cost: int = 1,
) -> None:
    names = tuple(params.split())
    zero = result == "bool" or not derivatives
    formulas = ("0",) * len(names) if zero else derivatives
    assert len(formulas) == len(names) and name not in TABLE
    TABLE[name] = Function(name, names, result, takes, emission, numpy, formulas, cost)


def _math(name: str, derivative: str | None, reference: host.Host, of_double: str | None) -> None:
    """Add a transcendental of one float."""
    rule = emit.mathematical(name, of_double)
    _add(name, "x", rule, host.precise(reference), derivative, takes="f", cost=TRANSCENDENTAL)


def _family(
    takes: str, result: str, *members: tuple[str, Emit, host.Host], params: str = "a b"
) -> None:
    """Add functions that differ only in spelling and have no derivative but zero."""
    for name, rule, numpy in members:
        _add(name, params, rule, numpy, result=result, takes=takes)


def _operator(name: str, params: str, emission: Emit, numpy: host.Host, *d: str | None) -> None:
    _add(name, params, emission, numpy, *d, takes="buif")


# ---- arithmetic -------------------------------------------------------------------------------

_operator("add", "a b", emit.arithmetic("+", emit.SUM, "|"), np.add, "g", "g")
_add("sub", "a b", emit.arithmetic("-", emit.SUM), np.subtract, "g", "-g")
_operator("mul", "a b", emit.arithmetic("*", emit.PRODUCT, "&"), np.multiply, "g * b", "g * a")
_add(
    "div", "a b", emit.infix("/", emit.PRODUCT), host.divide, "g / b", "-g * y / b",
    takes="f", cost=4,
)  # fmt: skip
_add("neg", "x", emit.negate, host.negative, "-g")
_add(
    "pow", "a b",
    emit.by_kind(
        floats=emit.helper("pow"), integers=emit.helper("ipow"),
    ),
    host.power,
    "g * (b * pow(a, b - 1)) if b != 0 else 0",
    "0 if a == 0 and b >= 0 else g * (y * log(a))",
    cost=2 * TRANSCENDENTAL,
)  # fmt: skip
_add("abs", "x", emit.helper("abs"), np.abs, "g * sign(x)")
_add(
    "sign", "x",
    emit.by_kind(floats=emit.helper("sign"), integers=emit.helper("sign"), bools=emit.unchanged),
    host.sign, "0", takes="buif", cost=2,
)  # fmt: skip
_add("sqrt", "x", emit.builtin("sqrt"), np.sqrt, "g / (2 * y)", takes="f", cost=4)
_add("rsqrt", "x", emit.helper("rsqrt"), lambda x: 1 / np.sqrt(x), "-0.5 * g * (y * y * y)",
     takes="f", cost=8)  # fmt: skip
_add("reciprocal", "x", emit.helper("reciprocal"), lambda x: 1 / x, "-g * (y * y)", takes="f",
     cost=4)  # fmt: skip
_add("trunc_divide", "a b",
     emit.helper("trunc_divide"), host.truncated_divide, cost=4)  # fmt: skip
_add("floor_divide", "a b", emit.helper("floor_divide"), host.floor_divide, cost=8)
_add(
    "remainder", "a b", emit.helper("remainder"), host.remainder,
    "g", "-g * floor_divide(a, b)", cost=8,
)  # fmt: skip
_add("fmod", "a b", emit.helper("fmod"),
     np.fmod, "g", "-g * trunc_divide(a, b)", cost=8)  # fmt: skip

# ---- rounding ---------------------------------------------------------------------------------


def _rounding(key: str) -> Emit:
    return emit.by_kind(floats=emit.builtin(key), integers=emit.unchanged)


_family(
    "uif", "same",
    ("floor", _rounding("floor"), host.rounding(np.floor)),
    ("ceil", _rounding("ceil"), host.rounding(np.ceil)),
    ("round", _rounding("rint"), host.rounding(np.rint)),
    ("trunc", _rounding("trunc"), host.rounding(np.trunc)),
    params="x",
)  # fmt: skip

# ---- exponentials and logarithms --------------------------------------------------------------

_math("exp", "g * y", np.exp, "exp")
_math("exp2", "g * (y * 0.6931471805599453)", np.exp2, "exp2")
_math("expm1", "g * (y + 1)", np.expm1, "expm1")
_math("log", "g / x", np.log, "log")
_math("log2", "g / (x * 0.6931471805599453)", np.log2, "log2")
_math("log10", "g / (x * 2.302585092994046)", np.log10, "log10")
_math("log1p", "g / (x + 1)", np.log1p, "log1p")

# ---- circular and hyperbolic ------------------------------------------------------------------

_math("sin", "g * cos(x)", np.sin, "sin")
_math("cos", "-g * sin(x)", np.cos, None)
_math("tan", "g * (1 + y * y)", np.tan, "tan")
_math("asin", "g * rsqrt(1 - x * x)", np.arcsin, "asin")
_math("acos", "-g * rsqrt(1 - x * x)", np.arccos, "acos")
_math("atan", "g / (x * x + 1)", np.arctan, "atan")
_math("sinh", "g * cosh(x)", np.sinh, "sinh")
_math("cosh", "g * sinh(x)", np.cosh, "cosh")
_math("tanh", "g * (1 - y * y)", np.tanh, "tanh")
_math("asinh", "g * rsqrt(x * x + 1)", np.arcsinh, "asinh")
_math("acosh", "g * rsqrt(x * x - 1)", np.arccosh, "acosh")
_math("atanh", "g / (1 - x * x)", np.arctanh, "atanh")
_add(
    "atan2", "a b", emit.mathematical("atan2", "atan2"), host.precise(np.arctan2),
    "g * (b * (1 / (a * a + b * b) if a * a + b * b != 0 else 0))",
    "g * (-a * (1 / (a * a + b * b) if a * a + b * b != 0 else 0))",
    takes="f", cost=TRANSCENDENTAL,
)  # fmt: skip
_add("hypot", "a b", emit.mathematical("hypot", "hypot"), host.hypot, "g * (a / y)", "g * (b / y)",
     takes="f", cost=TRANSCENDENTAL)  # fmt: skip

# ---- special ----------------------------------------------------------------------------------

# 2 / sqrt(pi)
_math("erf", "g * (1.1283791670955126 * exp(-(x * x)))", host.elementwise(math.erf), "erf")
_math("erfc", "-g * (1.1283791670955126 * exp(-(x * x)))", host.elementwise(math.erfc), "erfc")
_math("erfinv", "g * (0.8862269254527579 * exp(y * y))", host.elementwise(host.erfinv), None)
# 2 / sqrt(pi), sqrt(2 pi)
_math("erfcx", "g * (2 * x * y - 1.1283791670955126)", host.elementwise(host.erfcx), None)
_math("ndtri", "g * (2.5066282746310002 * exp(y * y / 2))", host.elementwise(host.ndtri), None)
_math("i0e", "g * (i1e(x) - sign(x) * y)", host.elementwise(host.i0e), None)
_math(
    "i1e", "g * (0.5 if x == 0 else i0e(x) - y * (sign(x) + 1 / x))", host.elementwise(host.i1e),
    None,
)  # fmt: skip
_math("sigmoid", "g * ((1 - y) * y)", lambda x: 1 / (1 + np.exp(-x)), None)
_math("lgamma", "g * digamma(x)", host.elementwise(host.lgamma), None)
_math("digamma", "g * trigamma(x)", host.elementwise(host.digamma), None)
_math("trigamma", "g * (-2 * zeta(3, x))", host.elementwise(host.trigamma), None)
_add("zeta", "s q", emit.helper("zeta"), host.zeta, None, "g * (-s * zeta(s + 1, q))",
     takes="f", cost=20 * TRANSCENDENTAL)  # fmt: skip

_add("igamma", "a x", emit.helper("igamma"), host_gamma.igamma, None,
     "g * exp((a - 1) * log(x) - x - lgamma(a))", takes="f", cost=20 * TRANSCENDENTAL)  # fmt: skip
_add("igammac", "a x", emit.helper("igammac"), host_gamma.igammac, None,
     "-g * exp((a - 1) * log(x) - x - lgamma(a))", takes="f", cost=20 * TRANSCENDENTAL)  # fmt: skip
_add("poisson", "rate u", emit.helper("poisson"), host_gamma.poisson, "0", "0", takes="f",
     cost=400 * TRANSCENDENTAL)  # fmt: skip

# ---- extrema, comparisons, logic --------------------------------------------------------------


def _extremum(key: str, logical: str) -> Emit:
    """Return the rule of an extremum; of bools it is `or` or `and`."""
    joined = emit.infix(logical, emit.OR if logical == "|" else emit.AND)
    return emit.by_kind(floats=emit.helper(key), integers=emit.helper(key), bools=joined)


# PyTorch halves the gradient between equal operands of maximum and minimum, not of fmax and fmin,
# and with a NaN both operands of the former get all of it.
_operator("maximum", "a b", _extremum("maximum", "|"), np.maximum,
          "g / 2 if a == b else (0 if a < b else g)",
          "g / 2 if a == b else (0 if a > b else g)")  # fmt: skip
_operator("minimum", "a b", _extremum("minimum", "&"), np.minimum,
          "g / 2 if a == b else (0 if a > b else g)",
          "g / 2 if a == b else (0 if a < b else g)")  # fmt: skip
_operator("fmax", "a b", _extremum("fmax", "|"), np.fmax,
          "g if a >= b or isnan(b) else 0", "0 if a >= b or isnan(b) else g")  # fmt: skip
_operator("fmin", "a b", _extremum("fmin", "&"), np.fmin,
          "g if a <= b or isnan(b) else 0", "0 if a <= b or isnan(b) else g")  # fmt: skip
_family(
    "buif", "bool",
    ("lt", emit.compare("<"), np.less), ("le", emit.compare("<="), np.less_equal),
    ("gt", emit.compare(">"), np.greater), ("ge", emit.compare(">="), np.greater_equal),
    ("eq", emit.compare("=="), np.equal), ("ne", emit.compare("!="), np.not_equal),
)  # fmt: skip
_add("and", "a b", emit.infix("&", emit.AND), np.logical_and, result="bool", takes="b")
_add("or", "a b", emit.infix("|", emit.OR), np.logical_or, result="bool", takes="b")
_add("not", "x", emit.invert, np.logical_not, result="bool", takes="b")


def _predicate(key: str, of_integer: Emit) -> Emit:
    return emit.by_kind(floats=emit.predicate(key), integers=of_integer)


_family(
    "buif", "bool",
    ("isnan", _predicate("isnan", emit.never), host.predicate(np.isnan, False)),
    ("isinf", _predicate("isinf", emit.never), host.predicate(np.isinf, False)),
    ("isfinite", _predicate("isfinite", emit.always), host.predicate(np.isfinite, True)),
    params="x",
)  # fmt: skip
_add(
    "signbit", "x",
    emit.by_kind(floats=emit.predicate("signbit"), integers=emit.negative, bools=emit.never),
    host.negative_sign, result="bool", takes="buif",
)  # fmt: skip
_add("copysign", "a b", emit.builtin("copysign"), np.copysign, "g * (y / a if a != 0 else 0)", "0",
     takes="f")  # fmt: skip
for _name, _next in (
    ("nextafter", host.next_float), ("nextafter_float16", host.next_float16),
    ("nextafter_bfloat16", host.next_bfloat16),
):  # fmt: skip
    _add(_name, "a b", emit.helper(_name), _next, "g if a != b else 0", "0", takes="f", cost=4)
# The derivative of where keeps the condition outside; diff() does that itself.
_add("where", "c a b", emit.select, np.where, "0", "g if c else 0", "0 if c else g", takes="buif")

# ---- bits and parts ---------------------------------------------------------------------------

_family(
    "bui", "same",
    ("bitand", emit.infix("&", emit.AND), np.bitwise_and),
    ("bitor", emit.infix("|", emit.OR), np.bitwise_or),
    ("bitxor", emit.infix("^", emit.XOR), np.bitwise_xor),
)  # fmt: skip
_add("bitnot", "x", emit.invert, np.invert, takes="bui")
_add("shl", "a b", emit.helper("shl"), host.shift_left, takes="ui", cost=2)
_add("shr", "a b", emit.helper("shr"), host.shift_right, takes="ui", cost=2)

_add("gcd", "a b", emit.helper("gcd"), np.gcd, takes="ui", cost=64)
_add("mantissa", "x", emit.helper("mantissa"), host.mantissa, "g / exp2(exponent(x))", takes="f",
     cost=2)  # fmt: skip
_add("exponent", "x", emit.helper("exponent"), host.exponent, "0", takes="f", cost=2)

# ---- conversion and random numbers ------------------------------------------------------------

# Its derivative depends on the dtypes; diff() knows it. Its NumPy form is in `evaluate`.
_add("cast", "x", emit.cast, np.asarray, "g", result="cast", takes="buif", cost=0)
for _name, _result, _host in (
    ("random_bits", "bits", host.random_bits), ("random_uniform", "float", host.random_uniform),
    ("random_normal", "float", host.random_normal),
    ("random_exponential", "float", host.random_exponential),
):  # fmt: skip
    _add(_name, "i seed offset", emit.random(_name), _host, result=_result, takes="buif",
         cost=3 * TRANSCENDENTAL)  # fmt: skip
_add("random_integer", "i seed offset count", emit.random("random_integer"), host.random_integer,
     result="wide", takes="buif", cost=3 * TRANSCENDENTAL)  # fmt: skip
