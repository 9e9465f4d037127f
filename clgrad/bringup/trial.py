"""Runs a lowered problem outside of the recorder: on operands of its own, as often as asked.

What measurements and checks of kernel families need; nothing that computes for a user goes here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clgrad.codegen.choice import Expected, valued
from clgrad.codegen.spec import Arg, Lowered
from clgrad.dtypes import DType, bfloat16
from clgrad.runtime.device import Device

_GUARD = 64
"""Elements after the result that no kernel may write."""
_MARK = 77
_REPETITIONS = 1000


def stored(values: NDArray[Any], dtype: DType) -> NDArray[Any]:
    """Return what a device holds for these values; bfloat16 is rounded to nearest even."""
    if dtype is not bfloat16:
        return np.ascontiguousarray(values, dtype.numpy)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


class Trial:
    """A lowered problem with its memory, ready to run.

    Args:
        device: where.
        lowered: the launches.
        arrays: the operands `("in", k)` as stored, each from its offset 0 on.
        numel: elements of the result.
        dtype: of the result.

    Raises:
        CompileError: a kernel does not build.
        OutOfMemoryError: there is no room.
    """

    def __init__(
        self,
        device: Device,
        lowered: Lowered,
        arrays: Sequence[NDArray[Any]],
        numel: int,
        dtype: DType,
    ) -> None:
        self._device = device
        self._watched = np.full(numel + _GUARD, _MARK, dtype.numpy)
        buffers: dict[Arg, Any] = {}
        for k, array in enumerate(arrays):
            buffers["in", k] = device.allocate(max(array.nbytes, 1))
            device.write(buffers["in", k], array)
        buffers[("out",)] = self._result = device.allocate(self._watched.nbytes)
        device.write(self._result, self._watched)
        for k, size in enumerate(lowered.temporaries):
            buffers["temp", k] = device.allocate(max(size, 1))
            device.fill(buffers["temp", k], np.uint8(0xFF), 0, size)  # NaN in every float type
        specs = [launch.spec.render(device.traits) for launch in lowered.launches]
        self._launches = [
            (kernel, tuple(_argument(arg, buffers) for arg in x.args), x.global_size, x.local_size)
            for kernel, x in zip(device.kernels(specs), lowered.launches, strict=True)
        ]

    def run(self) -> None:
        """Enqueue the launches."""
        for kernel, args, global_size, local_size in self._launches:
            kernel(args, global_size, local_size)

    def result(self) -> NDArray[Any] | None:
        """Return the stored result of one run, or None if something beyond its end was written."""
        self.run()
        self._device.read(self._result, self._watched)
        if (self._watched[-_GUARD:] != _MARK).any():
            return None
        return self._watched[:-_GUARD]

    def excess(self, expected: Expected) -> float:
        """Return by how much an error exceeds its bound at most: inf for NaN, or a stray write."""
        found = self.result()
        if found is None:
            return float("inf")
        with np.errstate(invalid="ignore"):
            errors = np.abs(valued(found, expected.dtype) - expected.values.reshape(-1))
            beyond = (errors - expected.bound.reshape(-1)).max()
        return float("inf") if np.isnan(beyond) else float(beyond)

    def seconds(self, turn: float = 0.05) -> float:
        """Return the time of one run: the best of groups of repetitions that fill a turn."""
        self.run()
        self._device.synchronize()
        began = time.perf_counter()
        self.run()
        self._device.synchronize()
        once = time.perf_counter() - began
        repetitions = max(1, min(_REPETITIONS, int(turn / 6 / max(once, 1e-6))))
        best, deadline = once, began + turn
        while time.perf_counter() < deadline:
            start = time.perf_counter()
            for _ in range(repetitions):
                self.run()
            self._device.synchronize()
            best = min(best, (time.perf_counter() - start) / repetitions)
        return best


def _argument(arg: Arg, buffers: dict[Arg, Any]) -> Any:
    if arg in buffers:
        return buffers[arg]
    kind, *value = arg
    return 0 if str(kind).endswith("offset") else value[0]
