"""When memory was taken and given back, for what, and when values left the graph.

A value leaves the graph when nobody outside of the tape refers to it any more: no tensor, nothing
that is saved for backward, no gradient on its way. That happens while ops are recorded; its buffer
goes when the kernels are enqueued, after the last step that reads it. `memory_timeline` shows both.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from types import TracebackType
from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.graph import watch
from clgrad.graph.position import Position, caller, describe
from clgrad.profiler.collect import devices_in_use
from clgrad.runtime.memory import format_bytes
from clgrad.runtime.profile import counters
from clgrad.tape import anomaly, noting

TEMPORARY, SAVED, TENSOR, SCRATCH, OTHER = "temporary", "saved", "tensor", "scratch", "other"
"""Who needs a buffer: only this flush; something saved for backward; a tensor; one kernel; else."""


@dataclass(slots=True, eq=False)
class Held:
    """One buffer from its allocation on.

    Attributes:
        op: the op whose result it holds. kind: who needed it when it was made, as above.
        taken, given: when, in nanoseconds; None while it is in use.
        launches: number of kernels that this process had launched, at both times.
        place: the line that called the op.
    """

    device: Any
    nbytes: int
    taken: int
    launches: tuple[int, int | None]
    op: str = ""
    kind: str = OTHER
    given: int | None = None
    place: Position | None = None

    def __str__(self) -> str:
        where = f" at {describe(self.place)}" if self.place is not None else ""
        return f"{format_bytes(self.nbytes):>10}  {self.kind:<9}  {self.op}{where}"


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes that all buffers of a device take together, from a time on."""

    time: int
    device: Any
    total: int
    held: Held


class BufferLog:
    """Notes what the pools of devices hand out and take back.

    Attributes:
        buffers, changes: in the order of time.
    """

    def __init__(self) -> None:
        self.buffers: list[Held] = []
        self.changes: list[Change] = []
        self.totals: dict[Any, int] = {}
        self._references: dict[int, Any] = {}
        self._taps: list[tuple[Any, Any]] = []
        self._stop: Callable[[], None] | None = None
        self._of_thread = threading.local()
        self._places: weakref.WeakKeyDictionary[Any, dict[int, Position | None]] = (
            weakref.WeakKeyDictionary()
        )

    def start(self, devices: Sequence[Any] = ()) -> None:
        """Begin to listen, on the devices in use if none are named."""
        for device in devices or devices_in_use():
            self._tap(device)
        self._stop = watch.listen(on_flush=self._flushed, on_begin=self._begins)

    def stop(self) -> None:
        """Listen no longer; buffers that are in use stay so."""
        if self._stop is not None:
            self._stop()
            self._stop = None
        for pool, original in self._taps:
            if pool.__dict__.get("allocate_all") is not None:
                del pool.allocate_all
            del original
        self._taps = []

    def placed(self, batch: Any, entry: int, place: Position | None) -> None:
        """Say which line called the op of an entry."""
        self._places.setdefault(batch, {})[entry] = place

    def _tap(self, device: Any) -> None:
        """Have a pool's allocations pass here."""
        pool = getattr(device, "pool", None)
        if pool is None:
            return
        original = pool.allocate_all
        self.totals[device] = pool.stats()["allocated.current"]

        def allocate_all(sizes: Sequence[int], tag: str | None = None) -> Any:
            buffers = original(sizes, tag)
            for buffer in buffers:
                self._took(device, buffer, tag)
            return buffers

        pool.allocate_all = allocate_all
        self._taps.append((pool, original))

    def _took(self, device: Any, buffer: Any, tag: str | None) -> None:
        held = Held(device, buffer.nbytes, perf_counter_ns(), (counters.launches, None), tag or "")
        self.buffers.append(held)
        self._change(held, held.nbytes, held.taken)
        key = id(held)

        def gone(reference: Any) -> None:
            self._references.pop(key, None)
            held.given = perf_counter_ns()
            held.launches = held.launches[0], counters.launches
            self._change(held, -held.nbytes, held.given)

        self._references[key] = weakref.ref(buffer, gone)
        during = getattr(self._of_thread, "during", None)
        if during is not None:
            during.append(held)

    def _change(self, held: Held, step: int, time: int) -> None:
        total = self.totals[held.device] = self.totals[held.device] + step
        self.changes.append(Change(time, held.device, total, held))

    def _begins(self, batch: Any) -> None:
        self._of_thread.during = []

    def _flushed(self, plan: Any, device: Any, batch: Any) -> None:
        """Tell the buffers that a flush took what they are for: it took them in this order."""
        during: list[Held] = getattr(self._of_thread, "during", None) or []
        self._of_thread.during = None
        places = self._places.pop(batch, {})
        made: dict[int, Any] = {}
        for value in batch.outs:
            if value is not None and value.buffer is not None:
                made[id(value.buffer)] = value
        owners = {id(h): self._references.get(id(h)) for h in during}
        taken = iter(during)
        for step in plan.steps:
            for ref, nbytes in step.alloc:
                held = next(taken, None)
                if held is None or held.nbytes != nbytes:
                    return  # a step failed
                if ref < len(plan.entries):
                    held.op = plan.entries[ref].sig.op.name
                    held.place = places.get(ref)
                reference = owners[id(held)]
                buffer = None if reference is None else reference()
                value = None if buffer is None else made.get(id(buffer))
                held.kind = TEMPORARY if value is None else TENSOR if value.held else SAVED
            for nbytes in step.scratch:
                held = next(taken, None)
                if held is None or held.nbytes != nbytes:
                    return
                held.kind, held.op = SCRATCH, "scratch"


# ---- values ------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Life:
    """One value from the op that made it on, counted in recorded ops.

    Attributes:
        op: what made it; node: whose derivative that is part of, or empty.
        made, last_read: numbers of the op that made it and of the last one that read it (or -1).
        left: how many ops had been recorded when the last reference to it was dropped; None while
            there is one.
        at_once: whether that was before any op of another node, or of another call of the program,
            was recorded after its last reader.
    """

    op: str
    node: str
    nbytes: int
    made: int
    place: Position | None
    last_read: int = -1
    left: int | None = None
    at_once: bool = False

    def __str__(self) -> str:
        read = "never read" if self.last_read < 0 else f"last read by #{self.last_read}"
        left = "is held" if self.left is None else f"left after #{self.left - 1}"
        part = f" of {self.node}" if self.node else ""
        where = f" at {describe(self.place)}" if self.place is not None else ""
        return (
            f"#{self.made:<4} {self.op}{part}: {format_bytes(self.nbytes)}, {read}, {left}{where}"
        )


@dataclass(slots=True)
class Peak:
    """The moment at which most memory was in use: how much, and by what, largest first."""

    total: int
    alive: list[Held] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"peak: {format_bytes(self.total)}, of which {len(self.alive)} buffers are known"]
        return "\n".join([*lines, *(f"  {held}" for held in self.alive)])


class memory_timeline:  # noqa: N801  # a context manager
    """Inside the block, notes when memory is taken and given back, and when values leave the graph.

    Args:
        devices: whose memory; default those in use.
        values: note the values of each recorded op. Backward passes are then recorded op by op.

    Attributes:
        buffers: every allocation, with the op whose result it holds and who needed it.
        values: every value, with the op that read it last and when it was dropped.

    Example:
        >>> with clgrad.profiler.memory_timeline() as timeline:
        ...     x = clgrad.ones(1000, requires_grad=True)
        ...     x.exp().sum().backward()
        >>> print(timeline.peak())  # doctest: +SKIP
    """

    def __init__(self, devices: Sequence[Any] = (), values: bool = True) -> None:
        self._log = BufferLog()
        self._devices = devices
        self._with_values = values
        self.values: list[Life] = []
        self._recorded_ops = 0
        self._lives: dict[int, tuple[Any, Life]] = {}
        self._callers: list[Any] = []  # of each op: the node that is run, or the line
        self._stops: list[Callable[[], None]] = []

    @property
    def buffers(self) -> list[Held]:
        return self._log.buffers

    @property
    def changes(self) -> list[Change]:
        """The bytes in use after each allocation and release."""
        return self._log.changes

    def __enter__(self) -> memory_timeline:  # noqa: PYI034  # Self needs Python 3.11
        self._log.start(self._devices)
        self._thread = threading.get_ident()
        if self._with_values:
            # whoever listens to nodes has the engine say which one runs
            self._stops = [watch.listen(self._recorded), noting.listen(lambda node: None)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stop in self._stops:
            stop()
        self._log.stop()

    def _recorded(self, batch: Any, sig: Any, values: Sequence[Any], result: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        number = self._recorded_ops
        self._recorded_ops += 1
        for value in values:
            known = self._lives.get(id(value))
            if known is not None:
                known[1].last_read = number
        place = caller()
        running = anomaly.mode.running
        node = "" if running is None else running.name()
        self._callers.append(place if running is None else (place, id(running)))
        life = Life(sig.op.name, node, result.nbytes, number, place)
        self.values.append(life)
        key = id(result)

        def gone(reference: Any) -> None:
            life.left = self._recorded_ops
            last = max(life.last_read, life.made)
            life.at_once = len(set(self._callers[last : life.left])) == 1
            if self._lives.get(key, (None,))[0] is reference:
                del self._lives[key]

        self._lives[key] = weakref.ref(result, gone), life
        self._log.placed(batch, result.index, place)

    # ---- what is shown -------------------------------------------------------------------------

    def peak(self, device: Any = None) -> Peak:
        """Return when most memory was in use, and by what.

        Raises:
            ClgradValueError: nothing was allocated on that device.
        """
        changes = [c for c in self.changes if device is None or c.device is device]
        if not changes:
            raise ClgradValueError(
                "memory_timeline: nothing was allocated inside the block. Hint: was everything "
                "still pending when it ended? Call clgrad.synchronize() in it."
            )
        top = max(changes, key=lambda change: change.total)
        alive = [
            held
            for held in self.buffers
            if held.device is top.device
            and held.taken <= top.time
            and (held.given is None or held.given > top.time)
        ]
        return Peak(top.total, sorted(alive, key=lambda held: -held.nbytes))

    def table(self, row_limit: int = 100) -> str:
        """Return the allocations in the order of time: when, for how long, how much, what for."""
        if not self.buffers:
            return "no allocations\n"
        zero = self.buffers[0].taken
        lines = ["  taken us     for us        size  kind       op"]
        for held in self.buffers[: None if row_limit < 0 else row_limit]:
            lasted = "-" if held.given is None else f"{(held.given - held.taken) / 1e3:.0f}"
            lines.append(f"{(held.taken - zero) / 1e3:>10.0f} {lasted:>10}  {held}")
        if 0 <= row_limit < len(self.buffers):
            lines.append(f"... and {len(self.buffers) - row_limit} more")
        return "\n".join([*lines, str(self.peak()), ""])

    def late(self) -> list[Life]:
        """Return the values that left the graph later than their last reader would have let them.

        What no op reads, such as a loss, is not among them.
        """
        return [
            life
            for life in self.values
            if life.left is not None and life.last_read >= 0 and not life.at_once
        ]
