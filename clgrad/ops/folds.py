"""The formulas of a fold, which reductions and scans share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clgrad.errors import ClgradValueError
from clgrad.expr import Expr, parse, substitute
from clgrad.expr import name as leaf


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """How a reduction folds its elements; accumulators are named `a0, a1, …` (and `b0, b1, …`).

    Attributes:
        init: constants to start from (formulas without names, or `lowest`/`highest` of the dtype).
        element: formulas over `x` and `i`, the position among the reduced elements.
        combine: formulas over `a0…` and `b0…`; must be associative.
        finish: formula over `a0…` and `n`, the number of reduced elements.
        accumulate: dtype names of the accumulators; `acc` is the reduction's computing dtype.
        empty: whether reducing nothing is defined (it then gives finish of init).
    """

    init: tuple[str, ...]
    element: tuple[Expr, ...]
    combine: tuple[Expr, ...]
    finish: Expr
    accumulate: tuple[str, ...]
    empty: bool


def fold_rule(
    name: str,
    operand: str,
    init: str | Sequence[str],
    element: str | Sequence[str],
    combine: str | Sequence[str],
    finish: str,
    accumulate: Sequence[str],
    empty: bool,
) -> Reduction:
    """Return the parsed formulas of a fold; with one accumulator they may call it `a` (and `b`).

    Raises:
        FormulaError: a formula cannot be read or uses an unknown name.
        ClgradValueError: the accumulators do not agree in number.
    """
    inits, combines, elements = (
        (v,) if isinstance(v, str) else tuple(v) for v in (init, combine, element)
    )
    if not len(inits) == len(combines) == len(elements) == len(accumulate):
        raise ClgradValueError(
            f"{name}: {len(inits)} initial values, {len(combines)} combine, {len(elements)} "
            f"element formulas and {len(accumulate)} accumulator dtypes. Expected as many of each."
        )
    count = range(len(inits))
    accumulators = {f"{side}{k}" for side in "ab" for k in count}
    alias = {"a": "a0", "b": "b0"} if len(inits) == 1 else {}

    def read(text: str, names: set[str]) -> Expr:
        parsed = parse(text, names | set(alias))
        return substitute(parsed, {k: leaf(v) for k, v in alias.items()})

    return Reduction(
        init=inits,
        element=tuple(parse(e, {operand, "i"}) for e in elements),
        combine=tuple(read(c, accumulators) for c in combines),
        finish=read(finish, {f"a{k}" for k in count} | {"n"}),
        accumulate=tuple(accumulate),
        empty=empty,
    )
