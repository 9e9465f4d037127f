"""The harness of the benchmarks: peers in processes of their own, compared, then timed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"
WORKER = """
import sys, time
sys.path.insert(0, sys.argv[2])
import numpy as np
from _pairs import Job, serve

def double(n):
    factor = {"right": 2.0, "close": 2.000001, "wrong": 3.0}[sys.argv[1]]
    print("this goes to standard error")
    return Job(lambda: time.sleep(n * 1e-3), values=lambda: [np.arange(n) * factor],
               peak=lambda: 17, facts=lambda: {"name": sys.argv[1]})

def fails():
    raise ValueError("no such thing")

serve({"double": double, "fails": fails})
"""


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _pairs

    monkeypatch.setattr(_pairs, "PAUSE_SECONDS", 0.0)
    return _pairs


@pytest.fixture
def workers(pairs: Any, tmp_path: Path) -> Iterator[Any]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    names = ("right", "close", "wrong")
    with pairs.Workers({name: [str(script), name, str(BENCHMARKS)] for name in names}) as made:
        yield made


def test_peers_that_agree_are_timed_in_turns(pairs: Any, workers: Any) -> None:
    sides = [pairs.Side(peer, "double", {"n": n}) for peer, n in (("right", 4), ("close", 4))]
    ratio = workers.compare(*sides, rounds=2)
    assert ratio.own >= 4e-3
    assert 0 < ratio.least <= ratio.middle <= ratio.largest
    assert workers.ask("right", "peak", "double", {"n": 1}) == 17
    assert workers.ask("close", "facts", "double", {"n": 1}) == {"name": "close"}


def test_peers_that_disagree_are_not_timed(pairs: Any, workers: Any) -> None:
    sides = [pairs.Side(peer, "double", {"n": 3}) for peer in ("right", "wrong")]
    with pytest.raises(pairs.PeerError, match="value 0 of right differs from wrong's by 2"):
        workers.compare(*sides, rounds=1)


def test_failures_of_peers_are_told(pairs: Any, workers: Any) -> None:
    with pytest.raises(pairs.PeerError, match=r"right failed at fails .*ValueError: no such thing"):
        workers.ask("right", "time", "fails", {})
    assert workers.ask("right", "peak", "double", {"n": 1}) == 17  # it goes on after that


def test_ratios_are_taken_within_rounds(pairs: Any) -> None:
    ratio = pairs.Ratio.of([1.0, 2.0, 9.0], [2.0, 2.0, 3.0])
    assert (ratio.least, ratio.middle, ratio.largest) == (0.5, 1.0, 3.0)
    assert (ratio.own, ratio.other) == (2.0, 2.0)
    assert str(ratio) == "0.50 / 1.00 / 3.00"


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (1.25e-3, "1.25 ms"), (3.2e-6, "3.2 µs")]
)
def test_times_are_readable(pairs: Any, seconds: float, text: str) -> None:
    assert pairs.format_seconds(seconds) == text


def test_a_call_is_timed_by_the_best_of_a_turn(pairs: Any) -> None:
    calls: list[int] = []
    seconds = pairs.seconds_per_call(lambda: calls.append(1), pairs.nothing, turn=0.01)
    assert 0 < seconds < 1e-3
    assert len(calls) > 100


def test_memory_of_pytorch_is_the_largest_sum_of_live_storages(pairs: Any) -> None:
    torch = pytest.importorskip("torch")
    import _peers

    peer = object.__new__(_peers.Torch)
    peer.m = torch
    x = torch.ones(1000, requires_grad=True)

    def call() -> None:
        y = x * 2  # 4,000 bytes, saved by nobody
        z = y + 1  # 8,000
        del y  # 4,000
        w = z * z  # 8,000, z is saved
        w.view(10, 100).sum().backward()  # a view has no memory of its own

    # at the product's backward: z, w, g * z twice and their sum; the expanded gradient is 4 bytes
    peak = peer.peak(call, [x])
    assert peak % 4000 < 100
    assert 16000 <= peak <= 24000


def teardown_module() -> None:
    for name in ("_pairs", "_peers"):
        sys.modules.pop(name, None)
