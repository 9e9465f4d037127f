"""A small kernel with its inputs and the result that it must give; what probes and canaries are.

Not a test of clgrad's own kernels: the texts are plain OpenCL C, so that they say something about a
driver also when code generation changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clgrad.codegen.source import KernelSource
from clgrad.errors import ClgradError
from clgrad.runtime.device import Device
from clgrad.runtime.launch import Kernel

Data = tuple[list[NDArray[Any]], NDArray[Any]]
"""Input arrays, and the expected output."""


@dataclass(frozen=True, slots=True)
class Check:
    """One kernel `cg_check_<name>(y, inputs..., scalars...)`.

    Attributes:
        name: what is checked; a field of the traits, or a name for their `disabled`.
        body: the kernel's parameters after `y`, and its body, as `(parameters) { ... }`.
        data: makes the inputs and the expected output.
        output: OpenCL C type of an element of `y`.
        head: text before the kernel.
        attributes: text between `__kernel` and the kernel's type.
        scalars: (NumPy dtype character, value) of the parameters after the inputs.
        global_size, local_size: how it is launched.
        tolerance: largest relative error, 0 for equality of bits.
        options: further build options.
        accept: replaces the comparison where there is more than one right result.
    """

    name: str
    body: str
    data: Callable[[], Data]
    output: str = "float"
    head: str = ""
    attributes: str = ""
    scalars: tuple[tuple[str, int | float], ...] = ()
    global_size: tuple[int, ...] = (64,)
    local_size: tuple[int, ...] | None = None
    tolerance: float = 0.0
    options: tuple[str, ...] = ()
    accept: Callable[[NDArray[Any]], bool] | None = None

    def source(self) -> KernelSource:
        """Return the kernel."""
        inputs, _ = self.data()
        name = f"cg_check_{self.name}"
        comma = ", " if inputs or self.scalars else ""
        text = (
            f"__kernel {self.attributes}void {name}(__global {self.output} *y{comma}{self.body[1:]}"
        )
        args = ("buffer",) * (1 + len(inputs)) + tuple(char for char, _ in self.scalars)
        return KernelSource(name, f"{self.head}\n{text}\n", (), self.options, args)

    def run(self, device: Device, kernel: Kernel) -> NDArray[Any] | None:
        """Return what the kernel computes, or None where it cannot be run."""
        inputs, expected = self.data()
        result = np.zeros_like(expected)
        try:
            output = device.allocate(result.nbytes)
            device.write(output, result)
            buffers = []
            for array in inputs:
                buffers.append(device.allocate(array.nbytes))
                device.write(buffers[-1], array)
            numbers = tuple(value for _, value in self.scalars)
            kernel((output, *buffers, *numbers), self.global_size, self.local_size)
            device.read(output, result)
        except ClgradError:
            return None
        return result

    def passes(self, result: NDArray[Any] | None) -> bool:
        """Return whether `result` is what the kernel must compute."""
        if result is None:
            return False
        if self.accept is not None:
            return self.accept(result)
        _, expected = self.data()
        if self.tolerance:
            return bool(np.allclose(result, expected, rtol=self.tolerance, atol=self.tolerance))
        same_bits = np.array_equal(result.view(np.uint8), expected.view(np.uint8))
        return same_bits or np.array_equal(result, expected)


def run_checks(
    device: Device, checks: Iterable[Check], before: Callable[[str], None] | None = None
) -> dict[str, NDArray[Any] | None]:
    """Build and run checks; returns the results by name, None for what does not build or run.

    Args:
        device: where.
        checks: which.
        before: called with a check's name before it is run, for those that end the process.
    """
    listed = list(checks)
    if before is not None and listed:
        before("build:" + ",".join(check.name for check in listed))
    kernels = device.attempt([check.source() for check in listed])
    results: dict[str, NDArray[Any] | None] = {}
    for check, kernel in zip(listed, kernels, strict=True):
        if before is not None:
            before(check.name)
        results[check.name] = None if kernel is None else check.run(device, kernel)
    return results
