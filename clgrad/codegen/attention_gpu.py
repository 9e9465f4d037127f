"""Attention whose scores are never in memory on GPUs: a work-group for a block of rows.

Products go through slabs in local memory, as in `matmul_gpu`; sums are registers. The gradients are
two kernels, for blocks of queries and for blocks of keys, so that nothing is added by two groups.
Local memory does not grow with the size of a query, registers do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import prod

import numpy as np

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
BREADTH = 16
"""Items of a group across a tile of products."""
PAD = 4
"""Elements between rows in local memory, against conflicts of banks."""
_SUMS = {"forward": 80, "queries": 96, "keys": 112}
"""Sums in registers of 32 bits that an item may hold; factors and addresses take the others."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A block of `block` rows, each item with `rows` of them, that `others` rows pass by."""

    block: int
    others: int
    rows: int
    depth: int

    @property
    def group(self) -> int:
        return self.block // self.rows * BREADTH

    @property
    def columns(self) -> int:
        """Products of an item in a row."""
        return self.others // BREADTH

    def sums(self, kind: str, size: int, value: int, acc: DType) -> int:
        """Return how many registers the sums of an item take."""
        kept = {"forward": (value,), "queries": (size,), "keys": (size, value)}[kind]
        columns = self.columns * (1 if kind == "forward" else 2)
        columns += sum(prod(vectors(n)) for n in kept)
        return self.rows * columns * acc.itemsize // 4

    def slab(self, size: int, value: int) -> int:
        """Return the elements of a slab of the rows that pass by, turned or as they are."""
        widest = max(BREADTH * prod(vectors(n)) for n in (size, value))
        return self.depth * max(self.others + PAD, widest)

    def near(self, size: int, value: int, acc: DType) -> int:
        """Return the bytes of local memory."""
        pitch = self.block + PAD
        count = (self.depth + self.others) * pitch + self.slab(size, value)
        return (count + self.group + 2 * max(self.block, self.others)) * acc.itemsize


TILES = (
    Tile(64, 64, 4, 16), Tile(64, 32, 4, 16), Tile(32, 64, 4, 16), Tile(32, 32, 4, 16),
    Tile(32, 32, 2, 16), Tile(16, 32, 2, 8), Tile(16, 16, 1, 8),
)  # fmt: skip
"""The first that fits is taken."""


def vectors(size: int) -> tuple[int, int]:
    """Return number and width of an item's vectors in a row of `size`: few lanes past the end."""
    made = [(ceil_div(size, BREADTH * w), w) for w in (4, 2, 1) if size % w == 0]
    least = min(count * w for count, w in made)
    return next((count, w) for count, w in made if count * w * 8 <= least * 9)


def tile_of(
    kind: str, rows: int, batches: int, size: int, value: int, acc: DType, traits: DeviceTraits
) -> Tile | None:
    """Return the tile for `rows` rows of a result, or None where none fits.

    Args:
        kind: `forward`, `queries` or `keys`: which kernel.
    """
    if max(size, value) > 256 or "matmul" in traits.disabled:
        return None
    found = None
    for tile in TILES:
        if tile.group > traits.max_work_group or tile.near(size, value, acc) > traits.local_bytes:
            continue
        if tile.sums(kind, size, value, acc) > _SUMS[kind]:
            continue
        found = found or tile
        if ceil_div(rows, tile.block) * batches >= traits.compute_units or tile.block == 32:
            return tile
    return found


def offers(size: int, value: int, acc: DType, traits: DeviceTraits) -> bool:
    """Return whether there are kernels for these sizes."""
    return all(tile_of(kind, 64, 1, size, value, acc, traits) for kind in _SUMS)


@dataclass(frozen=True, slots=True)
class AttentionGroupSpec:
    """What is baked into the kernels of `attention_gpu.cl.j2` and `attention_gpu_back.cl.j2`."""

    kind: str
    x: DType
    mask: DType | None
    mask_rows: bool
    causal: bool
    size: int
    value: int
    adjacent: tuple[bool, ...]
    tile: Tile
    wide_index: bool
    batch_rank: int

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        acc = float64 if self.x is float64 else float32
        operand = ("buffer", *_INDEX)
        args: tuple[str, ...] = operand * (3 if self.mask is None else 4)
        arrays = ["q", "k", "v"] + (["mask"] if self.mask is not None else [])
        if self.kind == "forward":
            args += ("buffer", _LONG, _LONG)
            arrays += ["y_first"]
        else:
            of_keys = self.kind == "keys"
            args += (
                *operand, *(() if of_keys else ("buffer", _LONG, _LONG)),
                "buffer", _LONG, "buffer", "buffer", *(_LONG,) * (4 if of_keys else 2),
            )  # fmt: skip
            arrays += ["g", "dk", "dv"] if of_keys else ["g", "y_first", "dq"]
        args += (_LONG, _LONG, acc.numpy.char, *(_LONG,) * (self.batch_rank * (1 + len(arrays))))
        tile = self.tile
        sizes = {f.name: getattr(tile, f.name) for f in fields(tile)} | {
            "breadth": BREADTH, "pad": PAD, "group": tile.group, "columns": tile.columns,
            "parts": tile.group // tile.block, "slab": tile.slab(self.size, self.value),
        }  # fmt: skip
        (value_blocks, value_width), (size_blocks, size_width) = map(
            vectors, (self.value, self.size)
        )
        functions = functions_of(acc, 1)
        family = "attention_gpu" if self.kind == "forward" else "attention_gpu_back"
        source = finish_kernel(
            f"{family}.cl.j2", family, traits, memory=((acc, 2), (acc, 4)), stored=self.x,
            store_width=(1, 2, 4), epilogue=None, args=args, acc=acc.cl, arrays=arrays,
            fused=not traits.contract_by_pragma, t=sizes, of_keys=self.kind == "keys",
            value_blocks=value_blocks, value_width=value_width, size_blocks=size_blocks,
            size_width=size_width, index="long" if self.wide_index else "int",
            power=functions.power, log=functions.log, x=self.x, mask=self.mask,
            mask_rows=self.mask_rows, causal=self.causal, size=self.size, value=self.value,
            adjacent=self.adjacent, batch_rank=self.batch_rank,
        )  # fmt: skip
        return replace(source, helpers=(*source.helpers, *functions.helpers))


def _spec(p: AttentionProblem, kind: str, tile: Tile, layouts: list[Layout]) -> AttentionGroupSpec:
    operands = [p.q, p.k, p.v, *([] if kind == "forward" else [layouts[-1]])]
    reach = max(
        sum(s * (n - 1) for s, n in zip(x.strides[-2:], x.shape[-2:], strict=True)) for x in layouts
    )
    return AttentionGroupSpec(
        kind, p.dtype, p.mask_dtype, p.mask_rows, p.causal, p.q.shape[-1], p.v.shape[-1],
        tuple(x.strides[-1] == 1 for x in operands), tile, reach >= 1 << 30, len(p.batch),
    )  # fmt: skip


def _launch(
    spec: AttentionGroupSpec, args: tuple[Arg, ...], rows: int, batches: int
) -> LoweredLaunch:
    groups = ceil_div(rows, spec.tile.block)
    return LoweredLaunch(spec, args, (groups * spec.tile.group, batches), (spec.tile.group, 1))


def _tile(p: AttentionProblem, kind: str, rows: int, traits: DeviceTraits) -> Tile:
    found = tile_of(kind, rows, prod(p.batch), p.q.shape[-1], p.v.shape[-1], p.acc, traits)
    assert found is not None
    return found


def lower_attention(p: AttentionProblem, traits: DeviceTraits) -> Lowered:
    """Return the launch of the forward: the result, and for each row its total."""
    length = p.q.shape[-2]
    args, layouts = operands_of(p)
    y = p.result
    args += (
        ("out",), *ints(y.strides[-2], y.numel, length, p.k.shape[-2]), ("scalar", 0),
        *batch_arguments(p.batch, [*layouts, y]),
    )  # fmt: skip
    spec = _spec(p, "forward", _tile(p, "forward", length, traits), layouts)
    return Lowered((), (_launch(spec, args, length, prod(p.batch)),))


def lower_attention_back(
    p: AttentionProblem, g: Layout, y: Layout, traits: DeviceTraits
) -> Lowered:
    """Return the launches of the gradients, which are laid out as `p.gradients` says.

    Operands are those of the forward, then the incoming gradient, the result, its tail.
    """
    batches = prod(p.batch)
    operands, layouts = operands_of(p)
    n = len(layouts)
    counts = p.q.shape[-2], p.k.shape[-2]
    dq, dk, dv = p.gradients
    launches = []
    for kind, rows in zip(("queries", "keys"), counts, strict=True):
        results = (dq,) if kind == "queries" else (dk, dv)
        args = (*operands, *operand_arguments(n, g))
        if kind == "queries":
            args += (("in", n + 1), ("in_offset", n + 1), *ints(y.strides[-2]))
        args += (("in", n + 2), ("in_offset", n + 2), ("temp", 0), ("out",))
        for made in results:
            args += ints(made.offset, made.strides[-2])
        args += (
            *ints(*counts), ("scalar", 0),
            *batch_arguments(p.batch, [*layouts, g, *([y] if kind == "queries" else []), *results]),
        )  # fmt: skip
        spec = _spec(p, kind, _tile(p, kind, rows, traits), [*layouts, g])
        launches.append(_launch(spec, args, rows, batches))
    return Lowered((batches * counts[0] * p.acc.itemsize,), tuple(launches))
