"""Kernels of windows over images: pooling, its gradients, columns of windows and back.

All ranks are brought to three spatial dims. What the kinds compute is said in `window.cl.j2`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from clgrad.codegen.conv_problem import CPU_ITEMS, GPU_ITEMS, Three, ints
from clgrad.codegen.matmul_specs import finish_kernel, sum_dtype
from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.dtypes import DType, by_name, int64
from clgrad.traits import DeviceTraits

_LONG = np.dtype(np.int64).char
_INT = np.dtype(np.int32).char
_BITS = {1: by_name("uint8"), 2: by_name("uint16"), 4: by_name("uint32"), 8: by_name("uint64")}
MANY = 16
"""Images of one channel from which on a CPU turns back from windows image by image."""
FEW = 9
"""Taps of a window that are written out at most."""
GATHERS = ("put", "spread", "fold")
"""Kinds whose result is an image; that of the others has an element for each window."""


@dataclass(frozen=True, slots=True)
class WindowProblem:
    """One pass over the windows of images.

    Attributes:
        what: see `window.cl.j2`.
        images, channels: of the image, and of the result.
        size, out_size: spatial shape of the image; number of windows along each dim.
        kernel, stride, padding, dilation: of the windows; unused where they are adaptive.
        strides: elements, for (image, channel, *) of the operand; for `fold`, whose operand is
            (image, channel and tap, window), (image, tap, window, 0, 0).
        at_strides: the same of the indices of `take` and `put`.
        dtype, out_dtype: of the operand and of the result.
        divisor: a number that replaces the size of a window; 0 where there is none.
        padded: whether padding counts as part of a window.
        at: dtype of the indices.
    """

    what: str
    images: int
    channels: int
    size: Three
    out_size: Three
    kernel: Three
    stride: Three
    padding: Three
    dilation: Three
    strides: tuple[int, ...]
    at_strides: tuple[int, ...]
    dtype: DType
    out_dtype: DType
    adaptive: bool = False
    divisor: int = 0
    padded: bool = True
    at: DType = int64


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """What is baked into a kernel of `window.cl.j2`, or of `window_scatter.cl.j2`."""

    what: str
    adaptive: bool
    divisor: str
    x: DType
    out: DType
    wide_index: bool
    flat: bool = False
    small: tuple[int, ...] = ()
    scatter: bool = False
    at: DType = int64

    @property
    def acc(self) -> DType:
        """The dtype of what is summed or compared."""
        if self.what in ("max", "argmax", "mean", "spread"):
            return self.x.compute
        return sum_dtype(self.x, self.x)

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        index = _LONG if self.wide_index else _INT
        acc = self.acc
        indexed = self.what in ("take", "put")
        return finish_kernel(
            f"window{'_scatter' if self.scatter else ''}.cl.j2", f"window_{self.what}", traits,
            memory=(), stored=self.out, store_width=1, epilogue=None,
            args=("buffer", _LONG, *(("buffer", _LONG) if indexed else ()), "buffer",
                  *(index,) * (31 if indexed else 26)),
            what=self.what, adaptive=self.adaptive, divisor=self.divisor, x=self.x, out=self.out,
            at=self.at, acc=acc.register, index="long" if self.wide_index else "int",
            is_cpu=traits.is_cpu, flat=self.flat, small=self.small, lowest=_lowest(acc),
            nan="value != value" if acc.is_floating_point else "",
        )  # fmt: skip


_LEAST = {"char": "CHAR_MIN", "short": "SHRT_MIN", "int": "INT_MIN", "long": "LONG_MIN"}


def _lowest(dtype: DType) -> str:
    """Return a value that no element is below, and that all but it are above."""
    return "-INFINITY" if dtype.is_floating_point else _LEAST.get(dtype.cl, "0")


def lower_window(problem: WindowProblem, traits: DeviceTraits) -> Lowered:
    """Return the launch that computes `problem`; none for an empty result."""
    p = problem
    extent = p.size if p.what in GATHERS else p.out_size
    rows = p.images * p.channels * extent[0] * extent[1]
    if p.what == "columns":
        rows *= prod(p.kernel)
    if not rows * extent[2]:
        return Lowered((), ())
    read = p.dtype if p.what not in ("take", "columns") else _BITS[p.dtype.itemsize]
    written = p.out_dtype if p.what not in ("take", "columns") else read
    spec = WindowSpec(
        p.what, p.adaptive, "given" if p.divisor else "padded" if p.padded else "inside", read,
        written, _wide(p, rows * extent[2]), _flat(p), _small(p), at=p.at,
    )  # fmt: skip
    indexed = p.what in ("take", "put")
    args: tuple[Arg, ...] = (("in", 0), ("in_offset", 0))
    if indexed:
        args += (("in", 1), ("in_offset", 1))
    args += (
        ("out",), *ints(p.images * p.channels, p.channels, p.divisor),
        *ints(*p.size, *p.out_size, *p.kernel, *p.stride, *p.padding, *p.dilation),
        *ints(*(p.at_strides if indexed else ()), *p.strides),
    )  # fmt: skip
    if traits.is_cpu:
        planes = p.images * p.channels
        if p.what in GATHERS and planes >= MANY and p.dtype.itemsize >= 4:
            spec, rows = replace(spec, scatter=True), planes
        return Lowered((), (LoweredLaunch(spec, args, (min(rows, CPU_ITEMS),), (1,)),))
    local = min(traits.preferred_work_group, traits.max_work_group)
    groups = -(-min(rows * extent[2], GPU_ITEMS) // local)
    return Lowered((), (LoweredLaunch(spec, args, (groups * local,), (local,)),))


def _flat(p: WindowProblem) -> bool:
    """Whether `take` reads images without gaps."""
    strides = (p.size[1] * p.size[2], p.size[2], 1)
    return p.what == "take" and all(
        n == 1 or a == b for n, a, b in zip(p.size, p.strides[2:], strides, strict=True)
    )


def _small(p: WindowProblem) -> tuple[int, ...]:
    """Return the kernel where its taps are few enough to be written out."""
    few = not p.adaptive and p.what in ("max", "argmax", "mean") and prod(p.kernel) <= FEW
    return p.kernel if few else ()


def _wide(p: WindowProblem, count: int) -> bool:
    """Whether indices need 64 bits."""
    sizes = (p.images, p.channels, *map(max, p.size, p.out_size))
    if p.what == "fold":
        sizes = (p.images, p.channels * prod(p.kernel), prod(p.out_size), 0, 0)
    reach = [
        sum(n * abs(s) for n, s in zip(sizes, strides, strict=True))
        for strides in (p.strides, p.at_strides)
        if strides
    ]
    return max(count, max(*p.size, *p.out_size) ** 2, *reach) >= 1 << 30
