"""Rates of matrix products: clgrad's kernels on every OpenCL device against PyTorch on the CPU.

Each peer lives in a process of its own, because thread pools of several runtimes in one process
fight over the cores. Peers take turns, case by case and round by round; each turn is the best of
several short repetitions, and the speed (PyTorch's time / ours) is taken within a round. `peak` is
the share of what the device reaches in a loop of float32 multiply-adds alone. Read ratios, not
figures.

    python benchmarks/matmul.py [--rounds 5] [--threads 2] [--group odd] [--only 512] [--device 0]
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict, dataclass
from functools import partial
from statistics import geometric_mean, median
from typing import Any

import numpy as np
from _pairs import ROOT, Job, Side, Workers, device_names, nothing, serve


@dataclass(frozen=True)
class Case:
    """C = A B with A (m, k) and B (k, n), `batch` times; `layout` as BLAS has it."""

    m: int
    k: int
    n: int
    batch: int = 1
    layout: str = "NN"
    dtype: str = "float32"

    @property
    def label(self) -> str:
        stack = f"{self.batch} x " if self.batch > 1 else ""
        kind = "" if self.dtype == "float32" else f" {self.dtype}"
        return f"{stack}{self.m} x {self.k} x {self.n} {self.layout}{kind}"

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.k * self.n


LAYOUTS = ("NN", "NT", "TN", "TT")
GROUPS: dict[str, list[Case]] = {
    "small": [Case(s, s, s, 1, x) for s in (16, 64, 128) for x in ("NN", "NT")],
    "squares": [Case(s, s, s, 1, x) for s in (256, 512, 1024, 2048) for x in LAYOUTS],
    "odd": [Case(s, s, s, 1, x) for s in (257, 500, 777, 1000, 1531) for x in LAYOUTS],
    "skinny": [
        *(Case(8, 784, 512, 1, x) for x in LAYOUTS),
        *(Case(128, 512, 10, 1, x) for x in LAYOUTS),
        *(Case(128, 64, 128, 64, x) for x in LAYOUTS),
        Case(128, 784, 512, 1, "NT"), Case(784, 128, 512, 1, "TN"), Case(512, 128, 10, 1, "TN"),
        Case(4, 100000, 4),
    ],
    "vectors": [
        Case(1, 1024, 1024), Case(1, 1024, 1024, 1, "NT"),
        Case(1024, 1024, 1), Case(1024, 1024, 1, 1, "TN"), Case(4096, 4096, 1),
    ],
    "dtypes": [
        Case(512, 512, 512, 1, x, t)
        for t in ("float64", "float16", "bfloat16") for x in ("NN", "NT")
    ],
}  # fmt: skip


def operands(case: Case) -> tuple[Any, Any]:
    """Return A and B of a case in memory order: transposed views are stored the other way round."""
    rng = np.random.default_rng(0)
    lead = (case.batch,) if case.batch > 1 else ()
    a = rng.standard_normal(
        (*lead, *((case.k, case.m) if case.layout[0] == "T" else (case.m, case.k)))
    )
    b = rng.standard_normal(
        (*lead, *((case.n, case.k) if case.layout[1] == "T" else (case.k, case.n)))
    )
    # so that results are near 1, whatever k is
    return a, b / case.k**0.5


def shown(result: Any) -> list[Any]:
    """Return as much of a result as is worth comparing."""
    flat = result.ravel()
    return [flat[:: max(1, flat.size // 100000)]]


def torch_job(threads: int, **fields: Any) -> Job:
    """Return what runs a case in PyTorch, writing to a tensor that is there already."""
    import torch

    torch.set_num_threads(threads)
    case = Case(**fields)
    a, b = (torch.from_numpy(x).to(getattr(torch, case.dtype)) for x in operands(case))
    a = a.mT if case.layout[0] == "T" else a
    b = b.mT if case.layout[1] == "T" else b
    out = torch.matmul(a, b)
    call = partial(torch.matmul, a, b, out=out)
    return Job(call, nothing, lambda: shown(call().double().numpy()))


def clgrad_job(index: int, **fields: Any) -> Job:
    """Return what runs a case on an OpenCL device: its launches, buffers being there already."""
    import clgrad.bringup  # devices are probed, rather than taken at their word, once it is known
    from clgrad.bringup.peaks import peaks_of
    from clgrad.bringup.trial import Trial, stored, valued
    from clgrad.codegen.matmul import lower_matmul
    from clgrad.codegen.matmul_form import MatmulProblem
    from clgrad.dtypes import by_name
    from clgrad.runtime import discovery

    assert clgrad.bringup.bring_up is not None
    device = discovery.devices()[index]
    case, dtype = Case(**fields), by_name(fields["dtype"])
    m, k, n = case.m, case.k, case.n
    problem = MatmulProblem(
        m, n, k, (case.batch,), (m * k, *((1, m) if case.layout[0] == "T" else (k, 1))),
        (k * n, *((1, k) if case.layout[1] == "T" else (n, 1))), dtype, dtype, dtype,
    )  # fmt: skip
    arrays = [stored(x, dtype) for x in operands(case)]
    trial = Trial(device, lower_matmul(problem, device.traits), arrays, case.batch * m * n, dtype)

    def values() -> list[Any]:
        found = trial.result()
        assert found is not None, "wrote past the end of the result"
        return shown(valued(found, dtype).astype(np.float64))

    return Job(
        trial.run, device.synchronize, values,
        facts=lambda: {"peak": peaks_of(device).operations},
    )  # fmt: skip


def main() -> None:
    """Run all cases and print one line for each device and case, and a summary of each group."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--group", default="", help=f"one of {', '.join(GROUPS)}; all if not given")
    parser.add_argument("--only", default="", help="cases whose label contains this")
    parser.add_argument("--device", type=int, default=None, help="number of one device")
    parser.add_argument("--worker", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        sys.path.insert(0, str(ROOT))
        job = (
            partial(torch_job, options.threads)
            if options.worker == "torch"
            else partial(clgrad_job, int(options.worker))
        )
        serve({"matmul": job})
        return
    names = {
        str(i): name
        for i, name in enumerate(device_names())
        if options.device is None or i == options.device
    }
    threads = str(options.threads)
    commands = {
        peer: [__file__, "--worker", peer, "--threads", threads] for peer in ("torch", *names)
    }
    print(f"{threads} threads, {options.rounds} rounds; speed is PyTorch's time / ours")
    print(
        f"{'case':32} {'device':40} {'GFLOP/s':>8} {'torch':>7} {'peak':>5}   "
        "speed min / median / max"
    )
    groups = [options.group] if options.group else list(GROUPS)
    with Workers(commands) as workers:
        for group in groups:
            speeds: dict[str, list[float]] = {peer: [] for peer in names}
            for case in (case for case in GROUPS[group] if options.only in case.label):
                for peer, speed in measure(workers, case, names, options.rounds).items():
                    speeds[peer].append(speed)
            for peer, found in speeds.items():
                if found:
                    print(
                        f"{group:32} {names[peer]:40} {len(found)} cases: geometric mean "
                        f"{geometric_mean(found):.2f}, least {min(found):.2f}",
                        flush=True,
                    )


def measure(workers: Workers, case: Case, names: dict[str, str], rounds: int) -> dict[str, float]:
    """Let all peers take turns in one case, print a line for each device; returns median speeds."""
    sides = [Side(peer, "matmul", asdict(case)) for peer in ("torch", *names)]
    loose = case.dtype in ("float16", "bfloat16")
    workers.check(sides, rtol=2e-2 if loose else 1e-3, atol=2e-2 if loose else 1e-4)
    times: dict[str, list[float]] = {side.peer: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            times[side.peer].append(workers.time(side))
    theirs = case.flops / median(times["torch"]) / 1e9
    speeds = {}
    for peer, name in names.items():
        ratios = sorted(t / own for t, own in zip(times["torch"], times[peer], strict=True))
        rate = case.flops / median(times[peer])
        peak = workers.ask(peer, "facts", "matmul", asdict(case))["peak"]
        speeds[peer] = median(ratios)
        print(
            f"{case.label:32} {name:40} {rate / 1e9:8.1f} {theirs:7.1f} {rate / peak:5.0%}   "
            f"{ratios[0]:.2f} / {median(ratios):.2f} / {ratios[-1]:.2f}",
            flush=True,
        )
    return speeds


if __name__ == "__main__":
    main()
