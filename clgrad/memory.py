"""Device memory as users see it: what is in use, what was, and giving back what is only cached.

Not the pool itself (`runtime.memory`); these are its figures by device.
"""

from __future__ import annotations

from typing import Any

from clgrad import dispatch
from clgrad.creation import resolve_device
from clgrad.runtime.memory import format_bytes


def memory_stats(device: Any = None) -> dict[str, int]:
    """Return the figures of a device's memory pool.

    Args:
        device: a device or what names one; default the default device.

    Returns:
        Bytes as `allocated.current`, `allocated.peak` (in buffers that something refers to) and
        `reserved.current`, `reserved.peak` (taken from the driver, cached blocks included); counts
        as `live_buffers`, `allocations`, `cache_hits`, `driver_allocations` and `trims`. Values
        that are pending, or that will be computed again when they are read, have no memory yet.

    Raises:
        DeviceError: there is no such device.
    """
    stats: dict[str, int] = resolve_device(device).pool.stats()
    return stats


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start the peaks anew from what is in use now."""
    resolve_device(device).pool.reset_peak()


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """Return what a device's memory is used for, as a table.

    `allocated` is in buffers that something refers to, `reserved` was taken from the driver,
    `cached` of that is free, and `rounding` is what buffers are larger than what they hold. Results
    that are recorded and not computed have no memory yet; they are named at the end.

    Args:
        device: a device or what names one; default the default device.
        abbreviated: leave out the largest buffers and blocks.

    Raises:
        DeviceError: there is no such device.
    """
    chosen = resolve_device(device)
    summary: str = chosen.pool.summary(abbreviated)
    ops, needed, saved = dispatch.backend.pending(chosen)
    if ops:
        summary += (
            f"\n  {ops} ops of this thread are recorded and not run yet: results of "
            f"{format_bytes(needed)} are held by tensors, {format_bytes(saved)} saved for backward"
        )
    return summary


def empty_cache(device: Any = None) -> int:
    """Wait for the device and give cached memory back to its driver; returns how many bytes."""
    chosen = resolve_device(device)
    dispatch.backend.synchronize(chosen)
    given: int = chosen.pool.empty_cache()
    return given
