"""What a convolution is asked for: sizes, strides and dtypes, for every rank as three dims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from clgrad.codegen.matmul_specs import EpilogueSpec, ExtraSpec, sum_dtype
from clgrad.codegen.spec import Arg, Epilogue
from clgrad.dtypes import DType

Three = tuple[int, int, int]

CPU_ITEMS, GPU_ITEMS = 64, 1 << 20
"""Most work-items of a launch that loop over their share."""


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
        epilogue: what happens to the sums of `forward` and `input`, its operands with strides for
            the five dims of the result; None writes them as they are. Floating point only.
        precision: which sums in float32 may be made otherwise than term by term; see
            `clgrad.set_float32_conv_precision`.
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
    epilogue: Epilogue | None = None
    precision: str = "highest"

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

    @property
    def products(self) -> int:
        """The number of multiply-adds, those with zeros included."""
        points = self.batch * prod(self.out_size)
        return points * self.groups * self.out_channels * self.in_channels * prod(self.kernel)


def output_size(p: ConvProblem) -> Three:
    """Return the spatial shape of y that x and w give."""
    a, b, c = (
        (n + 2 * q - d * (k - 1) - 1) // s + 1
        for n, q, d, k, s in zip(p.size, p.padding, p.dilation, p.kernel, p.stride, strict=True)
    )
    return a, b, c


def ints(*values: int) -> tuple[Arg, ...]:
    """Return numbers as kernel arguments."""
    return tuple(("int", value) for value in values)


def baked(epilogue: Epilogue | None, steps: Sequence[int]) -> EpilogueSpec | None:
    """Return the part of an epilogue that a kernel bakes.

    Args:
        steps: for each operand its stride along neighbouring elements of a vector.
    """
    if epilogue is None:
        return None
    kinds = {0: "broadcast", 1: "contiguous"}
    extras = tuple(
        ExtraSpec(x.dtype, kinds.get(step, "strided"), x.is_index)
        for x, step in zip(epilogue.extras, steps, strict=True)
    )
    return EpilogueSpec(epilogue.expr, extras, epilogue.numbers, epilogue.checks)


def extra_args(epilogue: Epilogue | None, rest: Sequence[Sequence[int]]) -> tuple[Arg, ...]:
    """Return the arguments in the order of `extra_parameters` in `_conv.j2`.

    Args:
        rest: for each operand its start and its strides.
    """
    if epilogue is None:
        return ()
    args: list[Arg] = []
    for k, (x, values) in enumerate(zip(epilogue.extras, rest, strict=True)):
        args += [] if x.is_index else [("extra", k)]
        args += [("extra_offset", k), *ints(*values)]
    args += [("number", k) for k in range(len(epilogue.numbers))]
    return (*args, ("checks",), ("check",)) if epilogue.checks else tuple(args)


def direct_args(p: ConvProblem, target: Arg, more: tuple[Arg, ...] = ()) -> tuple[Arg, ...]:
    """Return the arguments of kernels that take a problem as it is; `more` are their own."""
    extras = p.epilogue.extras if p.epilogue else ()
    return (
        ("in", 0), ("in_offset", 0), ("in", 1), ("in_offset", 1), target,
        *ints(p.batch, p.groups, p.out_channels, p.in_channels),
        *ints(*p.size, *p.out_size, *p.kernel, *p.stride, *p.padding, *p.dilation),
        *ints(*p.a_strides, *p.b_strides), *more,
        *extra_args(p.epilogue, [(0, *x.strides) for x in extras]),
    )  # fmt: skip


def reach(p: ConvProblem) -> int:
    """Return a bound of the indices of all elements of a problem."""
    x = (p.batch, p.groups * p.in_channels, *p.size)
    y = (p.batch, p.groups * p.out_channels, *p.out_size)
    w = (p.groups * p.out_channels, p.in_channels, *p.kernel)
    a, b = {"forward": (x, w), "input": (y, w), "weight": (y, x)}[p.what]
    spans = (
        sum(n * abs(s) for n, s in zip(shape, strides, strict=True))
        for shape, strides in ((a, p.a_strides), (b, p.b_strides))
    )
    return max(*spans, prod(p.shape))
