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
PAGE = 4096
"""Bytes after which elements share a set of the near cache."""
_UNROLL = 4
"""Steps of k written out in local-memory kernels: compiled for sm_90 by clang 15 and ptxas, 4 steps
take 80 registers and 16 take 254, neither spilling (tiles of 64 by 64 by 16, float32)."""
FED_READS, FED_DOTS = 2, 4
"""How often a kernel may make the elements of an operand again rather than have them packed or, for
inner products, stored."""
_LONG_K = 1024
"""Depth from which a CPU cuts k for its caches' sake."""
_PART_K = 512
"""Least depth of a part when k is cut."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A register tile of `matmul.cl.j2`: `rows` by `columns` vectors of `width`; what is packed."""

    rows: int
    columns: int
    width: int
    pack_a: bool = False
    pack_b: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A tile of `matmul_dot.cl.j2`: `rows` by `columns` sums of vectors; A packed or not."""

    rows: int
    columns: int
    width: int
    pack_a: bool = False


@dataclass(frozen=True, slots=True)
class Slab:
    """A local-memory tile of `matmul_gpu.cl.j2`, which says what the fields mean."""

    rows: int
    columns: int
    block_rows: int
    block_columns: int
    height: int
    breadth: int
    tile_k: int
    unroll: int

    @property
    def tile_m(self) -> int:
        """Rows of a group."""
        return self.rows * self.height

    @property
    def tile_n(self) -> int:
        """Columns of a group."""
        return self.columns * self.breadth

    def local_bytes(self, itemsize: int) -> int:
        """Return what the slabs take of local memory: two of A and two of B."""
        lines = self.tile_m + self.block_rows + self.tile_n + self.block_columns
        return 2 * self.tile_k * lines * itemsize

    def copy_width(self, tile: int, along_k: bool, most: int) -> int:
        """Return how many neighbours of a slab `tile` wide one work-item copies as a vector."""
        width = most
        while width > 1 and (
            (self.tile_k if along_k else tile) % width
            or tile * self.tile_k % (self.height * self.breadth * width)
        ):
            width //= 2
        return width


@dataclass(frozen=True, slots=True)
class Lanes:
    """A tile of `matmul_lanes.cl.j2`: sums of a lane, lanes of a sub-group, sub-groups."""

    rows: int
    columns: int
    width: int
    height: int


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


def _cost(
    m: int, n: int, batch: int, width: int, shape: tuple[int, int], units: int
) -> tuple[float, int]:
    """Return the estimated time of a tile of (rows, columns); equal ones by their size.

    One step of k in a tile takes the longest of: its multiply-adds, its loads (of which a core does
    as many per cycle), and the latency of one multiply-add; a little more for what the loads cost
    beyond that, a vector of B more than an element of A.
    """
    rows, columns = shape
    step = max(rows * columns, rows + columns, _LATENCY) + 0.15 * rows + 0.5 * columns
    tiles = ceil_div(m, rows) * ceil_div(n, columns * width) * batch
    return ceil_div(tiles, units) * step, -rows * columns


@lru_cache(maxsize=4096)
def register_tiles(
    m: int, n: int, batch: int, itemsize: int, traits: DeviceTraits
) -> tuple[Tile, ...]:
    """Return tiles of `matmul.cl.j2` for an (m, n) result, the one estimated best first.

    rows <= m and width <= n hold.
    """
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
    shapes.sort(key=lambda shape: _cost(m, n, batch, width, shape, traits.compute_units))
    return tuple(Tile(rows, columns, width) for rows, columns in shapes)


@lru_cache(maxsize=4096)
def dot_tiles(
    m: int, n: int, k: int, batch: int, itemsize: int, traits: DeviceTraits
) -> tuple[Dot, ...]:
    """Return tiles of `matmul_dot.cl.j2`, the best first; rows <= m and columns <= n hold."""
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
    shapes.sort(key=lambda shape: _cost(m, n, batch, 1, shape, traits.compute_units))
    return tuple(Dot(rows, columns, width) for rows, columns in shapes)


def pack_b(m: int, n: int, k: int, itemsize: int) -> bool:
    """Return whether packing a B with adjacent columns pays: reused often, and too big for L2."""
    return m >= 192 and k >= 512 and k * n * itemsize > 3 << 19


def pack_a(n: int, k: int, converts: bool, crowded: bool) -> bool:
    """Return whether packing A pays.

    It does where that saves converting each element many times, and where its columns are
    `crowded`: a page or a multiple of it apart, so that all steps of k meet in one set of a cache
    (1024 x 1024 x 1024 TN: 395 GFLOP/s unpacked, 470 packed).
    """
    return n >= 128 and ((converts and k >= 64) or (crowded and k >= 256))


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
    m: int, n: int, k: int, batch: int, rows: int, columns: int, itemsize: int,
    traits: DeviceTraits,
) -> int:  # fmt: skip
    """Return how many tiles of `rows` by `columns` sums one work-item walks down.

    Long, so that a panel of B stays in the near cache; yet enough items for all units, and rows of
    A that stay in the next cache while the items of all panels read them.
    """
    row_tiles = ceil_div(m, rows)
    panels = ceil_div(n, columns) * batch
    flops = 2 * max(k, 1) * rows * columns
    wanted = ceil_div(8 * traits.compute_units, panels)
    affordable = max(1, row_tiles * flops // _ITEM_FLOPS)
    strips = max(1, min(row_tiles, wanted, affordable))
    resident = max(4, _STRIP_BYTES // (rows * max(k, 1) * itemsize))
    strips = ceil_div(row_tiles, min(ceil_div(row_tiles, strips), resident))
    return ceil_div(row_tiles, strips)  # all of about one length: drivers share them out by number


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


def slabs(itemsize: int, traits: DeviceTraits) -> list[Slab]:
    """Return the local-memory tiles that the device can hold, large ones first."""
    largest = min(traits.max_work_group, traits.preferred_work_group, 256)
    side = 16
    while side * side > largest:
        side //= 2
    found = []
    for rows, columns in ((8, 8), (8, 4), (4, 8), (4, 4), (4, 2), (2, 4), (2, 2), (1, 4), (1, 1)):
        for tile_k in (32, 16, 8, 4):
            if rows * columns >= 32 and tile_k > 8:
                continue  # written out or not, what is on its way takes registers
            shape = Slab(
                rows, columns, min(rows, 4), min(columns, 4), side, side, tile_k,
                min(_UNROLL, tile_k),
            )  # fmt: skip
            # every work-item copies the same whole number of elements
            whole = all(n * tile_k % side == 0 for n in (rows, columns))
            if whole and shape.local_bytes(itemsize) <= traits.local_bytes:
                found.append(shape)
    return found


@lru_cache(maxsize=4096)
def ordered_slabs(
    m: int, n: int, batch: int, itemsize: int, traits: DeviceTraits
) -> tuple[Slab, ...]:
    """Return the local-memory tiles for (m, n) results, the one estimated best first.

    A large tile reads global memory less often; a small one wastes less at the edges and makes
    enough groups of a small result.
    """
    m, batch = size_class(m), size_class(batch)

    def cost(shape: Slab) -> tuple[float, float]:
        groups = ceil_div(m, shape.tile_m) * ceil_div(n, shape.tile_n) * batch
        # per step of k: multiply-adds, and what local and global memory are asked for
        work = shape.rows * shape.columns
        far = 4.0 * work * (1 / shape.tile_m + 1 / shape.tile_n)
        step = work + (shape.rows + shape.columns) + far
        # as deep as every work-item copies a whole vector of both operands
        depth = 4 * shape.height * shape.breadth / min(shape.tile_m, shape.tile_n)
        return ceil_div(groups, traits.compute_units) * step, abs(shape.tile_k - depth)

    return tuple(sorted(slabs(itemsize, traits), key=cost))


def lanes(traits: DeviceTraits) -> list[Lanes]:
    """Return the tiles of sub-groups where a kernel can say how large they are."""
    if traits.sub_group != "intel" or traits.sub_group_size == 0:
        return []
    width = traits.sub_group_size
    return [
        Lanes(rows, columns, width, height)
        for rows, columns in ((8, 2), (8, 1), (16, 1), (4, 2))
        for height in (4, 1)
        if width * height <= traits.max_work_group
    ]
