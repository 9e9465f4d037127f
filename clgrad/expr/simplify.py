"""Rewrite formulas by identities that hold for every IEEE value, NaN and signed zeros included.

So `x * 1` and `x - 0` become `x`, and `x + 0` (which turns -0.0 into 0.0) and `0 * x` stay. Numbers
are folded while they have no dtype yet; that an integer is no NaN is seen once it has one. What it
is not: algebra that rounds differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from clgrad.expr.functions import TABLE
from clgrad.expr.node import CONST, Expr, Number, call, const, rebuild, with_args

_BIGGEST = 1 << 63  # integers beyond this are not folded; no signed dtype holds them


def simplify(expr: Expr) -> Expr:
    """Return an equal formula, usually smaller; never recursive, one pass from the leaves."""
    return rebuild(expr, lambda node, args: simplify_node(with_args(node, args)))


def simplify_node(node: Expr) -> Expr:
    """Simplify one node whose operands are simplified already; what is below is not visited."""
    # A rule may expose the next one (a - -b, then constants), hence the loop; each step shrinks
    # the node or replaces it by an operand, so it ends.
    while node.args:
        smaller = _fold(node) or _identity(node)
        if smaller is None or smaller is node:
            return node
        if node.dtype is not None and smaller.dtype is not node.dtype:
            return node
        node = smaller
    return node


def _fold(node: Expr) -> Expr | None:
    if node.dtype is not None or any(a.op != CONST or a.dtype is not None for a in node.args):
        return None
    function = TABLE.get(node.op)
    if function is None or function.result not in ("same", "bool") or node.op == "where":
        return None
    values = [a.number for a in node.args]
    if function.name in ("and", "or", "not"):
        values = [bool(v) for v in values]
    elif function.takes == "f" or (node.op == "pow" and _fractional_power(values)):
        values = [float(v) for v in values]
    elif any(isinstance(v, bool) for v in values) and function.result != "bool":
        return None
    return _computed(node.op, values)


def _fractional_power(values: list[Number]) -> bool:
    return isinstance(values[0], float) or isinstance(values[1], float) or values[1] < 0


def _computed(op: str, values: list[Number]) -> Expr | None:
    if all(isinstance(v, int) for v in values):
        a, b = values[0], values[-1]
        if _depends_on_dtype(op, int(a), int(b)):
            return None
        if op in ("add", "sub", "mul", "neg"):
            exact = {"add": a + b, "sub": a - b, "mul": a * b, "neg": -a}[op]
            return const(exact) if abs(exact) < _BIGGEST else None
        if op == "pow" and int(b) * abs(int(a)).bit_length() > 62:
            return None
    if any(isinstance(v, int) and abs(v) >= _BIGGEST for v in values):
        return None
    with np.errstate(all="ignore"):
        result = TABLE[op].numpy(*[np.asarray(v) for v in values])
    value = np.asarray(result).item()
    return const(value) if isinstance(value, bool | int | float) else None


def _depends_on_dtype(op: str, a: int, b: int) -> bool:
    """Whether two whole numbers give one result as integers and another one as floats."""
    if op in ("floor_divide", "trunc_divide", "remainder", "fmod"):
        return b == 0 or a < 0 or b < 0  # infinities, and zeros with a sign
    return (op == "mul" and a * b == 0 and a + b < 0) or (op == "neg" and a == 0)


def _is(node: Expr, value: float) -> bool:
    """Whether `node` is the constant `value`; tells 0.0 from -0.0."""
    if node.op != CONST or isinstance(node.value, bool) or node.number != value:
        return False
    return math.copysign(1, node.number) == math.copysign(1, value)


def _identity(node: Expr) -> Expr | None:
    rule = _RULES.get(node.op)
    return rule(node) if rule is not None else None


def _neg(node: Expr) -> Expr | None:
    (x,) = node.args
    if x.op == "neg":
        return x.args[0]
    if node.dtype is None and x.op == "mul" and x.args[0].op == CONST and x.args[0].dtype is None:
        factor = simplify_node(call("neg", x.args[0]))
        return call("mul", factor, x.args[1]) if factor.op == CONST else None
    return None


def _add(node: Expr) -> Expr | None:
    a, b = node.args
    if _is(b, -0.0) and isinstance(b.value, float):
        return a
    if _is(a, -0.0) and isinstance(a.value, float):
        return b
    if b.op == "neg":
        return call("sub", a, b.args[0], dtype=node.dtype)
    return None


def _sub(node: Expr) -> Expr | None:
    a, b = node.args
    if _is(b, 0):
        return a
    if b.op == "neg":
        return call("add", a, b.args[0], dtype=node.dtype)
    return None


def _mul(node: Expr) -> Expr | None:
    a, b = node.args
    if _is(b, 1):
        return a
    if _is(a, 1):
        return b
    if _is(b, -1):
        return call("neg", a, dtype=node.dtype)
    if _is(a, -1):
        return call("neg", b, dtype=node.dtype)
    return None


def _div(node: Expr) -> Expr | None:
    a, b = node.args
    return a if _is(b, 1) else None


def _pow(node: Expr) -> Expr | None:
    """Exponents that PyTorch computes without pow are written that way here too."""
    if node.dtype is not None:
        return None
    x, exponent = node.args
    one = const(1)
    if exponent.op != CONST or isinstance(exponent.value, bool):
        return None
    square = call("mul", x, x)
    forms = {
        0: one, 1: x, 2: square, 3: call("mul", square, x), 0.5: call("sqrt", x),
        -0.5: call("rsqrt", x), -1: call("reciprocal", x), -2: call("reciprocal", square),
    }  # fmt: skip
    return forms.get(exponent.number)


def _where(node: Expr) -> Expr | None:
    condition, a, b = node.args
    if condition.op == CONST:
        return a if condition.number else b
    if a is b:
        return a
    if condition.op == "not":
        return call("where", condition.args[0], b, a, dtype=node.dtype)
    return None


def _not(node: Expr) -> Expr | None:
    (x,) = node.args
    if x.op == "not" and _is_truth(x.args[0]):
        return x.args[0]
    return None


def _is_truth(node: Expr) -> bool:
    function = TABLE.get(node.op)
    return isinstance(node.value, bool) or (function is not None and function.result == "bool")


def _and(node: Expr) -> Expr | None:
    for constant, other in (node.args, node.args[::-1]):
        if constant.op == CONST:
            if not constant.number:
                return const(False, node.dtype)
            if _is_truth(other):
                return other
    return None


def _or(node: Expr) -> Expr | None:
    for constant, other in (node.args, node.args[::-1]):
        if constant.op == CONST:
            if constant.number:
                return const(True, node.dtype)
            if _is_truth(other):
                return other
    return None


def _with_itself(equal: bool) -> Callable[[Expr], Expr | None]:
    """Return the rule of comparing a value with itself, whose answer only a NaN can change."""

    def rule(node: Expr) -> Expr | None:
        a, b = node.args
        if a is b and a.dtype is not None and not a.dtype.is_floating_point:
            return const(equal, node.dtype)
        return None

    return rule


def _cast(node: Expr) -> Expr | None:
    (x,) = node.args
    return x if x.dtype is node.dtype else None


_RULES = {
    "neg": _neg, "add": _add, "sub": _sub, "mul": _mul, "div": _div, "pow": _pow,
    "eq": _with_itself(True), "ne": _with_itself(False), "where": _where, "not": _not,
    "and": _and, "or": _or, "cast": _cast,
}  # fmt: skip
