"""Lowering of convolutions and of their two gradients: from sizes and strides to kernel launches.

All ranks are brought to three spatial dims. `lower_conv` chooses the variant:

    CPU   tiles        register tiles of points by channels, `conv_tiles`; for weights of taps by
                       channels, `conv_weight`
    CPU   depthwise    one plane after the other, `conv_depthwise`
    GPU   groups       tiles in local memory, `conv_gpu`
    any   direct       one sum after the other, for every rank, stride, dilation, groups and dtype

Every sum is made in a fixed order, without atomics.
"""

from __future__ import annotations

from math import prod

from clgrad.codegen import conv_depthwise, conv_gpu
from clgrad.codegen.conv_problem import (
    CPU_ITEMS,
    GPU_ITEMS,
    ConvProblem,
    baked,
    direct_args,
    reach,
)
from clgrad.codegen.conv_specs import DirectSpec
from clgrad.codegen.conv_tiles import count_phases, lower_image, lower_result
from clgrad.codegen.conv_weight import lower_weight
from clgrad.codegen.spec import Lowered, LoweredLaunch
from clgrad.traits import DeviceTraits

SMALL = 1 << 15
"""Multiply-adds below which several launches cost more than they save."""
PHASES = 16
"""Convolutions of which the gradient for an image may be made."""


def _direct(p: ConvProblem, traits: DeviceTraits) -> Lowered:
    count = prod(p.shape)
    extras = p.epilogue.extras if p.epilogue else ()
    spec = DirectSpec(
        p.what, p.a_dtype, p.b_dtype, p.out_dtype, p.acc, reach(p) >= 1 << 30,
        baked(p.epilogue, [x.strides[-1] for x in extras]),
    )  # fmt: skip
    args = direct_args(p, ("out",))
    if traits.is_cpu:
        return Lowered((), (LoweredLaunch(spec, args, (min(count, CPU_ITEMS),), (1,)),))
    local = min(traits.preferred_work_group, traits.max_work_group)
    groups = -(-min(count, GPU_ITEMS) // local)
    return Lowered((), (LoweredLaunch(spec, args, (groups * local,), (local,)),))


def lower_conv(problem: ConvProblem, traits: DeviceTraits) -> Lowered:
    """Return the launches that compute `problem` on a device with `traits`.

    An empty sum gives zeros; an empty result gives no launches.
    """
    if prod(problem.shape) == 0:
        return Lowered((), ())
    if traits.is_cpu and problem.acc.is_floating_point and _work(problem) >= SMALL:
        if conv_depthwise.suits(problem, traits):
            return conv_depthwise.lower_depthwise(problem, traits)
        if problem.what == "forward":
            return lower_result(problem, traits)
        if problem.what == "input" and count_phases(problem) <= PHASES:
            return lower_image(problem, traits)
        if problem.what == "weight":
            return lower_weight(problem, traits)
    if conv_gpu.suits(problem, traits) and _work(problem) >= SMALL:
        return conv_gpu.lower_gpu(problem, traits)
    return _direct(problem, traits)


def _work(p: ConvProblem) -> int:
    """Return the number of multiply-adds, those with zeros included."""
    return p.batch * p.groups * p.out_channels * prod(p.out_size) * p.in_channels * prod(p.kernel)
