"""What a program does while it is profiled: calls on the host, launches on devices, ranges.

Nothing of this is in the way of a program that is not profiled: what times calls stands in for the
recorder (`dispatch.backend`) while it is on, and what devices tell comes from a queue that keeps
events. A launch is matched to the step of the plan that asked for it, and so to its ops.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import numpy as np

from clgrad import dispatch
from clgrad.codegen.generate import generate
from clgrad.creation import get_default_device
from clgrad.graph import watch
from clgrad.graph.position import Position, caller
from clgrad.graph.traffic import StepWork, plan_work
from clgrad.profiler import ranges
from clgrad.runtime.profile import counters

MOST = 1 << 14
"""Events that are kept before their times are read, which waits for them."""
CALIBRATIONS = 3

Labels = tuple[str, ...]
Noted = dict[int, tuple[Labels, Position | None]]
"""Entry of a tape -> the ranges in which it was recorded, and the line, if that was asked for."""


@dataclass(slots=True)
class Call:
    """Something that the host did.

    Attributes:
        kind: `op`, `trace` (a backward pass recorded at once), `flush`, `range`, `read`, `write`,
            `wait`.
        start, end: nanoseconds of the host's clock.
        inner: nanoseconds of these spent in flushes that it caused.
        place, shapes: of an op, the line that called it and the shapes that it read, if asked for.
        detail: what else there is to say.
    """

    kind: str
    name: str
    thread: int
    start: int
    end: int
    inner: int = 0
    place: Position | None = None
    shapes: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    count = 1


@dataclass(slots=True)
class Launch:
    """One launch of a kernel, or a transfer.

    Attributes:
        start, end: on the host's clock, in nanoseconds; once they were read.
        step: number that the launches of one step of a plan share.
        work: what that step does; None for transfers, whose bytes are `nbytes`.
        noted: what is known of the entries of its tape.
        flush: the call that enqueued it.
        shape: global and local size.
    """

    device: Any
    name: str
    event: Any
    start: int = 0
    end: int = 0
    step: int = -1
    work: StepWork | None = None
    noted: Noted = field(default_factory=dict)
    flush: Call | None = None
    nbytes: int = 0
    shape: Any = None

    @property
    def nanoseconds(self) -> int:
        return self.end - self.start


class Collector:
    """Collects from `start` to `stop`.

    Attributes:
        calls, launches: what happened, in order.
    """

    def __init__(self, with_stack: bool = False, with_shapes: bool = False) -> None:
        self.with_stack = with_stack
        self.with_shapes = with_shapes
        self.calls: list[Call] = []
        self.launches: list[Launch] = []
        self.began = self.ended = 0
        self._noted: weakref.WeakKeyDictionary[Any, Noted] = weakref.WeakKeyDictionary()
        self._flushes = threading.local()
        self._works: dict[int, tuple[Any, list[StepWork]]] = {}
        self._devices: dict[Any, tuple[int, bool]] = {}
        self._unread = 0
        self._steps = 0
        self._real: Any = None
        self._mine: Any = None
        self._stop: Callable[[], None] | None = None

    # ---- on and off ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; what is pending is run before, so that it does not count."""
        dispatch.backend.flush()
        self._real = dispatch.backend
        for device in devices_in_use():
            self._open(device)
        self._mine = _Timed(self, self._real)
        dispatch.backend = self._mine
        self._stop = watch.listen(
            self._recorded, self._flushed, on_splice=self._spliced, on_begin=self._begins
        )
        ranges.collectors.append(self)
        self.began = perf_counter_ns()

    def stop(self) -> None:
        """End: run what is pending, wait for it, and read the times."""
        if self._stop is None:
            return
        self._real.synchronize()
        self.ended = perf_counter_ns()
        self._stop()
        self._stop = None
        ranges.collectors.remove(self)
        if dispatch.backend is self._mine:
            dispatch.backend = self._real
        for device in self._devices:
            self._take(device)
        self.read_times()
        for device, (_, was_on) in self._devices.items():
            if not was_on:
                device.profile(False)

    def _open(self, device: Any) -> None:
        """Have a device keep events, and find out how its clock lies to the host's."""
        if device in self._devices or not hasattr(device, "profile"):
            return
        was_on = device.events is not None
        device.profile(True)
        buffer = device.allocate(64, tag="clock")
        best, offset = 1 << 62, 0
        for _ in range(CALIBRATIONS):
            device.synchronize()
            before = perf_counter_ns()
            device.fill(buffer, np.int32(0))
            after = perf_counter_ns()
            _, event = device.events.pop()
            event.wait()
            queued = event.profile.queued or event.profile.start
            if after - before < best:
                best, offset = after - before, (before + after) // 2 - queued
        device.events.clear()
        self._devices[device] = offset, was_on

    # ---- what happens --------------------------------------------------------------------------

    def _recorded(self, batch: Any, sig: Any, values: Sequence[Any], result: Any) -> None:
        labels = ranges.labels()
        if labels or self.with_stack:
            place = caller() if self.with_stack else None
            self._noted.setdefault(batch, {})[result.index] = (labels, place)
            self._flushes.place = place

    def _spliced(self, batch: Any, start: int, count: int) -> None:
        labels = ranges.labels()
        if labels or self.with_stack:
            noted = (labels, caller() if self.with_stack else None)
            self._noted.setdefault(batch, {}).update(
                dict.fromkeys(range(start, start + count), noted)
            )

    def _begins(self, batch: Any) -> None:
        flushes = self._flushes
        flushes.began = perf_counter_ns(), counters.build_seconds, counters.kernels_built

    def _flushed(self, plan: Any, device: Any, batch: Any) -> None:
        end = perf_counter_ns()
        flushes = self._flushes
        start, seconds, built = getattr(flushes, "began", (end, counters.build_seconds, 0))
        call = Call("flush", "flush", threading.get_ident(), start, end)
        call.detail = {
            "ops": len(plan.entries), "launches": plan.launches,
            "kernels built": counters.kernels_built - built,
            "build seconds": counters.build_seconds - seconds,
        }  # fmt: skip
        self.calls.append(call)
        flushes.total = getattr(flushes, "total", 0) + end - start
        if device not in self._devices:
            self._open(device)
            return
        self._match(plan, device, self._noted.pop(batch, {}), call)

    def _match(self, plan: Any, device: Any, noted: Noted, call: Call) -> None:
        """Give the launches since the last flush to the steps of a plan."""
        taken = self._take(device)
        known = self._works.get(id(plan))
        if known is None:  # the plan is kept, so that its id stays its own

            def name(launch: Any) -> str:
                return generate(launch.spec, device.traits).name

            known = self._works[id(plan)] = plan, plan_work(plan, name)
        at = 0
        for step, work in zip(plan.steps, known[1], strict=True):
            self._steps += 1
            for launch, kernel in zip(step.launches, work.kernels, strict=True):
                while at < len(taken) and taken[at].name != kernel:
                    at += 1
                if at < len(taken):
                    found = taken[at]
                    found.step, found.work = self._steps, work
                    found.noted, found.flush = noted, call
                    found.shape = launch.global_size, launch.local_size
                    at += 1

    def _take(self, device: Any) -> list[Launch]:
        """Take what a device has noted since the last time."""
        taken = []
        events = device.events
        while events:
            name, event = events.popleft()
            kind, _, nbytes = name.partition(" ")
            taken.append(Launch(device, kind, event, nbytes=int(nbytes or 0)))
        self.launches += taken
        if len(self.launches) - self._unread > MOST:
            self.read_times()
        return taken

    def read_times(self) -> None:
        """Wait for the launches whose times are not known yet, and read them."""
        for launch in self.launches[self._unread :]:
            launch.event.wait()
            stamps = launch.event.profile
            offset = self._devices[launch.device][0]
            launch.start, launch.end = stamps.start + offset, stamps.end + offset
            launch.event = None
        self._unread = len(self.launches)

    # ---- called by those who stand in ----------------------------------------------------------

    def timed(self, kind: str, name: str, call: Callable[..., Any], *args: Any) -> Any:
        """Run `call(*args)` and note how long it took."""
        flushes = self._flushes
        before = getattr(flushes, "total", 0)
        start = perf_counter_ns()
        result = call(*args)
        end = perf_counter_ns()
        made = Call(kind, name, threading.get_ident(), start, end)
        made.inner = getattr(flushes, "total", 0) - before
        if kind == "op":
            made.place = getattr(flushes, "place", None) if self.with_stack else None
            made.shapes = shapes_of(args[0]) if self.with_shapes else ""
        self.calls.append(made)
        return result


def shapes_of(sig: Any) -> str:
    """Return the shapes that an op reads."""
    return " ".join(str(list(layout.shape)) for layout in sig.reads)


def devices_in_use() -> list[Any]:
    """Return the devices that were opened, or else the one that will be."""
    found = get_default_device()  # which loads OpenCL, unless a test stands in for it
    if not hasattr(found, "profile"):
        return [found]
    from clgrad.runtime.device import opened

    return opened() or [found]


class _Timed:
    """Stands in for the recorder: does what it does, and notes how long that took."""

    def __init__(self, collector: Collector, real: Any) -> None:
        self._collector = collector
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def record(self, sig: Any, values: Any, scalars: Any) -> Any:
        return self._collector.timed("op", sig.op.name, self._real.record, sig, values, scalars)

    def write(self, sig: Any, base: Any, values: Any, scalars: Any) -> Any:
        name = f"{sig.op.name}_"
        return self._collector.timed("op", name, self._real.write, sig, base, values, scalars)

    def splice(self, device: Any, segment: Any, values: Any, numbers: Any) -> Any:
        name = f"backward of {len(segment.entries)} ops at once"
        real = self._real.splice
        return self._collector.timed("trace", name, real, device, segment, values, numbers)

    def from_host(self, device: Any, array: Any, dtype: Any) -> Any:
        real = self._real.from_host
        return self._collector.timed("write", "write from the host", real, device, array, dtype)

    def to_host(self, value: Any) -> Any:
        return self._collector.timed("read", "read to the host", self._real.to_host, value)

    def synchronize(self, device: Any = None) -> Any:
        return self._collector.timed("wait", "synchronize", self._real.synchronize, device)
