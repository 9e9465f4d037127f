"""A device that computes nothing: to plan and to render for devices that are not there.

The recorder takes it like any other, so that recording, fusion and lowering are the real ones and
the kernels are those that such a device would get. Nothing is compiled or launched, memory is not
allocated, and whatever is read back is zero. The library never chooses it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad.codegen.source import KernelSource
from clgrad.traits import DeviceTraits, preset


class Memory:
    """Stands for a buffer: its size."""

    __slots__ = ("__weakref__", "handle", "nbytes")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.handle = None


class RehearsalDevice:
    """Has the functions of `clgrad.runtime.device.Device` that recording and executing use."""

    def __init__(self, name: str, traits: DeviceTraits) -> None:
        self.name = name
        self.index = 0
        self.kind = "cpu" if traits.is_cpu else "gpu"
        self.platform_name = "rehearsal"
        self.traits = traits

    @classmethod
    def of_preset(cls, name: str) -> RehearsalDevice:
        """Return a device with preset traits; raises `ClgradValueError` for an unknown name."""
        return cls(name, preset(name))

    @property
    def id(self) -> str:
        """What users write to get it."""
        return f"rehearsal:{self.name}"

    def __repr__(self) -> str:
        return self.id

    def allocate(self, nbytes: int, tag: str | None = None) -> Memory:
        """Return memory that is not there."""
        return Memory(nbytes)

    def allocate_all(self, sizes: Sequence[int]) -> list[Memory]:
        """Return as much memory that is not there."""
        return [Memory(nbytes) for nbytes in sizes]

    def kernels(self, sources: Sequence[KernelSource]) -> list[Callable[..., None]]:
        """Return a function per kernel that launches nothing."""
        return [_launch for _ in sources]

    def drop_kernels(self) -> None:
        """Have none to let go of."""

    def write(self, buffer: Memory, array: np.ndarray[Any, Any], offset: int = 0) -> None:
        """Forget what is written."""

    def read(self, buffer: Memory, array: np.ndarray[Any, Any], offset: int = 0) -> None:
        """Read zeros."""
        array[...] = 0

    def copy(self, source: Memory, target: Memory, nbytes: int, *offsets: int) -> None:
        """Copy nothing."""

    def fill(self, buffer: Memory, pattern: Any, offset: int = 0, nbytes: int = 0) -> None:
        """Fill nothing."""

    def flush(self) -> None:
        """Have nothing to send off."""

    def synchronize(self) -> None:
        """Have nothing to wait for."""


def _launch(args: Sequence[Any], global_size: Any, local_size: Any) -> None:
    """Launch nothing."""
