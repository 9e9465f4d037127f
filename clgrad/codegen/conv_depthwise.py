"""Lowering of depthwise convolutions, and of their gradients for the image, on a CPU.

One plane after the other, from a copy in the near cache: there are as many bytes as multiply-adds,
so that what counts is to read x once and to write y once.
"""

from __future__ import annotations

from clgrad.codegen.conv_build import Builder, ceil_div
from clgrad.codegen.conv_choice import Planes
from clgrad.codegen.conv_problem import ConvProblem, baked, extra_args, ints
from clgrad.codegen.conv_specs import DepthwiseSpec
from clgrad.codegen.spec import Lowered, LoweredLaunch
from clgrad.traits import DeviceTraits

_SLOT_BYTES = 1 << 18
"""What the copy of a band may take: a part of a common second-level cache."""
_TAPS = 64
"""Taps that are written out in the kernel."""
_SUMS = 8
"""Vectors of sums in registers."""
ROWS = (4, 3, 2, 1)
"""Rows of the result that are made at once."""

Taps = tuple[tuple[int, int], ...]


def suits(p: ConvProblem, traits: DeviceTraits) -> bool:
    """Return whether `lower_depthwise` can do a problem."""
    flat = p.kernel[0] == p.size[0] == p.out_size[0] == 1 and p.padding[0] == 0
    if not (flat and p.in_channels == 1 < p.groups and p.kernel[1] * p.kernel[2] <= _TAPS):
        return False
    if traits.vector_width(p.acc.itemsize) == 1:
        return False
    if p.what == "forward":
        return max(p.stride[1:]) <= 2
    fits = all(s <= 2 and s <= n for s, n in zip(p.stride, p.size, strict=True))
    return p.what == "input" and p.out_channels == 1 and fits


def _phases(p: ConvProblem, dim: int) -> tuple[tuple[Taps, ...], int]:
    """Return the taps of each residue of the result's points, and zeros before what is read.

    Point `u` of a residue takes for each tap (k, offset) the element `u * step + offset` of a row
    with those zeros before it; the step is the stride of a result, 1 of a gradient.
    """
    k, s, pad, d = p.kernel[dim], p.stride[dim], p.padding[dim], p.dilation[dim]
    if p.what == "forward":
        return (tuple((t, t * d) for t in range(k)),), pad
    found = [
        [(t, (residue + pad - t * d) // s) for t in range(k) if (residue + pad - t * d) % s == 0]
        for residue in range(s)
    ]
    lead = max([0, *(-offset for taps in found for _, offset in taps)])
    return tuple(tuple((t, offset + lead) for t, offset in taps) for taps in found), lead


def _reach(phases: tuple[Taps, ...]) -> int:
    return max((offset for taps in phases for _, offset in taps), default=0)


def lower_depthwise(p: ConvProblem, choice: Planes, traits: DeviceTraits) -> Lowered:
    """Lower the computation of y, or of x."""
    build = Builder(p, traits, choice.items)
    forward = p.what == "forward"
    (down, lead1), (across, lead2) = _phases(p, 1), _phases(p, 2)
    step, split = (p.stride[1], p.stride[2]) if forward else (1, 1)
    size, out_size = (p.size, p.out_size) if forward else (p.out_size, p.size)
    tall, points = ceil_div(out_size[1], len(down)), ceil_div(out_size[2], len(across))
    build.narrow(points)
    width = build.width
    part = max(points, width) + _reach(across) // split + 1
    part = max(part, ceil_div(lead2 + size[2], split))
    pitch = split * part
    planes, wanted = p.batch * p.groups, build.items
    most = max(1, _SLOT_BYTES // (pitch * build.acc.itemsize * step))
    band = ceil_div(tall, max(ceil_div(tall, most), min(tall, ceil_div(wanted, planes))))
    bands = ceil_div(tall, band)
    spare = band - 1 if len(down) > 1 else band  # a residue may have a row less
    most = min(choice.rows or ROWS[0], spare, _SUMS // len(across))
    rows = max(r for r in ROWS if r <= max(most, 1))
    slot_rows = (band - 1) * step + _reach(down) + 1
    units = planes * bands
    share = ceil_div(units, min(units, wanted))
    items = ceil_div(units, share)
    slots = build.scratch(items * slot_rows * pitch)
    x, w = p.a_strides, p.b_strides
    spec = DepthwiseSpec(
        p.a_dtype, p.b_dtype, p.out_dtype, build.acc, width, rows, step, down, across, split, lead2,
        x[4] == 1, baked(p.epilogue, [e.strides[4] for e in build.extras]),
    )  # fmt: skip
    args = (
        ("in", 0), ("in_offset", 0), ("in", 1), ("in_offset", 1), ("out",), slots,
        *ints(units, share, bands, band, p.groups, p.out_channels if forward else 1),
        *ints(*size[1:], *out_size[1:], slot_rows, pitch, part, lead1),
        *ints(*x[:2], *x[3:], w[0], *w[3:]),
        *extra_args(p.epilogue, [(0, *e.strides[:2], *e.strides[3:]) for e in build.extras]),
    )  # fmt: skip
    build.launches.append(LoweredLaunch(spec, args, (items, 1, 1), (1, 1, 1)))
    return build.lowered()
