"""The parts of a loop kernel's spec: accesses, folds and stores (see `loops.LoopSpec`).

One iteration space of `rank` dims, of which the last `reduced` are folded. Every access reaches an
element by a stride per dim; expressions say what is computed from the elements. A spec holds no
sizes, so that a new batch size reuses the kernel.

    kept dims (rows)  ×  reduced dims (folded)
    ────────────────     ─────────────────────
    row-level: one value per row          full-level: one value per point

Leaves of the expressions: `x0…` elements read, `s0…` numbers, `i0…` flat indices, `r0_0…` folded
results (fold, accumulator); inside `combine`: `a0…` and `b0…`.
"""

from __future__ import annotations

from dataclasses import dataclass

from clgrad.dtypes import DType
from clgrad.expr import Expr

BROADCAST, UNIT, STRIDED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Access:
    """How one operand is reached.

    Attributes:
        dtype: as stored; None for an index, whose value is the offset itself.
        pattern: per dim `BROADCAST` (stride 0), `UNIT` (stride 1) or `STRIDED` (an argument).
        offset: whether an offset is passed.
        windows: per dim `in` (0 is read outside of two places that are arguments), `turn` (from an
            argument's place on, elements lie an argument's distance further back) or None; empty
            if no dim has one. Only of operands.
    """

    dtype: DType | None
    pattern: tuple[int, ...]
    offset: bool = False
    windows: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class FoldSpec:
    """One reduction: accumulators with their start, element and combine expressions.

    `phase` is the pass over the reduced dims that computes it; its elements may depend on the
    results of earlier phases.
    """

    phase: int
    dtypes: tuple[DType, ...]
    init: tuple[Expr, ...]
    element: tuple[Expr, ...]
    combine: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """One result: `expr` goes to `access`; `phase` is the pass that stores it.

    A row-level store (pattern broadcast along the reduced dims) is done once per row, after the
    folds of the phase before.
    """

    access: Access
    expr: Expr
    phase: int


@dataclass(frozen=True, slots=True)
class Reach:
    """Sizes that a spec leaves out: strides and offset of one access, in elements; windows."""

    strides: tuple[int, ...]
    offset: int = 0
    windows: tuple[tuple[str, int, int] | None, ...] = ()


def access_of(dtype: DType | None, reach: Reach, shape: tuple[int, ...]) -> Access:
    """Return the pattern of an access with these strides."""
    pattern = tuple(
        BROADCAST if s == 0 or n == 1 else UNIT if s == 1 else STRIDED
        for s, n in zip(reach.strides, shape, strict=True)
    )
    windows = tuple(w and w[0] for w in reach.windows)
    return Access(dtype, pattern, reach.offset != 0, windows)
