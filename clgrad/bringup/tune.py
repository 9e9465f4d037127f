"""Measures the candidates of kernel families on a device, within a budget of time.

Candidates run in a child process (`tune_worker`): one that crashes, hangs or computes wrong results
is passed over, and costs a new child. What the cost model chooses is measured first and again, in
turns, beside the best one found; only a gain that this repeats is kept.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clgrad.bringup.tuned import Measured
from clgrad.codegen.choice import family_of, text_of
from clgrad.errors import ClgradValueError
from clgrad.runtime.device import Device

LEAST_GAIN = 1.03
_MOST_SECONDS = 20.0
"""That one candidate may take to be built, checked and measured."""
_CONTESTS = 3


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one class of problems.

    Attributes:
        problem: its text.
        key: the text of its class.
        work: its operations.
        tried, failed: numbers of candidates.
        offered: how many there are.
        measured: the best, or None where not even the first one could be measured.
        errors: why candidates failed.
    """

    problem: str
    key: str
    work: float
    tried: int
    failed: int
    offered: int
    measured: Measured | None
    errors: tuple[str, ...]


class Worker:
    """The child process of a device; begun anew after one that ended or was too slow."""

    def __init__(self, device: Device, command: Sequence[str] = ()) -> None:
        self._command = list(command) or [
            sys.executable, "-m", "clgrad.bringup.tune_worker", str(device.index),
        ]  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def measure(self, problem: str, choice: str, limit: float) -> float | str:
        """Return the time of a candidate, or why there is none."""
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"problem": problem, "choice": choice}) + "\n")
            process.stdin.flush()
            answer = json.loads(self._answers.get(timeout=max(limit, 0.1)))
        except queue.Empty:
            self.close()
            return f"took more than {limit:.0f} s"
        except (OSError, ValueError):
            self.close()
            return "ended its process"
        return float(answer["seconds"]) if "seconds" in answer else str(answer["error"])

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._answers = queue.Queue()
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            threading.Thread(
                target=_forward, args=(self._process, self._answers), daemon=True
            ).start()
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what it was not yet told is of no use
                        pipe.close()
            self._process = None


def _forward(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    """Pass on the lines of a process, and an empty one when it has ended."""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            answers.put(line)
    except ValueError:
        pass  # the pipe was closed
    answers.put("")


def classes(problems: Iterable[str]) -> list[str]:
    """Return one problem of each class, the first; raises `ClgradValueError` for unknown texts."""
    found: dict[str, str] = {}
    for text in problems:
        family = family_of(text)
        if family is None:
            raise ClgradValueError(
                f"tune: {text!r} is of no family that can be tuned. Expected something like "
                "'matmul 512x784x512 NT float32'."
            )
        found.setdefault(family.key(text), text)
    return list(found.values())


def tune(
    device: Device,
    problems: Sequence[str],
    budget: float,
    progress: Callable[[str, int, int], None],
    worker: Worker | None = None,
) -> Iterable[Report]:
    """Measure problems, one of each class, and yield what came of each.

    Args:
        device: where.
        problems: texts, in the order of their importance.
        budget: seconds for all; each problem gets an equal share of what is left.
        progress: called with a problem, and how many of its candidates were tried and offered.
        worker: measures, if given.
    """
    worker = worker or Worker(device)
    deadline = time.monotonic() + budget
    try:
        for position, text in enumerate(problems):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            yield _tune_one(device, text, left / (len(problems) - position), progress, worker)
    finally:
        worker.close()


def _tune_one(
    device: Device, text: str, share: float, progress: Callable[[str, int, int], None],
    worker: Worker,
) -> Report:  # fmt: skip
    family: Any = family_of(text)
    problem, key = family.parse(text), family.key(text)
    texts = list(dict.fromkeys(text_of(c) for c in family.candidates(problem, device.traits)))
    end = time.monotonic() + share
    times: dict[str, float] = {}
    errors: list[str] = []
    for choice in texts:
        progress(text, len(times) + len(errors), len(texts))
        limit = _MOST_SECONDS if not times else min(_MOST_SECONDS, end - time.monotonic())
        if limit <= 0:
            break
        answer = worker.measure(text, choice, limit)
        if isinstance(answer, float):
            times[choice] = answer
        elif limit == _MOST_SECONDS or "took more" not in answer:
            errors.append(f"{choice}: {answer}")
    measured = None
    if texts[0] in times:
        best = min(times, key=lambda choice: times[choice])
        measured = _contest(worker, text, texts[0], best, times)
    tried = len(times) + len(errors)
    return Report(
        text, key, family.work(problem), tried, len(errors), len(texts), measured, tuple(errors)
    )


def _contest(worker: Worker, text: str, first: str, best: str, times: dict[str, float]) -> Measured:
    """Measure two candidates in turns; returns the first one unless the other is faster again."""
    if best == first or times[first] < LEAST_GAIN * times[best]:
        return Measured(first, times[first], times[first])
    again: dict[str, list[float]] = {first: [], best: []}
    for _ in range(_CONTESTS):
        for choice, found in again.items():
            answer = worker.measure(text, choice, _MOST_SECONDS)
            if not isinstance(answer, float):
                return Measured(first, times[first], times[first])
            found.append(answer)
    before, after = min(again[first]), min(again[best])
    if before < LEAST_GAIN * after:
        return Measured(first, before, before)
    return Measured(best, after, before)
