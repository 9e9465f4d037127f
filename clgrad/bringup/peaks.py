"""How fast a device can be at best: bytes moved, operations done, kernels launched in a second.

Plain OpenCL C, as the other checks of a driver. The figures are kept on disk by driver; they are
what profiles and benchmarks compare with, and nothing else depends on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from clgrad.codegen.source import KernelSource
from clgrad.runtime.cache import disk
from clgrad.runtime.device import Device

BYTES = 64 << 20
"""Of an array that no cache holds."""
CACHED_BYTES = 128 << 10
"""Of an array's part for each core of a CPU: three of them lie in its cache. GPUs get eight times
that in all."""
CACHED_ROUNDS = 1024
ROUNDS, REPEATS = 2048, 40
LAUNCHES = 200
_KEY = "peaks-3"


@dataclass(frozen=True, slots=True)
class Peaks:
    """What a device reaches in loops that do nothing else.

    Attributes:
        bandwidth: bytes in a second, read and written together, of a copy that no cache holds.
        triad: the same of `z = x + s * y`.
        cached_bandwidth, cached_triad: the same within the cache of each core.
        operations: float32 multiplications and additions in a second.
        launch: seconds that a launch of an empty kernel takes among many.
        round_trip: seconds from a launch on an idle device to its end.
    """

    bandwidth: float
    triad: float
    cached_bandwidth: float
    cached_triad: float
    operations: float
    launch: float
    round_trip: float


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
        kept = asdict(measure(device))
        if cache is not None:
            cache.store_json("drivers", key, kept)
    found = _known[device] = Peaks(**kept)
    return found


def measure(device: Device) -> Peaks:
    """Measure the peaks of a device now."""
    cached = CACHED_BYTES * (device.traits.compute_units if device.traits.is_cpu else 8)
    return Peaks(
        _bandwidth(device, BYTES, 1, triad=False), _bandwidth(device, BYTES, 1, triad=True),
        _bandwidth(device, cached, CACHED_ROUNDS, triad=False),
        _bandwidth(device, cached, CACHED_ROUNDS, triad=True),
        _operations(device), *_launches(device),
    )  # fmt: skip


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


def _bandwidth(device: Device, nbytes: int, rounds: int, triad: bool) -> float:
    """Measure a copy or a triad over arrays of `nbytes`, each work-item `rounds` times its part."""
    width = device.traits.vector_bytes // 4
    count = nbytes // 4 // width
    items = min(count, 64 * max(device.traits.compute_units, 1)) if device.traits.is_cpu else count
    if rounds > 1 and device.traits.is_cpu:
        items = device.traits.compute_units  # a part stays in one core's cache
    name = f"cg_peak_{'triad' if triad else 'copy'}_{width}"
    kind = f"float{width}" if width > 1 else "float"
    done = "x[i] + s * y[i]" if triad else "x[i]"
    text = f"""__kernel void {name}(__global const {kind} *x, __global const {kind} *y,
    __global {kind} *z, const float s, const int n, const int rounds)
{{
    const int share = (n + (int)get_global_size(0) - 1) / (int)get_global_size(0);
    const int first = (int)get_global_id(0) * share;
    for (int k = 0; k < rounds; ++k)
        for (int i = first; i < first + share && i < n; ++i) z[i] = {done};
}}
"""
    args = ("buffer", "buffer", "buffer", "f", "i", "i")
    (kernel,) = device.kernels([KernelSource(name, text, args=args)])
    x, y, z = (device.allocate(nbytes) for _ in range(3))
    for array in (x, y, z):
        device.fill(array, np.float32(1))
    given = (x, y, z, 0.5, count, rounds)
    seconds = _best(device, lambda: kernel(given, (items,), _group(device)))
    return (3 if triad else 2) * nbytes * rounds / seconds


def _launches(device: Device) -> tuple[float, float]:
    """Measure launches of an empty kernel: one among many, and one that is waited for."""
    name = "cg_peak_launch"
    text = f"__kernel void {name}(__global float *x, const int n) {{ if (n) x[0] = n; }}\n"
    (kernel,) = device.kernels([KernelSource(name, text, args=("buffer", "i"))])
    target = device.allocate(4)

    def many() -> None:
        for _ in range(LAUNCHES):
            kernel((target, 0), (1,), (1,))

    round_trip = _best(device, lambda: kernel((target, 0), (1,), (1,)))
    return _best(device, many) / LAUNCHES, round_trip


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
