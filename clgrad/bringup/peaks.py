"""How fast a device can be at best: bytes moved and operations done in a second, measured once.

Plain OpenCL C, as the other checks of a driver. The figures are kept on disk by driver; they are
what a profile compares with, and nothing else depends on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clgrad.codegen.source import KernelSource
from clgrad.runtime.cache import disk
from clgrad.runtime.device import Device

BYTES = 64 << 20
"""Of the array that is copied: more than caches hold."""
ROUNDS, REPEATS = 2048, 40
_KEY = "peaks-2"


@dataclass(frozen=True, slots=True)
class Peaks:
    """What a device reaches in loops that do nothing else.

    Attributes:
        bandwidth: bytes in a second, read and written together, of a copy that no cache holds.
        operations: float32 multiplications and additions in a second.
    """

    bandwidth: float
    operations: float


_known: dict[Device, Peaks] = {}


def peaks_of(device: Device) -> Peaks:
    """Return the peaks of a device; measured at the first call with a driver, in about a second."""
    found = _known.get(device)
    if found is not None:
        return found
    cache = disk()
    key = f"{device.key}-{_KEY}"
    kept = None if cache is None else cache.load_json("drivers", key)
    if kept is None:
        kept = {"bandwidth": _bandwidth(device), "operations": _operations(device)}
        if cache is not None:
            cache.store_json("drivers", key, kept)
    found = _known[device] = Peaks(**kept)
    return found


def _best(device: Device, run: Callable[[], None]) -> float:
    """Return the shortest time of some runs, in seconds."""
    run()  # drivers compile or map memory at the first one
    times = []
    for _ in range(REPEATS):
        device.synchronize()
        began = time.perf_counter()
        run()
        device.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def _group(device: Device) -> tuple[int, ...] | None:
    """Return a local size: on CPUs one work-item, so that no driver puts all into one group."""
    return (1,) if device.traits.is_cpu else None


def _bandwidth(device: Device) -> float:
    width = device.traits.vector_bytes // 4
    count = BYTES // 4 // width
    items = min(count, 64 * max(device.traits.compute_units, 1)) if device.traits.is_cpu else count
    name = f"cg_peak_copy_{width}"
    kind = f"float{width}" if width > 1 else "float"
    text = f"""__kernel void {name}(__global const {kind} *x, __global {kind} *y, const int n)
{{
    const int share = (n + (int)get_global_size(0) - 1) / (int)get_global_size(0);
    const int first = (int)get_global_id(0) * share;
    for (int i = first; i < first + share && i < n; ++i) y[i] = x[i];
}}
"""
    (kernel,) = device.kernels([KernelSource(name, text, args=("buffer", "buffer", "i"))])
    source, target = device.allocate(BYTES), device.allocate(BYTES)
    device.fill(source, np.float32(1))
    device.fill(target, np.float32(0))
    seconds = _best(device, lambda: kernel((source, target, count), (items,), _group(device)))
    return 2 * BYTES / seconds


def _operations(device: Device) -> float:
    """Measure chains of `a * b + c`, enough of them side by side to hide how long one takes."""
    traits = device.traits
    width = traits.vector_bytes // 4
    kind = f"float{width}" if width > 1 else "float"
    chains = 12 if traits.is_cpu else 8
    name = f"cg_peak_fma_{width}_{chains}"
    begin = "\n    ".join(f"{kind} a{k} = s + {k}.0f;" for k in range(chains))
    once = "{0} = {0} * s + t;" if traits.contract_by_pragma else "{0} = fma({0}, s, t);"
    body = " ".join(once.format(f"a{k}") for k in range(chains))
    total = " + ".join(f"a{k}" for k in range(chains))
    store = "y[get_global_id(0)] = sum;"
    text = f"""__kernel void {name}(__global {kind} *y, const float factor, const int rounds)
{{
    #pragma OPENCL FP_CONTRACT ON
    const {kind} s = factor, t = 1.0f - factor;
    {begin}
    for (int i = 0; i < rounds; ++i) {{
        {body}
    }}
    const {kind} sum = {total};
    {store}
}}
"""
    items = 4 * traits.compute_units if traits.is_cpu else 256 * 32 * traits.compute_units
    (kernel,) = device.kernels([KernelSource(name, text, args=("buffer", "f", "i"))])
    target = device.allocate(items * width * 4)
    rounds = ROUNDS * (16 if traits.is_cpu else 1)
    seconds = _best(device, lambda: kernel((target, 0.999, rounds), (items,), _group(device)))
    return 2.0 * width * chains * rounds * items / seconds
