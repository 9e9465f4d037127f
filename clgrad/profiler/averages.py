"""Sums over what was profiled, by op, kernel, range or line; as rows and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.graph.position import describe
from clgrad.graph.traffic import OpWork
from clgrad.profiler.collect import Collector, Launch, shapes_of

KINDS = {"op": "op", "trace": "host", "flush": "host", "read": "host", "write": "host",
         "wait": "host", "range": "range"}  # fmt: skip


@dataclass(slots=True)
class KeyAverage:
    """One row: everything of one name.

    Attributes:
        key: the name. kind: `op`, `kernel`, `transfer`, `range` or `host`.
        count: how often it ran; of a range, how often it was entered.
        host_ns: on the host; of an op, to record it, without flushes that this caused.
        device_ns: on devices; of an op within a fused kernel its share by operations.
        nbytes: that had to be moved. flops: operations that were done.
        input_shapes, stack: where rows are told apart by them.
        peak: best bandwidth and operations per second of the devices it ran on.
    """

    key: str
    kind: str
    count: int = 0
    host_ns: int = 0
    device_ns: float = 0.0
    nbytes: float = 0.0
    flops: float = 0.0
    input_shapes: str = ""
    stack: list[str] = field(default_factory=list)
    peak: tuple[float, float] = (0.0, 0.0)

    # PyTorch's names, in its microseconds
    @property
    def cpu_time_total(self) -> float:
        return self.host_ns / 1e3

    @property
    def device_time_total(self) -> float:
        return self.device_ns / 1e3

    @property
    def cpu_time(self) -> float:
        return self.cpu_time_total / max(self.count, 1)

    @property
    def device_time(self) -> float:
        return self.device_time_total / max(self.count, 1)

    self_cpu_time_total = cpu_time_total
    self_device_time_total = device_time_total
    cuda_time_total = device_time_total
    self_cuda_time_total = device_time_total
    cuda_time = device_time

    @property
    def name(self) -> str:
        return self.key

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.nbytes / self.device_ns * 1e9 if self.device_ns else 0.0

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.device_ns * 1e9 if self.device_ns else 0.0

    @property
    def of_peak(self) -> float:
        """Share of what the device can do, by bytes or by operations, whichever is larger."""
        bandwidth, operations = self.peak
        if not bandwidth or not self.device_ns:
            return 0.0
        return max(self.bandwidth / bandwidth, self.flops_per_second / operations)


SORTS: dict[str, str] = {
    "count": "count", "calls": "count", "name": "key", "key": "key", "kind": "kind",
    "bytes": "nbytes", "flops": "flops", "bandwidth": "bandwidth", "of_peak": "of_peak",
    "flops_per_second": "flops_per_second",
} | {
    f"{own}{device}_time{total}": f"{'cpu' if device in ('cpu', 'host') else 'device'}_time{total}"
    for own in ("", "self_") for device in ("cpu", "host", "cuda", "device")
    for total in ("", "_total")
}  # fmt: skip
"""What a table may be sorted by; PyTorch's names are taken."""


class EventList(list[KeyAverage]):
    """Rows of a profile.

    Attributes:
        host_ns: from its start to its end. device_ns: all launches and transfers.
    """

    host_ns: int = 0
    device_ns: int = 0

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_name_column_width: int = 55,
        header: str | None = None,
        **unused: Any,
    ) -> str:
        """Return a table.

        Args:
            sort_by: a column, as in `SORTS`; numbers largest first. None: as things first happened.
            row_limit: rows at most; -1 for all.
            header: a line above it.
            unused: PyTorch's further widths.

        Raises:
            ClgradValueError: there is no such column.
        """
        rows: list[KeyAverage] = list(self)
        if sort_by is not None:
            if sort_by not in SORTS:
                raise ClgradValueError(
                    f"table: cannot sort by {sort_by!r}. Expected one of {', '.join(SORTS)}."
                )
            attribute = SORTS[sort_by]
            text = attribute in ("key", "kind")
            rows.sort(key=lambda row: getattr(row, attribute), reverse=not text)
        shown = rows if row_limit < 0 else rows[:row_limit]
        return _table(self, shown, len(rows) - len(shown), max_name_column_width, header)

    def total_average(self) -> KeyAverage:
        """Return one row with the sums over ops and transfers."""
        total = KeyAverage("Total", "total")
        for row in self:
            if row.kind in ("op", "transfer"):
                total.count += row.count
                total.device_ns += row.device_ns
                total.nbytes += row.nbytes
                total.flops += row.flops
            if row.kind in ("op", "host"):
                total.host_ns += row.host_ns
        return total

    def __str__(self) -> str:
        return self.table()


def averages(
    collector: Collector, by_shape: bool = False, by_line: bool = False, peaks: bool = True
) -> EventList:
    """Return the rows of a profile.

    Args:
        by_shape: tell apart ops on operands of different shapes.
        by_line: tell apart ops of different lines of the program.
        peaks: compare with the best that the devices can do.
    """
    rows: dict[Any, KeyAverage] = {}

    def row(key: str, kind: str, *more: str) -> KeyAverage:
        name = (key, kind, *more)
        found = rows.get(name)
        if found is None:
            found = rows[name] = KeyAverage(key, kind)
        return found

    for call in collector.calls:
        spent = call.end - call.start - call.inner
        if call.kind == "op":  # counted as they run: what nobody needs does not
            line = describe(call.place) if by_line and call.place is not None else ""
            one = row(call.name, "op", call.shapes if by_shape else "", line)
            one.input_shapes, one.stack = call.shapes if by_shape else "", [line] if line else []
        else:
            one = row(call.name, KINDS[call.kind])
            one.count += 1
        one.host_ns += spent
    steps: dict[int, list[Launch]] = {}
    for launch in collector.launches:
        steps.setdefault(launch.step if launch.step >= 0 else -id(launch), []).append(launch)
    for launches in steps.values():
        _add_step(launches, row, by_shape, by_line, _peak(launches[0].device, peaks))
    made = EventList(r for r in rows.values() if r.count or r.host_ns)
    made.host_ns = collector.ended - collector.began
    made.device_ns = sum(launch.nanoseconds for launch in collector.launches)
    return made


def _peak(device: Any, wanted: bool) -> tuple[float, float]:
    if not wanted:
        return 0.0, 0.0
    from clgrad.bringup.peaks import peaks_of

    peaks = peaks_of(device)
    return peaks.bandwidth, peaks.operations


def _add_step(
    launches: Sequence[Launch], row: Any, by_shape: bool, by_line: bool, peak: tuple[float, float]
) -> None:
    """Add the launches of one step: to their kernels, and in shares to its ops and ranges."""
    work, noted = launches[0].work, launches[0].noted
    total = sum(launch.nanoseconds for launch in launches)
    longest = max(launches, key=lambda launch: launch.nanoseconds)
    for launch in launches:
        kind = "transfer" if launch.nbytes else "kernel"
        one = row(f"{launch.name} on the device" if launch.nbytes else launch.name, kind)
        one.count += 1
        one.device_ns += launch.nanoseconds
        one.nbytes += launch.nbytes
        one.peak = peak
        if launch is longest and work is not None:
            one.nbytes += work.bytes_read + work.bytes_written
            one.flops += work.operations
    if work is None:
        return
    nbytes = work.bytes_read + work.bytes_written
    for op, share in shares(work.ops):
        labels, place = noted.get(op.entry, ((), None))
        shapes = shapes_of(op.sig) if by_shape else ""
        line = describe(place) if by_line and place is not None else ""
        one = row(_name(op), "op", shapes, line)
        one.input_shapes, one.stack = shapes, [line] if line else []
        one.count += 1
        one.device_ns += total * share
        one.nbytes += nbytes * share
        one.flops += op.operations
        one.peak = peak
        for label in dict.fromkeys(labels):
            within = row(label, "range")
            within.device_ns += total * share
            within.nbytes += nbytes * share
            within.flops += op.operations
            within.peak = peak


def _name(op: OpWork) -> str:
    return op.sig.op.name + "_" * (op.sig.kind == "write")


def shares(ops: Iterable[OpWork]) -> list[tuple[OpWork, float]]:
    """Return ops with their share of the step: by operations, at least one per element."""
    weights = [(op, max(op.operations, op.sig.meta.numel, 1)) for op in ops]
    total = sum(weight for _, weight in weights)
    return [(op, weight / total) for op, weight in weights]


# ---- text --------------------------------------------------------------------------------------

_TITLES = ("Name", "Kind", "Calls", "Host total", "Host avg", "Device total", "Device avg",
           "Device %", "Bytes", "GB/s", "Operations", "GFLOP/s", "% of peak")  # fmt: skip


def _table(
    events: EventList, rows: Sequence[KeyAverage], left_out: int, widest: int, header: str | None
) -> str:
    cells = [_TITLES + (("Shapes",) if any(r.input_shapes for r in rows) else ())
             + (("Line",) if any(r.stack for r in rows) else ())]  # fmt: skip
    for r in rows:
        name = r.key if len(r.key) <= widest else f"{r.key[: widest - 3]}..."
        share = r.device_ns / events.device_ns if events.device_ns else 0.0
        cells.append(
            (
                name, r.kind, str(r.count),
                _time(r.host_ns), _time(r.host_ns / max(r.count, 1)),
                _time(r.device_ns), _time(r.device_ns / max(r.count, 1)),
                f"{share:.1%}" if r.device_ns else "",
                _quantity(r.nbytes, "B"), f"{r.bandwidth / 1e9:.1f}" if r.nbytes else "",
                _quantity(r.flops, ""), f"{r.flops_per_second / 1e9:.1f}" if r.flops else "",
                f"{r.of_peak:.0%}" if r.of_peak else "",
                *((r.input_shapes,) if "Shapes" in cells[0] else ()),
                *((_short(r.stack[0]) if r.stack else "",) if "Line" in cells[0] else ()),
            )
        )  # fmt: skip
    widths = [max(len(c) for c in column) for column in zip(*cells, strict=True)]
    rule = "  ".join("-" * w for w in widths)
    left = (0, 1, len(_TITLES), len(_TITLES) + 1)
    lines = [
        "  ".join(
            f"{c:<{w}}" if k in left else f"{c:>{w}}"
            for k, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    parts = [header] if header else []
    parts += [rule, lines[0], rule, *lines[1:], rule]
    if left_out:
        parts.append(f"... and {left_out} more rows")
    parts.append(f"Host time total: {_time(events.host_ns)}")
    parts.append(f"Device time total: {_time(events.device_ns)}")
    return "\n".join([*parts, ""])


def _short(line: str) -> str:
    return line.removeprefix(f"{Path.cwd()}/")


def _time(nanoseconds: float) -> str:
    if not nanoseconds:
        return ""
    for limit, unit, digits in ((1e6, 1e3, "us"), (1e9, 1e6, "ms")):
        if nanoseconds < limit:
            return f"{nanoseconds / unit:.3f}{digits}"
    return f"{nanoseconds / 1e9:.3f}s"


def _quantity(value: float, unit: str) -> str:
    if not value:
        return ""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= factor:
            return f"{value / factor:.2f} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()
