"""The leaves of expressions, and the replacement of parts by others.

What it is not: a change of meaning; dtypes and functions stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clgrad.expr.node import Expr, call


def leaves_of(exprs: Iterable[Expr]) -> list[Expr]:
    """Return the distinct leaves (names) of some expressions, in order of first use."""
    seen: set[Expr] = set()
    found: list[Expr] = []
    stack = list(exprs)[::-1]
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        if e.op == "name":
            found.append(e)
        stack.extend(reversed(e.args))
    return found


def replace_parts(root: Expr, table: Mapping[Expr, Expr]) -> Expr:
    """Return `root` with whole subexpressions replaced."""
    done = dict(table)
    stack = [root]
    while stack:
        e = stack[-1]
        missing = [a for a in e.args if a not in done] if e not in done else []
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        if e not in done:
            args = tuple(done[a] for a in e.args)
            done[e] = e if args == e.args else call(e.op, *args, dtype=e.dtype)
    return done[root]
