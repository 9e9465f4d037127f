"""The first lines of a loop kernel: what it computes and what its indices run over.

A pure function of the spec, like the rest of the text, so that nothing of the program around it
(op names, source lines, sizes) may stand here: that is what the dump adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clgrad.expr import Expr
from clgrad.expr.text import to_text

if TYPE_CHECKING:
    from clgrad.codegen.loops import LoopSpec

FORMULAS = 8
"""Lines for formulas; what is beyond is only counted."""
_COLUMNS = 92


def title(spec: LoopSpec, squares: int) -> list[str]:
    """Return the lines, without comment marks.

    Args:
        squares: see `LoopText`.
    """
    formulas = _formulas(spec)
    if len(formulas) > FORMULAS:
        left_out = len(formulas) - FORMULAS + 1
        formulas = [*formulas[: FORMULAS - 1], f"... and {left_out} more"]
    looked_for = [f"looks for {c.kind} in {to_text(c.expr, _COLUMNS)}" for c in spec.checks]
    return [*formulas, *looked_for, _space(spec, squares)]


def _formulas(spec: LoopSpec) -> list[str]:
    """Return a line per fold and result, in the order in which they are computed."""
    lines: list[tuple[int, int, str]] = []
    named: dict[Expr, str] = {}
    for k, store in enumerate(spec.stores):
        if store.expr.args:
            named.setdefault(store.expr, f"out{k}")
    for f, fold in enumerate(spec.folds):
        room = _COLUMNS // (2 * len(fold.dtypes))
        names = ", ".join(f"r{f}_{j}" for j in range(len(fold.dtypes)))
        combine = ", ".join(to_text(e, room) for e in fold.combine)
        over = ", ".join(to_text(e, room, named) for e in fold.element)
        lines.append((fold.phase, 0, f"{names} = fold of {combine} over {over}"))
    for k, store in enumerate(spec.stores):
        others = {e: n for e, n in named.items() if n != f"out{k}"}
        lines.append((store.phase, 1, f"out{k} = {to_text(store.expr, _COLUMNS, others)}"))
    return [text for _, _, text in sorted(lines, key=lambda line: line[:2])]


def _dims(first: int, last: int) -> str:
    return ", ".join(f"c{d} < n{d}" for d in range(first, last))


def _space(spec: LoopSpec, squares: int) -> str:
    """Return what the coordinates are, which is also what `x0` is: the element of `p0` there."""
    together = "" if spec.width == 1 else f", {spec.width} at a time"
    if squares:
        return f"at each {_dims(0, spec.rank)}; work-items in squares of {squares} x {squares}"
    if not spec.folds:
        along = f"segments of c{spec.rank - 1}{together}"
        return f"at each {_dims(0, spec.rank)}; a work-item takes {along}"
    kept, folded = _dims(0, spec.kept), _dims(spec.kept, spec.rank)
    rows = f"for each {kept}" if spec.kept else "for the whole"
    chunk = ", in chunks" if spec.split else ""
    if spec.lanes == "kept":
        return f"{rows}{together}; folded along {folded}{chunk}"
    if spec.lanes == "group":
        return f"{rows}, a work-group of {spec.group}; folded along {folded}{chunk}"
    return f"{rows}; folded along {folded}{chunk}{together}"
