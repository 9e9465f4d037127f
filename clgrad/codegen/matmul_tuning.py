"""Heuristics of the matmul family: register tiles, packing, cutting k, from sizes and traits.

Nothing here is needed for correctness: any choice within the stated limits computes the same
product. The constants were measured on two AVX-512 cores; they decide between variants that are
close to each other where the constants are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from clgrad.traits import DeviceTraits

_LATENCY = 8
"""Independent multiply-adds in flight that keep two units of four cycles busy."""
_ITEM_FLOPS = 1 << 16
"""Least work of a work-item that is worth starting one."""
_STRIP_BYTES = 1 << 20
"""Rows of A that one strip reads: half of a common second-level cache."""
_UNROLL = 4
"""Steps of k written out in local-memory kernels: compiled for sm_90 by clang 15 and ptxas, 4 steps
take 80 registers and 16 take 254, neither spilling (tiles of 64 by 64 by 16, float32)."""
_LONG_K = 1024
"""Depth from which a CPU cuts k for its caches' sake."""
_PART_K = 512
"""Least depth of a part when k is cut."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A register tile: `rows` by `columns` vectors of `width`."""

    rows: int
    columns: int
    width: int


@dataclass(frozen=True, slots=True)
class Slab:
    """A local-memory tile: sums per work-item, work-items per group, depth, steps written out."""

    rows: int
    columns: int
    height: int
    breadth: int
    tile_k: int
    unroll: int


def ceil_div(a: int, b: int) -> int:
    """Return the least integer that is not below a / b."""
    return -(-a // b)


def size_class(size: int) -> int:
    """Return the class of a size that changes from call to call: 1 2 3 4 6 8 12 16 24 32 ...

    Tiles are chosen for the class, so that a new number of rows seldom asks for a new kernel.
    """
    power = 1 << (size.bit_length() - 1)
    return power + power // 2 if size >= power + power // 2 else power


def _registers(traits: DeviceTraits) -> int:
    """Return how many vector registers a tile may take (AVX-512 and NEON have 32, AVX2 has 16)."""
    return 16 if traits.vector_bytes == 32 else 32


def _best(
    m: int, n: int, batch: int, width: int, shapes: list[tuple[int, int]], units: int
) -> tuple[int, int]:
    """Return the (rows, columns) among `shapes` with the least estimated time.

    One step of k in a tile takes the longest of: its multiply-adds, its loads (of which a core does
    as many per cycle), and the latency of one multiply-add; a little more for what the loads cost
    beyond that, a vector of B more than an element of A.
    """

    def cost(shape: tuple[int, int]) -> tuple[float, int]:
        rows, columns = shape
        step = max(rows * columns, rows + columns, _LATENCY) + 0.15 * rows + 0.5 * columns
        tiles = ceil_div(m, rows) * ceil_div(n, columns * width) * batch
        return ceil_div(tiles, units) * step, -rows * columns

    return min(shapes, key=cost)


@lru_cache(maxsize=4096)
def register_tile(m: int, n: int, batch: int, itemsize: int, traits: DeviceTraits) -> Tile:
    """Return the tile of `matmul.cl.j2` for an (m, n) result; rows <= m and width <= n hold."""
    m, batch = size_class(m), size_class(batch)
    width = traits.vector_width(itemsize)
    while width > n:
        width //= 2
    registers = _registers(traits)
    shapes = [
        (rows, columns)
        for rows in (1, 2, 4, 6, 8, 12)
        for columns in (1, 2, 3, 4, 8)
        if rows <= m and (columns - 1) * width < n
        if rows * columns + columns + 1 <= registers and (rows < 8 or columns < 4)
    ]
    rows, columns = _best(m, n, batch, width, shapes, traits.compute_units)
    return Tile(rows, columns, width)


@lru_cache(maxsize=4096)
def dot_tile(m: int, n: int, k: int, batch: int, itemsize: int, traits: DeviceTraits) -> Tile:
    """Return the tile of `matmul_dot.cl.j2`; rows <= m and columns <= n hold."""
    m, batch = size_class(m), size_class(batch)
    width = traits.vector_width(itemsize)
    while width > max(k, 1):
        width //= 2
    registers = _registers(traits)
    shapes = [
        (rows, columns)
        for rows in (1, 2, 4)
        for columns in (1, 2, 4, 8)
        if rows <= m and columns <= n and rows * columns + columns + 1 <= registers
    ]
    rows, columns = _best(m, n, batch, 1, shapes, traits.compute_units)
    return Tile(rows, columns, width)


def pack_b(m: int, n: int, k: int, itemsize: int) -> bool:
    """Return whether packing a B with adjacent columns pays: reused often, and too big for L2."""
    return m >= 192 and k >= 512 and k * n * itemsize > 3 << 19


def pack_a(n: int, k: int, converts: bool) -> bool:
    """Return whether packing A pays: only where that saves converting each element many times."""
    return converts and n >= 128 and k >= 64


def dot_wins(m: int, n: int, k: int, batch: int) -> bool:
    """Return whether inner products beat packing a transposed B.

    They do where a second launch costs more than the product, and where few rows would read the
    packed B while k is long enough to make up for the trees at the end of each inner product.
    """
    if n == 1 or batch * m * n * k <= 1 << 18:
        return True
    side = min(m, n)
    return (side < 24 and k >= 32) or (side < 64 and k >= 256)


def strip_tiles(
    m: int, n: int, k: int, batch: int, tile: Tile, itemsize: int, traits: DeviceTraits
) -> int:
    """Return how many row tiles one work-item walks down.

    Long, so that a panel of B stays in the near cache; yet enough items for all units, and rows of
    A that stay in the next cache while the items of all panels read them.
    """
    row_tiles = ceil_div(m, tile.rows)
    panels = ceil_div(n, tile.columns * tile.width) * batch
    flops = 2 * max(k, 1) * tile.rows * tile.columns * tile.width
    wanted = ceil_div(8 * traits.compute_units, panels)
    affordable = max(1, row_tiles * flops // _ITEM_FLOPS)
    strips = max(1, min(row_tiles, wanted, affordable))
    resident = max(4, _STRIP_BYTES // (tile.rows * max(k, 1) * itemsize))
    return min(ceil_div(row_tiles, strips), resident)


def k_parts(items: int, m: int, n: int, k: int, traits: DeviceTraits) -> int:
    """Return into how many parts to cut k, for `items` tiles in all and (m, n) sums in a matrix.

    Cut where the tiles alone do not occupy the device, and on a CPU also where k is so long that
    neither operand's part of a tile stays in a cache, if the parts are small beside the operands.
    """
    if k < 2 * _PART_K:
        return 1
    parts = 1
    if items < traits.compute_units:
        parts = min(ceil_div(traits.compute_units * 2, items), k // _PART_K)
    if traits.is_cpu:
        parts = max(parts, min(k // _LONG_K, (m + n) * k // (8 * m * n)))
    return max(1, parts)


def part_length(k: int, parts: int) -> int:
    """Return the length of each part of k but the last, a multiple of every vector width."""
    return ceil_div(ceil_div(k, parts), 16) * 16


def slab(m: int, n: int, itemsize: int, traits: DeviceTraits) -> Slab:
    """Return the local-memory tile for an (m, n) result that the device can hold."""
    largest = min(traits.max_work_group, traits.preferred_work_group, 256)
    side = 16
    while side * side > largest:
        side //= 2
    rows = 4 if m > 2 * side else 2 if m > side else 1
    columns = 4 if n > 2 * side else 2 if n > side else 1
    tile_k = 16
    # every work-item copies the same whole number of elements: tile_k * rows is a multiple of side
    while (
        tile_k * min(rows, columns) > side
        and local_bytes(rows, columns, side, tile_k, itemsize) > traits.local_bytes
    ):
        tile_k //= 2
    return Slab(rows, columns, side, side, tile_k, min(_UNROLL, tile_k))


def local_bytes(rows: int, columns: int, side: int, tile_k: int, itemsize: int) -> int:
    """Return what the two slabs of `matmul_gpu.cl.j2` take of local memory."""
    return tile_k * (rows * side + 1 + columns * side) * itemsize
