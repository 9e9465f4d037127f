"""Joining many parts in few launches: what is cheaper than a write for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clgrad.codegen.gather import BITS, INDEX_LIMIT, SEGMENT, index_char
from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.template import render_kernel
from clgrad.codegen.vectors import unaligned_helper, vector_access, work_sizes
from clgrad.traits import DeviceTraits

MOST = 16
"""Parts of one launch."""


@dataclass(frozen=True, slots=True)
class JoinSpec:
    """The kernel `join.cl.j2`: `bits` are the bytes of an element."""

    bits: int
    count: int
    width: int
    index64: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        cl, vectors = BITS[self.bits], vector_access(traits)
        name, source = render_kernel(
            "join.cl.j2", "join", cl=cl, count=self.count, width=self.width, vectors=vectors,
            index="long" if self.index64 else "int",
        )  # fmt: skip
        helpers: tuple[str, ...] = ()
        if self.width > 1 and vectors == "pointer":
            helpers = (unaligned_helper(cl, self.bits, self.width),)
        args = ("buffer",) * (self.count + 1)
        args += (index_char(self.index64),) * (3 * self.count + 3)
        return KernelSource(name, source, helpers, (), args)


def lower_join(
    lengths: Sequence[int], rows: int, furthest: int, itemsize: int, traits: DeviceTraits
) -> Lowered:
    """Lower to a launch for each sixteen parts.

    Args:
        lengths: elements of one row of each part; `rows` their number.
        furthest: largest element of a part's memory that is read.
    """
    whole = sum(lengths)
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    width = traits.vector_width(itemsize) if traits.is_cpu else 1
    while width > max(lengths):
        width //= 2
    index64 = max(whole * rows, furthest) >= INDEX_LIMIT
    launches = []
    for first in range(0, len(lengths), MOST):
        chosen = list(range(first, min(first + MOST, len(lengths))))
        count = next(n for n in (2, 4, 8, MOST) if n >= len(chosen))
        args: list[Arg] = [("in", k) for k in chosen]
        args += [("in", first)] * (count - len(chosen))
        args.append(("out",))
        for k in chosen:
            args += [("in_offset", k), ("int", lengths[k]), ("int", starts[k])]
        args += [("int", 0)] * 3 * (count - len(chosen))
        most = max(lengths[k] for k in chosen) * rows
        segment = min(max(most, 1024), SEGMENT) if traits.is_cpu else 1
        args += [("int", rows), ("int", whole), ("int", segment)]
        items = sum(-(-lengths[k] * rows // segment) for k in chosen)
        spec = JoinSpec(itemsize, count, width, index64)
        launches.append(LoweredLaunch(spec, tuple(args), *work_sizes(items, traits)))
    return Lowered((), tuple(launches))
