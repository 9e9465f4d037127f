"""The figures of the spine: fusion, host cost, products and stability, against PyTorch eager.

    python benchmarks/spine.py [--quick] [--device cl:0] [--rounds 5] [--json FILE]

prints a Markdown table. Ratios are clgrad / PyTorch, least / median / largest over rounds in which
the two take turns; below 1 clgrad takes less. Times are per call in a row of calls, with one wait
at the end of the row.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from _pairs import ROOT, Side
from _table import Figures, Row, main, timed, weighed

COLUMNS = 1024
FIRST_STEP = (
    "import clgrad; x = clgrad.ones(4, requires_grad=True); (x * x).sum().backward();"
    "assert x.grad.tolist() == [2.0] * 4"
)


class Spine(Figures):
    """The groups of figures of the spine."""

    groups = ("fusion", "host", "products", "stability", "start")

    def fusion(self) -> Iterator[Row]:
        """GELU of primitives: time, peak memory, and what reading the loss in between costs."""
        for millions in (1,) if self.quick else (1, 16):
            name = f"GELU + bias + residual, {millions}M elements"
            params = {"rows": millions * 1024, "columns": COLUMNS}
            between = params | {"item": True}
            yield self.timed(f"{name}: time", "gelu", **params)
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
        yield self.timed("12 ops on 16 elements", "chain", elements=16, ops=12)
        yield self.timed("`(c * c).sum().backward()`, 16 elements", "square", elements=16)
        yield self.timed("1,000 ops on 16 elements", "chain", rtol=1e-3, elements=16, ops=1000)

    def products(self) -> Iterator[Row]:
        """Square matrix products."""
        for size in (512,) if self.quick else (512, 1024, 2048):
            row = self.timed(f"matmul {size}", "matmul", rtol=1e-3, size=size)
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

    def start(self) -> Iterator[Row]:
        """The time of a fresh process that does one tiny step, kernels being on disk."""
        environment = os.environ | {"CLGRAD_DEVICE": self.device}
        times = []
        for k in range(3 if self.quick else 6):
            start = time.perf_counter()
            command = [sys.executable, "-c", FIRST_STEP]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
            if k:  # the first fills the cache
                times.append(time.perf_counter() - start)
        times.sort()
        shown = f"{times[0]:.2f} / {statistics.median(times):.2f} / {times[-1]:.2f} s"
        yield Row("fresh process to first forward and backward", shown, "-", "-", times)


if __name__ == "__main__":
    main(__file__, __doc__, Spine, "_spine_jobs")
