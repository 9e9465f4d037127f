"""A caching allocator per device: asking a driver for memory is slow, and may fail late.

Sizes are rounded to classes: multiples of 64 bytes up to 1 KiB, then four classes per power of two
(at most 25 % over), above 64 MiB multiples of 2 MiB. A freed block goes to its class's list and is
handed out again at once, also while kernels that use it are still queued: the queue runs in order.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from clgrad import config
from clgrad.errors import OutOfMemoryError
from clgrad.runtime.buffer import Buffer
from clgrad.runtime.profile import counters

_new = object.__new__
_GRAIN = 64
_SMALL = 1 << 10
_LARGE = 64 << 20
_LARGE_GRAIN = 2 << 20
_SHOWN = 8  # live buffers that an OutOfMemoryError lists


@lru_cache(maxsize=4096)
def size_class(nbytes: int) -> int:
    """Return the size of the block that serves `nbytes` bytes; never 0.

    There are at most 32 classes from one power of two to the next: 3 % are lost.
    """
    if nbytes <= _SMALL:
        return max(_GRAIN, -(-nbytes // _GRAIN) * _GRAIN)
    if nbytes > _LARGE:
        return -(-nbytes // _LARGE_GRAIN) * _LARGE_GRAIN
    step = max(_GRAIN, 1 << ((nbytes - 1).bit_length() - 6))
    return -(-nbytes // step) * step


class Block:
    """One `cl.Buffer` of the pool: `size` bytes, and while it lives, who asked for it."""

    __slots__ = ("handle", "nbytes", "size", "tag")

    def __init__(self, handle: Any, size: int) -> None:
        self.handle = handle
        self.size = size
        self.nbytes = 0
        self.tag: str | None = None


class MemoryPool:
    """The memory of one device.

    Args:
        name: the device's name, for messages.
        create: returns a driver's buffer of so many bytes, or raises.
        is_memory_error: tells a failure of `create` that freeing memory may cure.
        finish: waits until the device is idle.
        soft_limit: bytes beyond which cached blocks are given back before new ones are taken. A
            driver for the host's CPU does not fail when memory runs out, the process is ended.
    """

    def __init__(
        self,
        name: str,
        create: Callable[[int], Any],
        is_memory_error: Callable[[BaseException], bool],
        finish: Callable[[], None],
        soft_limit: int | None = None,
    ) -> None:
        self._name = name
        self._create = create
        self._is_memory_error = is_memory_error
        self._finish = finish
        self._lock = threading.Lock()
        self._returned: deque[Block] = deque()
        self._free: dict[int, list[Block]] = {}
        self._live: dict[Block, None] = {}
        self._give_back = self._returned.append
        self._soft_limit = soft_limit
        self.limit = config.get().memory_limit
        self._allocated = self._allocated_peak = 0
        self._reserved = self._reserved_peak = 0
        self._cache_hits = self._trims = self._driver_calls = 0
        self._taken = self._reserved_total = 0

    def allocate(self, nbytes: int, tag: str | None = None) -> Buffer:
        """Return memory of at least `nbytes` bytes; its content is whatever was there.

        Raises:
            OutOfMemoryError: also after giving back what was cached, there is not enough.
        """
        return self.allocate_all((nbytes,), tag)[0]

    def allocate_all(self, sizes: Sequence[int], tag: str | None = None) -> list[Buffer]:
        """Return a buffer of each size; for each this takes half the time of `allocate`."""
        made = []
        with self._lock:
            if self._returned:
                self._drain()
            for nbytes in sizes:
                size = size_class(nbytes)
                free = self._free.get(size)
                if free:
                    block = free.pop()
                    self._cache_hits += 1
                else:
                    block = self._reserve(size, nbytes, tag)
                block.nbytes = nbytes
                block.tag = tag
                self._live[block] = None
                self._taken += size
                self._allocated = allocated = self._allocated + size
                if allocated > self._allocated_peak:
                    self._allocated_peak = allocated
                buffer: Buffer = _new(Buffer)  # what `__init__` does, without the call
                buffer.handle = block.handle
                buffer.nbytes = nbytes
                buffer.tag = tag
                buffer._give_back = self._give_back
                buffer._block = block
                made.append(buffer)
        counters.bytes_allocated += sum(sizes)
        return made

    def relieve(self) -> None:
        """Wait for the device and give every cached block back to the driver."""
        self._finish()
        self.empty_cache()

    def forget(self) -> object:
        """In a forked child: take no memory of the parent's; returns it, to be kept unreleased."""
        kept = (self._free, list(self._returned))
        self._free = {}
        self._returned.clear()
        self._lock = threading.Lock()
        return kept

    def empty_cache(self) -> int:
        """Give every cached block back to the driver; returns how many bytes that were."""
        with self._lock:
            return self._trim()

    def reset_peak(self) -> None:
        """Start the peaks anew from what is in use now."""
        with self._lock:
            self._drain()
            self._allocated_peak = self._allocated
            self._reserved_peak = self._reserved

    def stats(self) -> dict[str, int]:
        """Return the figures of this pool, bytes and counts, by name."""
        with self._lock:
            self._drain()
            return {
                "allocated.current": self._allocated,
                "allocated.peak": self._allocated_peak,
                "reserved.current": self._reserved,
                "reserved.peak": self._reserved_peak,
                "live_buffers": len(self._live),
                "allocations": self._cache_hits + self._driver_calls,
                "cache_hits": self._cache_hits,
                "driver_allocations": self._driver_calls,
                "trims": self._trims,
            }

    def summary(self, abbreviated: bool = False) -> str:
        """Return the figures as a table; unless `abbreviated`, with live and cached blocks."""
        stats = self.stats()
        with self._lock:
            asked = sum(block.nbytes for block in self._live)
            live = sorted(self._live, key=lambda block: -block.nbytes)
            cached = sorted(self._free.items(), reverse=True)
            taken, reserved = self._taken, self._reserved_total
        allocated, held = stats["allocated.current"], stats["reserved.current"]
        rows = [
            ("allocated", allocated, stats["allocated.peak"], taken, taken - allocated),
            ("reserved", held, stats["reserved.peak"], reserved, reserved - held),
        ]
        lines = [
            f"memory of {self._name}",
            f"  {'':<12}" + "".join(f"{t:>12}" for t in ("now", "peak", "taken", "given back")),
        ]
        lines += [
            f"  {name:<12}" + "".join(f"{format_bytes(value):>12}" for value in values)
            for name, *values in rows
        ]
        lines.append(f"  {'cached':<12}{format_bytes(held - allocated):>12}")
        lines.append(f"  {'rounding':<12}{format_bytes(allocated - asked):>12}")
        if self.limit is not None:
            lines.append(f"  {'limit':<12}{format_bytes(self.limit):>12}")
        lines.append(
            f"  {stats['live_buffers']} live buffers; {stats['allocations']} allocations, "
            f"{stats['cache_hits']} from the cache, {stats['driver_allocations']} from the driver; "
            f"{stats['trims']} trims"
        )
        if abbreviated:
            return "\n".join(lines)
        if live:
            sizes = Counter((block.nbytes, block.tag) for block in live)
            lines.append("  largest live buffers")
            for (nbytes, tag), count in list(sizes.items())[:_SHOWN]:  # by size, as `live` is
                lines.append(f"    {count:>6} x {format_bytes(nbytes):<12}{tag or ''}".rstrip())
        blocks = [(size, len(free)) for size, free in cached if free]
        if blocks:
            lines.append("  largest cached blocks")
            lines += [f"    {n:>6} x {format_bytes(size)}" for size, n in blocks[:_SHOWN]]
        return "\n".join(lines)

    def out_of_memory(self, asked: str, cause: str) -> OutOfMemoryError:
        """Return the error that says what was asked for and who holds the memory."""
        live = sorted(self._live, key=lambda block: block.nbytes, reverse=True)
        held = ", ".join(
            format_bytes(block.nbytes) + (f" {block.tag}" if block.tag else "")
            for block in live[:_SHOWN]
        )
        more = f" and {len(live) - _SHOWN} more" if len(live) > _SHOWN else ""
        holders = f"The largest of {len(live)} live buffers are {held}{more}. " if live else ""
        return OutOfMemoryError(
            f"memory: {self._name} has no room for {asked} ({cause}); "
            f"{format_bytes(self._allocated)} are in use. {holders}"
            "Hint: use smaller batches, drop references to results you no longer need, or compute "
            "under clgrad.no_grad()."
        )

    def _drain(self) -> None:
        """Take back what died since the last call. The lock is held."""
        returned, live, free = self._returned, self._live, self._free
        while returned:
            block = returned.popleft()
            del live[block]
            size = block.size
            self._allocated -= size
            if size in free:
                free[size].append(block)
            else:
                free[size] = [block]

    def _trim(self) -> int:
        """Drop every free block. The lock is held."""
        self._drain()
        freed = 0
        for size, blocks in self._free.items():
            freed += size * len(blocks)
            for block in blocks:
                block.handle.release()
        self._free.clear()
        self._reserved -= freed
        self._trims += 1
        return freed

    def _reserve(self, size: int, nbytes: int, tag: str | None) -> Block:
        """Get a new block from the driver, if need be after trimming. The lock is held."""
        asked = format_bytes(nbytes) + (f" for {tag}" if tag else "")
        if self.limit is not None and self._reserved + size > self.limit:
            self._trim()
            if self._reserved + size > self.limit:
                raise self.out_of_memory(
                    asked, f"the limit is {format_bytes(self.limit)}, set by CLGRAD_MEMORY_LIMIT"
                )
        if self._soft_limit is not None and self._free and self._reserved + size > self._soft_limit:
            self._trim()
        try:
            handle = self._create(size)
        except Exception as error:
            if not self._is_memory_error(error):
                raise
            self._finish()
            self._trim()
            try:
                handle = self._create(size)
            except Exception as second:
                if not self._is_memory_error(second):
                    raise
                raise self.out_of_memory(asked, "the driver refused it") from second
        self._driver_calls += 1
        self._reserved_total += size
        self._reserved += size
        if self._reserved > self._reserved_peak:
            self._reserved_peak = self._reserved
        return Block(handle, size)


def format_bytes(nbytes: float) -> str:
    """Return `nbytes` as people read it, such as `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024 or unit == "GiB":
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    raise AssertionError("unreachable: the loop ends at GiB")
