"""Finding the true elements of a mask: counts of blocks, then the coordinates.

Two launches, because the number of results is a shape, which the host must know in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from clgrad.codegen.gather import INDEX_LIMIT, index_char
from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.template import render_kernel
from clgrad.codegen.vectors import work_sizes
from clgrad.shapes import Shape
from clgrad.traits import DeviceTraits

MOST_BLOCKS, LEAST_LENGTH = 512, 1024
"""Blocks of a mask at most, and elements of one at least."""


def block_length(numel: int) -> int:
    """Return the elements of one block of a mask."""
    return max(-(-numel // MOST_BLOCKS), LEAST_LENGTH)


@dataclass(frozen=True, slots=True)
class FindSpec:
    """The kernels `count_true.cl.j2` (rank 0) and `find_true.cl.j2` (for a mask of `rank` dims)."""

    rank: int
    index64: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        template = "find_true" if self.rank else "count_true"
        variables = {"rank": self.rank} if self.rank else {}
        name, source = render_kernel(
            f"{template}.cl.j2", template, is_cpu=traits.is_cpu,
            index="long" if self.index64 else "int", **variables,
        )  # fmt: skip
        char = index_char(self.index64)
        buffers, numbers = (3, 4 + self.rank) if self.rank else (2, 4)
        return KernelSource(name, source, (), (), ("buffer",) * buffers + (char,) * numbers)


def lower_count(numel: int, traits: DeviceTraits) -> Lowered:
    """Lower the counts of blocks of a contiguous mask, operand 0."""
    length = block_length(numel)
    blocks = -(-numel // length)
    args: list[Arg] = [("in", 0), ("out",), ("in_offset", 0)]
    args += [("int", n) for n in (numel, length, blocks)]
    spec = FindSpec(0, numel >= INDEX_LIMIT)
    return Lowered((), (LoweredLaunch(spec, tuple(args), *work_sizes(blocks, traits)),))


def lower_find(shape: Shape, found: int, traits: DeviceTraits) -> Lowered:
    """Lower the coordinates of the true elements of a contiguous mask, a row per dim.

    Operands are the mask and the counts of its blocks, whose sum is `found`.
    """
    numel = 1
    for n in shape:
        numel *= n
    length = block_length(numel)
    blocks = -(-numel // length)
    args: list[Arg] = [("in", 0), ("in", 1), ("out",), ("in_offset", 0)]
    args += [("int", n) for n in (numel, length, blocks, found, *shape[1:])]
    spec = FindSpec(len(shape), max(numel, found * len(shape)) >= INDEX_LIMIT)
    return Lowered((), (LoweredLaunch(spec, tuple(args), *work_sizes(blocks, traits)),))
