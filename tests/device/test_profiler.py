"""Profiles: ops, kernels, ranges and transfers with their work; nothing changes but the time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import dispatch, nn
from clgrad.bringup.peaks import peaks_of
from clgrad.graph import watch
from clgrad.nn import functional as F
from clgrad.profiler import ProfilerAction, memory_timeline, profile, record_function, schedule
from clgrad.runtime.profile import counters


def rows(prof: Any, **named: Any) -> dict[tuple[str, str], Any]:
    return {(row.key, row.kind): row for row in prof.key_averages(**named)}


def normal(device: Any, *shape: int) -> Any:
    host = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return clgrad.tensor(host, device=device)


def test_work_is_counted(device: Any) -> None:
    a, b = normal(device, 70, 40), normal(device, 40, 50)
    x, w = normal(device, 2, 3, 12, 12), normal(device, 4, 3, 3, 3)
    clgrad.synchronize(device)
    with profile(peaks=False) as prof:
        kept = [a @ b, F.conv2d(x, w), a * 2 + 1, (b * b).sum(0)]
        del kept[1:1]
    found = rows(prof)
    assert found["mm", "op"].flops == 2 * 70 * 40 * 50
    assert found["_conv", "op"].flops == 2 * (2 * 4 * 10 * 10) * (3 * 3 * 3)
    assert found["add", "op"].flops == 70 * 40
    assert found["sum", "op"].flops == 40 * 50
    kernels = [row for (_, kind), row in found.items() if kind == "kernel"]
    ops = [row for (_, kind), row in found.items() if kind == "op"]
    exact = {
        "a @ b": 4 * (70 * 40 + 40 * 50 + 70 * 50),
        "conv": 4 * (2 * 3 * 12 * 12 + 4 * 3 * 3 * 3 + 2 * 4 * 10 * 10),
        "a * 2 + 1": 4 * 2 * 70 * 40,
        "(b * b).sum(0)": 4 * (40 * 50 + 50),
    }
    assert sum(row.nbytes for row in kernels) == sum(exact.values())
    assert sum(row.nbytes for row in ops) == pytest.approx(sum(exact.values()))
    assert sum(row.flops for row in kernels) == sum(row.flops for row in ops)
    device_ns = sum(row.device_ns for row in kernels)
    assert 0 < device_ns == pytest.approx(sum(row.device_ns for row in ops))
    assert found["mm", "op"].count == 1
    assert found["mm", "op"].cpu_time_total > 0


def model(device: Any) -> tuple[Any, Any, Any]:
    clgrad.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4)).to(device)
    return net, normal(device, 8, 16), clgrad.zeros(8, device=device).long()


def train(net: Any, x: Any, t: Any, steps: int) -> None:
    optimizer = clgrad.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        with record_function("forward"):
            loss = F.cross_entropy(net(x), t)
        loss.backward()
        optimizer.step()


def test_results_and_ways_are_the_same(device: Any) -> None:
    results = []
    for on in (False, True):
        net, x, t = model(device)
        train(net, x, t, 2)  # so that the backward pass is known
        if on:
            with profile(peaks=False) as prof:
                train(net, x, t, 3)
        else:
            train(net, x, t, 3)
        results.append([p.detach().numpy().tobytes() for p in net.parameters()])
    assert results[0] == results[1]
    found = rows(prof)
    at_once = [row for (key, _), row in found.items() if key.startswith("backward of ")]
    assert sum(row.count for row in at_once) == 3  # traces are still used
    assert found["forward", "range"].count == 3
    assert found["forward", "range"].device_ns > 0
    assert found["forward", "range"].flops >= 3 * 2 * 8 * (16 * 32 + 32 * 4)
    assert found["mm", "op"].count == 3 * 5
    assert found["flush", "host"].count >= 3
    assert prof.key_averages().total_average().flops > found["forward", "range"].flops


def test_nothing_is_left_on(device: Any) -> None:
    before = dispatch.backend
    with profile(peaks=False) as prof:
        assert dispatch.backend is not before
        normal(device, 4).exp().tolist()
    assert dispatch.backend is before
    assert not watch.active
    assert device.events is None
    found = rows(prof)
    assert found["read to the host", "host"].count == 1
    assert found["read on the device", "transfer"].nbytes == 16
    assert found["write from the host", "host"].count == 1
    with pytest.raises(RuntimeError, match="nothing was recorded yet"):
        profile().key_averages()


def test_tables(device: Any) -> None:
    x = normal(device, 64, 64)
    with profile(peaks=False) as prof:
        (x @ x).tanh().sum().item()
        (x @ x).tanh().sum().item()
    table = prof.key_averages().table(sort_by="device_time_total", row_limit=3, header="here")
    lines = table.splitlines()
    assert lines[0] == "here"
    assert all(t in lines[2] for t in ("Name", "Calls", "Device total", "GFLOP/s", "% of peak"))
    assert lines[-3].startswith("... and ") and lines[-3].endswith(" more rows")
    by_count = prof.key_averages().table(sort_by="count", row_limit=-1).splitlines()
    calls = [int(line.split()[2]) for line in by_count if " kernel " in line]
    assert calls == sorted(calls, reverse=True) and calls[0] == 2
    for key in ("cpu_time_total", "self_cuda_time_total", "name", "flops", "bandwidth"):
        assert "mm" in prof.key_averages().table(sort_by=key)
    with pytest.raises(ValueError, match="cannot sort by 'speed'"):
        prof.key_averages().table(sort_by="speed")


def test_lines_and_shapes(device: Any) -> None:
    x = normal(device, 6, 6)
    with profile(with_stack=True, record_shapes=True, peaks=False) as prof:
        y = (x @ x).tanh()  # first
        z = (y[:2] @ x).tanh()  # second
        z.tolist()
    here = test_lines_and_shapes.__code__.co_firstlineno
    by_line = [r for r in prof.key_averages(group_by_stack_n=1) if r.key == "mm"]
    assert [r.stack[0].rpartition(":")[2] for r in by_line] == [
        f"{here + 3}, in test_lines_and_shapes", f"{here + 4}, in test_lines_and_shapes",
    ]  # fmt: skip
    assert all(r.count == 1 and r.host_ns and r.device_ns for r in by_line)
    by_shape = [r for r in prof.key_averages(group_by_input_shape=True) if r.key == "mm"]
    assert [r.input_shapes for r in by_shape] == ["[6, 6] [6, 6]", "[2, 6] [6, 6]"]
    assert "Line" in prof.key_averages(group_by_stack_n=1).table()


def test_a_trace_for_perfetto(device: Any, tmp_path: Path) -> None:
    x = normal(device, 64, 64)
    with profile(with_stack=True, profile_memory=True, peaks=False) as prof:
        with record_function("work", "some"):
            y = (x @ x).tanh()
        y.tolist()
    prof.add_metadata_json("answer", "42")
    prof.export_chrome_trace(tmp_path / "trace.json")
    written = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    assert written["answer"] == 42
    events = written["traceEvents"]
    kernels = [e for e in events if e.get("cat") == "kernel"]
    assert [e["args"]["ops"] for e in kernels] in (
        [["mm", "tanh"]], [["mm", "tanh"]] * len(kernels), [["mm"], ["tanh"]],
    )  # fmt: skip
    assert all("test_profiler.py:" in line for e in kernels for line in e["args"]["lines"])
    assert all(e["dur"] >= 0 for e in events if e["ph"] == "X")
    names = {e["name"] for e in events if e.get("cat") == "range"}
    assert names == {"work"}
    flows = {phase: [e["id"] for e in events if e["ph"] == phase] for phase in "sf"}
    assert flows["s"] == flows["f"] and flows["s"]
    assert [e for e in events if e["ph"] == "C" and e["args"]["bytes"] >= 64 * 64 * 4]
    processes = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert processes == {"host", f"{device.id} {device.name}"}
    prof.export_memory_timeline(tmp_path / "memory.json")
    assert json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))


def test_steps_of_a_schedule(device: Any) -> None:
    x = normal(device, 8)
    ready = []

    def on_ready(prof: Any) -> None:
        found = rows(prof)
        ready.append(
            (prof.step_num, sorted(k for k, kind in found if kind == "range"), found["exp", "op"])
        )

    plan = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=plan, on_trace_ready=on_ready, peaks=False) as prof:
        for k in range(10):
            assert (dispatch.backend.__class__.__name__ == "_Timed") is (
                plan(k) in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
            )
            x.exp().tolist()
            prof.step()
    assert [(n, names) for n, names, _ in ready] == [
        (4, ["ProfilerStep#2", "ProfilerStep#3"]), (8, ["ProfilerStep#6", "ProfilerStep#7"]),
    ]  # fmt: skip
    assert [row.count for _, _, row in ready] == [2, 2]


def test_peaks_are_kept(device: Any) -> None:
    peaks = peaks_of(device)
    assert peaks is peaks_of(device)
    assert peaks.bandwidth > 1e8 and peaks.operations > 1e8
    x = normal(device, 64, 64)
    with profile() as prof:
        (x @ x).tolist()
    assert rows(prof)["mm", "op"].of_peak > 0


# ---- memory ------------------------------------------------------------------------------------


def held(device: Any) -> tuple[Any, Any]:
    """Run a forward and a backward pass on record; return the timeline and its model."""
    net, x, t = model(device)
    net.append(nn.LayerNorm(4)).to(device)
    for p in net.parameters():
        p.grad = clgrad.zeros_like(p)
    clgrad.synchronize(device)
    with memory_timeline() as timeline:
        F.cross_entropy(net(x), t).backward()
        clgrad.synchronize(device)
    return timeline, net


def test_values_leave_the_graph_with_their_last_reader(device: Any) -> None:
    timeline, net = held(device)
    assert timeline.late() == []
    gradients = [life for life in timeline.values if life.node]
    kept = [life for life in timeline.values if life.left is None]
    assert len(gradients) > 10
    assert len(kept) == len(list(net.parameters()))  # what was added to `.grad`
    tanh = next(life for life in timeline.values if life.op == "tanh")
    reader = timeline.values[tanh.last_read]
    assert (reader.op, reader.node) in (("tanh.dx", "TanhBackward0"), ("mm", "MmBackward0"))
    assert tanh.left is not None and tanh.at_once
    assert f"tanh: {8 * 32 * 4 / 1024:.1f} KiB, last read by #{tanh.last_read}" in str(tanh)


def test_a_value_that_is_held_too_long_is_found(device: Any) -> None:
    x = normal(device, 100).requires_grad_()
    with memory_timeline() as timeline:
        y = x.exp()
        z = y.sum()
        z.backward()
        w = (x * 2).sum()
        del y
    assert [life.op for life in timeline.late()] == ["exp"]
    del w


def test_buffers_go_after_the_last_step_that_reads_them(device: Any) -> None:
    expected: list[tuple[int, int]] = []

    def flushed(plan: Any, where: Any, batch: Any) -> None:
        ends, count = [], 0
        for step in plan.steps:
            count += len(step.launches)
            ends.append(count)
        for k, step in enumerate(plan.steps):
            for ref, nbytes in step.alloc:
                owner = {ref}
                last = None
                for j in range(k, len(plan.steps)):
                    owner |= {made for made, taken in plan.steps[j].donate if taken in owner}
                    if owner & set(plan.steps[j].release):
                        last = ends[j]
                kept = any(ref_ in plan.kept for ref_ in owner)
                if last is not None and not kept:
                    expected.append((nbytes, last))

    net, x, t = model(device)
    train(net, x, t, 2)
    clgrad.synchronize(device)
    first = counters.launches
    stop = watch.listen(on_flush=flushed)
    try:
        with memory_timeline(values=False) as timeline:
            F.cross_entropy(net(x), t).backward()
            clgrad.synchronize(device)
    finally:
        stop()
    temporary = [b for b in timeline.buffers if b.kind == "temporary" and b.given is not None]
    found = [(b.nbytes, b.launches[1] - first) for b in temporary if b.launches[1] is not None]
    assert temporary and sorted(found) == sorted(expected)


def test_the_peak_says_who(device: Any) -> None:
    x = normal(device, 256, 256).requires_grad_()
    with memory_timeline() as timeline:
        y = x @ x  # big
        (y * y).sum().backward()
        clgrad.synchronize(device)
    peak = timeline.peak(device)
    assert peak.total >= 3 * 256 * 256 * 4
    assert {b.op for b in peak.alive} >= {"mm"}
    line = test_the_peak_says_who.__code__.co_firstlineno + 3
    assert f" 256.0 KiB  tensor     mm at {__file__}:{line}, in " in str(peak)
    assert " 256.0 KiB  tensor     mm at " in timeline.table()
    with memory_timeline() as nothing:
        pass
    with pytest.raises(ValueError, match="nothing was allocated"):
        nothing.peak()


def test_the_summary_is_complete(device: Any) -> None:
    clgrad.empty_cache(device)
    x = clgrad.zeros(1 << 18, device=device)
    clgrad.synchronize(device)
    y = x + 1
    text = clgrad.memory_summary(device)
    for part in (
        "allocated", "reserved", "cached", "rounding", "given back", "from the driver",
        "largest live buffers", "1 x 1.0 MiB", "are recorded and not run yet: results of 1.0 MiB",
    ):  # fmt: skip
        assert part in text, text
    assert "largest" not in clgrad.memory_summary(device, abbreviated=True)
    del x, y


def test_events_of_functions(device: Any) -> None:
    from clgrad.autograd.profiler import FunctionEvent, FunctionEventAvg
    from clgrad.autograd.profiler import profile as legacy

    x = normal(device, 10, 10).requires_grad_()
    w, b = normal(device, 7, 10), normal(device, 7)
    with legacy(use_kineto=clgrad.autograd.kineto_available(), record_shapes=True) as prof:
        assert clgrad.autograd._profiler_enabled()
        with record_function("outer"):
            y = x * 2 + 4
            with record_function("inner"):
                y = y - 1
        (F.linear(y / 3, w, b)).sum().backward()
    assert not clgrad.autograd._profiler_enabled()
    events = prof.function_events
    names = [event.name for event in events]
    wanted = ["outer", "aten::mul", "aten::add", "inner", "aten::sub", "aten::div"]
    places = [names.index(name) for name in wanted]
    assert places == sorted(places)
    outer, mul, _, inner, sub, div = (events[k] for k in places)
    assert mul.cpu_parent is inner.cpu_parent is outer and sub.cpu_parent is inner
    assert div.cpu_parent is None and mul.input_shapes[0] == [10, 10]
    assert inner in outer.cpu_children and inner.cpu_time_total <= outer.cpu_time_total
    assert outer.self_cpu_time_total == outer.cpu_time_total - sum(
        child.cpu_time_total for child in outer.cpu_children
    )
    assert prof.total_average().count == len(events) == sum(a.count for a in events.key_averages())
    assert any(event.device_time > 0 and event.thread == str(device) for event in events)
    assert prof.self_cpu_time_total > 0 and str(prof) == prof.table()

    with legacy(enabled=False) as off:
        assert not clgrad.autograd._profiler_enabled()
    assert "nothing recorded" in str(off)

    total = FunctionEventAvg()
    for start, end in ((10, 15), (20, 30)):
        total.add(FunctionEvent(id=0, name="foo", thread=0, start_us=start, end_us=end))
    total.add(total)
    assert (total.key, total.count, total.cpu_time_total, total.cpu_time) == ("foo", 4, 30, 7.5)


def test_what_happened_within_what() -> None:
    from clgrad.autograd.profiler import EventList, FunctionEvent

    spans = [(1, 0, 1), (1, 1, 2), (0, 0, 2), (0, 1, 2), (0, 1, 3)]
    events = EventList(
        FunctionEvent(id=k, name="", thread=thread, start_us=start, end_us=end)
        for k, (thread, start, end) in enumerate(spans)
    )
    events._populate_cpu_children()
    assert [[child.id for child in event.cpu_children] for event in events] == [[], [], [], [], [3]]
