"""What a row kernel keeps in a result's own place until the result itself is known.

Softmax sums exp(x - max) in one pass over a row and divides the same values in the next. They fit
where the quotients will be, so they are written there and read again, which takes less time than to
compute them twice: the row is in the nearest cache of a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clgrad.codegen.loop_spec import FoldSpec, StoreSpec
from clgrad.expr import Expr, count_ops
from clgrad.expr.node import postorder

DEAR = 8
"""Operations that take longer than to read what they gave from a cache."""


def parked(
    folds: Sequence[FoldSpec], stores: Sequence[StoreSpec], is_row: Callable[[Expr], bool]
) -> dict[int, tuple[Expr, int]]:
    """Return of stores by number what waits in their place, and the pass that computes it.

    Args:
        is_row: whether an expression has one value per row.
    """
    first: dict[Expr, int] = {}
    for fold in folds:
        for e in postorder(fold.element):
            first[e] = min(fold.phase, first.get(e, fold.phase))
    taken = {s.expr for s in stores}
    found: dict[int, tuple[Expr, int]] = {}
    for k, store in enumerate(stores):
        dtype = store.access.dtype
        if is_row(store.expr) or dtype is None or dtype is not dtype.compute:
            continue
        dear = [
            e
            for e in postorder((store.expr,))
            if first.get(e, store.phase) < store.phase
            and e.dtype is dtype
            and e not in taken
            and count_ops(e) >= DEAR
            and not is_row(e)
        ]
        if dear:
            best = max(dear, key=count_ops)
            taken.add(best)
            found[k] = (best, first[best])
    return found
