"""Windowed layouts: what a tensor shows beyond its border, or from its other end on.

A padded, embedded or rolled tensor is no layout: it has elements that are nowhere (they are 0), or
neighbours that lie far apart. A `Windowed` says so dim by dim, so that who reads it needs no copy.
It is only to read through, by pointwise ops; tensors never have one. Floor: beside `layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clgrad.errors import ClgradValueError
from clgrad.layout import Layout, Shape
from clgrad.layout import compose as compose_layouts

Window = tuple[str, int, int]
"""`("in", first, end)`: coordinates from `first` to `end - 1` are inside, all others read 0.
`("turn", at, jump)`: from coordinate `at` on, elements lie `jump` further back."""


@dataclass(frozen=True, slots=True)
class Windowed(Layout):
    """A layout with a window, or none, for each dim.

    Attributes:
        windows: see `Window`; None for a dim without.
        shift: what must be added to coordinates to have those of the tensor that is read.
    """

    windows: tuple[Window | None, ...] = ()
    shift: Shape = ()

    @property
    def is_contiguous(self) -> bool:
        return False

    @property
    def zeros(self) -> bool:
        """Whether some points lie outside."""
        return any(w is not None and w[0] == "in" for w in self.windows)

    def view(self, shape: Sequence[int], op: str = "view") -> Layout | None:
        """Return this layout as `shape`, if that is its own but for dims of size 1."""
        if tuple(shape) == self.shape:
            return self
        kept = [d for d, n in enumerate(self.shape) if n != 1]
        if tuple([self.shape[d] for d in kept]) != tuple(shape):
            return None
        return Windowed(
            tuple([self.shape[d] for d in kept]), tuple([self.strides[d] for d in kept]),
            self.offset, tuple([self.windows[d] for d in kept]),
            tuple([self.shift[d] for d in kept]),
        )  # fmt: skip

    def permute(self, dims: Sequence[int], op: str = "permute") -> Layout:
        """Raise: nobody reads one in another order."""
        raise ClgradValueError(f"{op}: a windowed layout is read in its own order.")


def rolled(x: Layout, starts: dict[int, int]) -> Windowed:
    """Return how to read `x` from entry `starts[d]` of each dim on, around its end."""
    windows: list[Window | None] = [None] * x.ndim
    shift = [0] * x.ndim
    for d, start in starts.items():
        windows[d], shift[d] = ("turn", x.shape[d] - start, x.shape[d] * x.strides[d]), start
    return _made(x, x.shape, windows, shift)


def framed(x: Layout, shape: Shape, before: Sequence[int]) -> Windowed | None:
    """Return how to read `x` with zeros around it, as `shape`, its first entry being at `before`.

    Entries of `before` may be negative: then so many are left out. None if nothing lies inside.
    """
    windows: list[Window | None] = [None] * x.ndim
    for d, (size, first) in enumerate(zip(x.shape, before, strict=True)):
        inside = (max(first, 0), min(first + size, shape[d]))
        if inside[0] >= inside[1]:
            return None
        if inside != (0, shape[d]):
            windows[d] = ("in", *inside)
    return _made(x, shape, windows, [-b for b in before])


def embedded(x: Layout, place: Layout, shape: Shape) -> Windowed | None:
    """Return how to read `x` as zeros of `shape` with `x` at `place`.

    Args:
        place: lays `x.shape` out in a contiguous tensor of `shape`. None where it has steps or
            another order of dims.
    """
    sizes, strides, before = [], [], []
    rest, k = place.offset, 0
    for size, step in zip(shape, Layout.contiguous(shape).strides, strict=True):
        first, rest = divmod(rest, step) if step else (0, rest)
        before.append(first)
        if k < place.ndim and place.strides[k] == step and first + place.shape[k] <= size:
            sizes.append(place.shape[k])
            strides.append(x.strides[k])
            k += 1
        else:  # one entry was chosen
            sizes.append(1)
            strides.append(0)
    if rest or k < place.ndim or 0 in shape:
        return None
    return framed(Layout(tuple(sizes), tuple(strides), x.offset), shape, before)


def _made(
    x: Layout, shape: Shape, windows: Sequence[Window | None], shift: Sequence[int]
) -> Windowed:
    offset = x.offset + sum(s * n for s, n in zip(x.strides, shift, strict=True))
    return Windowed(tuple(shape), x.strides, offset, tuple(windows), tuple(shift))


def compose(outer: Layout, inner: Layout) -> Layout | None:
    """Return `clgrad.layout.compose`, which knows no windows, for layouts that may have some.

    None where both have one along the same dim, unless both are borders of zeros.
    """
    if not isinstance(outer, Windowed):
        if not isinstance(inner, Windowed):
            return compose_layouts(outer, inner)
        same = outer.shape == inner.shape and outer.offset == 0 and outer.is_contiguous
        return inner if same else None
    starts = _starts(outer, inner.shape)
    if starts is None:
        return None
    beneath = inner.windows if isinstance(inner, Windowed) else (None,) * inner.ndim
    below = inner.shift if isinstance(inner, Windowed) else (0,) * inner.ndim
    windows: list[Window | None] = []
    for d, (above, under) in enumerate(zip(outer.windows, beneath, strict=True)):
        moved = outer.shift[d] + starts[d]
        if under is not None and above is not None:
            if above[0] != "in" or under[0] != "in":
                return None
            first, end = max(above[1], under[1] - moved), min(above[2], under[2] - moved)
            if first >= end:
                return None
            windows.append(("in", first, end))
        elif under is not None:
            if under[0] == "turn":
                windows.append(("turn", under[1] - moved, under[2]))
            else:
                windows.append(("in", max(under[1] - moved, 0), under[2] - moved))
        elif above is not None and above[0] == "turn":
            windows.append(("turn", above[1], above[2] // outer.strides[d] * inner.strides[d]))
        else:
            windows.append(above)
    places = list(zip(outer.shift, starts, strict=True))
    offset = inner.offset + sum(
        s * (a + b) for s, (a, b) in zip(inner.strides, places, strict=True)
    )
    shift = tuple([a + b + c for (a, b), c in zip(places, below, strict=True)])
    return Windowed(outer.shape, inner.strides, offset, tuple(windows), shift)


def _starts(outer: Windowed, shape: Shape) -> Shape | None:
    """Return where in a contiguous tensor of `shape` the slice begins that `outer` reads.

    None where what it reads is no slice of all dims.
    """
    steps = Layout.contiguous(shape).strides
    if outer.strides != steps or not all(steps):
        return None
    rest = outer.offset - sum(s * n for s, n in zip(steps, outer.shift, strict=True))
    starts = []
    for d, step in enumerate(steps):
        start, rest = divmod(rest, step)
        starts.append(start)
        window, moved = outer.windows[d], outer.shift[d]
        if window is None:
            first, end = moved, moved + outer.shape[d]
        elif window[0] == "in":
            first, end = window[1] + moved, window[2] + moved
        else:
            first, end = 0, window[2] // step
        if start + first < 0 or start + end > shape[d]:
            return None
    return None if rest else tuple(starts)


def read_array(flat: Any, layout: Layout) -> Any:
    """Return what a layout shows of a flat NumPy array, as a copy."""
    windows = layout.windows if isinstance(layout, Windowed) else ()
    places = np.full(layout.shape, layout.offset, np.int64)
    inside = np.ones(layout.shape, bool)
    for d, (size, stride) in enumerate(zip(layout.shape, layout.strides, strict=True)):
        at = np.arange(size).reshape([-1 if k == d else 1 for k in range(layout.ndim)])
        places = places + at * stride
        window = windows[d] if windows else None
        if window is not None and window[0] == "in":
            inside = inside & (at >= window[1]) & (at < window[2])
        elif window is not None:
            places = places - np.where(at >= window[1], window[2], 0)
    assert (not inside.any()) or 0 <= places[inside].min() <= places[inside].max() < flat.size
    found = flat[np.where(inside, places, 0)]
    return np.where(inside, found, np.zeros((), flat.dtype))
