"""Lowering of convolutions and of their gradients to tiles in local memory on a GPU."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from clgrad.codegen.conv_build import ceil_div
from clgrad.codegen.conv_choice import Groups
from clgrad.codegen.conv_problem import ConvProblem, baked, direct_args, ints, reach
from clgrad.codegen.conv_specs import DirectSpec, GroupSpec
from clgrad.codegen.matmul_specs import MergeSpec
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.vectors import work_sizes
from clgrad.traits import DeviceTraits

_LEAST = 8
"""Channels of a tile below which most of it would be computed for nothing."""
_BUSY = 4
"""Groups for each compute unit that keep it busy while some of them wait for memory."""
_PART_BYTES = 1 << 25
"""What all partial results may take."""
_WRITTEN = 256
"""Multiply-adds that are written out: more take registers for what is on its way."""


def suits(p: ConvProblem, traits: DeviceTraits) -> bool:
    """Return whether tiles are better than one sum after the other."""
    few = min(p.out_channels, p.in_channels) if p.what == "weight" else _columns(p)
    return (
        not traits.is_cpu and "matmul" not in traits.disabled and p.acc.is_floating_point
        and traits.max_work_group >= 64 and few >= _LEAST
    )  # fmt: skip


def _columns(p: ConvProblem) -> int:
    return p.in_channels if p.what == "input" else p.out_channels


def best(p: ConvProblem, traits: DeviceTraits) -> Groups:
    """Return the tiles for a problem.

    Large tiles where there are enough of them; narrow ones for few channels.
    """
    n = _columns(p)
    m = p.in_channels if p.what == "weight" else p.batch * prod(p.shape[2:])
    summed = p.out_channels if p.what == "input" else p.in_channels
    depth = 4 if p.what != "weight" and summed <= 4 else 8
    if traits.max_work_group < 256:
        return Groups(4, 4, 8, 8, depth, 4)
    columns = 4 if n > 32 else 2 if n > 16 else 1
    stack = p.groups * (prod(p.kernel) if p.what == "weight" else 1)
    tall = ceil_div(m, 128) * ceil_div(n, 16 * columns) * stack >= _BUSY * traits.compute_units
    rows = 8 if tall and m >= 128 and 16 * columns * depth >= 256 else 4
    return Groups(rows, columns, 16, 16, depth if columns * depth >= 16 else 16, 4)


def candidates(p: ConvProblem, traits: DeviceTraits) -> list[Groups]:
    """Return the tiles that a device can hold, the one for a problem first."""
    first = best(p, traits)
    weight = p.what == "weight"
    found = [
        replace(first, rows=rows, columns=columns, tile_k=depth, unroll=unroll, busy=busy)
        for busy in ((4, 16, 1) if weight else (4,))
        for rows, columns in ((8, 4), (4, 4), (4, 2), (4, 1), (2, 4), (2, 2))
        for depth in (8, 16, 4)
        for unroll in (4, 2, 8)
        if unroll <= depth and unroll * rows * columns <= _WRITTEN
    ]
    return [
        first,
        *(g for g in found if g.fits(weight, p.acc.itemsize, traits.local_bytes)),
    ]


def lower_gpu(p: ConvProblem, tiles: Groups, traits: DeviceTraits) -> Lowered:
    """Lower any of the three passes."""
    rows, columns, depth = tiles.rows, tiles.columns, tiles.tile_k
    breadth, height, unroll = tiles.breadth, tiles.height, tiles.unroll
    weight = p.what == "weight"
    m = p.in_channels if weight else p.batch * prod(p.shape[2:])
    across, down = ceil_div(m, rows * breadth), ceil_div(_columns(p), columns * height)
    stack = p.groups * (prod(p.kernel) if weight else 1)
    count, parts = prod(p.shape), 1
    target: Arg = ("out",)
    more: tuple[Arg, ...] = ()
    temporaries: tuple[int, ...] = ()
    if weight:
        points = p.batch * prod(p.out_size)
        wanted = ceil_div(tiles.busy * traits.compute_units, across * down * stack)
        room = _PART_BYTES // (count * p.acc.itemsize)
        parts = max(1, min(wanted, room, ceil_div(points, 16 * depth)))
        part = ceil_div(ceil_div(points, parts), depth) * depth
        parts = ceil_div(points, part)
        more = ints(part)
        if parts > 1:
            target = ("temp", 0)
            temporaries = (parts * count * p.acc.itemsize,)
    spec = GroupSpec(
        p.what, p.a_dtype, p.b_dtype, p.out_dtype if parts == 1 else p.acc, p.acc,
        reach(p) >= 1 << 30, rows, columns, breadth, height, depth, unroll,
        baked(p.epilogue, [x.strides[-1] for x in p.epilogue.extras] if p.epilogue else []),
    )  # fmt: skip
    size = (across * breadth, down * height, stack * parts)
    launches = [LoweredLaunch(spec, direct_args(p, target, more), size, (breadth, height, 1))]
    if parts > 1:
        merge = MergeSpec(p.out_dtype, p.acc, 1, 0)
        args = (("temp", 0), ("out",), *ints(1, count, parts, count))
        launches.append(LoweredLaunch(merge, args, (count, 1, 1), None))
    return Lowered(temporaries, tuple(launches))


def parts_of_weight(p: ConvProblem, traits: DeviceTraits) -> tuple[int, int]:
    """Return images and lines of a part, where few elements of a weight are long sums each."""
    wanted = ceil_div(256 * traits.compute_units, prod(p.shape))
    points = p.batch * prod(p.out_size)
    parts = min(wanted, points // 256, _PART_BYTES // (prod(p.shape) * p.acc.itemsize))
    images = ceil_div(p.batch, max(1, parts))
    strips = max(1, min(parts // ceil_div(p.batch, images), p.out_size[1]))
    return images, ceil_div(p.out_size[1], strips)


def lower_in_parts(p: ConvProblem, images: int, lines: int, traits: DeviceTraits) -> Lowered:
    """Lower a gradient for a weight, one sum after the other, in parts that are added up."""
    count, strips = prod(p.shape), ceil_div(p.out_size[1], lines)
    parts = ceil_div(p.batch, images) * strips
    spec = DirectSpec(
        p.what, p.a_dtype, p.b_dtype, p.acc, p.acc, reach(p) >= 1 << 30, None, split=True
    )
    args = direct_args(p, ("temp", 0), ints(strips, images, lines, parts))
    merge = MergeSpec(p.out_dtype, p.acc, 1, 0)
    added = (("temp", 0), ("out",), *ints(1, count, parts, count))
    return Lowered(
        (parts * count * p.acc.itemsize,),
        (
            LoweredLaunch(spec, args, *work_sizes(count * parts, traits)),
            LoweredLaunch(merge, added, (count, 1, 1), None),
        ),
    )
