"""Lowering of a convolution's gradient for its weight to register tiles on a CPU.

Lanes run along the output channels, by which the gradient of the result is packed; rows of a tile
along the input channels or the last dim of the kernel. Images are taken in chunks that stay in the
near cache, in parts whose sums are added in a second pass, in order.
"""

from __future__ import annotations

from math import prod

from clgrad.codegen.conv_build import Builder, Dim, Lines, Operand, ceil_div
from clgrad.codegen.conv_choice import Few, Taps
from clgrad.codegen.conv_points import SPLIT, few_channels
from clgrad.codegen.conv_problem import ConvProblem, ints
from clgrad.codegen.conv_specs import MERGED, WeightMergeSpec, WeightPointsSpec, WeightSpec
from clgrad.codegen.conv_tiles import padded_image, tile_shape
from clgrad.codegen.matmul_specs import MergeSpec
from clgrad.codegen.spec import Lowered, LoweredLaunch
from clgrad.traits import DeviceTraits

_NEAR_BYTES = 1 << 18
"""What x and g of a chunk of images may take: a part of a common second-level cache."""
_TAPS = 25
"""Taps in the last two dims of a kernel whose sums are kept in registers."""
_REGISTERS = 28
"""Sums of a tile of few channels."""
_PART_BYTES = 1 << 25
"""What all partial results may take."""


def suits_few(p: ConvProblem) -> bool:
    """Return whether lanes may run along points."""
    return p.kernel[1] * p.kernel[2] <= _TAPS and p.stride[2] <= SPLIT


def prefers_few(p: ConvProblem, width: int) -> bool:
    """Return whether lanes along points are better used than along the channels of y."""
    return suits_few(p) and few_channels(p.out_channels, p.out_size[2], width)


def lower_weight(p: ConvProblem, choice: Taps | Few, traits: DeviceTraits) -> Lowered:
    """Lower the computation of w."""
    build = Builder(p, traits, choice.items)
    if isinstance(choice, Few):
        return _by_points(build, choice)
    x, _ = padded_image(build, Operand(("in", 1), ("in_offset", 1), p.b_strides), p.b_dtype)
    taps = [Dim(n, d * s) for n, d, s in zip(p.kernel, p.dilation, x.strides[2:], strict=True)]
    along_channels = p.in_channels >= p.kernel[2]
    channel = Dim(p.in_channels, x.strides[1])
    along, *outer = (channel, *taps) if along_channels else (taps[2], channel, *taps[:2])
    rows, columns = tile_shape(along.size, p.out_channels, choice, build.width, traits)
    lanes = columns * build.width
    g = p.a_strides
    lines = Lines(
        Operand(("in", 0), ("in_offset", 0), g), p.a_dtype, p.out_channels, g[1],
        (Dim(1, 0), *(Dim(n, s) for n, s in zip(p.out_size, g[2:], strict=True))),
        p.out_channels * g[1], Dim(p.batch, g[0]),
    )  # fmt: skip
    packed = build.packed(lines, columns, p.groups)
    panels = ceil_div(p.out_channels, lanes)
    tiles = ceil_div(along.size, rows)
    every = tiles * prod(d.size for d in outer)
    points = prod(p.out_size)
    deep = rows if along_channels else 1
    image_bytes = (deep * prod(p.size) + lanes * points) * build.acc.itemsize
    chunk = max(1, min(p.batch, _NEAR_BYTES // max(image_bytes, 1)))
    result = p.groups * panels * every * rows * lanes
    parts, blocks = _shares(p, panels, every, chunk, result * build.acc.itemsize, build.items)
    part = ceil_div(p.batch, parts)
    parts = ceil_div(p.batch, part)
    block = ceil_div(every, blocks)
    blocks = ceil_div(every, block)
    partial = build.scratch(parts * result)
    spec = WeightSpec(build.acc, rows, columns, build.width)
    args = (
        x.buffer, x.offset, packed, partial,
        *ints(p.batch, part, chunk, block, blocks, along.size, *(d.size for d in outer)),
        *ints(*p.out_size, along.x, *(d.x for d in outer), x.strides[0]),
        *ints(*(s * n for s, n in zip(p.stride, x.strides[2:], strict=True))),
        *ints(p.in_channels * x.strides[1]),
    )  # fmt: skip
    size = (panels, parts * blocks, p.groups)
    build.launches.append(LoweredLaunch(spec, args, size, (1, 1, 1)))
    merge = WeightMergeSpec(
        p.out_dtype, build.acc, rows, lanes, build.width, along_channels
    )  # fmt: skip
    merge_args = (
        partial, ("out",), *ints(parts, p.groups, panels, tiles, every),
        *ints(p.out_channels, p.in_channels, prod(p.kernel), p.kernel[2]),
    )  # fmt: skip
    grid = (ceil_div(p.in_channels * prod(p.kernel), MERGED), panels * p.groups, 1)
    build.launches.append(LoweredLaunch(merge, merge_args, grid, (1, 1, 1)))
    return build.lowered()


def few_rows(p: ConvProblem) -> int:
    """Return the channels whose sums for all taps of a plane are kept in registers."""
    return _REGISTERS // (p.kernel[1] * p.kernel[2])


def _by_points(build: Builder, choice: Few) -> Lowered:
    """Lower to vectors of points: few channels would leave most lanes unused."""
    p = build.problem
    build.narrow(p.out_size[2])
    source = Operand(("in", 1), ("in_offset", 1), p.b_strides)
    x, step = padded_image(build, source, p.b_dtype, points=True)
    g = Operand(("in", 0), ("in_offset", 0), p.a_strides)
    plain = g.strides[4] == 1 and p.out_size[2] >= build.width
    g = build.padded(
        g, p.a_dtype, p.groups * p.out_channels, p.out_size, (0, 0, 0), p.out_size,
        0 if plain else build.width,
    )  # fmt: skip
    t0, t1, t2 = p.kernel
    rows = max(1, min(p.out_channels, choice.rows or few_rows(p)))
    blocks = ceil_div(p.out_channels, rows) * t0
    pairs = p.groups * p.in_channels
    parts = max(1, min(p.batch, ceil_div(build.items, blocks * pairs)))
    share = ceil_div(p.batch, parts)
    parts = max(1, ceil_div(p.batch, share))
    count = prod(p.shape)
    partial = build.scratch(parts * count)
    steps = [s * n for s, n in zip(p.stride, x.strides[2:], strict=True)]
    taps = [d * n for d, n in zip(p.dilation, x.strides[2:], strict=True)]
    args = (
        x.buffer, x.offset, g.buffer, g.offset, partial,
        *ints(p.batch, share, p.in_channels, p.out_channels, t0, *p.out_size),
        *ints(x.row // step, *x.strides[:2], *steps[:2], *taps, *g.strides[:4]),
    )  # fmt: skip
    spec = WeightPointsSpec(build.acc, rows, (t1, t2), build.width, step)
    build.launches.append(LoweredLaunch(spec, args, (blocks, pairs, parts), (1, 1, 1)))
    width = build.traits.vector_width(p.acc.itemsize)
    while width > count:
        width //= 2
    merge = MergeSpec(p.out_dtype, build.acc, width, 0)
    merge_args = (partial, ("out",), *ints(1, count, parts, count))
    grid = (ceil_div(count, width), 1, 1)
    build.launches.append(LoweredLaunch(merge, merge_args, grid, None))
    return build.lowered()


def _shares(
    p: ConvProblem, panels: int, tiles: int, chunk: int, nbytes: int, items: int
) -> tuple[int, int]:
    """Return into how many parts to cut the images, and into how many blocks the tiles.

    Parts first: they read different images, blocks read the same ones again.
    """
    wanted = ceil_div(items, panels * p.groups)
    most = max(1, min(ceil_div(p.batch, chunk), _PART_BYTES // max(nbytes, 1)))
    parts = min(wanted, most)
    return parts, max(1, min(tiles, ceil_div(wanted, parts)))
