"""The figures of the spine: fusion, host cost, products and stability, against PyTorch eager.

    python benchmarks/spine.py [--quick] [--device cl:0] [--rounds 5] [--json FILE]

prints a Markdown table. Ratios are clgrad / PyTorch, least / median / largest over rounds in which
the two take turns; below 1 clgrad takes less. Times are per call in a row of calls, with one wait
at the end of the row.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _pairs import ROOT, Ratio, Side, Workers, as_json, device_names, format_seconds, serve

COLUMNS = 1024
FIRST_STEP = (
    "import clgrad; x = clgrad.ones(4, requires_grad=True); (x * x).sum().backward();"
    "assert x.grad.tolist() == [2.0] * 4"
)


@dataclass(frozen=True)
class Row:
    """One figure: both sides as text, and their ratio where there is one."""

    figure: str
    own: str
    other: str
    ratio: str
    record: Any = None


def timed(name: str, ratio: Ratio) -> Row:
    """Return the row of a comparison of times."""
    return Row(name, format_seconds(ratio.own), format_seconds(ratio.other), str(ratio), ratio)


def weighed(name: str, own: int, other: int) -> Row:
    """Return the row of a comparison of peak memory."""
    texts = [f"{n / 1e6:.1f} MB" for n in (own, other)]
    record = {"own": own, "other": other}
    return Row(name, *texts, f"{own / other:.2f}" if other else "-", record)


class Figures:
    """Asks the workers for each group of figures."""

    def __init__(self, workers: Workers, quick: bool, rounds: int) -> None:
        self.workers, self.quick, self.rounds = workers, quick, rounds

    def _timed(self, name: str, case: str, rtol: float = 1e-4, **params: Any) -> Row:
        own, other = Side("clgrad", case, params), Side("torch", case, params)
        return timed(name, self.workers.compare(own, other, self.rounds, rtol, 1e-5))

    def fusion(self) -> Iterator[Row]:
        """GELU of primitives: time, peak memory, and what reading the loss in between costs."""
        for millions in (1,) if self.quick else (1, 16):
            name = f"GELU + bias + residual, {millions}M elements"
            params = {"rows": millions * 1024, "columns": COLUMNS}
            between = params | {"item": True}
            yield self._timed(f"{name}: time", "gelu", **params)
            own, other, read = (
                self.workers.ask(peer, "peak", "gelu", p)
                for peer, p in (("clgrad", params), ("torch", params), ("clgrad", between))
            )
            yield weighed(f"{name}: peak extra memory", own, other)
            ratio = self.workers.compare(
                Side("clgrad", "gelu", between), Side("again", "gelu", params), self.rounds
            )
            yield timed(f"{name}: time with `loss.item()` between, against without", ratio)
            yield weighed(f"{name}: peak with `loss.item()` between, against without", read, own)

    def host(self) -> Iterator[Row]:
        """What recording, differentiating and launching cost where elements cost nothing."""
        yield self._timed("12 ops on 16 elements", "chain", elements=16, ops=12)
        yield self._timed("`(c * c).sum().backward()`, 16 elements", "square", elements=16)
        yield self._timed("1,000 ops on 16 elements", "chain", rtol=1e-3, elements=16, ops=1000)

    def products(self) -> Iterator[Row]:
        """Square matrix products."""
        for size in (512,) if self.quick else (512, 1024, 2048):
            row = self._timed(f"matmul {size}", "matmul", rtol=1e-3, size=size)
            rates = [
                f"{2 * size**3 / s / 1e9:.0f} GFLOP/s" for s in (row.record.own, row.record.other)
            ]
            yield Row(row.figure, *rates, row.ratio, row.record)

    def stability(self) -> Iterator[Row]:
        """What changes that should cost nothing do cost."""
        others = [65, 70, 80, 95]
        made = self.workers.ask("clgrad", "facts", "batch_sizes", {"first": 64, "others": others})
        text = f"{sum(made.values())} kernels"
        yield Row(f"training at batch sizes {others} after 64", text, "-", "-", made)
        steps = 100 if self.quick else 1000
        left = self.workers.ask("clgrad", "facts", "steady", {"steps": steps})
        text = f"{left['bytes']} bytes, {left['buffers']} buffers, {left['objects']} objects"
        yield Row(f"left by {steps} steps without gc", text, "-", "-", left)


def first_step(device: str, runs: int) -> Row:
    """Return the time of a fresh process that does one tiny step, kernels being on disk."""
    environment = os.environ | {"CLGRAD_DEVICE": device}
    times = []
    for k in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", FIRST_STEP], cwd=ROOT, env=environment, check=True)
        if k:  # the first fills the cache
            times.append(time.perf_counter() - start)
    times.sort()
    shown = f"{times[0]:.2f} / {statistics.median(times):.2f} / {times[-1]:.2f} s"
    return Row("fresh process to first forward and backward", shown, "-", "-", times)


def show(rows: Iterator[Row], kept: list[Row]) -> None:
    """Print rows as they come, and keep them."""
    for row in rows:
        kept.append(row)
        print(f"| {row.figure} | {row.own} | {row.other} | {row.ratio} |", flush=True)


def work(peer: str) -> None:
    """Be a worker: `torch`, or the id of a device."""
    from _spine_jobs import CASES, Clgrad, Torch

    sys.path.insert(0, str(ROOT))
    made = Torch() if peer == "torch" else Clgrad(peer)
    serve({name: partial(builder, made) for name, builder in CASES.items()})


def main() -> None:
    """Print the table of one device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no large cases")
    parser.add_argument("--device", help="as `clgrad devices` lists them; the first if not given")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", default="", help="fusion, host, products, stability or start")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.worker)
        return
    names = device_names()
    device = options.device or device_names(short=True)[0]
    name = next((n for n in names if n.startswith(f"{device} ")), device)
    rounds = options.rounds or (2 if options.quick else 5)
    print(f"{name}; {os.cpu_count()} cores, {rounds} rounds, float32\n")
    print("| figure | clgrad | PyTorch eager | ratio min / median / max |\n|---|---|---|---|")
    own = [__file__, "--worker", device]
    kept: list[Row] = []
    peers = {"clgrad": own, "again": own, "torch": [__file__, "--worker", "torch"]}
    with Workers(peers) as workers:
        figures = Figures(workers, options.quick, rounds)
        for group in ("fusion", "host", "products", "stability"):
            if options.only in ("", group):
                show(getattr(figures, group)(), kept)
    if options.only in ("", "start"):
        show(iter([first_step(device, 2 if options.quick else 5)]), kept)
    if options.json is not None:
        options.json.write_text(json.dumps({"device": name, "rows": kept}, default=as_json))


if __name__ == "__main__":
    main()
