"""The frame of the benchmarks: processes, agreement, the judgement of differences, the tables."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"
WORKER = """
import sys, time
sys.path.insert(0, sys.argv[2])
import numpy as np
from records import Job, Workload
from worker import serve

class Peer:
    kind = "torch"
    factor = {"right": 2.0, "close": 2.000001, "wrong": 3.0}[sys.argv[1]]

def double(peer):
    print("this goes to standard error")
    return Job(lambda: time.sleep(2e-3), values=lambda: [np.arange(3) * peer.factor],
               peak=lambda: 17)

def fails(peer):
    raise ValueError("no such thing")

def dies(peer):
    raise SystemExit(3)

made = {"double": double, "fails": fails, "dies": dies}
serve(Peer, {name: Workload(name, "group", {"torch": job}) for name, job in made.items()})
"""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    turns = importlib.import_module("turns")
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(turns, "MOST_TRIES", 1)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture
def workers(load: Any, tmp_path: Path) -> Iterator[Any]:
    turns = load("turns")
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    names = ("right", "close", "wrong")
    starts = {name: turns.Start((str(script), name, str(BENCHMARKS))) for name in names}
    with turns.Workers(starts) as made:
        yield made


# ---- processes and their turns -----------------------------------------------------------------


def test_peers_take_turns(load: Any, workers: Any) -> None:
    times = workers.turns(("right", "close"), "double", 2)
    assert [len(found) for found in times.values()] == [2, 2]
    assert min(times["right"]) >= 2e-3
    ratio = load("turns").Ratio.of(times["right"], times["close"])
    assert 0 < ratio.least <= ratio.middle <= ratio.largest
    assert workers.ask("right", "peak", "double") == 17


def test_failures_of_peers_are_told(load: Any, workers: Any) -> None:
    error = load("turns").PeerError
    with pytest.raises(error, match=r"right failed at fails: ValueError: no such thing"):
        workers.ask("right", "time", "fails")
    assert workers.ask("right", "peak", "double") == 17  # it goes on after that
    with pytest.raises(error, match="right died at dies"):
        workers.ask("right", "time", "dies")
    with pytest.raises(error, match="right died at double"):
        workers.ask("right", "time", "double")


def test_ratios_are_taken_within_rounds(load: Any) -> None:
    ratio = load("turns").Ratio.of([1.0, 2.0, 9.0], [2.0, 2.0, 3.0])
    assert (ratio.least, ratio.middle, ratio.largest) == (0.5, 1.0, 3.0)
    assert str(ratio) == "1.00 (0.50–3.00)"


def test_a_call_is_timed_by_the_best_of_a_turn(load: Any) -> None:
    calls: list[int] = []
    timer = load("worker").Timer(load("records").Job(lambda: calls.append(1)))
    assert 0 < timer.seconds(turn=0.01) < 1e-3
    assert len(calls) > 100


# ---- agreement ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([np.array([1.0, 100.005])], None),
        ([np.array([1.0, 100.2])], "value 0 of other differs from first's by 0.002"),
        ([np.array([1.0, np.nan])], "value 0 of other differs from first's by nan"),
        ([np.array([1.0])], "value 0 of other has another shape"),
        ([], "gave no like values"),
    ],
)
def test_values_are_compared_relative_to_the_largest(
    load: Any, values: list[Any], fault: str | None
) -> None:
    turns = load("turns")
    args = ("work", "first", [np.array([1.004, 100.0])], "other", values, 1e-4)
    if fault is None:
        turns.agree(*args)
    else:
        with pytest.raises(turns.PeerError, match=fault):
            turns.agree(*args)


def test_a_peer_that_disagrees_fails_the_suite(load: Any, workers: Any) -> None:
    suite, peers, report = load("suite"), load("peers"), load("report")
    work = load("records").Workload("double", "group", {"torch": None})
    names = ("close", "wrong")
    for name in names:
        peers.PEERS[name] = peers.PEERS["torch"]
    suite.OWN = "right"
    row = suite.measure(workers, work, names, 1)
    assert list(row.ratios) == ["close"]
    assert "differs from right's by 0.5" in row.errors["wrong"]
    table = report.Table(limits(report), {}, names)
    table.head()
    assert "FAILED" in table.add(row)
    assert table.failed
    assert "FAILED: double: value 0 of wrong" in table.markdown()


def test_clgrad_that_fails_is_no_row_of_times(load: Any, workers: Any) -> None:
    suite, report = load("suite"), load("report")
    suite.OWN = "right"
    work = load("records").Workload("fails", "group", {"torch": None})
    row = suite.measure(workers, work, (), 1)
    assert row.seconds == 0
    assert "| fails | FAILED |" in report.Table(limits(report), {}, ()).add(row)


# ---- two commits -------------------------------------------------------------------------------


def judged(load: Any, change: float, noise: float = 0.01, control: float = 0.0, **more: Any) -> Any:
    """Judge synthetic times: B takes `change` times A's, another process of A `1 + control`."""
    rng = random.Random(more.get("seed", 0))

    def starts(factor: float) -> list[list[tuple[float, float]]]:
        def time() -> float:
            return 1e-3 * rng.gauss(1, noise) * (20 if rng.random() < more.get("jumps", 0) else 1)

        return [[(time(), factor * time()) for _ in range(5)] for _ in range(3)]

    return load("compare").judge(starts(change), starts(1 + control))


def test_noise_is_not_told(load: Any) -> None:
    found = [judged(load, 1.0, noise, seed=s).differs for s in range(50) for noise in (0.01, 0.1)]
    assert sum(found) == 0
    assert not judged(load, 1.015, noise=0.001).differs, "less than 2 % is never told"


def test_what_exceeds_the_noise_is_told(load: Any) -> None:
    for seed in range(20):
        slower, faster = judged(load, 1.08, seed=seed), judged(load, 0.92, seed=seed)
        assert slower.differs and slower.ratio > 1
        assert faster.differs and faster.ratio < 1
        assert str(slower).startswith("slower: 1.0") and str(faster).startswith("faster: 0.9")


def test_some_disturbed_turns_do_not_count(load: Any) -> None:
    assert not any(judged(load, 1.0, jumps=0.1, seed=s).differs for s in range(50))
    assert judged(load, 1.3, jumps=0.1).differs


def test_a_difference_must_exceed_that_of_two_processes_of_one_commit(load: Any) -> None:
    assert not judged(load, 1.08, noise=0.002, control=0.07).differs
    assert judged(load, 1.08, noise=0.002, control=0.02).differs


def test_starts_must_agree_on_the_direction(load: Any) -> None:
    pairs = [[(1.0, 1.2)] * 5, [(1.0, 1.2)] * 5, [(1.0, 0.9)] * 5]
    controls = [[(1.0, 1.0)] * 5] * 3
    assert not load("compare").judge(pairs, controls).differs
    assert load("compare").judge([pairs[0]] * 3, controls).differs


# ---- tables ------------------------------------------------------------------------------------


def limits(report: Any) -> Any:
    return report.Limits("CPU", "Runtime", "cl:0", 40e9, 50e9, 200e9, 250e9, 500e9, 2e-6, 5e-6)


def test_a_share_is_that_of_the_limit_that_is_approached_most(load: Any) -> None:
    at = limits(load("report"))
    assert at.share(1.0, 250e9, 5e9) == (0.5, "arithmetic")
    assert at.share(1.0, 5e9, 40e9) == (0.8, "memory")
    assert at.share(1.0, 5e9, 100e9) == (0.4, "cache")
    assert at.share(1.0, 0, 0)[0] == 0


def test_the_table_has_speeds_shares_and_memory(load: Any, tmp_path: Path) -> None:
    report, turns = load("report"), load("turns")
    table = report.Table(limits(report), {"torch": "2"}, ("torch", "jax"))
    head = table.head()
    assert "copy 40 GB/s" in head and "a launch 2.0 µs" in head
    row = report.Row("work", "group", 250e6, 0, 1e-3, {"torch": turns.Ratio(1, 2, 3)})
    row.peaks = {"clgrad": 2_000_000, "torch": 4_000_000}
    row.kernels = [
        {"kernel": "cg", "launches": 2, "seconds": 1e-3, "nbytes": 25e6, "flops": 0},
    ]  # fmt: skip
    lines = table.add(row).splitlines()
    assert lines[0] == (
        "| work | 1 ms | 50% of arithmetic | 2.00 (1.00–3.00) | – | 2.0 MB | 0.50 |"
    )
    assert lines[1].startswith("| — 2 × `cg` | 1 ms | 50% of memory |")
    assert len({line.count("|") for line in [*lines, *head.splitlines()[-2:]]}) == 1
    assert "| group | torch | 1 | 2.00 | 2.00 |" in table.summary()
    table.write(tmp_path)
    assert lines[0] in (tmp_path / "results.md").read_text(encoding="utf-8")
    assert '"kernel": "cg"' in (tmp_path / "results.json").read_text(encoding="utf-8")


def test_plots_are_drawn(load: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report, turns, plots = load("report"), load("turns"), load("plots")
    table = report.Table(limits(report), {}, ("torch",))
    table.rows = [report.Row("a", "g", 1e9, 1e9, 1e-2, {"torch": turns.Ratio(1, 2, 3)})]
    plots.roofline(tmp_path / "roofline.png", table)
    plots.bars(tmp_path / "bars.png", table)
    assert all((tmp_path / f"{n}.png").stat().st_size > 1000 for n in ("roofline", "bars"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (1.25e-3, "1.25 ms"), (3.2e-6, "3.2 µs")]
)
def test_times_are_readable(load: Any, seconds: float, text: str) -> None:
    assert load("report").format_seconds(seconds) == text


# ---- workloads ---------------------------------------------------------------------------------


def test_workloads_are_chosen_by_group_and_name(load: Any) -> None:
    suite = load("suite")
    every = suite.select("", quick=False)
    assert len(every) > 80
    assert {one.group for one in suite.select("products, heat", quick=False)} == {
        "products",
        "heat",
    }
    assert len(suite.select("lenet", quick=False)) == 2
    assert len(suite.select("", quick=True)) < len(every)
    assert all("torch" in one.jobs for one in every)


def test_memory_of_pytorch_is_the_largest_sum_of_live_storages(load: Any) -> None:
    torch = pytest.importorskip("torch")
    x = torch.ones(1000, requires_grad=True)

    def call() -> None:
        y = x * 2  # 4,000 bytes, saved by nobody
        z = y + 1  # 8,000
        del y  # 4,000
        w = z * z  # 8,000, z is saved
        w.view(10, 100).sum().backward()  # a view has no memory of its own

    # at the product's backward: z, w, g * z twice and their sum; the expanded gradient is 4 bytes
    peak = load("memory").live_peak(torch, call)
    assert peak % 4000 < 100
    assert 16000 <= peak <= 24000
