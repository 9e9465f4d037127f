"""The order of steps: as recorded, or so that less memory is in use at once.

Both compute everything before it is read, and read an old value before a write takes over its
buffer, where that is possible. They depend on the plan alone, so the same tape always runs in the
same order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence

from clgrad.graph.fusion import Entry
from clgrad.graph.group import Group, Ref
from clgrad.graph.lower import Step

Before = Mapping[int, int]
"""Of each group by its index, the bit set of the groups that run earlier."""


def earlier(groups: Sequence[Group], entries: Sequence[Entry]) -> Before:
    """Return what each group must wait for.

    Readers of an old value come before the write that would take over its buffer, where possible.
    """
    before = {g.index: g.before for g in groups}
    writers = {}
    for g in groups:
        if g.single is not None and (base := entries[g.single].base) is not None:
            writers[g] = base
    readers: dict[Ref, list[Group]] = {base: [] for base in writers.values()}
    for g in groups if writers else ():
        for ref in {*_operands(g, entries)} & readers.keys():
            assert ref is not None
            readers[ref].append(g)
    for writer, base in writers.items():
        for reader in readers[base]:
            if reader is writer or before[reader.index] >> writer.index & 1:
                continue
            before[writer.index] |= before[reader.index] | 1 << reader.index
            for g in groups:
                if before[g.index] >> writer.index & 1:
                    before[g.index] |= before[writer.index]
    present = sum(1 << g.index for g in groups)
    return {index: waits & present for index, waits in before.items()}


def _operands(group: Group, entries: Sequence[Entry]) -> Iterator[Ref | None]:
    yield from (ref for ref, _ in group.reads)
    if group.single is not None:
        yield from entries[group.single].sources


def recorded(groups: Sequence[Group], before: Before) -> list[Group]:
    """Return the groups in the order of recording, as far as they need not wait."""
    named = {g.index: g for g in groups}
    queue = _Queue(before)
    return [named[index] for index in queue]


def frugal(
    steps: Sequence[Step],
    before: Before,
    touched: Callable[[Step], set[Ref]],
    nbytes: Callable[[Ref], int],
    freed: Callable[[Ref], bool],
) -> list[Step]:
    """Return the steps in an order in which one that frees memory runs as soon as it can.

    Of those that can run, that comes first after which the least is in use; where none makes it
    less, the order of recording counts.

    Args:
        touched: what a step reads and makes. nbytes: size of a buffer.
        freed: whether a buffer goes with its last use.
    """
    named = {step.group.index: step for step in steps}
    users: dict[Ref, set[int]] = {}
    growth: dict[int, int] = {}
    refs = {index: touched(step) for index, step in named.items()}
    for index, step in named.items():
        growth[index] = sum(nbytes(s.ref) for s in step.stores)
        for ref in refs[index]:
            users.setdefault(ref, set()).add(index)
    for ref, indices in users.items():
        if len(indices) == 1 and freed(ref):
            growth[next(iter(indices))] -= nbytes(ref)
    queue = _Queue(before, lambda index: min(growth[index], 0))
    order = []
    for index in queue:
        order.append(named[index])
        for ref in refs[index]:
            users[ref].discard(index)
            if len(users[ref]) == 1 and freed(ref):
                (last,) = users[ref]
                growth[last] -= nbytes(ref)
                queue.hurry(last)
    return order


class _Queue:
    """Goes through groups, each after those that it waits for; of several the most urgent first.

    Args:
        urgency: the less, the earlier; groups of one urgency come in the order of recording.
    """

    def __init__(self, before: Before, urgency: Callable[[int], int] = lambda index: 0) -> None:
        self.urgency = urgency
        self.missing = dict.fromkeys(before, 0)
        self.readers: dict[int, list[int]] = {index: [] for index in before}
        for index, waits in before.items():
            while waits:  # what the latest waits for itself is done when that is
                latest = waits.bit_length() - 1
                self.readers[latest].append(index)
                self.missing[index] += 1
                waits &= ~(before[latest] | 1 << latest)
        self.ready: list[tuple[int, int]] = []
        self.done: set[int] = set()
        for index, count in self.missing.items():
            if not count:
                heapq.heappush(self.ready, (urgency(index), index))

    def __iter__(self) -> _Queue:
        return self

    def __next__(self) -> int:
        while self.ready:
            _, index = heapq.heappop(self.ready)
            if index in self.done:
                continue
            self.done.add(index)
            for reader in self.readers[index]:
                self.missing[reader] -= 1
                if not self.missing[reader]:
                    heapq.heappush(self.ready, (self.urgency(reader), reader))
            return index
        assert len(self.done) == len(self.missing), "schedule: groups depend on one another"
        raise StopIteration

    def hurry(self, index: int) -> None:
        """Note that the urgency of a group has grown."""
        if not self.missing[index] and index not in self.done:
            heapq.heappush(self.ready, (self.urgency(index), index))
