"""Lowering of convolutions to register tiles on a CPU: results, and gradients for images.

Lanes run along the channels of what is computed, whose weights are packed in the order in which
they are read; the other operand is read by scalars, at any stride. A gradient for an image is one
such convolution for each residue of its points modulo the stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd, prod

from clgrad.codegen.conv_problem import ConvProblem, Three, baked, extra_args, ints
from clgrad.codegen.conv_specs import PadSpec, PanelSpec, TileSpec
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.dtypes import DType
from clgrad.traits import DeviceTraits

ROWS = (14, 12, 10, 8, 7, 6, 4, 2, 1)
"""Heights of register tiles."""
_LATENCY = 8
"""Independent multiply-adds in flight that keep two units of four cycles busy."""
ITEMS = 8
"""Work-items for each compute unit, so that all are busy to the end."""
_ITEM_FLOPS = 1 << 17
"""Least work of a work-item that is worth starting one."""


@dataclass(slots=True)
class Operand:
    """Images that scalars are read from.

    Attributes:
        strides: elements, for (image, channel, *).
    """

    buffer: Arg
    offset: Arg
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dim:
    """A dim of points or taps: its size, its strides in x, in y, in an epilogue's operands."""

    size: int
    x: int
    y: int = 0
    extras: tuple[int, ...] = ()

    def follows(self, outer: Dim) -> bool:
        """Whether it is one dim together with the dim around it."""
        steps = ((outer.x, self.x), (outer.y, self.y), *zip(outer.extras, self.extras, strict=True))
        return all(a == b * self.size for a, b in steps)


@dataclass(frozen=True, slots=True)
class Lines:
    """Channels to be packed: `count` of one group, `stride` apart, each over four dims `k`.

    Attributes:
        group: stride of the groups; `batch`: images, packed one after the other.
        start: element at which the first one begins.
    """

    source: Operand
    dtype: DType
    count: int
    stride: int
    k: tuple[Dim, ...]
    group: int
    batch: Dim = Dim(1, 0)
    start: int = 0


def ceil_div(a: int, b: int) -> int:
    """Return the least integer that is not below a / b."""
    return -(-a // b)


class Builder:
    """Collects launches and scratch buffers of one lowering."""

    def __init__(self, problem: ConvProblem, traits: DeviceTraits) -> None:
        self.problem = problem
        self.traits = traits
        self.acc = problem.acc
        self.width = traits.vector_width(problem.acc.itemsize)
        self.extras = problem.epilogue.extras if problem.epilogue else ()
        self.launches: list[LoweredLaunch] = []
        self.temporaries: list[int] = []

    def steps(self, dim: int | None) -> tuple[int, ...]:
        """Return the strides of the epilogue's operands along a dim; zeros for no dim."""
        return tuple(0 if dim is None else x.strides[dim] for x in self.extras)

    def scratch(self, elements: int) -> Arg:
        """Return a new scratch buffer for so many sums."""
        self.temporaries.append(elements * self.acc.itemsize)
        return ("temp", len(self.temporaries) - 1)

    def lowered(self) -> Lowered:
        """Return what was collected."""
        return Lowered(tuple(self.temporaries), tuple(self.launches))

    def padded(
        self, source: Operand, dtype: DType, channels: int, size: Three, lead: Three, full: Three
    ) -> Operand:
        """Return images of spatial shape `full` with `lead` zeros before `size` elements."""
        p = self.problem
        if full == size and not any(lead) and dtype is self.acc:
            return source
        strides = source.strides
        spec = PadSpec(dtype, self.acc, self.width if strides[4] == 1 else 1)
        planes = p.batch * channels
        target = self.scratch(planes * prod(full))
        wanted = ITEMS * self.traits.compute_units
        bands = min(full[1], ceil_div(wanted, planes))
        band = ceil_div(full[1], bands)
        args = (
            source.buffer, source.offset, target,
            *ints(planes, band, channels, *size, *full, *lead, *strides),
        )  # fmt: skip
        grid = (ceil_div(full[1], band), min(planes, wanted), 1)
        self.launches.append(LoweredLaunch(spec, args, grid, (1, 1, 1)))
        inner = full[1] * full[2]
        return Operand(
            target, ("int", 0),
            (channels * full[0] * inner, full[0] * inner, inner, full[2], 1),
        )  # fmt: skip

    def packed(self, lines: Lines, columns: int, groups: int) -> Arg:
        """Return channels in panels of `columns` vectors."""
        panels = ceil_div(lines.count, columns * self.width)
        k = run_last(lines.k)
        outer, inner = prod(d.size for d in k[:3]), k[3]
        batch = lines.batch.size * groups
        target = self.scratch(
            max(batch * panels * columns * self.width * outer * inner.size, 1)
        )  # fmt: skip
        if outer * inner.size:
            blocks = inner.x == 1 and inner.size >= self.width
            spec = PanelSpec(lines.dtype, self.acc, self.width, columns, blocks)
            slices = max(1, min(outer, ITEMS * self.traits.compute_units // (batch * panels)))
            part = ceil_div(outer, slices)
            args = (
                lines.source.buffer, lines.source.offset, target,
                *ints(lines.start, lines.count, groups, *(d.size for d in k), lines.stride),
                *ints(*(d.x for d in k), lines.batch.x, lines.group, part),
            )  # fmt: skip
            size = (panels, ceil_div(outer, part), batch)
            self.launches.append(LoweredLaunch(spec, args, size, (1, 1, 1)))
        return target


def run_last(k: Sequence[Dim]) -> list[Dim]:
    """Return four dims in the order of these, with the longest run of neighbours as the last."""
    dims = [d for d in k if d.size != 1] or [Dim(1, 0)]
    while len(dims) > 1 and dims[-1].follows(dims[-2]):
        last = dims.pop()
        dims[-1] = Dim(dims[-1].size * last.size, last.x)
    return [Dim(1, 0)] * (4 - len(dims)) + dims


def tile_shape(points: int, lanes: int, width: int, traits: DeviceTraits) -> tuple[int, int]:
    """Return (rows, columns) of the tile with the least time for `points` by `lanes` sums."""
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
    return min(shapes, key=cost)


def _merge(dims: list[Dim]) -> list[Dim]:
    """Merge neighbouring dims that are one dim in x and in y; those of size 1 go."""
    merged: list[Dim] = []
    for d in dims:
        if d.size == 1:
            continue
        if merged and d.follows(merged[-1]):
            merged[-1] = Dim(merged[-1].size * d.size, d.x, d.y, d.extras)
        else:
            merged.append(d)
    return merged


def _points(
    dims: list[Dim], lanes: int, width: int, traits: DeviceTraits
) -> tuple[list[Dim], Dim, tuple[int, int]]:
    """Return the outer dims of the points, the dim along which tiles lie, and the tile."""
    none = (0,) * len(dims[0].extras)
    merged = _merge(dims) or [Dim(1, 0, 1, none)]
    best = len(merged) - 1
    shape = tile_shape(merged[best].size, lanes, width, traits)
    if merged[best].size < 6:  # too short: tiles across rows or images
        longest = max(range(len(merged)), key=lambda d: merged[d].size)
        if merged[longest].size > merged[best].size:
            best = longest
            shape = tile_shape(merged[best].size, lanes, width, traits)
    outer = [d for k, d in enumerate(merged) if k != best]
    return [Dim(1, 0, 0, none)] * (3 - len(outer)) + outer, merged[best], shape


def _convolve(
    build: Builder, x: Operand, channels: int, points: list[Dim], taps: list[Dim], weights: Lines,
    y_strides: tuple[int, int], start: tuple[int, ...],
) -> None:  # fmt: skip
    """Append the launches of one convolution of points `points` with taps `taps`.

    Args:
        channels: of one group of x.
        y_strides: of the channels of the result and of its groups.
        start: elements of x, of the result and of each operand of the epilogue at which the first
            tap of the first point is.
    """
    p, traits, lanes = build.problem, build.traits, weights.count
    outer, along, (rows, columns) = _points(points, lanes, build.width, traits)
    packed = build.packed(weights, columns, p.groups)
    step = along.x if 0 < along.x <= 2 else 0
    spec = TileSpec(
        p.out_dtype, build.acc, rows, columns, build.width, step, along.y == 1,
        baked(p.epilogue, along.extras),
    )  # fmt: skip
    extras = [
        (begin, lanes * x.strides[1], x.strides[1], *(d.extras[k] for d in outer), along.extras[k])
        for k, (x, begin) in enumerate(zip(build.extras, start[2:], strict=True))
    ]
    panels = ceil_div(lanes, columns * build.width)
    tiles = ceil_div(along.size, rows) * prod(d.size for d in outer)
    flops = 2 * rows * columns * build.width * channels * prod(d.size for d in taps)
    wanted = ceil_div(ITEMS * traits.compute_units, panels * p.groups)
    strips = max(1, min(tiles, wanted, tiles * flops // _ITEM_FLOPS))
    strip = ceil_div(tiles, strips)
    args = (
        x.buffer, x.offset, packed, ("out",), *ints(start[1], start[0]),
        *ints(strip, channels, lanes, along.size, *(d.size for d in outer)),
        *ints(*(d.size for d in taps), along.x, *(d.x for d in outer)),
        *ints(x.strides[1], *(d.x for d in taps), channels * x.strides[1]),
        *ints(along.y, *(d.y for d in outer), *y_strides), *extra_args(p.epilogue, extras),
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


def padded_image(build: Builder, x: Operand, dtype: DType) -> Operand:
    """Return the images x, padded where windows reach beyond them."""
    p = build.problem
    if any(p.padding) or dtype is not build.acc:
        channels = p.groups * p.in_channels
        return build.padded(x, dtype, channels, p.size, p.padding, _needed(p))
    return x


def lower_result(p: ConvProblem, traits: DeviceTraits) -> Lowered:
    """Lower the computation of y."""
    build = Builder(p, traits)
    x = padded_image(build, Operand(("in", 0), ("in_offset", 0), p.a_strides), p.a_dtype)
    y = _contiguous(p.groups * p.out_channels, p.out_size)
    points = [
        Dim(n, stride, out, build.steps(d))
        for d, n, stride, out in zip(
            (0, 2, 3, 4), (p.batch, *p.out_size),
            (x.strides[0], *(s * n for s, n in zip(p.stride, x.strides[2:], strict=True))),
            (y[0], *y[2:]), strict=True,
        )
    ]  # fmt: skip
    taps = [
        Dim(n, d * stride) for n, d, stride in zip(p.kernel, p.dilation, x.strides[2:], strict=True)
    ]
    w = p.b_strides
    k = (Dim(p.in_channels, w[1]), *(Dim(n, s) for n, s in zip(p.kernel, w[2:], strict=True)))
    source = Operand(("in", 1), ("in_offset", 1), w)
    weights = Lines(source, p.b_dtype, p.out_channels, w[0], k, p.out_channels * w[0])
    _convolve(
        build, x, p.in_channels, points, taps, weights, (y[1], p.out_channels * y[1]),
        (0, 0, *build.steps(None)),
    )  # fmt: skip
    return build.lowered()


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


def lower_image(p: ConvProblem, traits: DeviceTraits) -> Lowered:
    """Lower the computation of x."""
    build = Builder(p, traits)
    phases = [_phases(p, dim) for dim in range(3)]
    lead, full = [], []
    for dim, n in enumerate(p.out_size):
        used = [f for f in phases[dim] if f.taps]
        before = max([0, *((f.taps - 1) * f.step - f.base for f in used)])
        lead.append(before)
        full.append(max([n, *(f.points + f.base for f in used)]) + before)
    y = Operand(("in", 0), ("in_offset", 0), p.a_strides)
    y = build.padded(
        y, p.a_dtype, p.groups * p.out_channels, p.out_size, (lead[0], lead[1], lead[2]),
        (full[0], full[1], full[2]),
    )  # fmt: skip
    image = _contiguous(p.groups * p.in_channels, p.size)
    w = p.b_strides
    for parts in product(*phases):
        points = [Dim(p.batch, y.strides[0], image[0], build.steps(0))]
        points += [
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
            for strides in (image, *(e.strides for e in build.extras))
        )
        _convolve(
            build, y, p.out_channels, points, taps, weights,
            (image[1], p.in_channels * image[1]), (start, offset, *begins),
        )  # fmt: skip
    return build.lowered()
