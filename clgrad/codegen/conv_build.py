"""What the lowerings of convolutions share: dims, operands, and the passes before the products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from clgrad.codegen.conv_choice import ITEMS
from clgrad.codegen.conv_problem import ConvProblem, Three, ints
from clgrad.codegen.conv_specs import PadSpec, PanelSpec
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.dtypes import DType
from clgrad.traits import DeviceTraits

PORTION_BYTES, PORTION_IMAGES = 1 << 20, 16
"""Least of padded images that is worth launches of its own; tiles may lie across images."""
PORTIONS = 8
"""Into how many portions images are padded at most."""
ITEM_FLOPS = 1 << 17
"""Least work of a work-item that is worth starting one."""


@dataclass(slots=True)
class Operand:
    """Images that scalars are read from.

    Attributes:
        strides: elements, for (image, channel, *).
        row: elements of a row with its padding; 0 if nothing was padded.
    """

    buffer: Arg
    offset: Arg
    strides: tuple[int, ...]
    row: int = 0


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
    """Collects launches and scratch buffers of one lowering; `items` work-items are wanted."""

    def __init__(self, problem: ConvProblem, traits: DeviceTraits, items: int = ITEMS) -> None:
        self.problem = problem
        self.items = items * traits.compute_units
        self.traits = traits
        self.acc = problem.acc
        self.width = traits.vector_width(problem.acc.itemsize)
        self.extras = problem.epilogue.extras if problem.epilogue else ()
        self.launches: list[LoweredLaunch] = []
        self.temporaries: list[int] = []
        self._packed: list[tuple[tuple[Lines, int, int], Arg]] = []

    def narrow(self, points: int) -> None:
        """Take shorter vectors for rows of few points."""
        while self.width > max(points, 4):
            self.width //= 2

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
        self, source: Operand, dtype: DType, channels: int, size: Three, lead: Three, full: Three,
        room: int = 0, split: int = 1, by_rows: bool = False,
        images: tuple[int, int] | None = None, target: Arg | None = None,
    ) -> Operand:  # fmt: skip
        """Return images of spatial shape `full` with `lead` zeros before `size` elements.

        Args:
            images: the first and the number of those that are wanted, if not all.
            target: scratch that is used again.
            room: elements that may be read beyond the end.
            split: rows are sorted by their elements' place modulo this, which divides `full`.
            by_rows: the same row of all channels lies together, for kernels that go through all
                channels for each row: planes far apart would be fetched line by line.
        """
        p = self.problem
        if full == size and not any(lead) and dtype is self.acc and not room and split == 1:
            return source
        strides = source.strides
        spec = PadSpec(dtype, self.acc, self.width if strides[4] == 1 else 1, split)
        first, count = images or (0, p.batch)
        planes = count * channels
        target = target or self.scratch(planes * prod(full) + room)
        wanted = self.items
        bands = min(full[1], ceil_div(wanted, planes))
        band = ceil_div(full[1], bands)
        row = full[2] * (channels if by_rows else 1)
        plane = full[0] * full[1] * full[2]
        to = (channels * plane, full[2] if by_rows else plane, full[1] * row, row)
        args = (
            source.buffer, source.offset, target,
            *ints(first * strides[0], planes, band, channels, *size, *full, *lead, *strides, *to),
        )  # fmt: skip
        grid = (ceil_div(full[1], band), min(planes, wanted), 1)
        self.launches.append(LoweredLaunch(spec, args, grid, (1, 1, 1)))
        return Operand(target, ("int", 0), (*to, 1), full[2])

    def packed(self, lines: Lines, columns: int, groups: int) -> Arg:
        """Return channels in panels of `columns` vectors; the same ones are packed once."""
        for known, there in self._packed:
            if known == (lines, columns, groups):
                return there
        panels = ceil_div(lines.count, columns * self.width)
        k = run_last(lines.k)
        outer, inner = prod(d.size for d in k[:3]), k[3]
        batch = lines.batch.size * groups
        target = self.scratch(
            max(batch * panels * columns * self.width * outer * inner.size, 1)
        )  # fmt: skip
        if outer * inner.size:
            blocks = ""
            if inner.x == 1 and inner.size >= self.width:
                blocks = "long"
            elif inner.x == 1 and inner.size > self.width // 4 and _goes_on(k[:3], self.width):
                blocks = "short"
            spec = PanelSpec(lines.dtype, self.acc, self.width, columns, blocks)
            slices = max(1, min(outer, self.items // (batch * panels)))
            part = ceil_div(outer, slices)
            args = (
                lines.source.buffer, lines.source.offset, target,
                *ints(lines.start, lines.count, groups, *(d.size for d in k), lines.stride),
                *ints(*(d.x for d in k), lines.batch.x, lines.group, part),
            )  # fmt: skip
            size = (panels, ceil_div(outer, part), batch)
            self.launches.append(LoweredLaunch(spec, args, size, (1, 1, 1)))
        self._packed.append(((lines, columns, groups), target))
        return target


def portions(batch: int, nbytes: int) -> list[tuple[int, int]]:
    """Return the images to be padded together, as (first, count).

    Args:
        nbytes: of a padded image.
    """
    least = max(ceil_div(batch, PORTIONS), PORTION_BYTES // nbytes, PORTION_IMAGES)
    count = ceil_div(batch, max(1, batch // least))
    return [(first, min(count, batch - first)) for first in range(0, batch, count)]


def _goes_on(outer: Sequence[Dim], width: int) -> bool:
    """Whether `width` elements follow the start of each run, but for runs of the last slice.

    The same run of the last slice lies behind it by some of the strides.
    """
    steps = [d.x for d in outer if d.size > 1]
    return bool(steps) and min(steps) >= width


def merge(dims: Sequence[Dim]) -> list[Dim]:
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


@dataclass(slots=True)
class Convolution:
    """One convolution of points by taps.

    Attributes:
        x, channels: what is read, and its channels in one group.
        points: dims (image, *) with strides in x and in y; `taps`: dims with strides in x.
        weights: for each channel of the result and of x, and each tap.
        y_strides: of the channels of the result and of its groups.
        start: elements of x, of the result and of each operand of the epilogue at which the first
            tap of the first point is.
        split: what the rows of x are sorted by, or 1.
    """

    x: Operand
    channels: int
    points: list[Dim]
    taps: list[Dim]
    weights: Lines
    y_strides: tuple[int, int]
    start: tuple[int, ...]
    split: int = 1

    @property
    def none(self) -> tuple[int, ...]:
        """Strides of no dim in the operands of the epilogue."""
        return (0,) * len(self.points[0].extras)

    def strips(self, build: Builder, tiles: int, flops: int, panels: int) -> int:
        """Return how many of `tiles` tiles of `flops` each one work-item takes."""
        wanted = ceil_div(build.items, panels * build.problem.groups)
        return ceil_div(tiles, max(1, min(tiles, wanted, tiles * flops // ITEM_FLOPS)))

    def extras(self, build: Builder, outer: Sequence[Dim], along: Dim) -> list[tuple[int, ...]]:
        """Return the start and strides of the operands of the epilogue, as kernels take them."""
        lanes = self.weights.count
        return [
            (
                begin, lanes * e.strides[1], e.strides[1], *(d.extras[k] for d in outer),
                along.extras[k],
            )
            for k, (e, begin) in enumerate(zip(build.extras, self.start[2:], strict=True))
        ]  # fmt: skip


def run_last(k: Sequence[Dim]) -> list[Dim]:
    """Return four dims in the order of these, with the longest run of neighbours as the last."""
    dims = [d for d in k if d.size != 1] or [Dim(1, 0)]
    while len(dims) > 1 and dims[-1].follows(dims[-2]):
        last = dims.pop()
        dims[-1] = Dim(dims[-1].size * last.size, last.x)
    return [Dim(1, 0)] * (4 - len(dims)) + dims
