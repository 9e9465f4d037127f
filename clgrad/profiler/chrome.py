"""A profile as a Chrome trace, which Perfetto (ui.perfetto.dev) and chrome://tracing show.

The host's threads are one process, each device another one; an arrow leads from the flush that
enqueued a kernel to where it ran.
"""

from __future__ import annotations

import json
from typing import Any

from clgrad.graph.position import describe
from clgrad.profiler.collect import Collector

HOST = 1


def trace(collector: Collector, memory: Any = None) -> str:
    """Return the trace as JSON.

    Args:
        memory: allocations, from `memory.BufferLog`, shown as a counter of each device.
    """
    zero = collector.began
    devices: dict[Any, int] = {}
    events: list[dict[str, Any]] = [_named("process_name", HOST, 0, "host")]
    threads = dict.fromkeys(call.thread for call in collector.calls)
    events += [_named("thread_name", HOST, thread, f"thread {thread}") for thread in threads]
    flows: dict[int, int] = {}
    for call in collector.calls:
        event = _event(call.name, call.kind, HOST, call.thread, call.start - zero, call.end - zero)
        if call.detail:
            event["args"] = call.detail
        events.append(event)
    for number, launch in enumerate(collector.launches):
        pid = devices.setdefault(launch.device, HOST + 1 + len(devices))
        start, end = launch.start - zero, launch.end - zero
        work = launch.work
        event = _event(launch.name, "transfer" if launch.nbytes else "kernel", pid, 0, start, end)
        if work is None:
            event["args"] = {"bytes": launch.nbytes}
        else:
            places = [launch.noted.get(op.entry, ((), None))[1] for op in work.ops]
            event["args"] = {
                "ops": [op.sig.op.name for op in work.ops],
                "bytes read": work.bytes_read, "bytes written": work.bytes_written,
                "operations": work.operations, "global size": list(launch.shape[0]),
                "local size": None if launch.shape[1] is None else list(launch.shape[1]),
                "lines": list(dict.fromkeys(describe(p) for p in places if p is not None)),
            }  # fmt: skip
        events.append(event)
        if launch.flush is not None and id(launch.flush) not in flows:
            flows[id(launch.flush)] = number
            call = launch.flush
            events.append(_flow("s", number, HOST, call.thread, call.start - zero))
            events.append(_flow("f", number, pid, 0, start))
    for device, pid in devices.items():
        events.append(_named("process_name", pid, 0, f"{device.id} {device.name}"))
        events.append(_named("thread_name", pid, 0, "queue"))
    for change in memory.changes if memory is not None else ():
        pid = devices.setdefault(change.device, HOST + 1 + len(devices))
        events.append(
            {
                "name": "allocated", "ph": "C", "pid": pid, "tid": 0,
                "ts": (change.time - zero) / 1e3, "args": {"bytes": change.total},
            }
        )  # fmt: skip
    return json.dumps({"displayTimeUnit": "ns", "traceEvents": events})


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


def _event(name: str, kind: str, pid: int, tid: int, start: int, end: int) -> dict[str, Any]:
    return {
        "name": name, "cat": kind, "ph": "X", "pid": pid, "tid": tid, "ts": start / 1e3,
        "dur": (end - start) / 1e3,
    }  # fmt: skip


def _flow(phase: str, number: int, pid: int, tid: int, time: int) -> dict[str, Any]:
    made = {
        "name": "enqueued", "cat": "flow", "ph": phase, "id": number, "pid": pid, "tid": tid,
        "ts": time / 1e3,
    }  # fmt: skip
    return made | ({"bp": "e"} if phase == "f" else {})
