"""Lowering of convolutions to register tiles on a CPU: results, and gradients for images.

Lanes run along the channels of what is computed, whose weights are packed in the order in which
they are read; the other operand is read by scalars, at any stride. Where there are few channels,
lanes run along the points instead (`conv_points`). A gradient for an image is one such convolution
for each residue of its points modulo the stride.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd, prod

from clgrad.codegen.conv_build import (
    Builder,
    Convolution,
    Dim,
    Lines,
    Operand,
    ceil_div,
    merge,
    portions,
)
from clgrad.codegen.conv_choice import Channels, Points, Taps
from clgrad.codegen.conv_points import SPLIT, by_points, few_channels
from clgrad.codegen.conv_problem import ConvProblem, Three, baked, extra_args, ints
from clgrad.codegen.conv_specs import TileSpec
from clgrad.codegen.spec import Lowered, LoweredLaunch
from clgrad.dtypes import DType
from clgrad.traits import DeviceTraits

ROWS = (14, 12, 10, 8, 7, 6, 4, 2, 1)
"""Heights of register tiles."""
_LATENCY = 8
"""Independent multiply-adds in flight that keep two units of four cycles busy."""


def tile_shapes(points: int, lanes: int, width: int, traits: DeviceTraits) -> list[tuple[int, int]]:
    """Return the (rows, columns) of tiles for `points` by `lanes` sums, the fastest first."""
    registers = 16 if traits.vector_bytes == 32 else 32
    vectors = ceil_div(lanes, width)

    def cost(shape: tuple[int, int]) -> tuple[float, int]:
        rows, columns = shape
        step = max(rows * columns, rows + columns, _LATENCY) + 0.15 * rows + 0.5 * columns
        return ceil_div(points, rows) * ceil_div(vectors, columns) * step, -rows * columns

    shapes = [
        (rows, columns)
        for rows in ROWS
        for columns in (1, 2, 3, 4)
        if rows <= points and columns <= vectors and rows * columns + columns + 1 <= registers
    ]
    return sorted(shapes, key=cost)


def tile_shape(
    points: int, lanes: int, choice: Channels | Taps, width: int, traits: DeviceTraits
) -> tuple[int, int]:
    """Return (rows, columns) of the tile: the chosen one, or as much of it as the sums fill."""
    if choice.rows:
        rows = max(r for r in ROWS if r <= min(choice.rows, points))
        return rows, min(choice.columns, ceil_div(lanes, width))
    return tile_shapes(points, lanes, width, traits)[0]


def _points(
    dims: list[Dim], lanes: int, choice: Channels, width: int, traits: DeviceTraits
) -> tuple[list[Dim], Dim, tuple[int, int]]:
    """Return the outer dims of the points, the dim along which tiles lie, and the tile."""
    none = (0,) * len(dims[0].extras)
    merged = merge(dims) or [Dim(1, 0, 1, none)]
    best = len(merged) - 1
    shape = tile_shape(merged[best].size, lanes, choice, width, traits)
    if merged[best].size < 6:  # too short: tiles across rows or images
        longest = max(range(len(merged)), key=lambda d: merged[d].size)
        if merged[longest].size > merged[best].size:
            best = longest
            shape = tile_shape(merged[best].size, lanes, choice, width, traits)
    outer = [d for k, d in enumerate(merged) if k != best]
    return [Dim(1, 0, 0, none)] * (3 - len(outer)) + outer, merged[best], shape


def _by_channels(build: Builder, c: Convolution, choice: Channels) -> None:
    """Append the launches of a convolution with lanes along channels."""
    p, lanes = build.problem, c.weights.count
    outer, along, (rows, columns) = _points(c.points, lanes, choice, build.width, build.traits)
    packed = build.packed(c.weights, columns, p.groups)
    step = along.x if 0 < along.x <= 2 else 0
    spec = TileSpec(
        p.out_dtype, build.acc, rows, columns, build.width, step, along.y == 1,
        baked(p.epilogue, along.extras),
    )  # fmt: skip
    panels = ceil_div(lanes, columns * build.width)
    tiles = ceil_div(along.size, rows) * prod(d.size for d in outer)
    flops = 2 * rows * columns * build.width * c.channels * prod(d.size for d in c.taps)
    strip = c.strips(build, tiles, flops, panels)
    args = (
        c.x.buffer, c.x.offset, packed, ("out",), *ints(c.start[1], c.start[0]),
        *ints(strip, c.channels, lanes, along.size, *(d.size for d in outer)),
        *ints(*(d.size for d in c.taps), along.x, *(d.x for d in outer)),
        *ints(c.x.strides[1], *(d.x for d in c.taps), c.channels * c.x.strides[1]),
        *ints(along.y, *(d.y for d in outer), *c.y_strides),
        *extra_args(p.epilogue, c.extras(build, outer, along)),
    )  # fmt: skip
    size = (panels, ceil_div(tiles, strip), p.groups)
    build.launches.append(LoweredLaunch(spec, args, size, (1, 1, 1)))


def _needed(p: ConvProblem) -> Three:
    """Return the extent of the padded image that windows reach."""
    a, b, c = (
        (o - 1) * s + (k - 1) * d + 1
        for o, s, k, d in zip(p.out_size, p.stride, p.kernel, p.dilation, strict=True)
    )
    return a, b, c


def padded_image(
    build: Builder, x: Operand, dtype: DType, points: bool = False
) -> tuple[Operand, int]:
    """Return the images x, padded where windows reach beyond them, and what rows are sorted by."""
    p = build.problem
    channels = p.groups * p.in_channels
    if points:
        split = p.stride[2]
        room = build.width if x.strides[4] != 1 or p.out_size[2] < build.width else 0
        depth, height, row = _needed(p)
        row = ceil_div(row, split) * split
        if any(p.padding) or dtype is not build.acc or room or split > 1:
            full = (depth, height, row)
            room = room or build.width
            return build.padded(x, dtype, channels, p.size, p.padding, full, room, split), split
    elif any(p.padding) or dtype is not build.acc:
        return build.padded(x, dtype, channels, p.size, p.padding, _needed(p)), 1
    return x, 1


def prefers_points(p: ConvProblem, width: int) -> bool:
    """Return whether lanes along points are better used than along channels of y or x."""
    if p.what == "forward":
        return few_channels(p.out_channels, p.out_size[2], width) and p.stride[2] <= SPLIT
    return few_channels(p.in_channels, _shortest(_phases(p, 2)), width)


def lower_result(p: ConvProblem, choice: Channels | Points, traits: DeviceTraits) -> Lowered:
    """Lower the computation of y."""
    build = Builder(p, traits, choice.items)
    points = isinstance(choice, Points)
    source = Operand(("in", 0), ("in_offset", 0), p.a_strides)
    x, split = padded_image(build, source, p.a_dtype, points)
    y = _contiguous(p.groups * p.out_channels, p.out_size)
    steps = [s * n for s, n in zip(p.stride, x.strides[2:], strict=True)]
    if split > 1:
        steps[2] = 1
    dims = [
        Dim(n, stride, out, build.steps(d))
        for d, n, stride, out in zip(
            (0, 2, 3, 4), (p.batch, *p.out_size), (x.strides[0], *steps), (y[0], *y[2:]),
            strict=True,
        )
    ]  # fmt: skip
    taps = [
        Dim(n, d * stride) for n, d, stride in zip(p.kernel, p.dilation, x.strides[2:], strict=True)
    ]
    w = p.b_strides
    k = (Dim(p.in_channels, w[1]), *(Dim(n, s) for n, s in zip(p.kernel, w[2:], strict=True)))
    weights = Lines(
        Operand(("in", 1), ("in_offset", 1), w), p.b_dtype, p.out_channels, w[0], k,
        p.out_channels * w[0],
    )  # fmt: skip
    c = Convolution(
        x, p.in_channels, dims, taps, weights, (y[1], p.out_channels * y[1]),
        (0, 0, *build.steps(None)), split,
    )  # fmt: skip
    _append(build, c, choice)
    return build.lowered()


def _append(build: Builder, c: Convolution, choice: Channels | Points) -> None:
    if isinstance(choice, Points):
        by_points(build, c, choice)
    else:
        _by_channels(build, c, choice)


def _contiguous(channels: int, size: Three) -> tuple[int, ...]:
    plane = prod(size)
    return channels * plane, plane, size[1] * size[2], size[2], 1


@dataclass(frozen=True, slots=True)
class _Phase:
    """The points of an image dim with one residue modulo the stride, and the taps that reach them.

    Attributes:
        points: how many; `first` tap, every `every`-th of them, `taps` in all.
        base: element of y that the first tap has at the first point; each tap is `step` before.
    """

    residue: int
    points: int
    first: int
    every: int
    taps: int
    base: int
    step: int


def _phases(p: ConvProblem, dim: int) -> list[_Phase]:
    size, k, s, pad, d = p.size[dim], p.kernel[dim], p.stride[dim], p.padding[dim], p.dilation[dim]
    every, step = s // gcd(s, d), d // gcd(s, d)
    found = []
    for residue in range(min(s, size)):
        points = ceil_div(size - residue, s)
        first = next((t for t in range(min(k, every)) if (residue + pad - t * d) % s == 0), k)
        taps = ceil_div(k - first, every)
        base = (residue + pad - first * d) // s if taps else 0
        found.append(_Phase(residue, points, first, every, taps, base, step))
    return found


def count_phases(p: ConvProblem) -> int:
    """Return how many convolutions the gradient for the image takes."""
    return prod(min(s, n) for s, n in zip(p.stride, p.size, strict=True))


def _shortest(phases: list[_Phase]) -> int:
    """Return the points of the least residue that any tap reaches."""
    return min((f.points for f in phases if f.taps), default=0)


def lower_image(p: ConvProblem, choice: Channels | Points, traits: DeviceTraits) -> Lowered:
    """Lower the computation of x."""
    build = Builder(p, traits, choice.items)
    phases = [_phases(p, dim) for dim in range(3)]
    lead, full = [], []
    for dim, n in enumerate(p.out_size):
        used = [f for f in phases[dim] if f.taps]
        before = max([0, *((f.taps - 1) * f.step - f.base for f in used)])
        lead.append(before)
        full.append(max([n, *(f.points + f.base for f in used)]) + before)
    y = Operand(("in", 0), ("in_offset", 0), p.a_strides)
    points = isinstance(choice, Points)
    short = _shortest(phases[2]) < build.width
    room = build.width if points and (y.strides[4] != 1 or short) else 0
    channels = p.groups * p.out_channels
    copied = tuple(full) != p.out_size or p.a_dtype is not build.acc or room
    image_bytes = channels * prod(full) * build.acc.itemsize
    target = None
    for images in portions(p.batch, image_bytes) if copied else [(0, p.batch)]:
        padded = build.padded(
            y, p.a_dtype, channels, p.out_size, (lead[0], lead[1], lead[2]),
            (full[0], full[1], full[2]), room, by_rows=points and p.out_channels > 1,
            images=images, target=target,
        )  # fmt: skip
        target = padded.buffer
        _add_phases(build, padded, phases, lead, images, choice)
    return build.lowered()


def _add_phases(
    build: Builder, y: Operand, phases: list[list[_Phase]], lead: list[int],
    images: tuple[int, int], choice: Channels | Points,
) -> None:  # fmt: skip
    """Append the convolutions that make some images, one for each residue of their points."""
    p = build.problem
    image = _contiguous(p.groups * p.in_channels, p.size)
    w = p.b_strides
    for parts in product(*phases):
        dims = [Dim(images[1], y.strides[0], image[0], build.steps(0))]
        dims += [
            Dim(f.points, y.strides[d], s * image[d], tuple(s * e for e in build.steps(d)))
            for d, f, s in zip((2, 3, 4), parts, p.stride, strict=True)
        ]
        taps = [Dim(f.taps, -f.step * s) for f, s in zip(parts, y.strides[2:], strict=True)]
        start = sum(
            (f.base + before) * s for f, before, s in zip(parts, lead, y.strides[2:], strict=True)
        )
        k = (
            Dim(p.out_channels, w[0]),
            *(Dim(f.taps, f.every * s) for f, s in zip(parts, w[2:], strict=True)),
        )
        first = sum(f.first * s for f, s in zip(parts, w[2:], strict=True))
        weights = Lines(
            Operand(("in", 1), ("in_offset", 1), w), p.b_dtype, p.in_channels, w[1], k,
            p.out_channels * w[0], start=first,
        )  # fmt: skip
        offset, *begins = (
            sum(f.residue * s for f, s in zip(parts, strides[2:], strict=True))
            + images[0] * strides[0]
            for strides in (image, *(e.strides for e in build.extras))
        )
        c = Convolution(
            y, p.out_channels, dims, taps, weights, (image[1], p.in_channels * image[1]),
            (start, offset, *begins),
        )  # fmt: skip
        _append(build, c, choice)
