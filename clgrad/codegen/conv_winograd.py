"""Winograd convolutions: 3 x 3 taps, stride 1, fewer multiplications for a little accuracy.

    y tile = A' [ Σ over ci of (G w G') ⊙ (B' x B) ] A

A tile of m x m points reads (m + 2) x (m + 2) elements and takes (m + 2)² products instead of 9 m²:
2.25 times fewer for m = 2, 4 times for m = 4. The sums over channels are (m + 2)² matrix products.
A gradient for an image is the same with the taps turned round and the channels swapped.

An element of x that is infinite or NaN makes every point of its tiles NaN, not only those whose
window holds it.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; the
matrices by Toom and Cook from points, chosen as B. Barabasz et al., "Error Analysis and Improving
the Accuracy of Winograd Convolution for Deep Neural Networks", 2018, advise: small ones, with their
reciprocals of the other sign.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import prod

from clgrad.codegen.conv_build import ceil_div
from clgrad.codegen.conv_choice import Winograd
from clgrad.codegen.conv_problem import ConvProblem, baked, extra_args, ints
from clgrad.codegen.conv_winograd_specs import ImageSpec, Matrix, ResultSpec, WeightSpec
from clgrad.codegen.matmul import lower_matmul
from clgrad.codegen.matmul_form import MatmulProblem
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.dtypes import float32
from clgrad.traits import DeviceTraits

TILES = {"highest": (), "high": (2,), "medium": (4, 2)}
"""Sizes of tiles that an accuracy allows; see `clgrad.set_float32_conv_precision`."""
_POINTS = tuple(Fraction(*p) for p in ((0, 1), (1, 1), (-1, 1), (1, 2), (-2, 1)))
_NEAR_BYTES = {True: 1 << 23, False: 1 << 26}
"""What the transformed images of one turn may take: on a CPU a share of the last cache."""
_TILES_OF_A_TURN = 128
"""Columns of the products from which they are fast."""
_TURNS = 16
"""Most turns that the images are cut into."""
_LEAST = {2: 256, 4: 64}
"""Channels from which tiles of a size pay, on two CPU runtimes."""
_POINTS_OF_A_WEIGHT = 1024
"""Points of the result from which it pays to transform the weights."""


@dataclass(frozen=True, slots=True)
class Transforms:
    """The matrices A' (m, m + 2), G (m + 2, 3) and B' (m + 2, m + 2)."""

    result: Matrix
    weight: Matrix
    image: Matrix


@lru_cache(maxsize=4)
def transforms(m: int) -> Transforms:
    """Return the matrices for tiles of m x m points and 3 x 3 taps, exactly.

    Math: the result is the transposed product of polynomials, evaluated at m + 1 points and at
    infinity, interpolated by Lagrange, whose denominators go to the weights.
    """
    points = _POINTS[: m + 1]
    result = [[float(a**j) for a in points] + [float(j == m - 1)] for j in range(m)]
    weight, image = [], []
    for i, a in enumerate(points):
        others = points[:i] + points[i + 1 :]
        scale = prod((a - b for b in others), start=Fraction(1))
        sign = -1 if scale < 0 else 1
        weight.append([float(a**k / abs(scale)) for k in range(3)])
        image.append([*(sign * c for c in _product_of_roots(others)), 0.0])
    weight.append([0.0, 0.0, 1.0])
    image.append(_product_of_roots(points))
    return Transforms(*(tuple(map(tuple, rows)) for rows in (result, weight, image)))


def _product_of_roots(roots: tuple[Fraction, ...]) -> list[float]:
    """Return the coefficients of Π (x - root), the constant one first."""
    found = [Fraction(1)]
    for root in roots:
        zero = Fraction(0)
        found = [a - root * b for a, b in zip([zero, *found], [*found, zero], strict=True)]
    return [float(c) for c in found]


def suits(p: ConvProblem) -> bool:
    """Return whether tiles can compute a problem within the accuracy that it asks for."""
    flat = p.size[0] == 1 == p.out_size[0] and p.padding[0] == 0
    plain = p.kernel == (1, 3, 3) and {*p.stride, *p.dilation} == {1} and p.groups == 1
    return p.what != "weight" and flat and plain and p.acc is float32 and bool(TILES[p.precision])


def wins(p: ConvProblem) -> bool:
    """Return whether fewer products are estimated to pay for the transforms.

    Those of images and results go by their channels, that of the weights by the points they serve.
    """
    least = _LEAST[TILES[p.precision][0]]
    points = p.batch * prod(p.shape[2:])
    return min(p.in_channels, p.out_channels) >= least and points >= _POINTS_OF_A_WEIGHT


def candidates(p: ConvProblem) -> list[Winograd]:
    """Return the tiles that the accuracy allows, the one estimated best first."""
    tiles = TILES[p.precision]
    some = [n for n in (1, 2, 4, 8, 16, 32) if n <= p.batch <= n * _TURNS]
    return [*map(Winograd, tiles), *(Winograd(m, n) for m in tiles for n in some)]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Tiles of the result: `channels` of what is read, `lead` zeros before it, tiles per dim."""

    channels: int
    lines: int
    lead: tuple[int, int]
    down: int
    across: int


def _grid(p: ConvProblem, m: int) -> _Grid:
    _, _, high, wide = p.shape[-4:]
    down, across = ceil_div(high, m), ceil_div(wide, m)
    if p.what == "forward":
        return _Grid(p.in_channels, p.out_channels, p.padding[1:], down, across)
    return _Grid(
        p.out_channels, p.in_channels, (2 - p.padding[1], 2 - p.padding[2]), down, across
    )  # fmt: skip


def lower_winograd(p: ConvProblem, choice: Winograd, traits: DeviceTraits) -> Lowered:
    """Lower the computation of y, or of x: weights, then in turns images, products, results."""
    m = choice.tile
    n, grid, how = m + 2, _grid(p, m), transforms(m)
    width = traits.vector_width(4) if traits.is_cpu else 1
    images = choice.images or _images(p, grid, n, traits)
    room = ceil_div(images * grid.down * grid.across, 16) * 16
    depth = ceil_div(grid.channels, 16) * 16
    sizes = (n * n * grid.lines * depth, n * n * grid.channels * room, n * n * grid.lines * room)
    temporaries = [4 * size for size in sizes]
    weights, planes, sums = (("temp", k) for k in range(3))
    launches = [_weights(p, how.weight, grid, depth, weights, width, traits)]
    product = MatmulProblem(
        grid.lines, room, grid.channels, (n * n,), (grid.lines * depth, depth, 1),
        (grid.channels * room, room, 1), float32, float32, float32, aligned=(4, 4),
    )  # fmt: skip
    multiply = _moved(lower_matmul(product, traits), weights, planes, sums, len(temporaries))
    temporaries += multiply.temporaries
    x, size = p.a_strides, p.size[1:] if p.what == "forward" else p.out_size[1:]
    result = p.shape[3:]
    extras = p.epilogue.extras if p.epilogue else ()
    image_spec = ImageSpec(p.a_dtype, m, how.image, width, traits.is_cpu)
    result_spec = ResultSpec(
        p.out_dtype, m, how.result, width, traits.is_cpu,
        baked(p.epilogue, [e.strides[4] for e in extras]),
    )  # fmt: skip
    for first in range(0, p.batch, images):
        tiles = min(images, p.batch - first) * grid.down * grid.across
        geometry = (tiles, room, grid.down, grid.across)
        args = (
            ("in", 0), ("in_offset", 0), planes,
            *ints(first * x[0], grid.channels, *geometry, *size, *grid.lead, *x[:2], *x[3:]),
        )  # fmt: skip
        launches.append(_spread(image_spec, args, grid.channels, tiles, width, traits))
        launches += multiply.launches
        args = (
            sums, ("out",), *ints(first, grid.lines, *geometry, *result),
            *extra_args(p.epilogue, [(0, *e.strides[:2], *e.strides[3:]) for e in extras]),
        )  # fmt: skip
        launches.append(_spread(result_spec, args, grid.lines, tiles, width, traits))
    return Lowered(tuple(temporaries), tuple(launches))


def _images(p: ConvProblem, grid: _Grid, n: int, traits: DeviceTraits) -> int:
    """Return the images of one turn: few enough for the cache, enough for the products."""
    tiles = grid.down * grid.across
    near = _NEAR_BYTES[traits.is_cpu] // (4 * n * n * (grid.channels + grid.lines) * tiles)
    images = max(1, near, ceil_div(_TILES_OF_A_TURN, tiles), ceil_div(p.batch, _TURNS))
    return ceil_div(p.batch, ceil_div(p.batch, images))


def _weights(
    p: ConvProblem, matrix: Matrix, grid: _Grid, depth: int, to: Arg, width: int,
    traits: DeviceTraits,
) -> LoweredLaunch:  # fmt: skip
    out, channel, _, down, across = p.b_strides
    start = 0
    if p.what == "input":
        start = 2 * (down + across)
        out, channel, down, across = channel, out, -down, -across
    spec = WeightSpec(p.b_dtype, matrix, width, traits.is_cpu)
    args = (
        ("in", 1), ("in_offset", 1), to,
        *ints(start, grid.lines, grid.channels, depth, out, channel, down, across),
    )  # fmt: skip
    return _spread(spec, args, grid.lines, grid.channels, width, traits)


def _spread(
    spec: ImageSpec | ResultSpec | WeightSpec, args: tuple[Arg, ...], lines: int, count: int,
    width: int, traits: DeviceTraits,
) -> LoweredLaunch:  # fmt: skip
    """Return a launch for vectors of `count` elements of each line, which work-items share."""
    if traits.is_cpu:
        return LoweredLaunch(spec, args, (min(lines, 16 * traits.compute_units), 1, 1), (1, 1, 1))
    local = min(64, traits.max_work_group)
    return LoweredLaunch(spec, args, (ceil_div(count, local) * local, lines), (local, 1))


def _moved(lowered: Lowered, a: Arg, b: Arg, c: Arg, base: int) -> Lowered:
    """Return the launches of a product on scratch buffers, its own numbered from `base` on."""
    places: dict[Arg, Arg] = {
        ("in", 0): a, ("in", 1): b, ("out",): c,
        ("in_offset", 0): ("int", 0), ("in_offset", 1): ("int", 0),
    }  # fmt: skip
    places |= {("temp", k): ("temp", base + k) for k in range(len(lowered.temporaries))}
    launches = (
        replace(launch, args=tuple(places.get(arg, arg) for arg in launch.args))
        for launch in lowered.launches
    )
    return Lowered(lowered.temporaries, tuple(launches))
