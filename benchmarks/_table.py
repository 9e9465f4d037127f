"""Tables of figures: rows, the command line, and the processes behind them.

A benchmark derives from `Figures` a class with a method per group of rows, and calls `main`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from _pairs import ROOT, Ratio, Side, Workers, as_json, device_names, format_seconds, serve


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

    groups: ClassVar[tuple[str, ...]] = ()

    def __init__(self, workers: Workers, device: str, quick: bool, rounds: int) -> None:
        self.workers, self.device, self.quick, self.rounds = workers, device, quick, rounds

    def timed(
        self, name: str, case: str, rtol: float = 1e-4, atol: float = 1e-5, **params: Any
    ) -> Row:
        """Return the row of clgrad's time against PyTorch's for one case."""
        own, other = Side("clgrad", case, params), Side("torch", case, params)
        return timed(name, self.workers.compare(own, other, self.rounds, rtol, atol))

    def peaks(self, name: str, case: str, **params: Any) -> Row:
        """Return the row of clgrad's peak memory against PyTorch's for one case."""
        own, other = (self.workers.ask(p, "peak", case, params) for p in ("clgrad", "torch"))
        return weighed(name, own, other)


def show(rows: Iterator[Row], kept: list[Row]) -> None:
    """Print rows as they come, and keep them."""
    for row in rows:
        kept.append(row)
        print(f"| {row.figure} | {row.own} | {row.other} | {row.ratio} |", flush=True)


def work(peer: str, jobs: str) -> None:
    """Be a worker: `torch`, or the id of a device."""
    from _peers import Clgrad, Torch

    sys.path.insert(0, str(ROOT))
    cases = importlib.import_module(jobs).CASES
    made = Torch() if peer == "torch" else Clgrad(peer)
    serve({name: partial(builder, made) for name, builder in cases.items()})


def main(file: str, doc: str, kind: type[Figures], jobs: str) -> None:
    """Print the table of one device.

    Args:
        file, doc: of the benchmark.
        kind: what makes its rows.
        jobs: module with its `CASES`: name -> `(peer, **params) -> Job`.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no large cases")
    parser.add_argument("--device", help="as `clgrad devices` lists them; the first if not given")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", default="", help=f"one of {', '.join(kind.groups)}")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.worker, jobs)
        return
    names = device_names()
    device = options.device or device_names(short=True)[0]
    name = next((n for n in names if n.startswith(f"{device} ")), device)
    rounds = options.rounds or (2 if options.quick else 5)
    print(f"{name}; {os.cpu_count()} cores, {rounds} rounds, float32\n")
    print("| figure | clgrad | PyTorch eager | ratio min / median / max |\n|---|---|---|---|")
    own = [file, "--worker", device]
    kept: list[Row] = []
    peers = {"clgrad": own, "again": own, "torch": [file, "--worker", "torch"]}
    with Workers(peers) as workers:
        figures = kind(workers, device, options.quick, rounds)
        for group in kind.groups:
            if options.only in ("", group):
                show(getattr(figures, group)(), kept)
    if options.json is not None:
        options.json.write_text(json.dumps({"device": name, "rows": kept}, default=as_json))
