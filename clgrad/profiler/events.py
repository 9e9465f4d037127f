"""What was profiled, call by call, under PyTorch's names: what `profile.function_events` lists.

Times are microseconds. Ops are called as PyTorch calls them (`aten::mul`); launches and transfers
of devices are events of a thread that is called as the device.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clgrad.graph.position import describe
from clgrad.ops.aten import overload_of
from clgrad.ops.registry import OPS
from clgrad.profiler.collect import Call, Collector, Launch

_SHAPE = re.compile(r"\[[^\]]*\]")


class Interval(NamedTuple):
    """From when to when."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        """Return how long it is."""
        return self.end - self.start


@dataclass(slots=True, eq=False)
class FunctionEvent:
    """One call of an op, one range, or one launch.

    Attributes:
        thread: its number, or of what a device did the device's name.
        start_us, end_us: when it began and ended.
        input_shapes: of an op, with `record_shapes`.
        stack: the line that called it, with `with_stack`.
        cpu_parent, cpu_children: what it happened within, and what within it.
        device_time_total: of a launch, how long it took.
    """

    id: int
    name: str
    thread: Any
    start_us: float
    end_us: float
    node_id: int = 0
    input_shapes: list[list[int]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    device_time_total: float = 0.0
    is_async: bool = False
    cpu_parent: FunctionEvent | None = field(default=None, repr=False)
    cpu_children: list[FunctionEvent] = field(default_factory=list, repr=False)
    count: int = 1

    @property
    def key(self) -> str:
        return self.name

    @property
    def time_range(self) -> Interval:
        return Interval(self.start_us, self.end_us)

    @property
    def cpu_time_total(self) -> float:
        return 0.0 if self.device_time_total else self.end_us - self.start_us

    @property
    def self_cpu_time_total(self) -> float:
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def cpu_time(self) -> float:
        return self.cpu_time_total

    @property
    def device_time(self) -> float:
        return self.device_time_total


@dataclass(slots=True)
class FunctionEventAvg:
    """Sums over events of one name; `add` takes events and other sums."""

    key: str | None = None
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0

    def add(self, other: FunctionEvent | FunctionEventAvg) -> FunctionEventAvg:
        """Add an event, or all that another one has."""
        if self.key is None:
            self.key = other.key
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total
        self.device_time_total += other.device_time_total
        self.count += other.count
        return self

    @property
    def cpu_time(self) -> float:
        return self.cpu_time_total / max(self.count, 1)

    @property
    def device_time(self) -> float:
        return self.device_time_total / max(self.count, 1)


class EventList(list[FunctionEvent]):
    """Events in the order of their start."""

    def _populate_cpu_children(self) -> None:
        """Find out what happened within what: in one thread, the shortest that has all of it."""
        threads: dict[Any, list[FunctionEvent]] = {}
        for event in self:
            event.cpu_parent, event.cpu_children = None, []
            threads.setdefault((event.thread, event.node_id), []).append(event)
        for events in threads.values():
            around: list[FunctionEvent] = []
            for event in sorted(events, key=lambda e: (e.start_us, -e.end_us)):
                while around and (
                    event.start_us >= around[-1].end_us or event.end_us > around[-1].end_us
                ):
                    around.pop()
                if around:
                    around[-1].cpu_children.append(event)
                    event.cpu_parent = around[-1]
                around.append(event)

    def key_averages(self) -> list[FunctionEventAvg]:
        """Return a sum for each name, in the order in which names came first."""
        sums: dict[str, FunctionEventAvg] = {}
        for event in self:
            sums.setdefault(event.name, FunctionEventAvg()).add(event)
        return list(sums.values())

    def total_average(self) -> FunctionEventAvg:
        """Return one sum of all."""
        total = FunctionEventAvg("Total")
        for event in self:
            total.add(event)
        return total

    @property
    def self_cpu_time_total(self) -> float:
        return sum(event.self_cpu_time_total for event in self)


def _name(call: Call) -> str:
    """Return PyTorch's name of an op; others have their own."""
    if call.kind != "op":
        return call.name
    written = call.name.endswith("_")
    op = OPS.get(call.name.removesuffix("_"))
    return f"aten::{call.name}" if op is None else overload_of(op).name() + "_" * written


def events_of(collector: Collector) -> EventList:
    """Return what was profiled as events, in the order of their start."""
    found: list[Call | Launch] = [*collector.calls, *collector.launches]
    found.sort(key=lambda one: (one.start, -one.end))
    made = EventList()
    for number, one in enumerate(found):
        start, end = one.start / 1e3, one.end / 1e3
        if isinstance(one, Launch):
            event = FunctionEvent(number, one.name, str(one.device), start, end)
            event.device_time_total = end - start
        else:
            event = FunctionEvent(number, _name(one), one.thread, start, end)
            event.input_shapes = [json.loads(shape) for shape in _SHAPE.findall(one.shapes)]
            event.stack = [] if one.place is None else [describe(one.place)]
        made.append(event)
    made._populate_cpu_children()
    return made
