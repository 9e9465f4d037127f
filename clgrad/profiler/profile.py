"""`profile`: what a program does and how long that takes, on the host and on its devices."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from clgrad.errors import ClgradRuntimeError
from clgrad.profiler.averages import EventList, averages
from clgrad.profiler.chrome import trace
from clgrad.profiler.collect import Collector
from clgrad.profiler.events import EventList as Events
from clgrad.profiler.events import FunctionEventAvg, events_of
from clgrad.profiler.memory import BufferLog
from clgrad.profiler.ranges import record_function
from clgrad.profiler.schedule import ProfilerAction, ProfilerActivity, Schedule

_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def supported_activities() -> set[ProfilerActivity]:
    """Return what can be recorded: the host, and devices under whatever name."""
    return set(ProfilerActivity)


class profile:  # noqa: N801  # PyTorch's name
    """Records what happens inside a `with` block: ops, kernels, transfers, ranges.

    Device times are those of OpenCL's events. A fused kernel's time is shared out over its ops by
    their operations; kernels have rows of their own. Bytes are those that had to be moved, and what
    they come to in a second is compared with what the device reaches in a copy.

    Args:
        activities: PyTorch's; the host and the devices are recorded whatever it says.
        schedule: which steps are recorded; then call `step()` at the end of each.
        on_trace_ready: called with the profiler whenever recording ends.
        record_shapes: let `key_averages(group_by_input_shape=True)` tell shapes apart.
        profile_memory: note each allocation, for the trace.
        with_stack: note the line of the program that called each op, which doubles what it costs
            to record it.
        with_flops, with_modules: PyTorch's; operations are always counted.
        peaks: compare with the devices' best, which is measured once (a second) and kept.

    Example:
        >>> with clgrad.profiler.profile() as prof:
        ...     (clgrad.randn(64, 64) @ clgrad.randn(64, 64)).sum().item()  # doctest: +SKIP
        >>> print(prof.key_averages().table(sort_by="device_time_total", row_limit=10))
    """

    def __init__(
        self,
        activities: Iterable[Any] | None = None,
        *,
        schedule: Schedule | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        peaks: bool = True,
        **unused: Any,
    ) -> None:
        self.activities = set(activities or supported_activities())
        self.schedule = schedule
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.peaks = peaks
        self.step_num = 0
        self._collector: Collector | None = None
        self._done: Collector | None = None
        self._memory: BufferLog | None = None
        self._range: record_function | None = None
        self._metadata: dict[str, Any] = {}

    # ---- on and off ----------------------------------------------------------------------------

    def __enter__(self) -> profile:  # noqa: PYI034  # Self needs Python 3.11
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _action(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def start(self) -> None:
        """Begin, as the schedule says for step 0."""
        if self._action() in _RECORDING:
            self._begin()

    def stop(self) -> None:
        """End; what was recorded is handed to `on_trace_ready`."""
        if self._collector is not None:
            self._end()

    def step(self) -> None:
        """Say that a step of the loop has ended."""
        before = self._action()
        self.step_num += 1
        after = self._action()
        if self._collector is not None:
            self._close_range()
            if before is ProfilerAction.RECORD_AND_SAVE or after not in _RECORDING:
                self._end()
        if after in _RECORDING:
            if self._collector is None:
                self._begin()
            else:
                self._open_range()

    def _begin(self) -> None:
        self._collector = Collector(self.with_stack, self.record_shapes)
        self._collector.start()
        if self.profile_memory:
            self._memory = BufferLog()
            self._memory.start()
        self._open_range()

    def _end(self) -> None:
        self._close_range()
        collector, self._collector = self._collector, None
        assert collector is not None
        collector.stop()
        if self._memory is not None:
            self._memory.stop()
        self._done = collector
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def _open_range(self) -> None:
        if self.schedule is not None:
            self._range = record_function(f"ProfilerStep#{self.step_num}")
            self._range.__enter__()

    def _close_range(self) -> None:
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None

    # ---- what was recorded ---------------------------------------------------------------------

    def _recorded(self) -> Collector:
        if self._done is None:
            raise ClgradRuntimeError(
                "profile: nothing was recorded yet. Expected the end of the block, or of a cycle "
                "of its schedule."
            )
        return self._done

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0
    ) -> EventList:
        """Return a row for each op, kernel, transfer, range, and what the host did besides.

        Args:
            group_by_input_shape: tell ops on different shapes apart.
            group_by_stack_n: if not 0, tell lines of the program apart (`with_stack=True`).
        """
        return averages(self._recorded(), group_by_input_shape, group_by_stack_n > 0, self.peaks)

    def events(self) -> Events:
        """Return all calls of the host and launches of devices, in the order of their start."""
        return events_of(self._recorded())

    def table(self, **options: Any) -> str:
        """Return `key_averages().table(…)`."""
        return self.key_averages().table(**options)

    @property
    def function_events(self) -> Events:
        """All of `events()`, by its older name."""
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds that the host spent in what was recorded."""
        return self.events().self_cpu_time_total

    def total_average(self) -> FunctionEventAvg:
        """Return the sums over all `events()`."""
        return self.events().total_average()

    def __str__(self) -> str:
        return "<profile: nothing recorded>" if self._done is None else self.table()

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a trace that Perfetto and chrome://tracing show."""
        text = trace(self._recorded(), self._memory)
        if self._metadata:
            text = json.dumps(json.loads(text) | self._metadata)
        Path(path).write_text(text, encoding="utf-8")

    def export_memory_timeline(self, path: str | os.PathLike[str], device: Any = None) -> None:
        """Write the allocations as JSON: (nanoseconds, bytes in use) pairs by device.

        Raises:
            ClgradRuntimeError: `profile_memory=True` was not passed.
        """
        if self._memory is None:
            raise ClgradRuntimeError(
                "export_memory_timeline: allocations were not noted. Hint: profile_memory=True."
            )
        by_device: dict[str, list[tuple[int, int]]] = {}
        for change in self._memory.changes:
            by_device.setdefault(str(change.device), []).append((change.time, change.total))
        Path(path).write_text(json.dumps(by_device), encoding="utf-8")

    def add_metadata(self, key: str, value: str) -> None:
        """Have the trace carry a text of the user's."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Have the trace carry a JSON value of the user's."""
        self._metadata[key] = json.loads(value)


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """Return what writes each trace to a folder, for `on_trace_ready`."""

    def handle(prof: profile) -> None:
        folder = Path(dir_name)
        folder.mkdir(parents=True, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        path = folder / f"{worker}.{time.time_ns()}.pt.trace.json"
        prof.export_chrome_trace(path)
        if use_gzip:
            import gzip

            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()

    return handle
