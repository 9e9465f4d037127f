"""Read the formula language: Python's expression syntax over scalars.

Numbers, names, `inf nan pi True False`, `+ - * / // % **`, `& | ^ ~ << >>`, comparisons (chains
too), `and or not`, `a if c else b`, calls of the functions of the table, and dtypes as functions
(`float16(x)` casts). What it is not: a Python evaluator; nothing is ever executed.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection

from clgrad.dtypes import ALL
from clgrad.errors import FormulaError
from clgrad.expr.functions import TABLE
from clgrad.expr.node import Expr, call, const, name

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div",
    ast.FloorDiv: "floor_divide", ast.Mod: "remainder", ast.Pow: "pow",
    ast.BitAnd: "bitand", ast.BitOr: "bitor", ast.BitXor: "bitxor",
    ast.LShift: "shl", ast.RShift: "shr",
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], str] = {ast.USub: "neg", ast.Not: "not", ast.Invert: "bitnot"}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
_CONSTANTS = {"inf": math.inf, "nan": math.nan, "pi": math.pi}
_CASTS = {d.name: d for d in ALL}


def parse(text: str, allowed: Collection[str] | None = None) -> Expr:
    """Return the formula `text` as an untyped expression.

    Args:
        text: one expression, such as `"g * y * (1 - y)"`.
        allowed: the names that may occur; None allows every name.

    Raises:
        FormulaError: syntax that is not in the language, an unknown name or function, a wrong
            number of arguments, or nesting deeper than Python's parser takes.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or type(error).__name__
        raise FormulaError(
            f"formula: {text!r} cannot be read ({reason}). Expected one Python expression."
        ) from None
    try:
        return _Reader(text, allowed).read(tree.body)
    except RecursionError:
        raise FormulaError(
            f"formula: {text[:60]!r}... is nested too deeply to be read. "
            "Hint: build it with call() or split it."
        ) from None


class _Reader:
    def __init__(self, text: str, allowed: Collection[str] | None) -> None:
        self._text = text
        self._allowed = allowed

    def read(self, node: ast.expr) -> Expr:
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return const(number)
            case ast.Name():
                return self._name(node.id)
            case ast.BinOp() if type(node.op) in _BINARY:
                return call(_BINARY[type(node.op)], self.read(node.left), self.read(node.right))
            case ast.UnaryOp(op=ast.UAdd()):
                return self.read(node.operand)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.Compare():
                return self._compare(node)
            case ast.BoolOp():
                values = [self.read(v) for v in node.values]
                joined = values[0]
                for value in values[1:]:
                    joined = call("and" if isinstance(node.op, ast.And) else "or", joined, value)
                return joined
            case ast.IfExp():
                parts = (self.read(node.test), self.read(node.body), self.read(node.orelse))
                return call("where", *parts)
            case ast.Call(func=ast.Name()):
                return self._call(node)
        raise self._error(
            f"{ast.unparse(node)!r} is not in the language",
            "numbers, names, operators, comparisons, `a if c else b` and calls of known functions",
        )

    def _name(self, text: str) -> Expr:
        if text in _CONSTANTS and (self._allowed is None or text not in self._allowed):
            return const(_CONSTANTS[text])
        if self._allowed is not None and text not in self._allowed:
            raise self._error(
                f"unknown name {text!r}", f"one of {', '.join(sorted(self._allowed)) or '(none)'}"
            )
        return name(text)

    def _unary(self, node: ast.UnaryOp) -> Expr:
        operand = self.read(node.operand)
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return const(-operand.number)
        return call(_UNARY[type(node.op)], operand)

    def _compare(self, node: ast.Compare) -> Expr:
        sides = [self.read(side) for side in (node.left, *node.comparators)]
        joined: Expr | None = None
        for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if type(operator) not in _COMPARE:
                raise self._error(
                    f"{ast.unparse(node)!r} is no comparison of numbers", "< <= > >= == !="
                )
            one = call(_COMPARE[type(operator)], left, right)
            joined = one if joined is None else call("and", joined, one)
        assert joined is not None  # ast gives every Compare at least one operator
        return joined

    def _call(self, node: ast.Call) -> Expr:
        assert isinstance(node.func, ast.Name)  # the caller matched it
        fn = node.func.id
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise self._error(f"{ast.unparse(node)!r} has * or keyword arguments", "plain ones")
        args = [self.read(a) for a in node.args]
        if fn in _CASTS:
            self._arity(fn, len(args), 1)
            return call("cast", args[0], dtype=_CASTS[fn])
        if fn not in TABLE or fn == "cast":
            known = ", ".join(sorted(n for n in TABLE if n.isidentifier()))
            raise self._error(f"unknown function {fn!r}", f"one of {known}, or a dtype's name")
        self._arity(fn, len(args), TABLE[fn].arity)
        return call(fn, *args)

    def _arity(self, fn: str, got: int, wanted: int) -> None:
        if got != wanted:
            raise self._error(f"{fn} got {got} arguments", f"{wanted}")

    def _error(self, fact: str, expected: str) -> FormulaError:
        return FormulaError(f"formula: {fact} in {self._text!r}. Expected {expected}.")
