"""Fusion: which pending ops share a kernel.

Entries are taken in the order of recording; each joins a group that has what it reads, or starts
one. A producer in another group is either computed again inside the reader (cheap, or its only
reader: `inlining`) or stored by its own group. Cycles between groups are excluded by ancestor bit
sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clgrad.dtypes import DType, bool_
from clgrad.expr import Expr, call, free_names, substitute
from clgrad.expr import name as leaf
from clgrad.expr.leaves import leaves_of
from clgrad.graph.feeding import feed
from clgrad.graph.fold_order import FoldOrder, fold_order, inverse
from clgrad.graph.folding import add_fold, finish_chunks
from clgrad.graph.group import Group, Member, Ref, squeezed
from clgrad.graph.inlining import CHEAP, MAX_OPS, cut, inlined, origins, take_inlined, touched
from clgrad.layout import Layout
from clgrad.ops.signature import Signature, fresh_numel
from clgrad.traits import DeviceTraits
from clgrad.windowed import Windowed

MAX_OPERANDS = 24
"""Buffers of one kernel (the smallest `max_parameter_size` seen is 1024 bytes)."""
CANDIDATES = 8
"""How many of the latest groups an entry looks at for one that shares an operand."""
LONG_BODY = 16
"""Operations beyond which a column reduction is not fused with what feeds it, if that is stored
in any case (tanh-GELU's gradients, 16384 x 1024: 17 ms in two kernels, 33 in one)."""
EXTRAS = 6
"""Operands that an epilogue adds (bias; mean, deviation, scale and shift of a norm; residual)."""
AHEAD = 64
"""Entries among which the ops of an epilogue are looked for."""
STORING = 2
"""What it costs to write an element: its cache line is read before."""
SMALL = 4096
"""Points up to which a launch costs more than the work: such ops share a kernel if they can."""
SMALL_OPS, SMALL_OPERANDS = 128, 48
"""The same limits for kernels over so few points, where the device takes as many parameters: what
they spill costs less than a launch. Longer ones yet would take too long to compile."""


Way = tuple[Ref, Layout, bool, str, DType]
"""How a group gets an operand: ref, layout, once per row, what `_how` says, dtype."""


@dataclass(slots=True)
class Entry:
    """A pending op: its signature and the refs of its operands; of a write also the old value's."""

    sig: Signature
    sources: tuple[Ref, ...]
    base: Ref | None = None


class Fusion:
    """The groups of one plan.

    Args:
        entries: what is pending, in the order of recording.
        wanted: per entry whether it must be computed (else nobody needs it).
        stored: per entry whether its value must be in memory afterwards.
        traced: note in each group what is computed there again (`Group.inlined`).
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        wanted: Sequence[bool],
        stored: Sequence[bool],
        traits: DeviceTraits,
        traced: bool = False,
    ) -> None:
        self.traced = traced
        self.entries = entries
        self.stored = stored
        self.traits = traits
        room = traits.max_parameter_bytes  # each op may store its result and take a number
        self.limits = (
            max(MAX_OPERANDS, min(SMALL_OPERANDS, room // 32)),
            max(MAX_OPS, min(SMALL_OPS, room // 16)),
        )
        self.groups: list[Group] = []
        self.awaited = 0  # bit set of the groups that others wait for
        self.home: dict[Ref, Group] = {}
        self.temporaries: list[tuple[int, DType]] = []
        """(numel, dtype) of each partial result; its ref is len(entries) + position."""
        self.wanted = wanted
        self.readers = [0] * len(entries)
        self.bases = {entry.base for entry in entries}
        self.waiting: set[Ref] = set()
        self.due: dict[Ref, tuple[Group, list[Ref], list[int]]] = {}
        """Last op of an epilogue -> the group, its ops, and how many of them may be taken."""
        for e, entry in enumerate(entries):
            if wanted[e]:
                for ref in entry.sources:
                    if ref >= 0:
                        self.readers[ref] += 1
        place = {"map": self._place_map, "reduce": self._place_reduce}
        for e, entry in enumerate(entries):
            if e in self.due:
                self._place_epilogue(e)
            elif wanted[e] and e not in self.waiting:
                place.get(entry.sig.kind, self._place_single)(e)
        for e in range(len(entries)):
            if stored[e] and wanted[e]:
                self.home[e].stores[e] = None

    # ---- placing entries ----------------------------------------------------------------------

    def new_group(self, shape: tuple[int, ...]) -> Group:
        group = Group(len(self.groups), shape)
        self.groups.append(group)
        return group

    def _candidates(self, e: Ref, points: int) -> list[Group]:
        """Return groups worth joining: the sources' own, latest first, then those sharing reads."""
        entry = self.entries[e]
        homes = {g.index for r in entry.sources if (g := self.home.get(r)) is not None}
        own = [self.groups[k] for k in sorted(homes, reverse=True)]
        ordered = [g for g in own if g.single is None]
        shared = origins(self, entry.sources)
        for group in self.groups[: -CANDIDATES - 1 : -1]:
            if group.index in homes or group.single is not None or group.numel != points:
                continue
            if (
                points <= SMALL
                or any(ref in shared for ref, _ in group.reads if ref is not None)
                or not shared.isdisjoint(group.members)
            ):
                ordered.append(group)
        if len(ordered) > 1:  # what costs the least memory traffic; of these what runs anyway
            ordered.sort(
                key=lambda g: (self._burden(g, e, points), not self.runs(g), -len(g.reads))
            )
        return ordered

    def runs(self, group: Group) -> bool:
        """Whether a group is a kernel by now, and not only computed again in its readers."""
        return bool(group.folds or group.stores) or any(self.stored[e] for e in group.members)

    def _burden(self, group: Group, e: Ref, points: int) -> float:
        """Return how many elements are moved more if `e` joins `group`."""
        sig = self.entries[e].sig
        if not self.room(group, sig.cost, len(sig.reads) + 1):
            return math.inf
        row = points != group.numel
        if row and not self._row_fits(group, points):
            return math.inf
        ways = self._ways(group, e, row)
        if ways is None:
            return math.inf
        moved = 0
        for ref, layout, row, how, _ in ways:
            reads = {(ref, layout)} if how == "read" else set[tuple[Ref, Layout]]()
            if how == "inline":
                again = cut(self, group, ref, layout, row)
                assert again is not None
                reads = again.reads
            for source, over in reads - group.reads.keys():
                moved += touched(over)
                home = self.home.get(source)
                if home is not None and not self.stored[source] and source not in home.stores:
                    moved += STORING * self.entries[source].sig.meta.numel
        return moved

    def _place_map(self, e: Ref) -> None:
        space = self.entries[e].sig.space
        for group in self._candidates(e, fresh_numel(space)):
            if self._join_map(group, e):
                return
        if not self._join_map(self.new_group(squeezed(space)), e):
            raise AssertionError(f"fusion: {self.entries[e].sig} does not fit its own space")

    def _join_map(self, group: Group, e: Ref) -> bool:
        sig = self.entries[e].sig
        if not self.room(group, sig.cost, len(sig.reads) + 1):
            return False
        points = fresh_numel(sig.space)
        row = points != group.numel
        if row and not self._row_fits(group, points):
            return False
        resolved = self._resolve(group, e, row)
        if resolved is None and not row and group.refactor(squeezed(sig.space)):
            resolved = self._resolve(group, e, row)
        if resolved is None:
            return False
        phase = group.phase_of(resolved)
        if group.split and phase:
            return False
        assert sig.expr is not None
        expr = self._bind(group, e, sig.expr, resolved, group.own_layout(row))
        group.add(e, Member(expr, row, phase))
        self.home[e] = group
        return True

    def _row_fits(self, group: Group, points: int) -> bool:
        """Whether `group` has so many rows, and finishes them itself."""
        if group.split or group.reduced is None:
            return False
        return points == fresh_numel(group.kept_shape)

    def _bind(
        self, group: Group, e: Ref, formula: Expr, operands: Sequence[Expr], index: Layout
    ) -> Expr:
        """Give an entry's formula the group's leaves for operands, numbers and index."""
        used = free_names(formula)
        mapping = {f"x{k}": expr for k, expr in enumerate(operands)}
        for k, dtype in enumerate(self.entries[e].sig.scalars):
            if f"s{k}" in used:
                mapping[f"s{k}"] = group.number(e, k, dtype)
        if "i" in used:
            mapping["i"] = group.index_leaf(index)
        return substitute(formula, mapping)

    def room(self, group: Group, cost: int, operands: int) -> bool:
        if not group.members:
            return True
        few, most = self.limits if group.numel <= SMALL else (MAX_OPERANDS, MAX_OPS)
        buffers = len(group.reads) + len(group.stores) + operands
        return buffers <= few and group.cost + cost <= most

    def _place_reduce(self, e: Ref) -> None:
        order = fold_order(self.entries[e].sig, self.traits)
        for group in self._candidates(e, fresh_numel(order.shape)):
            if self._join_reduce(group, e, order):
                return
        if not self._join_reduce(self.new_group(order.shape), e, order):
            raise AssertionError(f"fusion: {self.entries[e].sig} does not fit its own space")

    def _join_reduce(self, group: Group, e: Ref, order: FoldOrder) -> bool:
        sig = self.entries[e].sig
        assert sig.fold is not None
        shape, parts = order.shape, order.parts
        if group.single is not None or group.numel != fresh_numel(shape):
            return False
        if not self.room(group, 2, 2):
            return False
        long = order.lanes == "kept" and not group.folds and group.cost > LONG_BODY
        if long and all(ref < 0 or self.stored[ref] for ref in self.entries[e].sources):
            # down the columns a long body runs at half its speed: read what is stored anyway
            return False
        if group.order is None:
            if not group.refactor(shape):
                return False
        elif group.order != order:
            return False
        if any(isinstance(layout, Windowed) for _, layout in group.reads):
            return False
        straight, group.straight = group.straight, True
        resolved = self._resolve(group, e, row=False)
        if resolved is None:
            group.straight = straight
            return False
        phase = group.phase_of(resolved)
        if parts and phase:
            return False
        element = tuple(
            self._bind(group, e, formula, resolved, _fold_position(shape, order.reduced))
            for formula in sig.fold.element
        )
        group.reduced, group.split, group.order = order.reduced, parts, order
        f = add_fold(group, e, sig.fold, element, phase)
        if parts:
            group, f = finish_chunks(self, group, e, sig.fold, f, parts)
            phase = 0
        results = {f"a{j}": leaf(f"r{f}_{j}", d) for j, d in enumerate(sig.fold.dtypes)}
        for item in leaves_of((sig.fold.finish,)):
            if item.label == "n":  # an argument: another size is the same kernel
                assert item.dtype is not None
                results["n"] = group.number(None, sig.fold.count, item.dtype)
        group.add(e, Member(substitute(sig.fold.finish, results), True, phase + 1))
        self.home[e] = group
        return True

    def _place_single(self, e: Ref) -> None:
        """A group of its own: a kernel family's, or a write into a part of a storage."""
        entry = self.entries[e]
        sig = entry.sig
        group = self.new_group(sig.space if sig.kind == "kernel" else squeezed(sig.space))
        group.single, group.straight = e, True
        self.home[e] = group
        if entry.base is not None:
            self.store(entry.base, group)
        if sig.kind != "write":
            for k, ref in enumerate(entry.sources):
                if sig.prologue is None or not feed(self, group, e, k):
                    self.store(ref, group)
            dtype = sig.meta.dtype
            if sig.epilogue and dtype.is_floating_point:
                # rounded to its dtype before anything else happens, as if it had been stored
                total = leaf("acc", dtype.compute)
                expr = total if dtype is dtype.compute else call("cast", total, dtype=dtype)
                group.add(e, Member(expr, False, 0))
                group.tail = e
                self._plan_epilogue(e)
            return
        resolved = self._resolve(group, e, row=False)
        assert resolved is not None and sig.expr is not None
        expr = self._bind(group, e, sig.expr, resolved, group.own_layout(False))
        group.add(e, Member(expr, False, 0))

    # ---- what follows a kernel family's result ------------------------------------------------

    def _plan_epilogue(self, e: Ref) -> None:
        """Look for the pointwise ops that follow `e` and whose last one alone is needed elsewhere.

        They wait until the last of them is reached, because only then all that they read is placed.
        """
        inside, found, ends = {e: 0}, [], []
        for k in range(e + 1, min(e + AHEAD, len(self.entries))):
            entry = self.entries[k]
            sig = entry.sig
            read = [ref for ref in entry.sources if ref in inside]
            if not read or not self.wanted[k] or k in self.waiting or not self._follows(sig, e):
                continue
            for ref in read:
                inside[ref] += 1
            inside[k] = 0
            found.append(k)
            alone = all(
                uses == self.readers[ref] and not self.stored[ref] and ref not in self.bases
                for ref, uses in inside.items()
                if ref != k
            )
            if alone and sig.meta.dtype is self.entries[e].sig.meta.dtype:
                ends.append(len(found))
        if ends:
            del found[ends[-1] :]
            self.waiting.update(found)
            self.due[found[-1]] = (self.home[e], found, ends)

    def _follows(self, sig: Signature, e: Ref) -> bool:
        """Whether an op may be part of an epilogue of `e`, as far as it says itself."""
        return (
            sig.kind == "map"
            and bool_ not in sig.scalars
            and fresh_numel(sig.space) == self.home[e].numel
        )

    def _place_epilogue(self, e: Ref) -> None:
        """Take as many of the waiting ops as fit into their group; place the others as usual."""
        group, found, ends = self.due.pop(e)
        for end in reversed(ends):
            if self._fits(group, found[:end]):
                for k in found[:end]:
                    self._join_epilogue(group, k)
                del found[:end]
                break
        for k in found:
            self._place_map(k)

    def _fits(self, group: Group, found: Sequence[Ref]) -> bool:
        """Whether these ops can be applied to what the group computes, before it is stored."""
        beside: set[tuple[Ref, Layout]] = set()
        cost = 0
        for k in found:
            entry = self.entries[k]
            cost += entry.sig.cost
            for ref, reads in zip(entry.sources, entry.sig.reads, strict=True):
                layout = group.level_layout(reads, False)
                if layout is None or isinstance(layout, Windowed):
                    return False
                if ref == group.single or ref in found:
                    if layout != group.own_layout(False):
                        return False
                    continue
                origin = self.home.get(ref)
                if origin is not None and self.depends(origin, group):
                    return False
                if self._operands(ref) != 0 or not self._along(group, ref, layout):
                    beside.add((ref, layout))
        return len(beside) <= EXTRAS and cost <= MAX_OPS

    def _operands(self, ref: Ref) -> int:
        """Return how many operands the expression of `ref` reads; of what is in memory, -1."""
        home = self.home.get(ref)
        member = None if home is None else home.members.get(ref)
        if member is None:
            return -1
        return sum(label[0] == "x" for label in free_names(member.expr))

    def _along(self, group: Group, ref: Ref, layout: Layout) -> bool:
        """Whether an epilogue computes `ref` where it reads it.

        It does where `ref` is made of numbers and indices alone, or of one operand for it alone.
        """
        operands = self._operands(ref)
        if operands <= 0:
            return operands == 0 and (inlined(self, group, ref, layout, False, MAX_OPS) is not None)
        if operands > 1 or self.readers[ref] > 1 or self.stored[ref] or ref in self.bases:
            return False
        again = layout.numel > self.entries[ref].sig.meta.numel
        return inlined(self, group, ref, layout, False, CHEAP if again else MAX_OPS) is not None

    def _join_epilogue(self, group: Group, e: Ref) -> None:
        """Apply a pointwise op to what a kernel family computes before it is stored."""
        entry = self.entries[e]
        sig = entry.sig
        assert sig.expr is not None
        operands = []
        for ref, reads, dtype in zip(entry.sources, sig.reads, sig.dtypes, strict=True):
            layout = group.level_layout(reads, False)
            assert layout is not None
            if ref in group.members:
                operands.append(group.members[ref].expr)
            else:
                how = "inline" if self._along(group, ref, layout) else "read"
                operands.append(self._take(group, ref, layout, False, how, dtype))
        expr = self._bind(group, e, sig.expr, operands, group.own_layout(False))
        group.add(e, Member(expr, False, 0))
        group.tail = e
        self.home[e] = group

    # ---- what an entry reads --------------------------------------------------------------------

    def _resolve(self, group: Group, e: Ref, row: bool) -> list[Expr] | None:
        """Return the expression of each operand within `group`, or None where one does not fit."""
        ways = self._ways(group, e, row)
        return None if ways is None else [self._take(group, *way) for way in ways]

    def _ways(self, group: Group, e: Ref, row: bool) -> list[Way] | None:
        """Return how `group` gets each operand, or None where one does not fit."""
        sig = self.entries[e].sig
        ways = []
        for k, ref in enumerate(self.entries[e].sources):
            over = sig.reads[k]
            if sig.kind == "reduce":
                over = over.permute(inverse(sig.order))
            layout = group.level_layout(over, row)
            how = None if layout is None else self._how(group, ref, layout, row)
            if layout is None or how is None:
                return None
            ways.append((ref, layout, row, how, sig.dtypes[k]))
        return ways

    def _how(self, group: Group, ref: Ref, layout: Layout, row: bool) -> str | None:
        """Return how `group` gets `ref` through `layout`: member, inline, read; or None."""
        if isinstance(layout, Windowed) and not group.takes_windows:
            return None
        member = group.members.get(ref)
        if member is not None:
            if (member.row or not row) and layout == group.own_layout(member.row):
                return "member"
            return "inline" if inlined(self, group, ref, layout, row, CHEAP) else None
        home = self.home.get(ref)
        if home is None:
            return "read"
        alone = self.readers[ref] == 1 and layout.numel <= self.entries[ref].sig.meta.numel
        if inlined(self, group, ref, layout, row, MAX_OPS if alone else CHEAP):
            return "inline"
        return None if self.depends(home, group) else "read"

    def depends(self, later: Group, earlier: Group) -> bool:
        """Whether `later` must run after `earlier` (or is it)."""
        return later is earlier or bool(later.before >> earlier.index & 1)

    def _take(
        self, group: Group, ref: Ref, layout: Layout, row: bool, how: str, dtype: DType
    ) -> Expr:
        """Carry out what `_how` found."""
        if how == "member":
            return group.members[ref].expr
        if how == "inline":
            return take_inlined(self, group, ref, layout, row)
        self.store(ref, group)
        return group.read(ref, layout, dtype)

    def store(self, ref: Ref, reader: Group) -> None:
        """Note that `reader` reads `ref` from memory."""
        home = self.home.get(ref)
        if home is None:
            return
        home.stores[ref] = None
        new = home.before | 1 << home.index
        if reader.before | new == reader.before:
            return
        reader.before |= new
        if self.awaited >> reader.index & 1:
            for group in self.groups:
                if group.before >> reader.index & 1:
                    group.before |= reader.before
        self.awaited |= new

    def after(self, earlier: Group, later: Group) -> None:
        later.before |= earlier.before | 1 << earlier.index
        self.awaited |= later.before


def _fold_position(shape: tuple[int, ...], reduced: tuple[int, ...]) -> Layout:
    """Return the layout whose offsets count the folded elements of a row."""
    inner = iter(Layout.contiguous([shape[d] for d in reduced]).strides)
    return Layout(shape, tuple(next(inner) if d in reduced else 0 for d in range(len(shape))), 0)
