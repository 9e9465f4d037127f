"""What was measured, as records, a Markdown table and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from turns import Ratio


@dataclass(frozen=True)
class Limits:
    """A device and what it reaches at best; see `clgrad.bringup.peaks.Peaks`."""

    device: str
    platform: str
    id: str
    bandwidth: float
    triad: float
    cached_bandwidth: float
    cached_triad: float
    operations: float
    launch: float
    round_trip: float

    def share(self, seconds: float, flops: float, nbytes: float) -> tuple[float, str]:
        """Return what share of a limit is reached, and of which.

        It is the one that is approached most: arithmetic or memory, by bytes that must be moved.
        Where they move faster than memory can, a cache held them, and is what they are compared to.
        """
        moved = nbytes / seconds
        memory = max(self.bandwidth, self.triad)
        if moved <= memory:
            traffic = (moved / memory, "memory")
        else:
            traffic = (moved / max(memory, self.cached_bandwidth, self.cached_triad), "cache")
        return max((flops / seconds / self.operations, "arithmetic"), traffic)


@dataclass
class Row:
    """What became of one workload.

    Attributes:
        seconds: clgrad's, the median of the rounds; 0 if it failed.
        ratios: speed by peer. peaks: bytes by peer, None where nobody knows.
        errors: by peer. kernels: see `shares.kernels`. times: by peer, of each round.
    """

    name: str
    group: str
    flops: float = 0.0
    nbytes: float = 0.0
    seconds: float = 0.0
    ratios: dict[str, Ratio] = field(default_factory=dict)
    peaks: dict[str, int | None] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=dict)


class Table:
    """Rows as they come.

    Args:
        limits: of the device.
        about: versions, for the head.
        peers: whose speeds are columns.
    """

    def __init__(self, limits: Limits, about: Mapping[str, str], peers: Sequence[str]) -> None:
        self.limits, self.about, self.peers = limits, about, list(peers)
        self.rows: list[Row] = []
        self._lines: list[str] = []

    @property
    def failed(self) -> list[str]:
        """What went wrong, in words."""
        return [text for row in self.rows for text in row.errors.values()]

    def head(self) -> str:
        """Return device, limits, versions and the head of the table."""
        at = self.limits
        versions = ", ".join(f"{name} {version}" for name, version in self.about.items())
        columns = ["workload", "clgrad", "of the limit", *self.peers, "peak memory"]
        if "torch" in self.peers:
            columns.append("of torch's")
        copy, triad, cached_copy, cached_triad = (
            f"{x / 1e9:.0f} GB/s"
            for x in (at.bandwidth, at.triad, at.cached_bandwidth, at.cached_triad)
        )
        reached = (
            f"Limits: copy {copy}, triad {triad}; in cache {cached_copy} and {cached_triad}; "
            f"{at.operations / 1e9:.0f} GFLOP/s; a launch {at.launch * 1e6:.1f} µs, there and back "
            f"{at.round_trip * 1e6:.1f} µs."
        )
        lines = [
            f"**{at.device}** ({at.platform}); float32; {versions}", "", reached, "",
            "Speeds are a peer's time over clgrad's: median (least–largest) of the rounds.", "",
            "A training step drops its gradients at its end, unless they are kept.", "",
            f"| {' | '.join(columns)} |", "|" + "---|" * len(columns),
        ]  # fmt: skip
        self._lines = list(lines)
        return "\n".join(lines)

    def add(self, row: Row) -> str:
        """Keep a row; return its line, and its kernels' if there are any."""
        self.rows.append(row)
        line = f"| {' | '.join(self._cells(row))} |"
        self._lines.append(line)
        for kernel in row.kernels:
            share = self._share(kernel["seconds"], kernel["flops"], kernel["nbytes"])
            name = f"{kernel['launches']} × `{kernel['kernel']}`"
            cells = [f"— {name}", format_seconds(kernel["seconds"]), share]
            cells += [""] * (len(self._cells(row)) - len(cells))
            self._lines.append(f"| {' | '.join(cells)} |")
            line += f"\n{self._lines[-1]}"
        return line

    def _share(self, seconds: float, flops: float, nbytes: float) -> str:
        share, which = self.limits.share(seconds, flops, nbytes)
        return f"{share:.0%} of {which}" if share else "–"

    def _cells(self, row: Row) -> list[str]:
        if not row.seconds:
            return [row.name, "FAILED", *[""] * (len(self.peers) + 2 + ("torch" in self.peers))]
        cells = [row.name, format_seconds(row.seconds),
                 self._share(row.seconds, row.flops, row.nbytes)]  # fmt: skip
        failed = dict.fromkeys(row.errors, "FAILED")
        cells += [str(row.ratios.get(peer, failed.get(peer, "–"))) for peer in self.peers]
        own, theirs = row.peaks.get("clgrad"), row.peaks.get("torch")
        cells.append("–" if own is None else f"{own / 1e6:.1f} MB")
        if "torch" in self.peers:
            cells.append(f"{own / theirs:.2f}" if own is not None and theirs else "–")
        return cells

    def summary(self) -> str:
        """Return per group and peer the geometric mean of the speeds, and the least."""
        lines = [
            "",
            "| group | peer | workloads | geometric mean | least |",
            "|---|---|---|---|---|",
        ]
        for group in dict.fromkeys(row.group for row in self.rows):
            for peer in self.peers:
                found = [
                    r.ratios[peer].middle
                    for r in self.rows
                    if r.group == group and peer in r.ratios
                ]
                if found:
                    figures = f"{len(found)} | {geometric_mean(found):.2f} | {min(found):.2f}"
                    lines.append(f"| {group} | {peer} | {figures} |")
        return "\n".join(lines)

    def faults(self) -> str:
        """Return every failure and disagreement in full."""
        return "".join(f"\nFAILED: {text}" for text in self.failed)

    def markdown(self) -> str:
        """Return all of it as one text."""
        return "\n".join([*self._lines, self.summary(), self.faults()])

    def write(self, folder: Path) -> None:
        """Write `results.md` and `results.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.md").write_text(f"{self.markdown()}\n", encoding="utf-8")
        record = {"about": dict(self.about), "limits": asdict(self.limits),
                  "rows": [asdict(row) for row in self.rows]}  # fmt: skip
        (folder / "results.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def format_seconds(seconds: float) -> str:
    """Return a time as people read it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
