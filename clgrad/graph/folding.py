"""Where a reduction's fold goes within a group: shared with an equal one, finished after chunks.

Ops that fold the same elements in the same way (an extremum and its position, mean and variance of
a batch) share one fold and differ in what they make of its accumulators. Where rows are cut into
chunks, all reductions of a group are finished by one other group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clgrad.expr import Expr
from clgrad.graph.fold_order import order_of_chunks
from clgrad.graph.group import Group, GroupFold, Ref
from clgrad.layout import Layout
from clgrad.ops.signature import Fold, fresh_numel

if TYPE_CHECKING:
    from clgrad.graph.fusion import Fusion


def same_fold(group: Group, fold: Fold, element: tuple[Expr, ...], phase: int) -> int | None:
    """Return the number of the group's fold that has the same accumulators, or None."""
    for f, old in enumerate(group.folds):
        if (
            old.phase == phase
            and old.element == element
            and (old.fold.dtypes, old.fold.init, old.fold.combine)
            == (fold.dtypes, fold.init, fold.combine)
        ):
            return f
    return None


def add_fold(group: Group, e: Ref, fold: Fold, element: tuple[Expr, ...], phase: int) -> int:
    """Return the number of the fold of entry `e` in `group`, a new one if no other has it."""
    found = same_fold(group, fold, element, phase)
    if found is not None:
        return found
    group.folds.append(GroupFold(e, fold, element, phase))
    group.cost += 2
    for expr in element:
        group.count(expr)
    return len(group.folds) - 1


def finish_chunks(
    fusion: Fusion, group: Group, e: Ref, fold: Fold, f: int, parts: int
) -> tuple[Group, int]:
    """Return the group that folds the chunks' partial results, and the number of the fold there.

    They lie in memory as (parts, kept…).
    """
    kept = group.kept_shape
    rows = fresh_numel(kept)
    if f == len(group.partials):
        refs = []
        for dtype in fold.dtypes:
            ref = len(fusion.entries) + len(fusion.temporaries)
            fusion.temporaries.append((rows * parts, dtype))
            fusion.home[ref] = group
            refs.append(ref)
        group.partials.append(tuple(refs))
    second = group.finish
    if second is None or not fusion.room(second, 2, len(fold.dtypes)):
        second = group.finish = fusion.new_group((*kept, parts))
        second.order = order_of_chunks(second.shape, fusion.traits)
        second.reduced = second.order.reduced
        fusion.after(group, second)
    layout = Layout((*kept, parts), (*Layout.contiguous(kept).strides, rows), 0)
    element = tuple(
        second.read(ref, layout, d) for ref, d in zip(group.partials[f], fold.dtypes, strict=True)
    )
    return second, add_fold(second, e, fold, element, 0)
