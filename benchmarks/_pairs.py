"""Timing pairs of programs: each peer in a process of its own that stays alive, taking turns.

Thread pools of several runtimes in one process fight over the cores, and a machine's speed drifts;
so peers are apart, alternate A B A B, and ratios are taken within a round. What two peers compute
is compared before anything is timed. Read ratios, not figures.

A benchmark lists builders by name, calls `serve` when it was started as a worker, and else asks
`Workers` for measurements. It is no benchmark itself.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).resolve().parent.parent
TURN_SECONDS = 0.15
# OpenMP workers spin for a while after a parallel region; let them fall asleep before the next turn
PAUSE_SECONDS = 0.25
MOST_REPETITIONS = 2000
FOREIGN_SHARE = 0.1
"""Of one core: what others may take of the machine in a turn, else the turn is repeated."""
MOST_TRIES = 5


def nothing() -> None:
    """Do nothing: for peers whose calls have finished when they return."""


@dataclass(frozen=True)
class Job:
    """What a peer does in one case.

    Attributes:
        call: one repetition.
        wait: returns when everything that was called has finished.
        values: arrays by which peers are compared, computed anew.
        peak: bytes by which one call raises the memory in use above what it was before, at most.
        facts: what else there is to say, such as counters; for cases that are not timed.
    """

    call: Callable[[], Any] = nothing
    wait: Callable[[], Any] = nothing
    values: Callable[[], list[Any]] = list
    peak: Callable[[], int] | None = None
    facts: Callable[[], dict[str, Any]] | None = None


Builder = Callable[..., Job]


def seconds_per_call(
    call: Callable[[], Any], wait: Callable[[], Any], turn: float = TURN_SECONDS
) -> float:
    """Return the time of one call, the best of repetitions that fill a turn."""
    call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    once = time.perf_counter() - start
    repetitions = max(1, min(MOST_REPETITIONS, int(turn / 6 / max(once, 1e-6))))
    best = math.inf
    deadline = time.perf_counter() + turn
    while time.perf_counter() < deadline or best == math.inf:
        start = time.perf_counter()
        for _ in range(repetitions):
            call()
        wait()
        best = min(best, (time.perf_counter() - start) / repetitions)
    return best


# ---- in the worker -------------------------------------------------------------------------------


def serve(builders: Mapping[str, Builder]) -> None:
    """Answer the requests that come in, one JSON object a line, until there are no more.

    Anything that the program prints besides goes to standard error.
    """
    sys.path.insert(0, str(ROOT))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    jobs: dict[str, Job] = {}
    for line in sys.stdin:
        request = json.loads(line)
        key = json.dumps([request["case"], request["params"]])
        try:
            if key not in jobs:
                jobs.clear()  # what the last case holds must not weigh on this one
                jobs[key] = builders[request["case"]](**request["params"])
            answer = {"answer": _answer(jobs[key], request["do"], request.get("path"))}
        except Exception as error:  # the parent shows it, whatever it is
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(job: Job, do: str, path: str | None) -> Any:
    if do == "time":
        return seconds_per_call(job.call, job.wait)
    if do == "peak":
        assert job.peak is not None, "this case measures no memory"
        return job.peak()
    if do == "facts":
        assert job.facts is not None, "this case has no facts"
        return job.facts()
    assert do == "values"
    assert path is not None
    np.savez(path, *job.values())
    return None


# ---- in the parent -------------------------------------------------------------------------------

_TICK = 0.02  # seconds: counters step by 10 ms


def _busy_seconds() -> float:
    """Return the time that all cores have spent on programs, or 0 where nobody counts it."""
    try:
        fields = Path("/proc/stat").read_text().split(maxsplit=9)
    except OSError:
        return 0.0
    # user, nice and system time; idle, waiting and interrupts are nobody's
    return sum(float(x) for x in fields[1:4]) / os.sysconf("SC_CLK_TCK")


def _process_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (float(fields[11]) + float(fields[12])) / os.sysconf("SC_CLK_TCK")


class PeerError(RuntimeError):
    """A peer failed, or peers disagree."""


class Workers:
    """The processes of all peers; a context manager that ends them.

    Args:
        commands: per peer the arguments of Python, a benchmark's file first.
    """

    def __init__(self, commands: Mapping[str, list[str]]) -> None:
        self._processes = {
            peer: subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )
            for peer, command in commands.items()
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

    def ask(
        self, peer: str, do: str, case: str, params: Mapping[str, Any], path: str | None = None
    ) -> Any:
        """Return what a peer answers; raises `PeerError` if it fails."""
        process = self._processes[peer]
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"do": do, "case": case, "params": params, "path": path}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise PeerError(f"{peer} died at {case} {dict(params)}.")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{peer} failed at {case} {dict(params)}: {answer['error']}")
        return answer["answer"]

    def time(self, side: Side) -> float:
        """Return the time of a side in one turn, taken again where others used the machine.

        A turn counts as disturbed where the machine's cores were busy with more than the workers;
        of turns that all were, the last one counts. Without Linux's counters every turn counts.
        """
        for _ in range(MOST_TRIES):
            time.sleep(PAUSE_SECONDS)
            busy, own, began = _busy_seconds(), self._own_seconds(), time.perf_counter()
            seconds = float(self.ask(side.peer, "time", side.case, side.params))
            elapsed = time.perf_counter() - began
            foreign = _busy_seconds() - busy - (self._own_seconds() - own)
            if foreign <= FOREIGN_SHARE * elapsed + _TICK:
                break
        return seconds

    def _own_seconds(self) -> float:
        return sum(_process_seconds(p.pid) for p in self._processes.values())

    def check(self, sides: Iterable[Side], rtol: float, atol: float) -> None:
        """Compare what several sides compute with the first; raises `PeerError`."""
        found: list[tuple[Side, list[Any]]] = []
        with tempfile.TemporaryDirectory() as folder:
            for k, side in enumerate(sides):
                path = str(Path(folder) / f"{k}.npz")
                self.ask(side.peer, "values", side.case, side.params, path)
                with np.load(path) as arrays:
                    found.append((side, [arrays[name] for name in arrays.files]))
        first, expected = found[0]
        for side, values in found[1:]:
            if len(values) != len(expected) or not values:
                raise PeerError(f"{side.case}: {side.peer} and {first.peer} gave no like values.")
            for k, (a, b) in enumerate(zip(values, expected, strict=True)):
                if a.shape != b.shape or not np.allclose(a, b, rtol, atol):
                    error = np.abs(a - b).max() if a.shape == b.shape else "shapes"
                    raise PeerError(
                        f"{side.case} {dict(side.params)}: value {k} of {side.peer} differs from "
                        f"{first.peer}'s by {error}."
                    )

    def compare(
        self, own: Side, other: Side, rounds: int, rtol: float = 1e-4, atol: float = 1e-6
    ) -> Ratio:
        """Return the times of two sides that take turns, after checking that they agree."""
        self.check((other, own), rtol, atol)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for side, seconds in zip((own, other), times, strict=True):
                seconds.append(self.time(side))
        return Ratio.of(*times)


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a case with its parameters, run by a peer."""

    peer: str
    case: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Ratio:
    """Median seconds of both sides, and own / other within rounds: least, median, largest."""

    own: float
    other: float
    least: float
    middle: float
    largest: float

    @classmethod
    def of(cls, own: list[float], other: list[float]) -> Ratio:
        """Return the summary of times measured in turns."""
        ratios = sorted(a / b for a, b in zip(own, other, strict=True))
        return cls(median(own), median(other), ratios[0], median(ratios), ratios[-1])

    def __str__(self) -> str:
        return f"{self.least:.2f} / {self.middle:.2f} / {self.largest:.2f}"


def format_seconds(seconds: float) -> str:
    """Return a time as people read it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def device_names(short: bool = False) -> list[str]:
    """Return the OpenCL devices, asked for in a process of its own: names, or ids if `short`."""
    shown = "x.id" if short else "f'{x.id} on {x.platform_name}'"
    program = (
        "import json; from clgrad.runtime import discovery as d;"
        f"print(json.dumps([{shown} for x in d.devices()]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return list(json.loads(found.stdout.splitlines()[-1]))


def as_json(record: Any) -> Any:
    """Return a record for `json.dumps(..., default=as_json)`."""
    return asdict(record)
