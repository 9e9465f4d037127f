"""Lowering of convolutions and of their two gradients: from sizes and strides to kernel launches.

All ranks are brought to three spatial dims. `lower_conv` chooses the variant:

    CPU   tiles        register tiles of points by channels, `conv_tiles`; for weights of taps by
                       channels, `conv_weight`
    CPU   depthwise    one plane after the other, `conv_depthwise`
    GPU   groups       tiles in local memory, `conv_gpu`
    any   winograd     3 x 3 taps by fewer products, where the user allows it, `conv_winograd`
    any   direct       one sum after the other, for every rank, stride, dilation, groups and dtype

Every sum is made in a fixed order, without atomics.
"""

from __future__ import annotations

from math import prod

from clgrad.codegen import conv_depthwise, conv_gpu, conv_weight, conv_winograd
from clgrad.codegen.choice import Family, choose, register
from clgrad.codegen.conv_choice import (
    Channels,
    Choice,
    Direct,
    Few,
    Groups,
    Planes,
    Points,
    Taps,
    Winograd,
)
from clgrad.codegen.conv_points import COLUMNS, SPLIT
from clgrad.codegen.conv_problem import (
    CPU_ITEMS,
    GPU_ITEMS,
    ConvProblem,
    baked,
    direct_args,
    reach,
)
from clgrad.codegen.conv_specs import DirectSpec
from clgrad.codegen.conv_text import (
    awkward,
    describe,
    expected,
    key_of,
    operands,
    parse,
    result,
    work,
)
from clgrad.codegen.conv_tiles import (
    count_phases,
    lower_image,
    lower_result,
    prefers_points,
    tile_shapes,
)
from clgrad.codegen.spec import Lowered, LoweredLaunch
from clgrad.traits import DeviceTraits

SMALL = 1 << 15
"""Multiply-adds below which several launches cost more than they save."""
PHASES = 16
"""Convolutions of which the gradient for an image may be made."""
_PATIENCE = 1 << 24
"""Multiply-adds from which the tuner does not try one sum after the other."""
_ITEMS = (8, 4, 2, 16, 32)
"""Work-items for each compute unit that are worth measuring."""


def _direct(p: ConvProblem, traits: DeviceTraits) -> Lowered:
    count = prod(p.shape)
    if p.what == "weight" and not traits.is_cpu and p.epilogue is None:
        images, lines = conv_gpu.parts_of_weight(p, traits)
        if images < p.batch or lines < p.out_size[1]:
            return conv_gpu.lower_in_parts(p, images, lines, traits)
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
    choice = choose(FAMILY, problem, traits) or _first(problem, traits)
    return _lower(problem, choice, traits)


def _lower(p: ConvProblem, choice: Choice, traits: DeviceTraits) -> Lowered:
    if isinstance(choice, Winograd):
        return conv_winograd.lower_winograd(p, choice, traits)
    if isinstance(choice, Groups):
        return conv_gpu.lower_gpu(p, choice, traits)
    if isinstance(choice, Planes):
        return conv_depthwise.lower_depthwise(p, choice, traits)
    if isinstance(choice, Taps | Few):
        return conv_weight.lower_weight(p, choice, traits)
    if isinstance(choice, Channels | Points):
        lower = lower_result if p.what == "forward" else lower_image
        return lower(p, choice, traits)
    return _direct(p, traits)


def _first(p: ConvProblem, traits: DeviceTraits) -> Choice:
    """Return the cost model's choice for a problem that is not empty."""
    if p.products < SMALL or not p.acc.is_floating_point:
        return Direct()
    if conv_winograd.suits(p) and conv_winograd.wins(p):
        return conv_winograd.candidates(p)[0]
    if not traits.is_cpu:
        return conv_gpu.best(p, traits) if conv_gpu.suits(p, traits) else Direct()
    width = traits.vector_width(p.acc.itemsize)
    if conv_depthwise.suits(p, traits):
        return Planes()
    if p.what == "weight":
        return Few() if conv_weight.prefers_few(p, width) else Taps()
    if p.what == "input" and count_phases(p) > PHASES:
        return Direct()
    return Points() if prefers_points(p, width) else Channels()


def candidates(p: ConvProblem, traits: DeviceTraits) -> list[Choice]:
    """Return the ways to compute a problem that is not empty, the one estimated best first."""
    found: list[Choice] = [_first(p, traits)]
    if conv_winograd.suits(p):
        found += conv_winograd.candidates(p)
    if p.acc.is_floating_point and traits.is_cpu:
        found += _on_cpu(p, traits)
    elif conv_gpu.suits(p, traits):
        found += conv_gpu.candidates(p, traits)
    if p.products < _PATIENCE:
        found.append(Direct())
    return list(dict.fromkeys(found))


def _on_cpu(p: ConvProblem, traits: DeviceTraits) -> list[Choice]:
    """Return tiles, those of the cost model's kind before others."""
    width = traits.vector_width(p.acc.itemsize)
    if p.what == "weight":
        along = max(p.in_channels, p.kernel[2])
        shapes = tile_shapes(along, p.out_channels, width, traits)
        taps = [*(Taps(items=n) for n in _ITEMS), *(Taps(*s) for s in shapes)]
        few: list[Few] = []
        if conv_weight.suits_few(p):
            most = max(1, min(p.out_channels, conv_weight.few_rows(p)))
            few = [*(Few(items=n) for n in _ITEMS), *map(Few, range(most, 0, -1))]
        return [*few, *taps] if conv_weight.prefers_few(p, width) else [*taps, *few]
    if p.what == "input" and count_phases(p) > PHASES:
        return []
    channels = p.out_channels if p.what == "forward" else p.in_channels
    shapes = tile_shapes(p.batch * prod(p.shape[2:]), channels, width, traits)
    tiles = [*(Channels(items=n) for n in _ITEMS), *(Channels(*s) for s in shapes)]
    points: list[Points] = []
    if p.what == "input" or p.stride[2] <= SPLIT:
        points = [
            *(Points(items=n) for n in _ITEMS),
            *(Points(r, c) for r, most in COLUMNS.items() for c in range(most, 0, -1)
              if r <= channels),
        ]  # fmt: skip
    planes: list[Planes] = []
    if conv_depthwise.suits(p, traits):
        planes = [*(Planes(items=n) for n in _ITEMS), *map(Planes, conv_depthwise.ROWS)]
    by_points = prefers_points(p, width)
    return [*planes, *points, *tiles] if by_points else [*planes, *tiles, *points]


FAMILY = register(
    Family(
        name="conv", describe=describe, parse=parse, key=key_of, candidates=candidates,
        lower=_lower, awkward=awkward, operands=operands, expected=expected, result=result,
        work=work,
    )
)  # fmt: skip
"""What the tuner knows about convolutions."""
