"""In the process of clgrad: the limits of its device, and what its kernels do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from records import Job


def limits(peer: Any) -> dict[str, Any]:
    """Return name and limits of the device, measured now."""
    from clgrad.bringup.peaks import measure

    device = peer.m.get_default_device()
    about = {"device": device.name, "platform": device.platform_name, "id": device.id}
    return about | asdict(measure(device))


def kernels(peer: Any, job: Job) -> list[dict[str, Any]]:
    """Return for each kernel of one call: launches, seconds, bytes and operations."""
    job.call()
    job.wait()
    with peer.m.profiler.profile() as prof:
        job.call()
        job.wait()
    rows = [row for row in prof.key_averages() if row.kind == "kernel" and row.device_ns]
    rows.sort(key=lambda row: -row.device_ns)
    return [
        {
            "kernel": row.key, "launches": row.count, "seconds": row.device_ns / 1e9,
            "nbytes": row.nbytes, "flops": row.flops,
        }
        for row in rows
    ]  # fmt: skip
