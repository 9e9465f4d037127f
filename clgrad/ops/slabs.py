"""Parts of a tensor that are slabs of it along one dim, and how they lie beside one another.

Ten thousand rows of one tensor are ten thousand slabs: what is made of them (a gradient, say) is
put together again by one join, not by ten thousand writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from clgrad.layout import Layout

FEWEST = 8
"""Parts from which on they are joined."""
LAYERS = 4
"""Joins at most, one over the other, of parts that overlap."""

Row = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Slabs:
    """How parts lie along `dim`.

    Attributes:
        layers: each a row of (length, the parts that lie there; none: a gap), from end to end.
    """

    dim: int
    layers: tuple[Row, ...]


@lru_cache(maxsize=64)
def slabs(layouts: tuple[Layout, ...], shape: tuple[int, ...]) -> Slabs | None:
    """Return how parts of a contiguous tensor lie in it, or None if that is not worth a join."""
    if len(layouts) < FEWEST or 0 in shape:
        return None
    whole = Layout.contiguous(shape)
    for dim in range(len(shape)):
        places = _along(layouts, whole, dim)
        if places is not None:
            break
    else:
        return None
    parts: dict[tuple[int, int], list[int]] = {}
    for k, place in enumerate(places):
        parts.setdefault(place, []).append(k)
    layers: list[list[tuple[int, tuple[int, ...]]]] = []
    ends: list[int] = []
    for start, length in sorted(parts):
        k = next((k for k, end in enumerate(ends) if end <= start), len(layers))
        if k == len(layers):
            if k == LAYERS or (k and len(parts) < FEWEST * (k + 1)):
                return None
            layers.append([])
            ends.append(0)
        if start > ends[k]:
            layers[k].append((start - ends[k], ()))
        layers[k].append((length, tuple(parts[start, length])))
        ends[k] = start + length
    for layer, end in zip(layers, ends, strict=True):
        if end < shape[dim]:
            layer.append((shape[dim] - end, ()))
    return Slabs(dim, tuple([tuple(layer) for layer in layers]))


def _along(layouts: Sequence[Layout], whole: Layout, dim: int) -> list[tuple[int, int]] | None:
    """Return (start, length) along `dim` of each part, or None if one is no such slab."""
    step = whole.strides[dim]
    others = whole.numel // whole.shape[dim]
    found: dict[int, list[tuple[int, int]]] = {}
    places = []
    for layout in layouts:
        length, rest = divmod(layout.numel, others)
        start, within = divmod(layout.offset, step)
        if rest or within or not length or start + length > whole.shape[dim]:
            return None
        want = found.get(length)
        if want is None:
            want = found[length] = _dims(whole.narrow(dim, 0, length))
        if _dims(layout) != want:
            return None
        places.append((start, length))
    return places


def _dims(layout: Layout) -> list[tuple[int, int]]:
    return [(n, s) for n, s in zip(layout.shape, layout.strides, strict=True) if n != 1]
