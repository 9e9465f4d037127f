"""Counters of what the runtime did, and the device times of launches where they are recorded.

The counters are plain attributes that are bumped without a lock: a lost count in a race is worth
less than the lock's time in the launch path.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any


@dataclass(slots=True)
class Counters:
    """What this process did since it started, or since `reset`.

    Attributes:
        kernels_built: kernels compiled from source.
        programs_built: programs compiled from source.
        build_seconds: time spent in the drivers' compilers and in loading binaries.
        disk_hits: kernels found in the cache on disk.
        launches: kernels enqueued.
        bytes_allocated: bytes handed out by the pools, reused memory included.
        bytes_written, bytes_read: traffic between host and devices.
    """

    kernels_built: int = 0
    programs_built: int = 0
    build_seconds: float = 0.0
    disk_hits: int = 0
    launches: int = 0
    bytes_allocated: int = 0
    bytes_written: int = 0
    bytes_read: int = 0

    def reset(self) -> None:
        """Set every counter to zero."""
        for entry in fields(self):
            setattr(self, entry.name, 0.0 if entry.name.endswith("seconds") else 0)

    def snapshot(self) -> dict[str, float]:
        """Return the counters by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


counters = Counters()


@dataclass(frozen=True, slots=True)
class LaunchTime:
    """When one launch ran, in the device's nanoseconds.

    Attributes:
        kernel: name of the kernel.
        queued, started, ended: times on the device's clock; 0 where the driver does not tell.
    """

    kernel: str
    queued: int
    started: int
    ended: int

    @property
    def seconds(self) -> float:
        return (self.ended - self.started) * 1e-9


def read_events(events: Iterable[tuple[str, Any]]) -> list[LaunchTime]:
    """Return the times of finished launches, `events` being (kernel name, cl.Event) pairs."""
    times = []
    for name, event in events:
        event.wait()
        stamps = event.profile
        times.append(LaunchTime(name, stamps.queued, stamps.start, stamps.end))
    return times
