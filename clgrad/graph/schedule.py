"""Scheduling: from pending entries and who holds their results to a plan.

A plan is pure data over refs: which entries stay recipes, the steps in order, where each result's
buffer comes from (fresh, or the donated buffer of an operand that nobody needs afterwards), and
when each buffer is released. It is made once per key and run many times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clgrad.dtypes import DType, uint8
from clgrad.graph.checks import Tested
from clgrad.graph.fusion import Entry, Fusion
from clgrad.graph.group import Ref
from clgrad.graph.lower import Launch, Step, Store, look, lower
from clgrad.graph.ordering import earlier, frugal, recorded
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
WORTHWHILE = 1 / 64
"""Share of the peak that another order of the steps must save; less is no reason to leave the
order of recording, which is the one that people expect to see."""


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
    before = earlier(groups, entries)
    first_temporary = len(entries)

    def dtype_of(ref: Ref) -> DType:
        return fusion.temporaries[ref - first_temporary][1]

    steps = [lower(g, entries, dtype_of, traits, tested) for g in recorded(groups, before)]
    for e in list(tested.missing) if tested is not None else ():
        assert tested is not None
        dtype = entries[e].sig.meta.dtype
        steps.append(look(e, len(fusion.groups) + e, dtype, tested, traits))
    kept = [e for e in range(len(entries)) if stored[e] and wanted[e]]
    buffers = _Buffers(entries, leaves, fusion, set(kept), _leaves_of_recipes(recipes, entries))
    placed = buffers.place(steps)
    if tested is None:
        other = frugal(steps, before, buffers.touched, buffers.bytes, buffers.freed)
        if other != steps:
            again = buffers.place(other)
            if buffers.peak(again) < (1 - WORTHWHILE) * buffers.peak(placed):
                placed = again
    plan = Plan(
        placed, sorted(recipes), kept, entries, len(entries) + len(fusion.temporaries),
        launches=sum(len(s.launches) for s in placed),
        donations=sum(len(s.donate) for s in placed),
        copies=sum(len(s.copies) for s in placed),
    )  # fmt: skip
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


# ---- buffers -----------------------------------------------------------------------------------


class _Buffers:
    """Decides allocation, donation and release, step by step."""

    def __init__(
        self, entries: Sequence[Entry], leaves: Sequence[LeafInfo], fusion: Fusion,
        kept: set[Ref], kept_leaves: set[Ref],
    ) -> None:  # fmt: skip
        self.entries = entries
        self.leaves = leaves
        self.temporaries = fusion.temporaries
        self.kept = kept
        self.kept_leaves = kept_leaves
        self.last_use: dict[Ref, int] = {}

    def touched(self, step: Step) -> set[Ref]:
        """Return what a step reads, writes into, and makes."""
        return {*step.reads, *self._bases(step), *(s.ref for s in step.stores)}

    def bytes(self, ref: Ref) -> int:
        numel, dtype = self._size(ref)
        return numel * dtype.itemsize

    def freed(self, ref: Ref) -> bool:
        """Whether the buffer of `ref` goes with its last use."""
        if ref < 0:
            return self.leaves[~ref].owned and ref not in self.kept_leaves
        return ref not in self.kept

    def peak(self, steps: Sequence[PlanStep]) -> int:
        """Return by how many bytes buffers grow while these steps run, at most."""
        live = most = 0
        for step in steps:
            live += sum(nbytes for _, nbytes in step.alloc)
            most = max(most, live + sum(step.scratch))
            given = {taken for _, taken in step.donate}
            live -= sum(self.bytes(ref) for ref in step.release if ref not in given)
        return most

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

    def _donatable(self, ref: Ref, position: int) -> bool:
        """Whether nobody needs the buffer of `ref` after this step."""
        return self.last_use.get(ref) == position and self.freed(ref)

    def place(self, steps: Sequence[Step]) -> list[PlanStep]:
        """Return the steps with their buffers, in this order."""
        self.last_use.clear()
        for position, step in enumerate(steps):
            for ref in self.touched(step):
                self.last_use[ref] = position
        placed = []
        for position, step in enumerate(steps):
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
            for ref in sorted(self.touched(step)):
                if ref in given or self._donatable(ref, position):
                    out.release.append(ref)
            placed.append(out)
        return placed

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
        out.alloc.append((store.ref, self.bytes(store.ref)))

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
        out.alloc.append((store.ref, self.bytes(store.ref)))
        if not self.entries[store.ref].sig.covers:
            out.copies.append((base, store.ref, self.bytes(base)))
