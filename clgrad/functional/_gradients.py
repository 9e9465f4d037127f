"""Gradients of composites that are a formula of the elements at one place."""

from __future__ import annotations

from clgrad.expr import parse
from clgrad.ops.registry import REQUIRED, Op, SymbolicDerivatives


def gradient_op(name: str, inputs: str, formula: str, numeric: str = "") -> Op:
    """Return an op outside the table, whose derivatives of any order are symbolic.

    Args:
        inputs: names of its operands; not `g`, `n` or `y`, which derivatives use themselves.
        formula: value of an element.
        numeric: names of its number parameters.
    """
    names, numbers = tuple(inputs.split()), tuple(numeric.split())
    parsed = parse(formula, {*names, *numbers})
    return Op(
        name=name, kind="pointwise", inputs=names, formula=parsed,
        params=tuple((p, REQUIRED) for p in numbers), numeric=frozenset(numbers),
        derivatives=SymbolicDerivatives(parsed, names), node_name=f"{name.title()}Backward0",
    )  # fmt: skip
