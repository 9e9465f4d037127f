"""Errors that only the device can see: an index out of range in a tensor that it computed.

A kernel that meets one goes on with a valid index and writes what it met into its slot of a small
buffer. The next time the host waits for the device, it looks there and raises. A slot belongs to an
op and a line of the program, so a loop uses the same few again and again.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

from clgrad.errors import ClgradIndexError
from clgrad.graph.position import Position, describe

SLOTS = 64
"""Slots of one buffer; more are allocated as they are needed."""
WORDS = 4
"""int32 words of a slot: whether something was met, the index, the size, and one unused."""


class Flags:
    """The slots of one device."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.lock = threading.Lock()
        self.pages: list[Any] = []
        self.known: dict[Any, int] = {}
        self.owners: list[tuple[str, Position | None]] = []
        self.dirty = False

    def claim(self, op: str, place: Position | None) -> tuple[Any, int]:
        """Return the buffer and the slot in it where a call of `op` at `place` reports."""
        key = (op, None if place is None else (id(place[0]), place[1]))
        with self.lock:
            slot = self.known.get(key)
            if slot is None:
                slot = self.known[key] = len(self.owners)
                self.owners.append((op, place))
                if slot == len(self.pages) * SLOTS:
                    page = self.device.allocate(SLOTS * WORDS * 4)
                    self.device.fill(page, np.int32(0))
                    self.pages.append(page)
            self.dirty = True
            return self.pages[slot // SLOTS], slot % SLOTS

    def check(self) -> None:
        """Raise `ClgradIndexError` if a kernel reported something since the last check; waits."""
        with self.lock:
            if not self.dirty:
                return
            self.dirty = False
            found = None
            for number, page in enumerate(self.pages):
                words = np.empty((SLOTS, WORDS), np.int32)
                self.device.read(page, words)
                for slot in np.flatnonzero(words[:, 0]):
                    found = found or (*self.owners[number * SLOTS + int(slot)], *words[slot, 1:3])
                if words[:, 0].any():
                    self.device.fill(page, np.int32(0))
        if found is not None:
            op, place, index, size = found
            raise ClgradIndexError(
                f"{op}: index {index} is out of bounds for dimension with size {size}, in the call "
                f"at {describe(place)}. The indices were computed on the device, so this is found "
                "only now; the call went on with an index in range. Hint: check them before, e.g. "
                "assert index.max() < size."
            )


_flags: weakref.WeakKeyDictionary[Any, Flags] = weakref.WeakKeyDictionary()


def flags_of(device: Any) -> Flags:
    """Return the flags of a device."""
    found = _flags.get(device)
    if found is None:
        found = _flags.setdefault(device, Flags(device))
    return found


def check(device: Any) -> None:
    """Raise what kernels on `device` reported; costs nothing where none could."""
    found = _flags.get(device)
    if found is not None and found.dirty:
        found.check()
