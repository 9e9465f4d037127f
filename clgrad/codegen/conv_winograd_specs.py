"""Specs of the kernels around the products of a Winograd convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clgrad.codegen.matmul_specs import EpilogueSpec, finish_kernel
from clgrad.codegen.source import KernelSource
from clgrad.dtypes import DType, float32
from clgrad.traits import DeviceTraits

_LONG = np.dtype(np.int64).char
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """The transform of weights (`winograd_weight.cl.j2`)."""

    w: DType
    matrix: Matrix
    width: int
    whole_lines: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "winograd_weight.cl.j2", "winograd_weight", traits,
            memory=(), stored=float32, store_width=self.width, epilogue=None,
            args=("buffer", _LONG, "buffer", *(_LONG,) * 8),
            w=self.w, matrix=self.matrix, width=self.width, whole_lines=self.whole_lines,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The transform of tiles of images (`winograd_image.cl.j2`)."""

    x: DType
    tile: int
    matrix: Matrix
    width: int
    whole_lines: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "winograd_image.cl.j2", "winograd_image", traits,
            memory=(), stored=float32, store_width=self.width, epilogue=None,
            args=("buffer", _LONG, "buffer", *(_LONG,) * 14),
            x=self.x, tile=self.tile, matrix=self.matrix, width=self.width,
            whole_lines=self.whole_lines,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ResultSpec:
    """The transform of sums to tiles of the result (`winograd_result.cl.j2`)."""

    out: DType
    tile: int
    matrix: Matrix
    width: int
    whole_lines: bool
    epilogue: EpilogueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        return finish_kernel(
            "winograd_result.cl.j2", "winograd_result", traits,
            memory=((float32, self.width),), stored=self.out, store_width=(self.tile, 1),
            epilogue=self.epilogue, strides=5, args=("buffer", "buffer", *(_LONG,) * 8),
            out=self.out, tile=self.tile, matrix=self.matrix, width=self.width,
            whole_lines=self.whole_lines,
        )  # fmt: skip
