"""The text of one kernel with what it takes to build and to launch it.

A `KernelSource` is what code generation hands to the runtime: pure text and argument types. It
knows neither a device nor a buffer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from clgrad.traits import DeviceTraits

_NO_CONTRACT = "#pragma OPENCL FP_CONTRACT OFF\n"

SCALAR_CHARS = {
    "int": "i", "uchar": "B", "ushort": "H", "uint": "I", "ulong": "L", "char": "b",
    "short": "h", "long": "l", "float": "f", "double": "d",
}  # fmt: skip
"""Argument type of a number in a register of this type, as `KernelSource.args` has it."""


@dataclass(frozen=True, slots=True)
class KernelSource:
    """One OpenCL C kernel, ready to be joined with others to a program.

    Attributes:
        name: name of the kernel function; starts with `cg_` and ends with a digest of the text.
        source: the kernel alone.
        helpers: texts that the kernel needs before it, in order. Equal texts are emitted once
            per program, so that each must stand on its own beside others' helpers.
        options: build options that the kernel needs beyond those of its device.
        args: for each parameter `"buffer"` or the NumPy dtype character of a scalar.
    """

    name: str
    source: str
    helpers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    args: tuple[str, ...] = ()


def digest(*parts: str, length: int = 12) -> str:
    """Return `length` hex digits that identify the texts `parts`, in order."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode()
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()[:length]


def program_text(sources: Sequence[KernelSource], fp64: bool, fp16: bool) -> str:
    """Return one program of `sources`: what they all need, each helper once, the kernels.

    Contraction is off before each kernel (a pragma of one must not reach the next): the same
    expression has to give the same bits in every kernel.
    """
    parts = []
    if fp64:
        parts.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n")
    if fp16:
        parts.append("#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n")
    parts.append(_NO_CONTRACT)
    parts.extend(dict.fromkeys(helper for source in sources for helper in source.helpers))
    for source in sources:
        parts.append(_NO_CONTRACT)
        parts.append(source.source)
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def build_options(traits: DeviceTraits, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the build options of every kernel on a device, with a kernel's own after them."""
    options = []
    if not any(option.startswith("-cl-std=") for option in extra):
        options.append(f"-cl-std={traits.cl_std}")
    if traits.correctly_rounded_divide:
        options.append("-cl-fp32-correctly-rounded-divide-sqrt")
    return (*options, *extra)
