"""What a formula costs, for the decision to compute it again rather than to store it."""

from __future__ import annotations

from clgrad.expr.functions import TABLE
from clgrad.expr.node import Expr, postorder


def count_ops(expr: Expr) -> int:
    """Return the number of arithmetic operations, a shared node once, transcendentals as 8."""
    return sum(TABLE[n.op].cost for n in postorder((expr,)) if n.args)
