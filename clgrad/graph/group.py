"""A group: pending ops that become one kernel, over one iteration space.

The space has shape `shape` (dims of size 1 dropped). A full-level member has one value per point
and, read flat, the order of the space; once something is folded along `reduced` dims, a row-level
member has one value per point of the kept dims. Expressions of members are built over the group's
own leaves: `x…` elements read, `i…` indices, `s…` numbers, `r<fold>_<accumulator>` folded results.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clgrad.dtypes import DType, int64
from clgrad.expr import TABLE, Expr, free_names
from clgrad.expr import name as leaf
from clgrad.graph.fold_order import FoldOrder
from clgrad.layout import Layout
from clgrad.ops.signature import Fold, fresh_numel

Ref = int
"""What a value is called while a plan is made: an entry of the tape (0, 1, …), a leaf (~0, ~1, …),
or, from the number of entries on, a temporary of the plan itself."""


@dataclass(slots=True)
class Member:
    """Value of an entry within its group.

    `phase`: the first pass over the reduced dims in which it can be computed.
    """

    expr: Expr
    row: bool
    phase: int


@dataclass(slots=True)
class GroupFold:
    """A reduction within a group: its element expressions over the group's leaves."""

    entry: Ref
    fold: Fold
    element: tuple[Expr, ...]
    phase: int


class Group:
    """See the module.

    Attributes:
        index: number of the group; `before`: bit set of the groups that must run earlier.
        shape, reduced: the space; `reduced` is None as long as nothing is folded; then `order` says
            in which order elements are folded.
        reads: (ref, layout over `shape`) -> leaf. An index has ref None.
        members: entry -> its value here; `values`: expression -> the first member that has it.
        stores: entries whose value others need.
        split: number of chunks of the first reduced dim when only partial results are made, with
            the refs of the partial results in `partials` (per fold, per accumulator), which the
            group `finish` folds.
        single: the entry of a group that is no loop (matmul), or of a partial write; `tail`: the
            last pointwise op that a matmul applies to its sums before it stores them.
        cost: operations per point, of the expressions in `counted`.
        inlined: entries of other groups that are computed again here, if somebody wants to know.
        fed: operands of `single` that its kernel makes where it reads them: position -> expression.
        straight: nothing may be read through windows any more.
    """

    __slots__ = (
        "before", "cost", "counted", "fed", "finish", "folds", "index", "inlined", "leaves",
        "members", "order", "partials", "reads", "reduced", "scalars", "shape", "single", "split",
        "stores", "straight", "tail", "values",
    )  # fmt: skip

    def __init__(self, index: int, shape: tuple[int, ...]) -> None:
        self.index = index
        self.before = 0
        self.shape = shape
        self.reduced: tuple[int, ...] | None = None
        self.order: FoldOrder | None = None
        self.reads: dict[tuple[Ref | None, Layout], Expr] = {}
        self.leaves: dict[str, tuple[Ref | None, Layout]] = {}
        self.members: dict[Ref, Member] = {}
        self.values: dict[Expr, Ref] = {}
        self.stores: dict[Ref, None] = {}
        self.folds: list[GroupFold] = []
        self.scalars: list[tuple[Ref | None, int, DType]] = []
        self.split = 0
        self.partials: list[tuple[Ref, ...]] = []
        self.finish: Group | None = None
        self.single: Ref | None = None
        self.tail: Ref | None = None
        self.fed: dict[int, Expr] = {}
        self.cost = 0
        self.counted: set[Expr] = set()
        self.inlined: dict[Ref, Expr] = {}
        self.straight = False

    @property
    def kept_shape(self) -> tuple[int, ...]:
        reduced = self.reduced or ()
        return tuple(n for d, n in enumerate(self.shape) if d not in reduced)

    @property
    def numel(self) -> int:
        return fresh_numel(self.shape)

    def add(self, e: Ref, member: Member) -> None:
        self.members[e] = member
        self.values.setdefault(member.expr, e)
        if not member.row:
            self.count(member.expr)

    def count(self, expr: Expr) -> None:
        """Add what an expression costs per point beyond what is computed there already."""
        stack = [expr]
        while stack:
            e = stack.pop()
            ref = self.values.get(e)
            if e in self.counted or not e.args or (ref is not None and self.members[ref].row):
                continue
            self.counted.add(e)
            self.cost += TABLE[e.op].cost
            stack.extend(e.args)

    def phase_of(self, exprs: Iterable[Expr]) -> int:
        """Return the first pass over the reduced dims in which `exprs` can be computed."""
        if not self.folds:
            return 0
        folds = [
            int(label[1:].partition("_")[0])
            for expr in exprs
            for label in free_names(expr)
            if label[0] == "r"
        ]
        return max((self.folds[f].phase + 1 for f in folds), default=0)

    def read(self, ref: Ref | None, layout: Layout, dtype: DType) -> Expr:
        """Return the leaf for an element of `ref` reached by `layout` (over the group's shape).

        A ref of None is an index.
        """
        found = self.reads.get((ref, layout))
        if found is None:
            label = f"{'i' if ref is None else 'x'}{len(self.leaves)}"
            found = leaf(label, dtype)
            self.reads[(ref, layout)] = found
            self.leaves[label] = (ref, layout)
        return found

    def index_leaf(self, layout: Layout) -> Expr:
        """Return the leaf for a flat index: the offset that `layout` gives."""
        return self.read(None, layout, int64)

    def number(self, entry: Ref | None, position: int, dtype: DType) -> Expr:
        """Return the leaf for a number argument of an entry; with None the number is `position`."""
        item = (entry, position, dtype)
        try:
            number = self.scalars.index(item)
        except ValueError:
            number = len(self.scalars)
            self.scalars.append(item)
        return leaf(f"s{number}", dtype)

    def level_layout(self, layout: Layout, row: bool) -> Layout | None:
        """Return a reader's layout as one over the group's shape, or None where it does not fit.

        `layout` is over any shape with as many points as the level has.
        """
        if not row:
            return layout.view(self.shape)
        reduced = self.reduced or ()
        viewed = layout.view(self.kept_shape)
        if viewed is None:
            return None
        strides = iter(viewed.strides)
        return Layout(
            self.shape,
            tuple(0 if d in reduced else next(strides) for d in range(len(self.shape))),
            viewed.offset,
        )

    def own_layout(self, row: bool) -> Layout:
        """Return how a member's value, read flat, lies over the group's shape."""
        made = self.level_layout(Layout.contiguous(self.kept_shape if row else self.shape), row)
        assert made is not None
        return made

    @property
    def takes_windows(self) -> bool:
        """Whether it may read through windows: it folds nothing, and is no family's."""
        return not self.straight and self.reduced is None and self.single is None

    def refactor(self, shape: tuple[int, ...]) -> bool:
        """Give the space another shape, the same points in the same order, if all reads allow."""
        if shape == self.shape:
            return True
        if self.reduced is not None or self.single is not None:
            return False
        viewed = {}
        for label, (ref, layout) in self.leaves.items():
            other = layout.view(shape)
            if other is None:
                return False
            viewed[label] = (ref, other)
        self.shape = shape
        self.reads = {key: self.reads[self.leaves[label]] for label, key in viewed.items()}
        self.leaves = viewed
        return True


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` without dims of size 1."""
    return tuple(n for n in shape if n != 1)


def kept_layout(layout: Layout, reduced: tuple[int, ...]) -> Layout:
    """Return the part of a layout over the dims that are not folded."""
    kept = [d for d in range(len(layout.shape)) if d not in reduced]
    return Layout(
        tuple(layout.shape[d] for d in kept), tuple(layout.strides[d] for d in kept), layout.offset
    )
