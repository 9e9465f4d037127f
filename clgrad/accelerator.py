"""`torch.accelerator`'s questions, so that the line which chooses a device stays as it is.

    found = clgrad.accelerator.is_available()
    device = clgrad.accelerator.current_accelerator() if found else "cpu"

An accelerator is an OpenCL device that is no CPU. New tensors are made on one anyway where there is
one; this module adds no state of its own.
"""

from __future__ import annotations

from typing import Any

from clgrad import dispatch, memory
from clgrad.creation import get_default_device, resolve_device, set_default_device
from clgrad.errors import DeviceError
from clgrad.runtime import discovery

__all__ = [
    "current_accelerator", "current_device_index", "device_count", "empty_cache", "is_available",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved",
    "memory_stats", "reset_peak_memory_stats", "set_device_index", "synchronize",
]  # fmt: skip


def _accelerators() -> list[Any]:
    return [device for device in discovery.devices() if device.kind != "cpu"]


def device_count() -> int:
    """Return how many accelerators there are."""
    return len(_accelerators())


def is_available() -> bool:
    """Whether there is an accelerator."""
    return device_count() > 0


def current_accelerator(check_available: bool = False) -> Any:
    """Return the accelerator on which new tensors are made, or None where that is a CPU.

    Args:
        check_available: for PyTorch's sake; a device that cannot be used is none here.
    """
    device = get_default_device()
    return None if device.kind == "cpu" else device


def current_device_index() -> int:
    """Return the number of the default device among the accelerators.

    Raises:
        DeviceError: the default device is a CPU.
    """
    found = _accelerators()
    device = get_default_device()
    if device not in found:
        raise DeviceError(
            f"current_device_index: new tensors are made on {device}, which is no accelerator. "
            "Hint: ask is_available() first."
        )
    return found.index(device)


def set_device_index(device: Any, /) -> None:
    """Make new tensors on an accelerator: its number among them, its name, or the device.

    Raises:
        DeviceError: there is no such accelerator.
    """
    set_default_device(_chosen(device))


def _chosen(device: Any) -> Any:
    """Return the device meant: a number counts accelerators only, None is the default."""
    if not isinstance(device, int):
        return resolve_device(device)
    found = _accelerators()
    if not 0 <= device < len(found):
        raise DeviceError(
            f"accelerator: there is no number {device}. Expected one of the {len(found)} present. "
            "Hint: clgrad.set_default_device() takes a CPU too."
        )
    return found[device]


def synchronize(device: Any = None, /) -> None:
    """Enqueue what is pending and wait for it."""
    dispatch.backend.synchronize(_chosen(device))


def memory_stats(device: Any = None, /) -> dict[str, int]:
    """Return the figures of a device's memory pool; see `clgrad.memory_stats`."""
    return memory.memory_stats(_chosen(device))


def reset_peak_memory_stats(device: Any = None, /) -> None:
    """Start the peaks anew from what is in use now."""
    memory.reset_peak_memory_stats(_chosen(device))


def empty_cache() -> None:
    """Give cached memory of the default device back to its driver."""
    memory.empty_cache()


def memory_allocated(device: Any = None, /) -> int:
    """Return the bytes in buffers that something refers to."""
    return memory_stats(device)["allocated.current"]


def max_memory_allocated(device: Any = None, /) -> int:
    """Return the most bytes that were in such buffers since `reset_peak_memory_stats`."""
    return memory_stats(device)["allocated.peak"]


def memory_reserved(device: Any = None, /) -> int:
    """Return the bytes taken from the driver, cached blocks included."""
    return memory_stats(device)["reserved.current"]


def max_memory_reserved(device: Any = None, /) -> int:
    """Return the most bytes taken from the driver since `reset_peak_memory_stats`."""
    return memory_stats(device)["reserved.peak"]
