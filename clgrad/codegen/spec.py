"""What a lowering hands to the executor: specs, launches and their arguments.

A spec says what to generate and is the key of the kernel caches; a lowering turns one problem with
its sizes into launches of specs. Nothing here holds a buffer or knows a device beyond its traits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from clgrad.codegen.source import KernelSource
from clgrad.traits import DeviceTraits

Arg = tuple[str] | tuple[str, int]
"""One kernel argument: `("a",) ("b",) ("out",) ("temp", i) ("extra", i)` for buffers,
`("int", value)` for numbers, and `("a_offset",) ("b_offset",) ("extra_offset", i)` for offsets in
elements, which are known at run time."""


class Spec(Protocol):
    """A frozen, hashable description of one kernel."""

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel for a device with these traits."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class LoweredLaunch:
    """One kernel call of a lowering.

    Attributes:
        spec: the kernel.
        args: in the order of the kernel's parameters.
        global_size: work-items in each dimension; whole groups.
        local_size: work-items of one group, or None to let the driver choose.
    """

    spec: Spec
    args: tuple[Arg, ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Lowered:
    """The launches that compute one problem, in order.

    Attributes:
        temporaries: size in bytes of each scratch buffer, numbered as `("temp", i)` names them.
        launches: to be enqueued in this order; empty when there is nothing to compute.
    """

    temporaries: tuple[int, ...]
    launches: tuple[LoweredLaunch, ...]
