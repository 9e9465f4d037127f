"""In the parent: the workers, their turns, and whether they agree.

A machine's speed drifts, so peers alternate A B C A B C, and ratios are taken within a round. What
they compute is compared before anything is timed. Read ratios, not figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

HERE = Path(__file__).resolve().parent
# OpenMP workers spin for a while after a parallel region; let them fall asleep before the next turn
PAUSE_SECONDS = 0.25
FOREIGN_SHARE = 0.1
"""Of one core: what others may take of the machine in a turn, else the turn is repeated."""
MOST_TRIES = 5
_TICK = 0.02  # seconds: counters step by 10 ms


class PeerError(RuntimeError):
    """A peer failed, or peers disagree."""


def library_root() -> Path:
    """Return the folder that holds the package `clgrad` to which these benchmarks belong."""
    beside = HERE.parent  # in a checkout; in the wheel the benchmarks are inside of the package
    return beside if (beside / "clgrad" / "__init__.py").is_file() else beside.parent


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that imports clgrad from `root`."""
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | more


@dataclass(frozen=True)
class Start:
    """How a worker is started.

    Attributes:
        command: arguments of Python.
        environment: of the process; the parent's if None.
    """

    command: Sequence[str]
    environment: Mapping[str, str] | None = None

    @classmethod
    def peer(cls, name: str, root: Path, **more: str) -> Start:
        """Return the start of a peer by name, with clgrad from `root`."""
        return cls((str(HERE / "worker.py"), name), environment(root, **more))


def _busy_seconds() -> float:
    """Return the time that all cores have spent on programs, or 0 where nobody counts it."""
    try:
        fields = Path("/proc/stat").read_text().split(maxsplit=9)
    except OSError:
        return 0.0
    # user, nice and system time; idle, waiting and interrupts are nobody's
    return sum(float(x) for x in fields[1:4]) / os.sysconf("SC_CLK_TCK")


def _process_seconds(pid: int) -> float:
    """Return the time that a process and its ended children have spent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(float(x) for x in fields[11:15]) / os.sysconf("SC_CLK_TCK")


class Workers:
    """The processes of all peers; a context manager that ends them."""

    def __init__(self, starts: Mapping[str, Start]) -> None:
        self._processes = {
            peer: subprocess.Popen(
                [sys.executable, *start.command], env=start.environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for peer, start in starts.items()
        }  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            assert process.stdout is not None
            process.stdout.close()
            process.wait()

    def ask(self, peer: str, do: str, workload: str | None = None, **more: Any) -> Any:
        """Return what a peer answers; raises `PeerError` if it fails."""
        process = self._processes[peer]
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"do": do, "workload": workload} | more
        line = ""
        if process.poll() is None:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        if not line:
            raise PeerError(f"{peer} died at {workload}.")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{peer} failed at {workload}: {answer['error']}")
        return answer["answer"]

    def values(self, peer: str, workload: str) -> list[Any]:
        """Return the arrays by which a peer is compared."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "values.npz")
            self.ask(peer, "values", workload, path=path)
            with np.load(path) as arrays:
                return [arrays[name] for name in arrays.files]

    def turns(self, peers: Sequence[str], workload: str, rounds: int) -> dict[str, list[float]]:
        """Return the seconds of one call, per peer and round."""
        times: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(rounds):
            for peer in peers:
                times[peer].append(self.time(peer, workload))
        return times

    def time(self, peer: str, workload: str) -> float:
        """Return the seconds of one call, taken again where others used the machine.

        A turn counts as disturbed where the machine's cores were busy with more than the workers;
        of turns that all were, the last one counts. Without Linux's counters every turn counts.
        """
        for _ in range(MOST_TRIES):
            time.sleep(PAUSE_SECONDS)
            busy, own, began = _busy_seconds(), self._own_seconds(), time.perf_counter()
            seconds = float(self.ask(peer, "time", workload))
            elapsed = time.perf_counter() - began
            foreign = _busy_seconds() - busy - (self._own_seconds() - own)
            if foreign <= FOREIGN_SHARE * elapsed + _TICK:
                break
        return seconds

    def _own_seconds(self) -> float:
        return sum(_process_seconds(p.pid) for p in self._processes.values())


def agree(
    workload: str, first: str, expected: Sequence[Any], other: str, values: Sequence[Any],
    rtol: float,
) -> None:  # fmt: skip
    """Compare two peers' values, relative to the largest of each array.

    Raises:
        PeerError: they differ, in number, in shape, or by more than `rtol`.
    """
    if len(values) != len(expected) or not values:
        raise PeerError(f"{workload}: {other} and {first} gave no like values.")
    for k, (a, b) in enumerate(zip(values, expected, strict=True)):
        if a.shape != b.shape:
            raise PeerError(f"{workload}: value {k} of {other} has another shape than {first}'s.")
        scale = float(np.abs(b).max(initial=0.0)) or 1.0
        error = float(np.abs(a - b).max(initial=0.0)) / scale
        if not error <= rtol:
            raise PeerError(
                f"{workload}: value {k} of {other} differs from {first}'s by {error:.2g} of the "
                f"largest; {rtol:g} is allowed."
            )


@dataclass(frozen=True)
class Ratio:
    """Ratios of two times, taken within rounds: least, median, largest."""

    least: float
    middle: float
    largest: float

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        """Return the summary of `above / below`."""
        ratios = sorted(a / b for a, b in zip(above, below, strict=True))
        return cls(ratios[0], median(ratios), ratios[-1])

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.least:.2f}–{self.largest:.2f})"
