"""Rates of matrix products: clgrad's kernels on every OpenCL device against PyTorch on the CPU.

Each peer lives in a process of its own, because thread pools of several runtimes in one process
fight over the cores. Peers take turns, case by case and round by round; each turn is the best of
several short repetitions, and the ratio is taken within a round. Read ratios, not figures.

    python benchmarks/matmul.py [--rounds 5] [--threads 2] [--only 512]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TURN_SECONDS = 0.15
# OpenMP workers spin for a while after a parallel region; let them fall asleep before the next turn
PAUSE_SECONDS = 0.25


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


def seconds_per_call(call: Callable[[], Any], wait: Callable[[], Any]) -> float:
    """Return the time of one call, the best of repetitions that fill a turn."""
    call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    once = time.perf_counter() - start
    repetitions = max(1, min(2000, int(TURN_SECONDS / 6 / max(once, 1e-6))))
    best = math.inf
    deadline = time.perf_counter() + TURN_SECONDS
    while time.perf_counter() < deadline or best == math.inf:
        start = time.perf_counter()
        for _ in range(repetitions):
            call()
        wait()
        best = min(best, (time.perf_counter() - start) / repetitions)
    return best


def torch_call(case: Case, threads: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what runs a case in PyTorch, writing to a tensor that is there already."""
    import torch

    torch.set_num_threads(threads)
    lead = (case.batch,) if case.batch > 1 else ()
    a = torch.randn(*lead, case.k, case.m).mT if case.ta else torch.randn(*lead, case.m, case.k)
    b = torch.randn(*lead, case.n, case.k).mT if case.tb else torch.randn(*lead, case.k, case.n)
    out = torch.matmul(a, b)
    return (lambda: torch.matmul(a, b, out=out)), (lambda: None)


def clgrad_call(case: Case, index: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what runs a case on an OpenCL device: its launches, buffers being there already."""
    import numpy as np

    import clgrad.bringup  # devices are probed, rather than taken at their word, once it is known
    from clgrad import dtypes
    from clgrad.codegen.matmul import MatmulProblem, lower_matmul
    from clgrad.runtime import discovery

    assert clgrad.bringup.bring_up is not None
    device = discovery.devices()[index]
    m, k, n = case.m, case.k, case.n
    problem = MatmulProblem(
        m, n, k, (case.batch,), (m * k, *((1, m) if case.ta else (k, 1))),
        (k * n, *((1, k) if case.tb else (n, 1))), *[dtypes.float32] * 3,
    )  # fmt: skip
    lowered = lower_matmul(problem, device.traits)
    rng = np.random.default_rng(0)
    buffers: dict[Any, Any] = {}
    for name, size in (("a", m * k), ("b", k * n), ("out", m * n)):
        values = rng.standard_normal(case.batch * size).astype(np.float32)
        buffers[(name,)] = device.allocate(values.nbytes)
        device.write(buffers[(name,)], values)
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

    return call, device.synchronize


def work(peer: str, threads: int) -> None:
    """Answer, for each case that comes in on a line, with its time; runs in a child process."""
    sys.path.insert(0, str(ROOT))
    for line in sys.stdin:
        case = Case(**json.loads(line))
        if peer == "torch":
            call, wait = torch_call(case, threads)
        else:
            call, wait = clgrad_call(case, int(peer))
        print(json.dumps(seconds_per_call(call, wait)), flush=True)


def device_names() -> list[str]:
    """Return the names of the OpenCL devices, asked for in a process of its own."""
    program = (
        "import json; from clgrad.runtime import discovery as d;"
        "print(json.dumps([f'{x.id} on {x.platform_name}' for x in d.devices()]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return list(json.loads(found.stdout.splitlines()[-1]))


def main() -> None:
    """Run all cases and print one line for each device and case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="cases whose label contains this")
    parser.add_argument("--worker", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.worker, options.threads)
        return
    names = device_names()
    peers = ["torch", *(str(i) for i in range(len(names)))]
    workers = {
        peer: subprocess.Popen(
            [sys.executable, __file__, "--worker", peer, "--threads", str(options.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for peer in peers
    }  # fmt: skip
    print(f"float32, {options.threads} threads, {options.rounds} rounds; ratio is rate / torch's")
    print(f"{'case':32} {'device':44} {'GFLOP/s':>8} {'torch':>7}   ratio min / median / max")
    for case in (case for case in CASES if options.only in case.label):
        times: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(options.rounds):
            for peer in peers:
                time.sleep(PAUSE_SECONDS)
                worker = workers[peer]
                assert worker.stdin is not None
                assert worker.stdout is not None
                worker.stdin.write(json.dumps(case.__dict__) + "\n")
                worker.stdin.flush()
                times[peer].append(float(worker.stdout.readline()))
        theirs = case.flops / median(times["torch"]) / 1e9
        for peer, name in zip(peers[1:], names, strict=True):
            ratios = sorted(t / own for t, own in zip(times["torch"], times[peer], strict=True))
            rate = case.flops / median(times[peer]) / 1e9
            print(
                f"{case.label:32} {name:44} {rate:8.1f} {theirs:7.1f}   "
                f"{ratios[0]:.2f} / {median(ratios):.2f} / {ratios[-1]:.2f}",
                flush=True,
            )
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()


if __name__ == "__main__":
    main()
