"""Convolutions with lanes along points on a CPU: for few channels, depthwise ones among them."""

from __future__ import annotations

from math import prod

from clgrad.codegen.conv_build import Builder, Convolution, Dim, ceil_div, merge
from clgrad.codegen.conv_choice import Points
from clgrad.codegen.conv_problem import baked, extra_args, ints
from clgrad.codegen.conv_specs import PointsSpec
from clgrad.codegen.spec import LoweredLaunch

SPLIT = 4
"""Largest stride along a row by which its elements are sorted."""
COLUMNS = {1: 4, 2: 6, 3: 6, 4: 5, 6: 4, 8: 3}
"""Vectors of points for so many channels of a tile: what 32 registers hold."""


_TAPS = 25
"""Weights of a depthwise kernel that are kept in registers."""


def few_channels(channels: int, points: int, width: int) -> bool:
    """Return whether lanes along a row of points are used better than lanes along channels."""
    by_points = points / (ceil_div(points, width) * width)
    by_channels = channels / (ceil_div(channels, width) * width)
    return points > 0 and by_points > 1.5 * by_channels


def by_points(build: Builder, c: Convolution, choice: Points) -> None:
    """Append the launch of a convolution with lanes along points."""
    p, lanes = build.problem, c.weights.count
    *outer, along = c.points
    outer = merge(outer)
    if outer and along.follows(outer[-1]):
        last = outer.pop()
        along = Dim(last.size * along.size, along.x, along.y, along.extras)
    outer = [Dim(1, 0, 0, c.none)] * (3 - len(outer)) + outer
    rows = max(r for r in COLUMNS if r <= min(lanes, choice.rows or lanes))
    narrow = build.traits.vector_bytes == 32
    units = ceil_div(along.size, build.width) * prod(d.size for d in outer)
    t0, t1, t2 = (d.size for d in c.taps)
    taps = (t1, t2) if c.channels == t0 == 1 and 0 < rows * t1 * t2 <= _TAPS else ()
    most = 4 if taps else COLUMNS[rows]
    columns = max(1, min(choice.columns or most // (2 if narrow else 1), units))
    w = c.weights
    spec = PointsSpec(
        w.dtype, p.out_dtype, build.acc, rows, columns, build.width, c.split, along.y == 1, taps,
        baked(p.epilogue, along.extras),
    )  # fmt: skip
    panels = ceil_div(lanes, rows)
    flops = 2 * rows * build.width * c.channels * prod(d.size for d in c.taps)
    strip = ceil_div(c.strips(build, units, flops, panels), columns) * columns
    args = (
        c.x.buffer, c.x.offset, w.source.buffer, w.source.offset, ("out",), *ints(c.start[1]),
        *ints(c.start[0], w.start, strip, c.channels, lanes, along.size),
        *ints(*(d.size for d in outer), *(d.size for d in c.taps), *(d.x for d in outer)),
        *ints(c.x.strides[1], *(d.x for d in c.taps), c.channels * c.x.strides[1]),
        *ints(c.x.row // c.split),
        *ints(w.stride, *(d.x for d in w.k), w.group),
        *ints(along.y, *(d.y for d in outer), *c.y_strides),
        *extra_args(p.epilogue, c.extras(build, outer, along)),
    )  # fmt: skip
    size = (panels, ceil_div(units, strip), p.groups)
    build.launches.append(LoweredLaunch(spec, args, size, (1, 1, 1)))
