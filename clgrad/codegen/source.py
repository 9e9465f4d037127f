"""The text of one kernel with what it takes to build and to launch it.

A `KernelSource` is what code generation hands to the runtime: pure text and argument types. It
knows neither a device nor a buffer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


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
