"""What a step of a plan has to do: the ops that it computes, their operations, bytes it must move.

Bytes are those that no implementation can avoid: each operand that lies in memory is read once, as
far as it is read at all, and each result written once. What a kernel reads again because its caches
are small, and its scratch memory, are not counted: that is what a comparison with the peak shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clgrad.graph.group import Ref
from clgrad.graph.schedule import Plan
from clgrad.graph.trace import members
from clgrad.layout import Layout
from clgrad.ops.signature import Signature
from clgrad.ops.work import operations


@dataclass(frozen=True, slots=True)
class OpWork:
    """One op within a step.

    Attributes:
        entry: its number on the tape.
        operations: see `ops.work`.
    """

    entry: Ref
    sig: Signature
    operations: int


@dataclass(frozen=True, slots=True)
class StepWork:
    """One step of a plan: its kernels by name, its ops, and the bytes that it must move."""

    kernels: tuple[str, ...]
    ops: tuple[OpWork, ...]
    bytes_read: int
    bytes_written: int

    @property
    def operations(self) -> int:
        return sum(op.operations for op in self.ops)


def plan_work(plan: Plan, names: Any) -> list[StepWork]:
    """Return what each step of a plan has to do.

    Args:
        names: `(launch) -> name of its kernel`.
    """
    entries = plan.entries
    count = len(entries)
    made = []
    for step in plan.steps:
        inside = members(step, entries)
        ops = tuple([OpWork(e, entries[e].sig, operations(entries[e].sig)) for e in inside])
        read: dict[tuple[Ref, Layout], int] = {}
        for e in inside:
            entry = entries[e]
            sig = entry.sig
            for ref, layout, dtype in zip(entry.sources, sig.reads, sig.dtypes, strict=True):
                if ref not in inside or ref in step.reads:
                    read[ref, layout] = touched(layout) * dtype.itemsize
        written = 0
        for ref in step.makes:
            if ref < count:
                sig = entries[ref].sig
                numel = sig.meta.numel if sig.target is None else touched(sig.target)
                written += numel * sig.meta.dtype.itemsize
        kernels = tuple(names(launch) for launch in step.launches)
        made.append(StepWork(kernels, ops, sum(read.values()), written))
    return made


def touched(layout: Layout) -> int:
    """Return how many elements a layout reaches, those that it repeats once."""
    numel = 1
    for size, stride in zip(layout.shape, layout.strides, strict=True):
        if stride:
            numel *= size
    return numel if layout.numel else 0
