"""Which devices there are, in which order, and why some are left out.

Order: GPUs before accelerators before CPUs; GPUs with memory of their own before those that share
the host's, then by number of compute units; CPU runtimes by `_CPU_ORDER`, then newer before older.
The order does not depend on that of the platforms, which differs from machine to machine.
"""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from clgrad import config
from clgrad.errors import DeviceError
from clgrad.runtime import cache

if TYPE_CHECKING:
    from clgrad.runtime.device import Device
    from clgrad.traits import DeviceTraits

# A ranking by measurement, where two runtimes drive the same CPU: transcendental functions in
# scalar code are 5 to 100 times slower on PoCL 3, and its builds take 3 times as long.
_CPU_ORDER = ("Intel(R) OpenCL", "Portable Computing Language")
_KIND_ORDER = {"gpu": 0, "accelerator": 1, "cpu": 2}

_RETRY = 3600.0  # seconds after which a device that failed is tried again

_TRIAL = """\
__kernel void cg_trial(__global int *y, const int x) {
    y[get_global_id(0)] = x + (int)get_global_id(0);
}
"""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A device, or a whole platform, that clgrad does not use.

    Attributes:
        name: name of the device, or `all devices`.
        platform: name and version of its platform.
        reason: why, in words.
    """

    name: str
    platform: str
    reason: str


_lock = threading.RLock()
_found: tuple[list[Device], list[Excluded]] | None = None


def devices() -> list[Device]:
    """Return every device that can be used, best first; the list is empty if there is none."""
    return list(_discover()[0])


def excluded() -> list[Excluded]:
    """Return every device that is there but is not used."""
    return list(_discover()[1])


def device(spec: str | int | Device | None = None) -> Device:
    """Return the device that `spec` means.

    Args:
        spec: `cl:1` or 1 by number, `cpu` or `gpu` the first of that kind (`gpu:1` the second), a
            part of a device's or platform's name in any case, or a device. None is the one that
            `CLGRAD_DEVICE` names, or the first.

    Raises:
        DeviceError: there is none; the text lists those that exist.
    """
    if spec is None:
        spec = config.get().device or 0
    if not isinstance(spec, str | int):
        return spec
    found, left_out = _discover()
    if not found:
        raise DeviceError(_nothing(left_out))
    candidates, index = _candidates(found, spec)
    if 0 <= index < len(candidates):
        return candidates[index]
    known = "; ".join(f"{entry.id} {entry.name} ({entry.platform_name})" for entry in found)
    hint = ""
    if "cuda" in str(spec):
        hint = " Hint: NVIDIA's GPUs are OpenCL devices here, ask for 'gpu'."
    elif left_out:
        hint = f" Hint: {len(left_out)} more are left out, `clgrad devices` says why."
    raise DeviceError(
        f"device: there is no {spec!r}. Expected one of: {known}; or 'cpu', 'gpu', or a part of a "
        f"name.{hint}"
    )


def _candidates(found: list[Device], spec: str | int) -> tuple[list[Device], int]:
    """Return the devices among which `spec` chooses, and which of them it means."""
    if isinstance(spec, int):
        return found, spec
    name = spec.strip().lower()
    kind, _, number = name.partition(":")
    index = int(number) if number.isdecimal() else 0 if not number else -1
    if kind == "cl":
        return found, index
    if kind in _KIND_ORDER:
        return [entry for entry in found if entry.kind == kind], index
    matching = [
        entry
        for entry in found
        if name and name in f"{entry.name}\n{entry.platform_name}\n{entry.platform_version}".lower()
    ]
    return matching, 0


def _nothing(left_out: list[Excluded]) -> str:
    reasons = "; ".join(f"{entry.name} of {entry.platform}: {entry.reason}" for entry in left_out)
    why = f" Left out: {reasons}." if reasons else ""
    return (
        f"device: no OpenCL device can be used on this machine.{why} Hint: "
        "pip install 'clgrad[cpu]' brings one that runs on any CPU; for a GPU install its "
        "vendor's OpenCL driver. `clgrad doctor` shows what is wrong."
    )


def _discover() -> tuple[list[Device], list[Excluded]]:
    global _found
    if _found is None:
        with _lock:
            if _found is None:
                _found = _enumerate()
    return _found


def _enumerate() -> tuple[list[Device], list[Excluded]]:
    try:
        from clgrad.runtime.device import Device, kind_of
        from clgrad.runtime.opencl import cl, describe
    except (ImportError, OSError) as error:
        return [], [Excluded("all devices", "pyopencl", f"it cannot be imported: {error}")]
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        return [], [Excluded("all devices", "the OpenCL loader", describe(error))]
    left_out: list[Excluded] = []
    usable: list[Any] = []
    seen: dict[tuple[Any, ...], str] = {}
    for platform in platforms:
        title = f"{platform.name.strip()} ({platform.version.strip()})"
        try:
            present = platform.get_devices()
        except cl.Error as error:
            left_out.append(Excluded("all devices", title, describe(error)))
            continue
        here: dict[tuple[Any, ...], str] = {}
        for cl_device in present:
            reason = _reject(cl_device) or _duplicate(cl_device, seen) or _trial(cl_device)
            if reason is not None:
                left_out.append(Excluded(cl_device.name.strip(), title, reason))
                continue
            here.update(dict.fromkeys(_identities(cl_device), title))
            usable.append(cl_device)
        seen.update(here)
    usable.sort(key=lambda entry: _rank(entry, kind_of(entry)))
    found = [Device(index, entry, _bring_up) for index, entry in enumerate(usable)]
    return found, left_out


def _bring_up(target: Device) -> DeviceTraits:
    """Have a device probed by the floor above, at its first use.

    By name, because imports go down only: this is the one thing that the runtime asks of a floor
    above it. Were it registered from there instead, a device used before that floor is imported
    would have other traits than afterwards.
    """
    traits: DeviceTraits = import_module("clgrad.bringup").bring_up(target)
    return traits


def _reject(cl_device: Any) -> str | None:
    """Return why a device is of no use by what it says of itself, or None."""
    text = f"{cl_device.name} {cl_device.platform.name}".lower()
    if "fpga" in text:
        return "it is an FPGA, or emulates one; kernels cannot be compiled while a program runs"
    if not cl_device.available:
        return "its driver says that it is not available"
    if not cl_device.compiler_available:
        return "its driver has no compiler"
    match = re.match(r"OpenCL (\d+)\.(\d+)", cl_device.version)
    if match and (int(match.group(1)), int(match.group(2))) < (1, 2):
        return f"it has {match.group(0)}; clgrad needs OpenCL 1.2"
    if not cl_device.endian_little:
        return "it is big-endian"
    return None


def _identities(cl_device: Any) -> list[tuple[Any, ...]]:
    """Return what tells that two platforms offer the same device twice."""
    found: list[tuple[Any, ...]] = [
        (
            "driver",
            cl_device.name,
            cl_device.driver_version,
            cl_device.platform.name,
            cl_device.platform.version,
        )
    ]
    for attributes in (("pci_domain_id_nv", "pci_bus_id_nv", "pci_slot_id_nv"), ("topology_amd",)):
        try:
            values = [getattr(cl_device, attribute) for attribute in attributes]
        except Exception:  # the attribute is of another vendor: pyopencl raises various errors
            continue
        if attributes[0] == "topology_amd":
            found.append(("pci", 0, values[0].bus, values[0].device))
        else:
            found.append(("pci", *values))
    return found


def _duplicate(cl_device: Any, seen: dict[tuple[Any, ...], str]) -> str | None:
    for identity in _identities(cl_device):
        if identity in seen:
            return f"it is the same device as one of {seen[identity]}"
    return None


def _rank(cl_device: Any, kind: str) -> tuple[Any, ...]:
    if kind == "cpu":
        name = cl_device.platform.name.strip()
        order = _CPU_ORDER.index(name) if name in _CPU_ORDER else len(_CPU_ORDER)
        numbers = [int(part) for part in re.findall(r"\d+", cl_device.driver_version)]
        newest_first = tuple(-number for number in [*numbers, 0, 0, 0, 0][:4])
        return (_KIND_ORDER[kind], order, newest_first, cl_device.name)
    shares_memory = bool(cl_device.host_unified_memory)
    return (_KIND_ORDER[kind], shares_memory, -cl_device.max_compute_units, cl_device.name)


def _trial(cl_device: Any) -> str | None:
    """Return why a device does not compile and run the simplest kernel, or None.

    The verdict is kept on disk by driver, a bad one for an hour only: it may be the machine's
    state that was to blame. While a driver is tried, a mark stands there, so that a
    compiler that takes the whole process down is left out the next time.
    """
    from clgrad.runtime.device import driver_key

    disk = cache.disk()
    key = "trial-" + driver_key(cl_device)
    if disk is not None:
        verdict = disk.load_json("drivers", key)
        if isinstance(verdict, dict):
            process = verdict.get("trying")
            reason = verdict.get("reason")
            if process is None and not reason:
                return None
            if reason and time.time() - float(verdict.get("time", 0)) < _RETRY:
                return str(reason)
            if process is not None and not cache.is_alive(process):
                return (
                    "its compiler ended the process that tried it first. "
                    "Hint: `clgrad cache clear` lets it be tried again"
                )
        disk.store_json("drivers", key, {"trying": os.getpid()})
    try:
        reason = _run_trial(cl_device)
    except BaseException:  # an interrupt, say, is nothing against the driver
        if disk is not None:
            disk.drop("drivers", key)
        raise
    if disk is not None:
        disk.store_json("drivers", key, {"reason": reason, "time": time.time()})
    return reason


def _run_trial(cl_device: Any) -> str | None:
    import numpy as np

    from clgrad.runtime.opencl import cl, describe, raw

    program: Any = None
    try:
        context = cl.Context([cl_device])
        queue = cl.CommandQueue(context)
        program = raw._Program(context, _TRIAL)
        program._build(b"-cl-std=CL1.2", [cl_device])
        kernel = cl.Kernel(program, "cg_trial")
        result = np.zeros(8, np.int32)
        memory = cl.Buffer(context, cl.mem_flags.READ_WRITE, result.nbytes)
        kernel.set_arg(0, memory)
        kernel.set_arg(1, np.int32(42))
        cl.enqueue_nd_range_kernel(queue, kernel, (8,), None)
        cl.enqueue_copy(queue, result, memory)
    except cl.Error as error:
        said = ""
        if program is not None:
            log = program.get_build_info(cl_device, cl.program_build_info.LOG).strip()
            said = f" and says: {log.splitlines()[0]}" if log else ""
        return f"it fails on the simplest kernel: {describe(error)}{said}"
    if not np.array_equal(result, np.arange(42, 50, dtype=np.int32)):
        return f"it computes the simplest kernel wrongly: {result.tolist()} for 42 to 49"
    return None
