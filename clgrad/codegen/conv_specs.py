"""Specs of the convolution kernels: what each template is told, and the order of its parameters.

A spec bakes dtypes and what is computed; sizes, strides and offsets are kernel arguments. Which
spec suits a problem is decided in `conv`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clgrad.codegen.matmul_specs import EpilogueSpec, finish_kernel
from clgrad.codegen.source import KernelSource
from clgrad.dtypes import DType
from clgrad.traits import DeviceTraits

_LONG = np.dtype(np.int64).char
_INT = np.dtype(np.int32).char


def _fused(acc: DType, traits: DeviceTraits) -> bool:
    return acc.is_floating_point and not traits.contract_by_pragma


@dataclass(frozen=True, slots=True)
class DirectSpec:
    """The kernel of one sum after the other (`conv.cl.j2`)."""

    what: str
    a: DType
    b: DType
    out: DType
    acc: DType
    wide_index: bool
    epilogue: EpilogueSpec | None = None
    split: bool = False

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        index = _LONG if self.wide_index else _INT
        return finish_kernel(
            "conv.cl.j2", f"conv_{self.what}", traits,
            memory=(), stored=self.out, store_width=1, epilogue=self.epilogue, strides=6,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", *(index,) * (32 + 4 * self.split)),
            split=self.split,
            what=self.what, a=self.a, b=self.b, out=self.out, acc=self.acc.cl,
            index="long" if self.wide_index else "int", is_cpu=traits.is_cpu,
            fused=_fused(self.acc, traits),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """The GPU kernel of tiles in local memory (`conv_gpu.cl.j2`)."""

    what: str
    a: DType
    b: DType
    out: DType
    acc: DType
    wide_index: bool
    rows: int
    columns: int
    breadth: int
    height: int
    tile_k: int
    unroll: int
    epilogue: EpilogueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        index = _LONG if self.wide_index else _INT
        return finish_kernel(
            "conv_gpu.cl.j2", f"conv_gpu_{self.what}", traits,
            memory=(), stored=self.out, store_width=1, epilogue=self.epilogue, strides=6,
            args=("buffer", _LONG, "buffer", _LONG, "buffer",
                  *(index,) * (33 if self.what == "weight" else 32)),
            what=self.what, a=self.a, b=self.b, out=self.out, acc=self.acc.cl,
            index="long" if self.wide_index else "int", rows=self.rows, columns=self.columns,
            breadth=self.breadth, height=self.height, tile_k=self.tile_k, unroll=self.unroll,
            fused=_fused(self.acc, traits),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TileSpec:
    """The CPU kernel of register tiles, for results and images (`conv_tile.cl.j2`)."""

    out: DType
    acc: DType
    rows: int
    columns: int
    width: int
    step: int
    adjacent: bool
    epilogue: EpilogueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        pieces = tuple(n for n in (8, 4, 2, 1) if self.rows & n) if self.adjacent else (1,)
        return finish_kernel(
            "conv_tile.cl.j2", "conv_tile", traits,
            memory=((self.acc, self.width),), stored=self.out, store_width=pieces,
            epilogue=self.epilogue, strides=7,
            args=("buffer", _LONG, "buffer", "buffer", *(_LONG,) * 27),
            out=self.out, acc=self.acc.cl, rows=self.rows, columns=self.columns, width=self.width,
            step=self.step, adjacent=self.adjacent, fused=_fused(self.acc, traits),
            pieces=pieces if self.adjacent else (1,) * self.rows,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PointsSpec:
    """The CPU kernel of register tiles for few channels (`conv_points.cl.j2`)."""

    w: DType
    out: DType
    acc: DType
    rows: int
    columns: int
    width: int
    step: int
    adjacent: bool
    taps: tuple[int, ...] = ()
    epilogue: EpilogueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        pieces = tuple(n for n in (16, 8, 4, 2) if n <= self.width and self.adjacent)
        return finish_kernel(
            "conv_points.cl.j2", "conv_points", traits,
            memory=((self.acc, self.width),), stored=self.out, store_width=(*pieces, 1),
            epilogue=self.epilogue, strides=7,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", *(_LONG,) * 34),
            w=self.w, out=self.out, acc=self.acc.cl, rows=self.rows, columns=self.columns,
            width=self.width, step=self.step, adjacent=self.adjacent, taps=self.taps,
            fused=_fused(self.acc, traits),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DepthwiseSpec:
    """The CPU kernel of depthwise convolutions (`conv_depthwise.cl.j2`)."""

    x: DType
    w: DType
    out: DType
    acc: DType
    width: int
    rows: int
    step: int
    row_phases: tuple[tuple[tuple[int, int], ...], ...]
    column_phases: tuple[tuple[tuple[int, int], ...], ...]
    split: int
    lead: int
    adjacent: bool
    epilogue: EpilogueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        pieces = tuple(n for n in (16, 8, 4, 2) if n <= self.width)
        taps = tuple(
            (k1, k2)
            for k1 in sorted({k for phase in self.row_phases for k, _ in phase})
            for k2 in sorted({k for phase in self.column_phases for k, _ in phase})
        )
        return finish_kernel(
            "conv_depthwise.cl.j2", "conv_depthwise", traits,
            memory=tuple((t, n) for t in (self.x, self.acc) for n in pieces), stored=self.out,
            store_width=(*pieces, 1), epilogue=self.epilogue, strides=5,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", "buffer", *(_LONG,) * 21),
            x=self.x, w=self.w, out=self.out, acc=self.acc.cl, width=self.width, rows=self.rows,
            step=self.step, row_phases=self.row_phases, column_phases=self.column_phases, taps=taps,
            split=self.split, lead=self.lead, adjacent=self.adjacent,
            fused=_fused(self.acc, traits),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """The kernel that packs weights or gradients by channels (`conv_pack.cl.j2`)."""

    a: DType
    acc: DType
    width: int
    vectors_per_panel: int
    blocks: str

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "conv_pack.cl.j2", "conv_pack", traits,
            memory=((self.a, self.width),), stored=self.acc, store_width=self.width, epilogue=None,
            args=("buffer", _LONG, "buffer", *(_LONG,) * 15),
            a=self.a, acc=self.acc.cl, width=self.width,
            vectors_per_panel=self.vectors_per_panel, blocks=self.blocks,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PadSpec:
    """The kernel that puts zeros around images (`conv_pad.cl.j2`)."""

    x: DType
    acc: DType
    width: int
    split: int = 1

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "conv_pad.cl.j2", "conv_pad", traits,
            memory=tuple((self.x, w) for w in (16, 8, 4, 2) if w <= self.width), stored=self.acc,
            store_width=tuple(w for w in (16, 8, 4, 2, 1) if w <= self.width), epilogue=None,
            args=("buffer", _LONG, "buffer", *(_LONG,) * 22),
            x=self.x, acc=self.acc.cl, width=self.width, split=self.split,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """The CPU kernel of register tiles for weights (`conv_weight.cl.j2`)."""

    acc: DType
    rows: int
    columns: int
    width: int

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "conv_weight.cl.j2", "conv_weight", traits,
            memory=((self.acc, self.width),), stored=self.acc, store_width=self.width,
            epilogue=None, args=("buffer", _LONG, "buffer", "buffer", *(_LONG,) * 21),
            acc=self.acc.cl, rows=self.rows, columns=self.columns, width=self.width,
            fused=_fused(self.acc, traits),
        )  # fmt: skip


MERGED = 16
"""Elements of a weight that a work-item of `WeightMergeSpec` writes for each channel."""


@dataclass(frozen=True, slots=True)
class WeightMergeSpec:
    """The kernel that adds the parts of a gradient for a weight (`conv_merge.cl.j2`)."""

    out: DType
    acc: DType
    rows: int
    lanes: int
    width: int
    channels: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "conv_merge.cl.j2", "conv_merge", traits,
            memory=((self.acc, self.width),), stored=self.out, store_width=(MERGED, 1),
            epilogue=None, block=MERGED,
            args=("buffer", "buffer", *(_LONG,) * 9),
            out=self.out, acc=self.acc.cl, rows=self.rows, lanes=self.lanes, width=self.width,
            channels=self.channels,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightPointsSpec:
    """The CPU kernel of weights of few channels (`conv_weight_points.cl.j2`)."""

    acc: DType
    rows: int
    taps: tuple[int, int]
    width: int
    step: int

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "conv_weight_points.cl.j2", "conv_weight_points", traits,
            memory=((self.acc, self.width),), stored=self.acc, store_width=1, epilogue=None,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", *(_LONG,) * 20),
            acc=self.acc.cl, rows=self.rows, taps=self.taps, width=self.width, step=self.step,
            fused=_fused(self.acc, traits),
        )  # fmt: skip
