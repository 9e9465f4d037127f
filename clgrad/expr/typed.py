"""Give every node of a formula a dtype: where it computes, and which casts that takes.

What it is not: promotion. The caller says in which dtype to compute; leaves keep the dtype in
which they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from clgrad.dtypes import DType, bool_, float32, float64, int64, uint32, uint64
from clgrad.errors import DTypeError, FormulaError
from clgrad.expr.functions import TABLE, Function
from clgrad.expr.node import CONST, NAME, Expr, call, const, rebuild
from clgrad.expr.simplify import simplify_node

_LOGICAL = ("and", "or", "not")


def typed(expr: Expr, env: Mapping[str, Expr], compute: DType) -> Expr:
    """Return `expr` with a dtype at every node.

    Args:
        expr: a formula without dtypes (casts have theirs).
        env: typed expressions for its names; leaves have the dtype in which they are stored.
        compute: dtype of arithmetic and of numbers; not float16 or bfloat16.

    Returns:
        The typed formula. Its own dtype is `compute`, bool for a comparison, that of the leaf for
        a bare name: the caller casts to what it wants.

    Raises:
        FormulaError: a name that is not in `env`.
        DTypeError: a function that does not compute in `compute`, or a number that is none there.
    """
    if compute.compute is not compute:
        raise DTypeError(
            f"typed: cannot compute in {compute.name}, it is a storage dtype. "
            f"Expected {compute.compute.name}. Hint: pass dtype.compute."
        )

    def make(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op == NAME:
            return _bound(node, env)
        if node.op == CONST:
            if node.dtype is not None:
                return node
            return const(node.number, bool_ if isinstance(node.value, bool) else compute)
        made = _call(node, args, compute)
        return simplify_node(made) if made.dtype is bool_ else made  # no integer is NaN

    return rebuild(expr, make)


def _bound(node: Expr, env: Mapping[str, Expr]) -> Expr:
    found = env.get(str(node.value))
    if found is None and node.dtype is not None:
        return node
    if found is None or found.dtype is None:
        known = ", ".join(sorted(env)) or "(none)"
        what = "is not bound" if found is None else "is bound to an untyped expression"
        raise FormulaError(f"typed: the name {node.value!r} {what}. Expected one of {known}.")
    return found


def _call(node: Expr, args: tuple[Expr, ...], compute: DType) -> Expr:
    function = TABLE.get(node.op)
    if function is None:
        raise FormulaError(
            f"typed: no function is called {node.op!r}. Expected one of the function table."
        )
    if node.op == "cast":
        if node.dtype is None:
            raise FormulaError("typed: a cast without a dtype. Hint: call('cast', x, dtype=...).")
        return cast_to(args[0], node.dtype)
    if node.op == "where":
        condition, a, b = args
        dtype = bool_ if a.dtype is bool_ and b.dtype is bool_ else compute
        return call(
            "where", cast_to(condition, bool_), cast_to(a, dtype), cast_to(b, dtype), dtype=dtype
        )
    if node.op.startswith("random_"):
        operands = [cast_to(args[0], int64), *[cast_to(a, uint64) for a in args[1:]]]
        return call(node.op, *operands, dtype=_random_dtype(function, compute))
    dtype = _operand_dtype(function, args, compute)
    if dtype.kind not in function.takes:
        kinds = {"b": "bool", "u": "unsigned", "i": "integer", "f": "floating-point"}
        takes = ", ".join(kinds[k] for k in function.takes)
        raise DTypeError(f"{node.op}: cannot compute in {dtype.name}. Expected {takes} operands.")
    result = bool_ if function.result == "bool" else dtype
    return call(node.op, *[cast_to(a, dtype) for a in args], dtype=result)


def _operand_dtype(function: Function, args: tuple[Expr, ...], compute: DType) -> DType:
    if function.name in _LOGICAL:
        return bool_
    # Two truth values are compared or combined as such, whatever surrounds them.
    stays = function.result == "bool" or function.name.startswith("bit")
    if stays and all(a.dtype is bool_ for a in args):
        return bool_
    # Operands of one dtype are compared as they are: positions in int64 beside values in float32.
    if function.result == "bool" and len({a.dtype for a in args}) == 1:
        dtype = args[0].dtype
        if dtype is not None and dtype.compute is dtype:
            return dtype
    return compute


def _random_dtype(function: Function, compute: DType) -> DType:
    if function.result == "bits":
        return uint32
    if function.result == "wide":
        return uint64
    return float64 if compute is float64 else float32


def cast_to(expr: Expr, dtype: DType) -> Expr:
    """Return `expr` as `dtype`: itself, a converted constant, or a cast node."""
    if expr.dtype is dtype:
        return expr
    if expr.op == CONST and (dtype.kind in "bf" or not isinstance(expr.value, float)):
        return const(expr.number, dtype)
    return call("cast", expr, dtype=dtype)
