"""Attention whose scores are never in memory, forward and backward: CPU kernels, and who has them.

Queries are lanes, so that the running largest and sum of each row need no folding of lanes; all
products are of one form (`_attention.j2`). Blocks live in the near cache, as local memory of a
work-group of one work-item. The kernels of GPUs are in `attention_gpu`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any

import numpy as np

from clgrad.codegen import attention_gpu
from clgrad.codegen.attention_problem import (
    AttentionProblem,
    batch_arguments,
    functions_of,
    ints,
    operand_arguments,
    operands_of,
)
from clgrad.codegen.matmul_specs import finish_kernel
from clgrad.codegen.matmul_tuning import ceil_div
from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.dtypes import DType, float32, float64
from clgrad.layout import Layout
from clgrad.traits import DeviceTraits

_LONG = np.dtype(np.int64).char
_INDEX = (_LONG, _LONG, _LONG)
ROWS = 4
"""Rows of a tile of sums."""
_NEAR_BYTES = 1 << 18
"""What a work-item may keep near: half of the second cache of most cores."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How many vectors of queries, and how many keys, are taken at a time."""

    width: int
    columns: int
    keys: int

    def near(self, size: int, value: int, acc: DType, back: bool) -> int:
        """Return how many bytes lie in the near cache."""
        block, k, v = self.width * self.columns, self.pitch(size), self.pitch(value)
        count = (k + v) * self.keys
        if back:
            count += block * (3 * k + 2 * v + 2 * self.keys + 2)
        else:
            count += block * (k + v + self.keys + 1)
        return count * acc.itemsize

    def pitch(self, size: int) -> int:
        """Return the length of a row in the near cache, a multiple of vectors and of tiles."""
        unit = max(self.width, ROWS)
        return ceil_div(size, unit) * unit


def blocks_of(
    queries: int, size: int, value: int, acc: DType, back: bool, traits: DeviceTraits
) -> Blocks | None:
    """Return the largest blocks that fit, or None where none does."""
    width = traits.vector_width(acc.itemsize)
    if width < 2:
        return None
    room = min(_NEAR_BYTES, traits.local_bytes)
    for columns, keys in ((4, 64), (4, 32), (2, 64), (2, 32), (1, 32), (1, 16)):
        if columns == 4 and traits.vector_bytes < 64 and width < 16:
            continue  # half as many registers
        if columns > 1 and queries <= width * columns // 2:
            continue
        made = Blocks(width, columns, keys)
        if made.near(size, value, acc, back) <= room:
            return made
    return None


def offers(queries: int, size: int, value: int, dtype: DType, traits: DeviceTraits) -> bool:
    """Return whether there are kernels for these sizes, which are then the better choice."""
    acc = float64 if dtype is float64 else float32
    if not traits.is_cpu:
        return attention_gpu.offers(size, value, acc, traits)
    return all(blocks_of(queries, size, value, acc, back, traits) for back in (False, True))


@dataclass(frozen=True, slots=True)
class AttentionSpec:
    """What is baked into the kernels of `attention.cl.j2` and `attention_back.cl.j2`."""

    back: bool
    x: DType
    mask: DType | None
    mask_rows: bool
    causal: bool
    size: int
    value: int
    adjacent: tuple[bool, ...]
    width: int
    columns: int
    keys: int
    batch_rank: int
    direct: bool = False

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        acc = float64 if self.x is float64 else float32
        functions = functions_of(acc, self.width)
        operand = ("buffer", *_INDEX)
        operands = operand * (3 if self.mask is None else 4)
        real = acc.numpy.char
        arrays = ["q", "k", "v"] + (["mask"] if self.mask is not None else [])
        if self.back:
            args = (
                *operands, *operand, "buffer", _LONG, _LONG, "buffer", _LONG, "buffer", _LONG,
                *("buffer", _LONG, _LONG) * 2, _LONG, _LONG, _LONG, real,
            )  # fmt: skip
            arrays += ["g", "y", "dq"] + (["dk", "dv"] if self.direct else [])
        else:
            args = (*operands, "buffer", _LONG, _LONG, _LONG, _LONG, real)
            arrays += ["y"]
        args += (_LONG,) * (self.batch_rank * (1 + len(arrays)))
        blocks = Blocks(self.width, self.columns, self.keys)
        variables: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        memory = ((self.x, self.width), (acc, self.width))
        source = finish_kernel(
            "attention_back.cl.j2" if self.back else "attention.cl.j2",
            "attention_back" if self.back else "attention", traits, memory=memory, stored=self.x,
            store_width=1, epilogue=None, args=args, acc=acc.cl, arrays=arrays,
            fused=not traits.contract_by_pragma, block=self.width * self.columns, rows=ROWS,
            k_pitch=blocks.pitch(self.size), v_pitch=blocks.pitch(self.value),
            size_rows=ceil_div(self.size, ROWS) * ROWS,
            value_rows=ceil_div(self.value, ROWS) * ROWS,
            power=functions.power, log=functions.log, **variables,
        )  # fmt: skip
        return replace(source, helpers=(*source.helpers, *functions.helpers))


@dataclass(frozen=True, slots=True)
class MergeSpec:
    """What is baked into a kernel of `attention_merge.cl.j2`."""

    acc: DType
    out: DType
    batch_rank: int

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "attention_merge.cl.j2", "attention_merge", traits, memory=(), stored=self.out,
            store_width=1, epilogue=None,
            args=("buffer", "buffer", *(_LONG,) * (5 + 2 * self.batch_rank)),
            acc=self.acc.cl, out=self.out, batch_rank=self.batch_rank, arrays=["y"],
        )  # fmt: skip


def _spec(p: AttentionProblem, blocks: Blocks, **more: Any) -> AttentionSpec:
    adjacent = more.pop("adjacent", ())
    return AttentionSpec(
        x=p.dtype, mask=p.mask_dtype, mask_rows=p.mask_rows, causal=p.causal, size=p.q.shape[-1],
        value=p.v.shape[-1], adjacent=(*(x.strides[-1] == 1 for x in (p.q, p.k, p.v)), *adjacent),
        width=blocks.width, columns=blocks.columns, keys=blocks.keys, batch_rank=len(p.batch),
        **more,
    )  # fmt: skip


def lower_attention(p: AttentionProblem, traits: DeviceTraits) -> Lowered:
    """Return the launch of the forward: the result, and for each row its total."""
    if not traits.is_cpu:
        return attention_gpu.lower_attention(p, traits)
    length, size = p.q.shape[-2:]
    blocks = blocks_of(length, size, p.v.shape[-1], p.acc, False, traits)
    assert blocks is not None
    args, layouts = operands_of(p)
    y = p.result
    args += (
        ("out",), *ints(y.strides[-2], y.numel, length, p.k.shape[-2]), ("scalar", 0),
        *batch_arguments(p.batch, [*layouts, y]),
    )  # fmt: skip
    items = (ceil_div(length, blocks.width * blocks.columns), prod(p.batch))
    return Lowered(
        (), (LoweredLaunch(_spec(p, blocks, back=False), args, items, (1,) * len(items)),)
    )


def lower_attention_back(
    p: AttentionProblem, g: Layout, y: Layout, traits: DeviceTraits
) -> Lowered:
    """Return the launches of the gradients, which are laid out as `p.gradients` says.

    Operands are those of the forward, then the incoming gradient, the result, its tail.
    """
    if not traits.is_cpu:
        return attention_gpu.lower_attention_back(p, g, y, traits)
    length, size = p.q.shape[-2:]
    keys, value = p.v.shape[-2:]
    blocks = blocks_of(length, size, value, p.acc, True, traits)
    assert blocks is not None
    args, layouts = operands_of(p)
    n = len(layouts)
    dq, dk, dv = p.gradients
    block = blocks.width * blocks.columns
    batches = prod(p.batch)
    wanted = (
        1 if batches >= 4 * traits.compute_units else ceil_div(2 * traits.compute_units, batches)
    )
    part = ceil_div(ceil_div(length, block), min(wanted, 8)) * block
    parts = ceil_div(length, part)
    pitches = [blocks.pitch(size), blocks.pitch(value)]
    direct = parts == 1 and p.dtype is p.acc and pitches == [size, value]
    temporaries: tuple[int, ...] = ()
    pairs: tuple[Arg, ...]
    if direct:
        pairs = (("out",), *ints(dk.offset, dk.strides[-2]),
                 ("out",), *ints(dv.offset, dv.strides[-2]))  # fmt: skip
    else:
        temporaries = tuple(batches * parts * keys * w * p.acc.itemsize for w in pitches)
        pairs = tuple(a for k, w in enumerate(pitches) for a in (("temp", k), *ints(0, w)))
    args += (
        *operand_arguments(n, g), ("in", n + 1), ("in_offset", n + 1), *ints(y.strides[-2]),
        ("in", n + 2), ("in_offset", n + 2), ("out",), *ints(dq.strides[-2]), *pairs,
        *ints(length, keys, part), ("scalar", 0),
        *batch_arguments(p.batch, [*layouts, g, y, dq, *([dk, dv] if direct else [])]),
    )  # fmt: skip
    spec = _spec(p, blocks, back=True, direct=direct, adjacent=(g.strides[-1] == 1,))
    launches = [LoweredLaunch(spec, args, (parts, batches), (1, 1))]
    if not direct:
        merge = MergeSpec(p.acc, p.dtype, len(p.batch))
        for k, (x, pitch) in enumerate(zip((dk, dv), pitches, strict=True)):
            into: tuple[Arg, ...] = (
                ("temp", k), ("out",), *ints(x.offset, x.strides[-2], keys, pitch, parts),
                *batch_arguments(p.batch, [x]),
            )  # fmt: skip
            launches.append(LoweredLaunch(merge, into, (x.shape[-1], keys, batches), None))
    return Lowered(temporaries, tuple(launches))
