"""Scatter: elements of a source are put into, or combined with, what index tensors choose of `out`.

    a = out_offset + Σ c_d · out_stride_d + Σ index_k[c0, …] · step_k
    out[a] = combine(out[a], source[c0, …])          for c0, … in order, last dim fastest

Dims that walk along a dim of `out` reach different elements for different coordinates; those that
do not may meet in one element. So the walking dims are shared out among work-items, and each takes
the others in order: the result does not depend on the device, and needs no atomics. Where the
walking dims are too few to keep a device busy, several work-items take the same points, and each
does those whose first index lies in its share of the dim (the owner of an element computes it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from clgrad.codegen.gather import (
    BITS,
    INDEX_LIMIT,
    IndexOperand,
    flag_args,
    index_char,
    last_stride,
    reach,
)
from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.template import render_kernel
from clgrad.codegen.vectors import unaligned_helper, vector_access, work_sizes
from clgrad.dtypes import DType
from clgrad.layout import Layout
from clgrad.shapes import Shape, merge_dims
from clgrad.traits import DeviceTraits

SEGMENT = 4096
"""Elements of a row that a work-item of a CPU takes at most."""
COLUMNS = 256
"""Columns that a work-item of a CPU takes side by side, where each has an index of its own."""
LONG_ROW = 64
"""Elements of a row from which on a CPU shares rows out among owners. Below, each index costs more
to skip than to do: a million sums into a thousand elements take 0.6 ms by one work-item and 33 by
two, whose branches cannot be predicted (4096 rows of 256: 0.15 and 0.17)."""
GPU_ITEMS = 1 << 16
"""Work-items to aim at on a GPU."""


@dataclass(frozen=True, slots=True)
class ScatterSpec:
    """The kernel `scatter.cl.j2`.

    Attributes:
        dtype: of source and target. `combine`: set, add, mul, max or min.
        indices: dtype of each index.
        walking, meeting: number of dims of either kind; the walking ones come first.
        source_last, out_last, index_last: stride along the last walking dim: 0, 1, or 2 for an
            argument.
        rows: whether no index depends on that dim, along which `width` elements are one vector.
        owners: whether several work-items take the same points.
    """

    dtype: DType
    combine: str
    indices: tuple[DType, ...]
    walking: int
    meeting: int
    source_last: int
    out_last: int
    index_last: tuple[int, ...]
    rows: bool
    width: int
    owners: bool
    wrap: bool
    checked: bool
    index64: bool

    @property
    def cl(self) -> str:
        """Type of an element: bits where they are copied, unsigned where sums may wrap around."""
        bits = BITS[self.dtype.itemsize]
        if self.combine == "set" or self.dtype.kind in "bu":
            return bits
        if self.dtype.kind == "i" and self.combine in ("add", "mul"):
            return bits
        return self.dtype.cl

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        vectors = vector_access(traits)
        name, source = render_kernel(
            "scatter.cl.j2", "scatter", cl=self.cl, combine=self.combine, indices=self.indices,
            walking=self.walking, rank=self.walking + self.meeting, source_last=self.source_last,
            out_last=self.out_last, index_last=self.index_last, rows=self.rows, width=self.width,
            owners=self.owners, wrap=self.wrap, checked=self.checked,
            index="long" if self.index64 else "int", vectors=vectors, is_cpu=traits.is_cpu,
        )  # fmt: skip
        helpers: tuple[str, ...] = ()
        if self.width > 1 and vectors == "pointer":
            helpers = (unaligned_helper(self.cl, self.dtype.itemsize, self.width),)
        count, rank = len(self.indices), self.walking + self.meeting
        kind, wide = index_char(self.index64), np.dtype(np.int64).char
        args = ("buffer",) * (2 + count) + (kind,) * (2 + count)
        args += (kind,) * (rank + self.walking + rank * (1 + count))
        args += (wide, kind) * count + (kind, kind)
        return KernelSource(name, source, helpers, (), args + flag_args(self.checked))


def lower_scatter(
    shape: Shape, out: Layout, source: Layout, indices: Sequence[IndexOperand],
    offsets: Sequence[int], dtype: DType, combine: str, wrap: bool, checked: bool,
    traits: DeviceTraits,
) -> Lowered:  # fmt: skip
    """Lower to one launch, whose `("out",)` holds the old elements already.

    Args:
        shape: of the space.
        out: layout of the target over the space, 0 along dims that only indices reach.
        source: layout over the space. `offsets`: of the index tensors.
    """
    numbers = list(range(len(indices)))
    owner = max(numbers, key=lambda k: indices[k].size)
    numbers = [owner, *(k for k in numbers if k != owner)]
    indices, offsets = [indices[k] for k in numbers], [offsets[k] for k in numbers]
    dims = [d for d, n in enumerate(shape) if n != 1]
    walking = sorted([d for d in dims if out.strides[d]], key=lambda d: -out.strides[d])
    order = [*walking, *(d for d in dims if not out.strides[d])]
    columns = (out.strides, source.strides, *(i.strides for i in indices))
    sizes, rows = merge_dims(
        tuple([shape[d] for d in order]), tuple([tuple([s[d] for d in order]) for s in columns])
    )
    lead = sum(1 for s in rows[0] if s)
    if not lead:  # one walking dim at least, if only of size 1
        sizes, rows, lead = (1, *sizes), tuple([(0, *r) for r in rows]), 1
    outs, sources, index_strides = rows[0], rows[1], rows[2:]
    meeting = len(sizes) - lead
    last = sizes[lead - 1]
    whole = not any(s[lead - 1] for s in index_strides)
    far = [reach(sizes, outs, out.offset) + sum(i.size * i.step for i in indices)]
    far += [reach(sizes, sources, source.offset), prod(sizes)]
    far += [reach(sizes, s, o) for s, o in zip(index_strides, offsets, strict=True)]
    vector = whole and outs[lead - 1] == 1 and sources[lead - 1] in (0, 1) and traits.is_cpu
    vector = vector and combine in ("set", "add", "mul")
    width = traits.vector_width(dtype.itemsize) if vector else 1
    while width > last:
        width //= 2
    segment = 1
    if traits.is_cpu:
        across = whole or sources[lead - 1] == 1 or meeting == 0
        segment = min(last, (SEGMENT if whole else COLUMNS) if across else 1)
    items = prod(sizes[: lead - 1]) * -(-last // max(segment, 1))
    owners = _owners(items, whole and last >= LONG_ROW, indices[0].size, traits)
    owners = owners if meeting else 1
    spec = ScatterSpec(
        dtype, combine, tuple([i.dtype for i in indices]), lead, meeting,
        last_stride(sources[lead - 1]), last_stride(outs[lead - 1]),
        tuple([last_stride(s[lead - 1]) for s in index_strides]), whole, width, owners > 1, wrap,
        checked, max(far) >= INDEX_LIMIT,
    )  # fmt: skip
    args: list[Arg] = [("in", 0), *(("in", k + 1) for k in numbers), ("out",)]
    args += [("in_offset", 0), *(("in_offset", k + 1) for k in numbers), ("int", out.offset)]
    ints = [*sizes, *outs[:lead], *sources, *(s for row in index_strides for s in row)]
    for i in indices:
        ints += [i.size, i.step]
    args += [("int", n) for n in (*ints, segment, owners)]
    if checked:
        args += [("flags",), ("flag",)]
    sizes_of_work = work_sizes(items * owners, traits)
    return Lowered((), (LoweredLaunch(spec, tuple(args), *sizes_of_work),))


def _owners(items: int, long_rows: bool, size: int, traits: DeviceTraits) -> int:
    """Return how many work-items take the same points: each reads all indices of them."""
    wanted = GPU_ITEMS
    if traits.is_cpu:
        wanted = 2 * traits.compute_units if long_rows else 1
    return max(1, min(-(-wanted // max(items, 1)), size))
