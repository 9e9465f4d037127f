"""Gather: every element of the result is an element of `x` that index tensors choose.

    out[c0, …] = x[offset + Σ c_d · x_stride_d + Σ index_k[c0, …] · step_k]

A dim of the space either walks along a dim of `x` (its stride) or not (0); each index chooses along
one dim of `x`, of `size_k` entries `step_k` apart. Elements are copied as bits. Where the innermost
dim walks along neighbours and no index depends on it, whole rows are copied by vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.template import render_kernel
from clgrad.codegen.vectors import unaligned_helper, vector_access, work_sizes
from clgrad.dtypes import DType
from clgrad.layout import Layout
from clgrad.shapes import Shape, merge_dims
from clgrad.traits import DeviceTraits

BITS = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}
"""OpenCL C type that holds an element of so many bytes."""
INDEX_LIMIT = 2**31 - 2**16
SEGMENT = 16384
"""Elements of one row that a work-item of a CPU takes at most."""


@dataclass(frozen=True, slots=True)
class IndexOperand:
    """One index tensor.

    Attributes:
        dtype: int32 or int64.
        strides: over the space.
        size, step: of the dim of `x` from which it chooses.
    """

    dtype: DType
    strides: Shape
    size: int
    step: int


@dataclass(frozen=True, slots=True)
class GatherSpec:
    """The kernel `gather.cl.j2`.

    Attributes:
        bits: bytes of an element. `indices`: dtype of each index.
        rank: dims of the space.
        x_last, index_last: stride along the last dim: 0, 1, or 2 for an argument.
        rows: whether the last dim is copied by vectors of `width`.
        wrap: negative indices count from the end. `checked`: others are clamped and reported.
    """

    bits: int
    indices: tuple[DType, ...]
    rank: int
    x_last: int
    index_last: tuple[int, ...]
    rows: bool
    width: int
    wrap: bool
    checked: bool
    index64: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        cl, vectors = BITS[self.bits], vector_access(traits)
        name, source = render_kernel(
            "gather.cl.j2", "gather", cl=cl, indices=self.indices, rank=self.rank,
            x_last=self.x_last, index_last=self.index_last, rows=self.rows, width=self.width,
            wrap=self.wrap, checked=self.checked, index="long" if self.index64 else "int",
            vectors=vectors, is_cpu=traits.is_cpu,
        )  # fmt: skip
        helpers: tuple[str, ...] = ()
        if self.rows and self.width > 1 and vectors == "pointer":
            helpers = (unaligned_helper(cl, self.bits, self.width),)
        count = len(self.indices)
        kind, wide = index_char(self.index64), np.dtype(np.int64).char
        args = ("buffer",) * (2 + count) + (kind,) * (1 + count + self.rank)
        args += (kind,) * (self.rank * (1 + count)) + (wide, kind) * count + (kind,)
        return KernelSource(name, source, helpers, (), args + flag_args(self.checked))


def index_char(index64: bool) -> str:
    """Return the NumPy character of the type of index arithmetic."""
    return np.dtype(np.int64 if index64 else np.int32).char


def flag_args(checked: bool) -> tuple[str, ...]:
    """Return the types of what a kernel takes to report an index; see `_flags.j2`."""
    return ("buffer", np.dtype(np.int32).char) if checked else ()


def last_stride(stride: int) -> int:
    """Return how a spec says a stride along the last dim."""
    return min(stride, 2) if stride >= 0 else 2


def reach(shape: Shape, strides: Shape, offset: int) -> int:
    """Return one past the largest element that a layout touches."""
    return Layout(shape, strides, offset).span[1]


def lower_gather(
    shape: Shape, x: Layout, indices: Sequence[IndexOperand], offsets: Sequence[int],
    itemsize: int, wrap: bool, checked: bool, traits: DeviceTraits,
) -> Lowered:  # fmt: skip
    """Lower to one launch.

    Args:
        shape: of the space and the result.
        x: layout of `x` over the space, 0 along dims that only indices reach.
        offsets: of the index tensors.
    """
    strides = (x.strides, *(i.strides for i in indices))
    shape, rows = merge_dims(shape, strides)
    if not shape:
        shape, rows = (1,), ((0,),) * len(rows)
    xs, index_strides = rows[0], rows[1:]
    last = shape[-1]
    whole = xs[-1] == 1 and not any(s[-1] for s in index_strides)
    width = traits.vector_width(itemsize) if whole and traits.is_cpu else 1
    while width > last:
        width //= 2
    far = [reach(shape, xs, x.offset) + sum(i.size * i.step for i in indices)]
    far += [reach(shape, s, o) for s, o in zip(index_strides, offsets, strict=True)]
    count = int(np.prod(shape, dtype=np.int64))
    index64 = max(*far, count) >= INDEX_LIMIT
    spec = GatherSpec(
        itemsize, tuple(i.dtype for i in indices), len(shape), last_stride(xs[-1]),
        tuple(last_stride(s[-1]) for s in index_strides), whole, width, wrap, checked, index64,
    )  # fmt: skip
    segment = 1
    if traits.is_cpu:
        per = last if len(shape) > 1 else -(-last // 64)
        segment = min(max(per, 1024), SEGMENT)
    items = count // max(last, 1) * -(-last // segment)
    args: list[Arg] = [("in", 0), *(("in", k + 1) for k in range(len(indices))), ("out",)]
    args += [("in_offset", k) for k in range(len(indices) + 1)]
    numbers = [*shape, *(s for row in rows for s in row)]
    for i in indices:
        numbers += [i.size, i.step]
    args += [("int", n) for n in (*numbers, segment)]
    if checked:
        args += [("flags",), ("flag",)]
    return Lowered((), (LoweredLaunch(spec, tuple(args), *work_sizes(items, traits)),))
