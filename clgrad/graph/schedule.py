"""Scheduling: from pending entries and who holds their results to a plan.

A plan is pure data over refs: which entries stay recipes, the steps in order, where each result's
buffer comes from (fresh, or the donated buffer of an operand that nobody needs afterwards), and
when each buffer is released. It is made once per key and run many times.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clgrad.dtypes import DType, uint8
from clgrad.graph.checks import Tested
from clgrad.graph.fusion import Entry, Fusion
from clgrad.graph.group import Group, Ref
from clgrad.graph.lower import Launch, Step, Store, look, lower
from clgrad.graph.segment import TapeEntry
from clgrad.layout import relation
from clgrad.traits import DeviceTraits

DEAD, SAVED, HELD = 0, 1, 2
"""Who needs a result after the flush: nobody, only something saved for backward, a storage."""

RECIPE_OPS = 16
"""Ops of one recipe at most, those of recipes that it reads included: the measured break-even
against reading a stored value. It also bounds how often a chain over many flushes is recorded."""
RECIPE_BYTES = 16384
"""Smaller values are stored: recording them again costs more than their memory is worth."""


@dataclass(frozen=True, slots=True)
class LeafInfo:
    """What the plan must know of a leaf: its size, and what may be done with it.

    Attributes:
        owned: its handle is dead: the buffer may be donated or released.
        keepable: a recipe may hold on to it (alive, not shared with the outside).
        shared: outside memory: written in place always.
    """

    numel: int
    dtype: DType
    owned: bool
    keepable: bool
    shared: bool


@dataclass(slots=True)
class PlanStep:
    """A step with its buffers.

    Attributes:
        alloc: (ref, bytes) to allocate before. `donate`: (ref made, ref whose buffer it takes):
            one of the same dtype, as C lets a compiler move loads past stores of another type.
        copies: (source, target ref, bytes): the old contents that a partial write must keep.
        release: refs whose buffer is not needed afterwards.
        folds: entries that are folded here, from their operand or from partial results.
    """

    launches: list[Launch]
    reads: tuple[Ref, ...]
    makes: tuple[Ref, ...]
    alloc: list[tuple[Ref, int]] = field(default_factory=list)
    donate: list[tuple[Ref, Ref]] = field(default_factory=list)
    copies: list[tuple[Ref, Ref, int]] = field(default_factory=list)
    release: list[Ref] = field(default_factory=list)
    scratch: tuple[int, ...] = ()
    folds: tuple[Ref, ...] = ()


@dataclass(slots=True)
class Plan:
    """See the module.

    `kept` are the entries whose result is in memory afterwards; `registers` counts the entries and
    the temporaries; `tested` has the entry of each flag.
    """

    steps: list[PlanStep]
    recipes: list[Ref]
    kept: list[Ref]
    entries: list[Entry]
    registers: int
    launches: int = 0
    donations: int = 0
    copies: int = 0
    compiled: list[Any] | None = None
    tested: list[Ref] = field(default_factory=list)


def plan_entries(
    tape: Sequence[TapeEntry],
    live: Sequence[int],
    infos: Sequence[tuple[int, bool, bool, bool]],
    traits: DeviceTraits,
    kinds: Mapping[Ref, str] | None = None,
) -> Plan:
    """Return the plan for entries as a tape has them.

    Args:
        infos: of each leaf its bytes, and whether it is owned, keepable and shared (`LeafInfo`).
    """
    entries = [Entry(sig, sources, base) for sig, sources, base in tape]
    # what no entry reads (a value that a segment was given and passes on) may be any dtype
    dtypes: dict[int, DType] = dict.fromkeys([~k for k in range(len(infos))], uint8)
    for entry in entries:
        dtypes.update(zip(entry.sources, entry.sig.dtypes, strict=True))
        if entry.base is not None:
            dtypes[entry.base] = entry.sig.meta.dtype
    leaves = [
        LeafInfo(nbytes // dtypes[~k].itemsize, dtypes[~k], owned, keepable, shared)
        for k, (nbytes, owned, keepable, shared) in enumerate(infos)
    ]
    return make_plan(entries, live, leaves, traits, kinds)


def make_plan(
    entries: list[Entry],
    live: Sequence[int],
    leaves: Sequence[LeafInfo],
    traits: DeviceTraits,
    kinds: Mapping[Ref, str] | None = None,
) -> Plan:
    """Return the plan for these entries.

    Args:
        kinds: the entries that are tested, and for what; their flags are one more leaf.
    """
    recipes = _recipes(entries, live, leaves)
    stored = [bool(state) and e not in recipes for e, state in enumerate(live)]
    for e, entry in enumerate(entries):
        if entry.base is not None and entry.base < 0 and leaves[~entry.base].shared:
            stored[e] = True
    wanted = _wanted(entries, stored)
    tested = Tested(kinds, ~len(leaves)) if kinds else None
    fusion = Fusion(entries, wanted, stored, traits, traced=tested is not None)
    groups = [g for g in fusion.groups if g.stores or g.partials or g.single is not None]
    order = _order(groups, entries)
    first_temporary = len(entries)

    def dtype_of(ref: Ref) -> DType:
        return fusion.temporaries[ref - first_temporary][1]

    steps = [lower(g, entries, dtype_of, traits, tested) for g in order]
    for e in list(tested.missing) if tested is not None else ():
        assert tested is not None
        dtype = entries[e].sig.meta.dtype
        steps.append(look(e, len(fusion.groups) + e, dtype, tested, traits))
    kept_alive = _leaves_of_recipes(recipes, entries)
    plan = Plan(
        [], sorted(recipes), [e for e in range(len(entries)) if stored[e] and wanted[e]], entries,
        len(entries) + len(fusion.temporaries),
    )  # fmt: skip
    _Buffers(plan, steps, entries, leaves, fusion, set(plan.kept), kept_alive).run()
    if tested is not None:
        plan.tested = tested.slots
    return plan


# ---- what is computed at all -------------------------------------------------------------------


def _recipes(
    entries: Sequence[Entry], live: Sequence[int], leaves: Sequence[LeafInfo]
) -> dict[Ref, int]:
    """Return the entries left unrealised -> the number of ops of their recipe."""
    ops: dict[Ref, int] = {}
    chosen: dict[Ref, int] = {}
    for e, entry in enumerate(entries):
        sig = entry.sig
        if sig.kind != "map":
            continue
        total = 1
        for k, ref in enumerate(entry.sources):
            if ref < 0:
                if not leaves[~ref].keepable:
                    break
            elif live[ref] == HELD or (live[ref] == SAVED and ref not in ops):
                pass  # stored by this flush and kept by its holder
            elif ref in ops and sig.reads[k].numel <= entries[ref].sig.meta.numel:
                if sig.reads[k].is_contiguous and sig.reads[k].offset == 0:
                    total += ops[ref]
                else:
                    break
            else:
                break
        else:
            if total <= RECIPE_OPS:
                ops[e] = total
                small = sig.meta.numel * sig.meta.dtype.itemsize < RECIPE_BYTES
                if live[e] == SAVED and not small:
                    chosen[e] = total
                elif live[e] == SAVED:
                    del ops[e]
    return chosen


def _leaves_of_recipes(recipes: dict[Ref, int], entries: Sequence[Entry]) -> set[Ref]:
    """Return the leaves that recipes hold on to."""
    held: set[Ref] = set()
    seen: set[Ref] = set()
    stack = list(recipes)
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        for ref in entries[e].sources:
            if ref < 0:
                held.add(ref)
            elif ref not in seen:
                stack.append(ref)
    return held


def _wanted(entries: Sequence[Entry], stored: Sequence[bool]) -> list[bool]:
    wanted = list(stored)
    for e in range(len(entries) - 1, -1, -1):
        if wanted[e]:
            entry = entries[e]
            for ref in entry.sources:
                if ref >= 0:
                    wanted[ref] = True
            if entry.base is not None and entry.base >= 0:
                wanted[entry.base] = True
    return wanted


# ---- the order of steps ------------------------------------------------------------------------


def _order(groups: Sequence[Group], entries: Sequence[Entry]) -> list[Group]:
    """Return the groups in an order that computes everything before it is read.

    Readers of an old value come before the write that would take over its buffer, where possible.
    """
    before = {g.index: g.before for g in groups}
    for writer in groups:
        if writer.single is None or entries[writer.single].base is None:
            continue
        base = entries[writer.single].base
        for reader in groups:
            if reader is writer or before[reader.index] >> writer.index & 1:
                continue
            reads = {ref for ref, _ in reader.reads} | (
                set(entries[reader.single].sources) if reader.single is not None else set()
            )
            if base in reads:
                new = before[reader.index] | 1 << reader.index
                before[writer.index] |= new
                for g in groups:
                    if before[g.index] >> writer.index & 1:
                        before[g.index] |= before[writer.index]
    done = 0
    present = 0
    for g in groups:
        present |= 1 << g.index
    waiting = {g.index: g for g in groups}
    ready: list[int] = []
    order: list[Group] = []
    blocked = []
    for g in groups:
        if before[g.index] & present == 0:
            heapq.heappush(ready, g.index)
        else:
            blocked.append(g.index)
    while ready:
        index = heapq.heappop(ready)
        order.append(waiting.pop(index))
        done |= 1 << index
        still = []
        for other in blocked:
            if before[other] & present & ~done == 0:
                heapq.heappush(ready, other)
            else:
                still.append(other)
        blocked = still
    assert not waiting, "schedule: groups depend on one another in a circle"
    return order


# ---- buffers -----------------------------------------------------------------------------------


class _Buffers:
    """Decides allocation, donation and release, step by step."""

    def __init__(
        self, plan: Plan, steps: Sequence[Step], entries: Sequence[Entry],
        leaves: Sequence[LeafInfo], fusion: Fusion, kept: set[Ref], kept_leaves: set[Ref],
    ) -> None:  # fmt: skip
        self.plan = plan
        self.steps = steps
        self.entries = entries
        self.leaves = leaves
        self.temporaries = fusion.temporaries
        self.kept = kept
        self.kept_leaves = kept_leaves
        self.last_use: dict[Ref, int] = {}
        for position, step in enumerate(steps):
            for ref in (*step.reads, *self._bases(step)):
                self.last_use[ref] = position
            for store in step.stores:
                self.last_use.setdefault(store.ref, position)

    def _bases(self, step: Step) -> tuple[Ref, ...]:
        single = step.group.single
        base = None if single is None else self.entries[single].base
        return () if base is None else (base,)

    def _size(self, ref: Ref) -> tuple[int, DType]:
        if ref < 0:
            return self.leaves[~ref].numel, self.leaves[~ref].dtype
        if ref < len(self.entries):
            meta = self.entries[ref].sig.meta
            return meta.numel, meta.dtype
        return self.temporaries[ref - len(self.entries)]

    def _bytes(self, ref: Ref) -> int:
        numel, dtype = self._size(ref)
        return numel * dtype.itemsize

    def _donatable(self, ref: Ref, position: int) -> bool:
        """Whether nobody needs the buffer of `ref` after this step."""
        if self.last_use.get(ref) != position or ref in self.kept:
            return False
        if ref < 0:
            return self.leaves[~ref].owned and ref not in self.kept_leaves
        return True

    def run(self) -> None:
        for position, step in enumerate(self.steps):
            out = PlanStep(
                step.launches,
                tuple({*step.reads, *self._bases(step)}),
                tuple(s.ref for s in step.stores),
                scratch=step.scratch,
                folds=tuple(f.entry for f in step.group.folds),
            )
            given: set[Ref] = set()
            for store in step.stores:
                self._place(step, store, position, out, given)
            touched = {*step.reads, *self._bases(step), *(s.ref for s in step.stores)}
            for ref in sorted(touched):
                if ref in given or self._donatable(ref, position):
                    out.release.append(ref)
            self.plan.steps.append(out)
        self.plan.launches = sum(len(s.launches) for s in self.plan.steps)
        self.plan.donations = sum(len(s.donate) for s in self.plan.steps)
        self.plan.copies = sum(len(s.copies) for s in self.plan.steps)

    def _place(
        self, step: Step, store: Store, position: int, out: PlanStep, given: set[Ref]
    ) -> None:
        single = step.group.single
        entry = None if single is None else self.entries[single]
        if entry is not None:
            base = entry.base
            if base is not None:
                self._place_write(step, store, base, position, out, given)
                return
        else:
            for ref, uses in step.reads.items():
                if (
                    ref not in given
                    and self._donatable(ref, position)
                    and self._size(ref) == self._size(store.ref)
                    and not (step.group.split and store.row)
                    and all(layout == store.layout and last <= store.phase for layout, last in uses)
                ):
                    given.add(ref)
                    out.donate.append((store.ref, ref))
                    return
        out.alloc.append((store.ref, self._bytes(store.ref)))

    def _place_write(
        self, step: Step, store: Store, base: Ref, position: int, out: PlanStep, given: set[Ref]
    ) -> None:
        """Write into the old value's buffer, or into a copy of it while somebody needs the old."""
        kernel = self.entries[store.ref].sig.kind == "kernel"  # reads as it likes
        harmless = not (kernel and base in step.reads) and all(
            relation(layout, store.layout) in ("identical", "disjoint")
            for layout, _ in step.reads.get(base, ())
        )
        shared = base < 0 and self.leaves[~base].shared
        if harmless and (shared or self._donatable(base, position)):
            given.add(base)
            out.donate.append((store.ref, base))
            return
        out.alloc.append((store.ref, self._bytes(store.ref)))
        if not self.entries[store.ref].sig.covers:
            out.copies.append((base, store.ref, self._bytes(base)))
