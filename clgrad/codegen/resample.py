"""The kernel that brings one dim of images to another size (`resample.cl.j2`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clgrad.codegen.conv_problem import CPU_ITEMS, GPU_ITEMS, ints
from clgrad.codegen.matmul_specs import finish_kernel
from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.dtypes import DType, by_name, float32, float64
from clgrad.traits import DeviceTraits

_LONG = np.dtype(np.int64).char
_INT = np.dtype(np.int32).char
_BITS = {1: by_name("uint8"), 2: by_name("uint16"), 4: by_name("uint32"), 8: by_name("uint64")}


@dataclass(frozen=True, slots=True)
class ResampleProblem:
    """Images (outer, size, inner) as (outer, out_size, inner), or the gradient of that.

    Attributes:
        mode: `nearest`, `exact`, `linear` or `cubic`; `align` keeps the centres of the corners.
        scale: elements of the old images for one of the new.
        dtype, out_dtype: of the operand, which is contiguous, and of the result.
        back: whether the operand is the gradient for the new images.
    """

    outer: int
    size: int
    out_size: int
    inner: int
    mode: str
    align: bool
    scale: float
    dtype: DType
    out_dtype: DType
    back: bool


@dataclass(frozen=True, slots=True)
class ResampleSpec:
    """What is baked into a kernel of `resample.cl.j2`."""

    mode: str
    align: bool
    back: bool
    x: DType
    out: DType
    wide_index: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        index = _LONG if self.wide_index else _INT
        real = _real(self.mode, self.x)
        return finish_kernel(
            "resample.cl.j2", "resample", traits, memory=(), stored=self.out, store_width=1,
            epilogue=None, args=("buffer", _LONG, "buffer", *(index,) * 4, real.numpy.char),
            mode=self.mode, align=self.align, back=self.back, x=self.x, out=self.out,
            acc=self.x.compute.register, real=real.cl,
            index="long" if self.wide_index else "int", is_cpu=traits.is_cpu,
        )  # fmt: skip


def _real(mode: str, x: DType) -> DType:
    """Return the dtype of positions: float32 where only indices depend on them."""
    return float64 if x is float64 and mode in ("linear", "cubic") else float32


def lower_resample(problem: ResampleProblem, traits: DeviceTraits) -> Lowered:
    """Return the launch that computes `problem`; none for an empty result."""
    p = problem
    rows = p.outer * (p.size if p.back else p.out_size)
    if not rows * p.inner:
        return Lowered((), ())
    copies = not p.back and p.mode in ("nearest", "exact")
    read = _BITS[p.dtype.itemsize] if copies else p.dtype
    count = p.outer * p.inner * max(p.size, p.out_size)
    spec = ResampleSpec(
        p.mode, p.align, p.back, read, read if copies else p.out_dtype, count >= 1 << 30
    )
    args: tuple[Arg, ...] = (
        ("in", 0), ("in_offset", 0), ("out",), *ints(p.outer, p.size, p.out_size, p.inner),
        ("int", p.scale),
    )  # fmt: skip
    if traits.is_cpu:
        return Lowered((), (LoweredLaunch(spec, args, (min(rows, CPU_ITEMS),), (1,)),))
    local = min(traits.preferred_work_group, traits.max_work_group)
    groups = -(-min(rows * p.inner, GPU_ITEMS) // local)
    return Lowered((), (LoweredLaunch(spec, args, (groups * local,), (local,)),))
