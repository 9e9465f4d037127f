"""Histograms with edges: of numbers, and of points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from clgrad.creation import as_tensor, zeros
from clgrad.errors import ClgradRuntimeError, UnsupportedDTypeError
from clgrad.functional._out import with_out
from clgrad.functional.distinct import searchsorted
from clgrad.functional.making import linspace
from clgrad.tensor import Tensor


class Histogram(NamedTuple):
    """Counts, or sums of weights, of bins, and the edges of these."""

    hist: Tensor
    bin_edges: Tensor


class HistogramOfPoints(NamedTuple):
    """The same with a dim for each coordinate, and edges along each."""

    hist: Tensor
    bin_edges: tuple[Tensor, ...]


def _edges(x: Any, bins: Any, ends: Any) -> Any:
    """Return the edges of bins along one coordinate."""
    if isinstance(bins, Tensor):
        return bins
    if bins <= 0:
        raise ClgradRuntimeError(f"histogram(): bins must be > 0, but got {bins}")
    if ends is not None:
        low, high = ends
    elif not x.shape[0]:
        low, high = 0.0, 1.0
    else:
        low, high = float(x.amin()), float(x.amax())
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise ClgradRuntimeError(f"histogramdd(): range [{low}, {high}] is not finite")
    if low > high:
        raise ClgradRuntimeError(
            f"histogramdd(): min should not exceed max, but got min {low} max {high}"
        )
    if low == high:
        low, high = low - 0.5, high + 0.5
    return linspace(low, high, bins + 1, dtype=x.dtype, device=x.device)


def _count(
    points: Any, bins: Sequence[Any], range: Any, weight: Any, density: bool
) -> HistogramOfPoints:
    if not points.is_floating_point():
        raise UnsupportedDTypeError(
            f"histogramdd: not implemented for {points.dtype.name}. Expected floats."
        )
    count, coordinates = points.shape
    pairs = None if range is None else [range[k : k + 2] for k in (*_evens(2 * coordinates),)]
    if range is not None and len(range) != 2 * coordinates:
        raise ClgradRuntimeError(
            f"histogramdd(): for a {coordinates}-dimensional histogram range should have "
            f"{2 * coordinates} elements, but got {len(range)}"
        )
    edges = []
    place: Any = 0
    inside: Any = True
    size = 1
    for k, one in enumerate(bins):
        x = points[:, k].contiguous()
        edge = _edges(x, one, None if pairs is None else pairs[k])
        edges.append(edge)
        bounds = edge.contiguous()
        at = searchsorted(bounds, x, right=True) - 1
        n = edge.shape[0] - 1
        at = at - (x == bounds[-1]).long()  # the last bin holds its upper edge, too
        fits = (at >= 0) * (at < n)
        inside = fits if inside is True else inside * fits
        place, size = place * n + at, size * n
    shape = [e.shape[0] - 1 for e in edges]
    share = points.new_ones(count) if weight is None else as_tensor(weight).reshape(-1)
    share = share.to(points.dtype) * inside.to(points.dtype)
    total = zeros(size, dtype=points.dtype, device=points.device)
    if count:
        total = total.scatter_add(0, place.clamp(0, size - 1), share)
    hist = total.reshape(shape)
    if density:
        hist = hist / hist.sum()
        for k, edge in enumerate(edges):
            width = edge[1:] - edge[:-1]
            hist = hist / width.reshape([-1 if d == k else 1 for d in _upto(len(edges))])
    return HistogramOfPoints(hist, tuple(edges))


def _evens(count: int) -> list[int]:
    return [2 * k for k in _upto(count // 2)]


def _upto(count: int) -> list[int]:
    return [k for k, _ in enumerate([None] * count)]


@with_out
def histogram(
    input: Tensor, bins: Any, *, range: Sequence[float] | None = None,
    weight: Tensor | None = None, density: bool = False,
) -> Histogram:  # fmt: skip
    """Return how many elements, or what weight, each bin holds, and the edges of the bins.

    Args:
        input: floats, any shape.
        bins: how many equal ones, or their edges, ascending.
        range: the ends of equal bins; default: the extremes of the elements.
        weight: what each element counts.
        density: divide by the total and the width of the bin.

    Raises:
        ClgradRuntimeError: no bins, a range that is none. UnsupportedDTypeError: no floats.
    """
    if isinstance(bins, Tensor) and bins.dtype is not input.dtype:
        raise ClgradRuntimeError(
            f"histogramdd(): input tensor and bins tensors should have the same dtype, but got "
            f"input with dtype {input.dtype.name} and bins with dtype {bins.dtype.name}"
        )
    found = _count(input.detach().reshape(-1, 1), [bins], range, weight, density)
    return Histogram(found.hist, found.bin_edges[0])


def histogramdd(
    input: Tensor, bins: Any, range: Sequence[float] | None = None,
    weight: Tensor | None = None, density: bool = False,
) -> HistogramOfPoints:  # fmt: skip
    """Return how many points, or what weight, each cell of a grid holds, and the edges.

    Args:
        input: shape (*, coordinates).
        bins: how many along each coordinate, one number for all, or the edges along each.
        range, weight, density: see `histogram`; `range` has two ends for each coordinate.
    """
    if input.ndim < 2:
        raise ClgradRuntimeError("histogramdd(): The input tensor must have at least 2 dimensions.")
    coordinates = input.shape[-1]
    each = [bins] * coordinates if isinstance(bins, int) else list(bins)
    if len(each) != coordinates:
        raise ClgradRuntimeError(
            f"histogramdd(): expected {coordinates} sequences of bin edges for a "
            f"{coordinates}-dimensional histogram but got {len(each)}"
        )
    return _count(input.detach().reshape(-1, coordinates), each, range, weight, density)


__all__ = ["histogram", "histogramdd"]
METHODS = ("histogram",)
