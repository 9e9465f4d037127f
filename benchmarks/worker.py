"""The process of one peer: answers requests, one JSON object a line, until there are no more.

    python worker.py PEER

Thread pools of several runtimes in one process fight over the cores, so each peer has one of its
own. Anything that a program prints besides goes to standard error.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from records import Job, Workload

TURN_SECONDS = 0.15
MOST_REPETITIONS = 2000


class Timer:
    """Times the calls of one job; the first two are not counted, as they compile."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.repetitions = 0

    def _run(self, repetitions: int) -> float:
        start = time.perf_counter()
        for _ in range(repetitions):
            self.job.call()
        self.job.wait()
        return (time.perf_counter() - start) / repetitions

    def seconds(self, turn: float = TURN_SECONDS) -> float:
        """Return the time of one call, the best of repetitions that fill a turn."""
        if not self.repetitions:
            self._run(1)
            once = min(self._run(1), self._run(1))
            self.repetitions = max(1, min(MOST_REPETITIONS, int(turn / 6 / max(once, 1e-6))))
        best, deadline = math.inf, time.perf_counter() + turn
        while best == math.inf or time.perf_counter() < deadline:
            best = min(best, self._run(self.repetitions))
        return best


def serve(make_peer: Callable[[], Any], workloads: Mapping[str, Workload]) -> None:
    """Answer what the parent asks: `time`, `values`, `peak`, `kernels` of a workload, `limits`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer: Any = None
    held: dict[str, Timer] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            peer = peer or make_peer()
            timer = None
            name = request.get("workload")
            if name is not None:
                if name not in held:
                    held.clear()  # what the last one holds must not weigh on this one
                    held[name] = Timer(workloads[name].jobs[peer.kind](peer))
                timer = held[name]
            answer = {"answer": _answer(peer, timer, request)}
        except Exception as error:  # the parent shows it, whatever it is
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(peer: Any, timer: Timer | None, request: Mapping[str, Any]) -> Any:
    do = request["do"]
    if timer is None:
        import shares

        assert do == "limits"
        return shares.limits(peer)
    job = timer.job
    if do == "time":
        return timer.seconds()
    if do == "peak":
        return None if job.peak is None else job.peak()
    if do == "kernels":
        import shares

        return shares.kernels(peer, job)
    assert do == "values"
    np.savez(request["path"], *job.values())
    return None


if __name__ == "__main__":
    from peers import make
    from work import WORKLOADS

    serve(lambda: make(sys.argv[1]), WORKLOADS)
