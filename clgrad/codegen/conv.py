"""Lowering of convolutions and of their two gradients: from sizes and strides to kernel launches.

All ranks are brought to three spatial dims. `lower_conv` chooses the variant:

    any   direct       one sum after the other, for every rank, stride, dilation, groups and dtype

Every sum is made in a fixed order, without atomics.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from clgrad.codegen.conv_specs import DirectSpec
from clgrad.codegen.matmul_specs import sum_dtype
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.dtypes import DType
from clgrad.traits import DeviceTraits

Three = tuple[int, int, int]

CPU_ITEMS, GPU_ITEMS = 64, 1 << 20
"""Most work-items of a launch; each loops over its share."""


@dataclass(frozen=True, slots=True)
class ConvProblem:
    """A convolution of images x by weights w with the result y; one of them is to be computed.

    Attributes:
        what: `forward` computes y of (x, w), `input` x of (y, w), `weight` w of (y, x).
        batch: number of images.
        groups: group g of the output channels reads group g of the input channels.
        out_channels, in_channels: of one group.
        size, out_size, kernel: spatial shapes of x, y and w.
        stride, padding, dilation: for each spatial dim.
        a_strides, b_strides: elements, for (image, channel, *) of the operands in the order above;
            of a weight (output channel, input channel of the group, *).
        a_dtype, b_dtype, out_dtype: as stored. Sums are made in `sum_dtype(a_dtype, b_dtype)`.
    """

    what: str
    batch: int
    groups: int
    out_channels: int
    in_channels: int
    size: Three
    out_size: Three
    kernel: Three
    stride: Three
    padding: Three
    dilation: Three
    a_strides: tuple[int, ...]
    b_strides: tuple[int, ...]
    a_dtype: DType
    b_dtype: DType
    out_dtype: DType

    @property
    def acc(self) -> DType:
        """The dtype of the sums."""
        return sum_dtype(self.a_dtype, self.b_dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        if self.what == "forward":
            return (self.batch, self.groups * self.out_channels, *self.out_size)
        if self.what == "input":
            return (self.batch, self.groups * self.in_channels, *self.size)
        return (self.groups * self.out_channels, self.in_channels, *self.kernel)


def ints(*values: int) -> tuple[Arg, ...]:
    """Return numbers as kernel arguments."""
    return tuple(("int", value) for value in values)


def _direct(problem: ConvProblem, traits: DeviceTraits) -> Lowered:
    p = problem
    count = prod(p.shape)
    reach = max(
        sum(n * abs(s) for n, s in zip(shape, strides, strict=True))
        for shape, strides in zip(_operand_shapes(p), (p.a_strides, p.b_strides), strict=True)
    )
    spec = DirectSpec(
        p.what, p.a_dtype, p.b_dtype, p.out_dtype, p.acc, max(reach, count) >= 1 << 30
    )
    args = (
        ("in", 0), ("in_offset", 0), ("in", 1), ("in_offset", 1), ("out",),
        *ints(p.batch, p.groups, p.out_channels, p.in_channels),
        *ints(*p.size, *p.out_size, *p.kernel, *p.stride, *p.padding, *p.dilation),
        *ints(*p.a_strides, *p.b_strides),
    )  # fmt: skip
    if traits.is_cpu:
        return Lowered((), (LoweredLaunch(spec, args, (min(count, CPU_ITEMS),), (1,)),))
    local = min(traits.preferred_work_group, traits.max_work_group)
    groups = -(-min(count, GPU_ITEMS) // local)
    return Lowered((), (LoweredLaunch(spec, args, (groups * local,), (local,)),))


def _operand_shapes(p: ConvProblem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    x = (p.batch, p.groups * p.in_channels, *p.size)
    y = (p.batch, p.groups * p.out_channels, *p.out_size)
    w = (p.groups * p.out_channels, p.in_channels, *p.kernel)
    return {"forward": (x, w), "input": (y, w), "weight": (y, x)}[p.what]


def lower_conv(problem: ConvProblem, traits: DeviceTraits) -> Lowered:
    """Return the launches that compute `problem` on a device with `traits`.

    An empty sum gives zeros; an empty result gives no launches.
    """
    if prod(problem.shape) == 0:
        return Lowered((), ())
    return _direct(problem, traits)
