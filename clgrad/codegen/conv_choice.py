"""The ways to compute a convolution or one of its gradients, as the tuner names them.

Each kind stands for a template; its numbers are what that template leaves open. Where rows or
columns of a tile are 0, the cost model takes them from the sizes of each launch.
"""

from __future__ import annotations

from dataclasses import dataclass

ITEMS = 8
"""Work-items for each compute unit, so that all are busy to the end."""


@dataclass(frozen=True, slots=True)
class Direct:
    """One sum after the other (`conv.cl.j2`)."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Tiles of `rows` points by `columns` vectors of channels (`conv_tile.cl.j2`)."""

    rows: int = 0
    columns: int = 0
    items: int = ITEMS


@dataclass(frozen=True, slots=True)
class Points:
    """Tiles of `rows` channels by `columns` vectors of points (`conv_points.cl.j2`)."""

    rows: int = 0
    columns: int = 0
    items: int = ITEMS


@dataclass(frozen=True, slots=True)
class Planes:
    """Depthwise: plane after plane, `rows` rows at once (`conv_depthwise.cl.j2`)."""

    rows: int = 0
    items: int = ITEMS


@dataclass(frozen=True, slots=True)
class Taps:
    """A weight's tiles of `rows` taps by `columns` vectors of channels (`conv_weight.cl.j2`).

    `items` work-items for each compute unit share out the images first, then the tiles.
    """

    rows: int = 0
    columns: int = 0
    items: int = ITEMS


@dataclass(frozen=True, slots=True)
class Few:
    """A weight of few channels, `rows` of them at once (`conv_weight_points.cl.j2`)."""

    rows: int = 0
    items: int = ITEMS


@dataclass(frozen=True, slots=True)
class Groups:
    """Tiles in local memory (`conv_gpu.cl.j2`, which says what the fields mean).

    `busy` groups for each compute unit share out the images of a gradient for a weight.
    """

    rows: int
    columns: int
    breadth: int
    height: int
    tile_k: int
    unroll: int
    busy: int = 4

    def fits(self, weight: bool, itemsize: int, local_bytes: int) -> bool:
        """Return whether every work-item copies as much as the others, into slabs that fit."""
        group = self.breadth * self.height
        tile_m, tile_n = self.rows * self.breadth, self.columns * self.height
        whole = tile_m * self.tile_k % group == 0 == tile_n * self.tile_k % group
        lines = group % (self.tile_k if weight else tile_m) == 0
        return whole and lines and self.tile_k * (tile_m + tile_n + 2) * itemsize <= local_bytes


@dataclass(frozen=True, slots=True)
class Winograd:
    """Tiles of `tile` x `tile` points by fewer products, where the accuracy asked for allows it.

    `images` are transformed at once (`conv_winograd.py`); 0 lets the sizes decide.
    """

    tile: int
    images: int = 0


Choice = Direct | Channels | Points | Planes | Taps | Few | Groups | Winograd
