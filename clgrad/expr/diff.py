"""Differentiate formulas symbolically, by the derivative strings of the function table.

Equal subexpressions are one node, so the derivative of `exp(x)` reads the very `exp(x)` that the
formula has. Zeros that follow from structure are dropped here (they are exact: nothing depends on
the name), never zeros that happen to be numbers. What it is not: autograd.
"""

from __future__ import annotations

from functools import lru_cache

from clgrad.errors import FormulaError
from clgrad.expr.functions import TABLE
from clgrad.expr.node import CONST, NAME, Expr, call, const, postorder, rebuild, with_args
from clgrad.expr.parse import parse
from clgrad.expr.simplify import simplify_node


def diff(expr: Expr, name: str) -> Expr:
    """Return the derivative of an untyped formula by the name `name`, simplified.

    Raises:
        FormulaError: a function without a derivative depends on `name`, or a node has a dtype
            (casts, leaves and numbers may have one).
    """
    # None is the zero of what does not depend on the name.
    rates: dict[Expr, Expr | None] = {}
    for node in postorder((expr,)):
        if node.op == NAME:
            rates[node] = const(1) if node.value == name else None
        elif node.op == CONST or all(rates[a] is None for a in node.args):
            rates[node] = None
        else:
            rates[node] = _chain(node, [rates[a] for a in node.args])
    found = rates[expr]
    return const(0) if found is None else found


def _chain(node: Expr, rates: list[Expr | None]) -> Expr | None:
    if node.op == "cast":
        assert node.dtype is not None  # a cast always has one
        return rates[0] if node.dtype.is_floating_point else None
    if node.dtype is not None:
        raise FormulaError(
            f"diff: {node!r} has a dtype already. Expected an untyped formula. "
            "Hint: differentiate before typed()."
        )
    if node.op == "where":
        if rates[1] is None and rates[2] is None:
            return None
        branches = [r if r is not None else const(0) for r in rates[1:]]
        return simplify_node(call("where", node.args[0], *branches))
    total: Expr | None = None
    for position, rate in enumerate(rates):
        if rate is None:
            continue
        part = _partial(node, position, rate)
        if part is not None:
            total = part if total is None else simplify_node(call("add", total, part))
    return total


def _partial(node: Expr, position: int, rate: Expr) -> Expr | None:
    function = TABLE.get(node.op)
    if function is None or function.derivatives[position] is None:
        raise FormulaError(
            f"diff: {node.op} has no derivative. Expected a function of the table that has one."
        )
    formula = _formula(node.op, position)
    if formula is None:
        return None
    env = {"g": rate, "y": node, **dict(zip(function.params, node.args, strict=True))}

    # Only the nodes of the derivative formula are new; visiting what they stand on again for every
    # node would make diff quadratic.
    def make(template: Expr, args: tuple[Expr, ...]) -> Expr:
        if template.op == NAME:
            return env[str(template.value)]
        return simplify_node(with_args(template, args))

    return rebuild(formula, make)


@lru_cache(maxsize=256)
def _formula(op: str, position: int) -> Expr | None:
    function = TABLE[op]
    text = function.derivatives[position]
    if text is None or text == "0":
        return None
    return parse(text, {"g", "y", *function.params})
