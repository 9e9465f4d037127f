"""Rates of matrix products: clgrad's kernels on every OpenCL device against PyTorch on the CPU.

Each peer lives in a process of its own, because thread pools of several runtimes in one process
fight over the cores. Peers take turns, case by case and round by round; each turn is the best of
several short repetitions, and the ratio is taken within a round. Read ratios, not figures.

    python benchmarks/matmul.py [--rounds 5] [--threads 2] [--only 512]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from _pairs import PAUSE_SECONDS, ROOT, Job, Side, Workers, device_names, nothing, serve


@dataclass(frozen=True)
class Case:
    """C = A B with A (m, k) and B (k, n), `batch` times; `ta`, `tb`: a transposed view."""

    m: int
    k: int
    n: int
    batch: int = 1
    ta: bool = False
    tb: bool = False

    @property
    def label(self) -> str:
        stack = f"{self.batch} x " if self.batch > 1 else ""
        a, b = "T" if self.ta else "N", "T" if self.tb else "N"
        return f"{stack}{self.m} x {self.k} x {self.n} {a}{b}"

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.k * self.n


CASES = [
    *(Case(s, s, s) for s in (16, 64, 128, 256, 512, 1000, 1024, 2048)),
    *(Case(s, s, s, tb=True) for s in (64, 256, 512, 1024)),
    Case(512, 512, 512, ta=True),
    Case(8, 784, 512), Case(8, 784, 512, tb=True), Case(128, 784, 512, tb=True),
    Case(784, 128, 512, ta=True), Case(128, 512, 10), Case(128, 512, 10, tb=True),
    Case(512, 128, 10, ta=True), Case(128, 64, 128, 64), Case(128, 64, 128, 64, tb=True),
    Case(1, 1024, 1024), Case(1, 1024, 1024, tb=True), Case(4, 100000, 4),
]  # fmt: skip


def operands(case: Case) -> tuple[Any, Any]:
    """Return A and B of a case in memory order: transposed views are stored the other way round."""
    rng = np.random.default_rng(0)
    lead = (case.batch,) if case.batch > 1 else ()
    a = rng.standard_normal((*lead, *((case.k, case.m) if case.ta else (case.m, case.k))))
    b = rng.standard_normal((*lead, *((case.n, case.k) if case.tb else (case.k, case.n))))
    # so that results are near 1, whatever k is
    return a.astype(np.float32), (b / case.k**0.5).astype(np.float32)


def shown(result: Any) -> list[Any]:
    """Return as much of a result as is worth comparing."""
    flat = result.ravel()
    return [flat[:: max(1, flat.size // 100000)]]


def torch_job(threads: int, **fields: Any) -> Job:
    """Return what runs a case in PyTorch, writing to a tensor that is there already."""
    import torch

    torch.set_num_threads(threads)
    case = Case(**fields)
    a, b = (torch.from_numpy(x) for x in operands(case))
    a, b = a.mT if case.ta else a, b.mT if case.tb else b
    out = torch.matmul(a, b)
    call = partial(torch.matmul, a, b, out=out)
    return Job(call, nothing, lambda: shown(call().numpy()))


def clgrad_job(index: int, **fields: Any) -> Job:
    """Return what runs a case on an OpenCL device: its launches, buffers being there already."""
    import clgrad.bringup  # devices are probed, rather than taken at their word, once it is known
    from clgrad import dtypes
    from clgrad.codegen.matmul import MatmulProblem, lower_matmul
    from clgrad.runtime import discovery

    assert clgrad.bringup.bring_up is not None
    device = discovery.devices()[index]
    case = Case(**fields)
    m, k, n = case.m, case.k, case.n
    problem = MatmulProblem(
        m, n, k, (case.batch,), (m * k, *((1, m) if case.ta else (k, 1))),
        (k * n, *((1, k) if case.tb else (n, 1))), *[dtypes.float32] * 3,
    )  # fmt: skip
    lowered = lower_matmul(problem, device.traits)
    result = np.zeros(case.batch * m * n, np.float32)
    buffers: dict[Any, Any] = {}
    for name, values in zip(
        (("in", 0), ("in", 1), ("out",)), (*operands(case), result), strict=True
    ):
        buffers[name] = device.allocate(values.nbytes)
        device.write(buffers[name], values)
    for i, nbytes in enumerate(lowered.temporaries):
        buffers[("temp", i)] = device.allocate(nbytes)
    kernels = device.kernels([launch.spec.render(device.traits) for launch in lowered.launches])
    launches = []
    for kernel, launch in zip(kernels, lowered.launches, strict=True):
        args = tuple(
            arg[1] if arg[0] == "int" else 0 if arg[0].endswith("offset") else buffers[arg]
            for arg in launch.args
        )
        launches.append((kernel, args, launch.global_size, launch.local_size))

    def call() -> None:
        for kernel, args, global_size, local_size in launches:
            kernel(args, global_size, local_size)

    def values() -> list[Any]:
        call()
        device.read(buffers[("out",)], result)
        return shown(result)

    return Job(call, device.synchronize, values)


def main() -> None:
    """Run all cases and print one line for each device and case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="cases whose label contains this")
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
    names = device_names()
    peers = ["torch", *(str(i) for i in range(len(names)))]
    threads = str(options.threads)
    commands = {peer: [__file__, "--worker", peer, "--threads", threads] for peer in peers}
    print(f"float32, {threads} threads, {options.rounds} rounds; ratio is rate / torch's")
    print(f"{'case':32} {'device':44} {'GFLOP/s':>8} {'torch':>7}   ratio min / median / max")
    with Workers(commands) as workers:
        for case in (case for case in CASES if options.only in case.label):
            measure(workers, case, peers, names, options.rounds)


def measure(workers: Workers, case: Case, peers: list[str], names: list[str], rounds: int) -> None:
    """Let all peers take turns in one case, and print a line for each device."""
    sides = [Side(peer, "matmul", asdict(case)) for peer in peers]
    workers.check(sides, rtol=1e-3, atol=1e-4)
    times: dict[str, list[float]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for side in sides:
            time.sleep(PAUSE_SECONDS)
            times[side.peer].append(workers.ask(side.peer, "time", side.case, side.params))
    theirs = case.flops / median(times["torch"]) / 1e9
    for peer, name in zip(peers[1:], names, strict=True):
        ratios = sorted(t / own for t, own in zip(times["torch"], times[peer], strict=True))
        rate = case.flops / median(times[peer]) / 1e9
        print(
            f"{case.label:32} {name:44} {rate:8.1f} {theirs:7.1f}   "
            f"{ratios[0]:.2f} / {median(ratios):.2f} / {ratios[-1]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
