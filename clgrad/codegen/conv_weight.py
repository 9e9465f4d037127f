"""Lowering of a convolution's gradient for its weight to register tiles on a CPU.

Lanes run along the output channels, by which the gradient of the result is packed; rows of a tile
along the input channels or the last dim of the kernel. Images are taken in chunks that stay in the
near cache, in parts whose sums are added in a second pass, in order.
"""

from __future__ import annotations

from math import prod

from clgrad.codegen.conv_problem import ConvProblem, ints
from clgrad.codegen.conv_specs import WeightMergeSpec, WeightSpec
from clgrad.codegen.conv_tiles import (
    ITEMS,
    Builder,
    Dim,
    Lines,
    Operand,
    ceil_div,
    padded_image,
    tile_shape,
)
from clgrad.codegen.spec import Lowered, LoweredLaunch
from clgrad.traits import DeviceTraits

_NEAR_BYTES = 1 << 18
"""What x and g of a chunk of images may take: a part of a common second-level cache."""
_PART_BYTES = 1 << 25
"""What all partial results may take."""


def lower_weight(p: ConvProblem, traits: DeviceTraits) -> Lowered:
    """Lower the computation of w."""
    build = Builder(p, traits)
    x = padded_image(build, Operand(("in", 1), ("in_offset", 1), p.b_strides), p.b_dtype)
    taps = [Dim(n, d * s) for n, d, s in zip(p.kernel, p.dilation, x.strides[2:], strict=True)]
    along_channels = p.in_channels >= p.kernel[2]
    channel = Dim(p.in_channels, x.strides[1])
    along, *outer = (channel, *taps) if along_channels else (taps[2], channel, *taps[:2])
    rows, columns = tile_shape(along.size, p.out_channels, build.width, traits)
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
    parts, blocks = _shares(p, panels, every, chunk, result * build.acc.itemsize, traits)
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
    grid = (p.in_channels, panels * p.groups, 1)
    build.launches.append(LoweredLaunch(merge, merge_args, grid, (1, 1, 1)))
    return build.lowered()


def _shares(
    p: ConvProblem, panels: int, tiles: int, chunk: int, nbytes: int, traits: DeviceTraits
) -> tuple[int, int]:
    """Return into how many parts to cut the images, and into how many blocks the tiles.

    Parts first: they read different images, blocks read the same ones again.
    """
    wanted = ceil_div(ITEMS * traits.compute_units, panels * p.groups)
    most = max(1, min(ceil_div(p.batch, chunk), _PART_BYTES // max(nbytes, 1)))
    parts = min(wanted, most)
    return parts, max(1, min(tiles, ceil_div(wanted, parts)))
