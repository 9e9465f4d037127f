"""Version counters: the check that nobody overwrote what a derivative will read.

A counter belongs to a tensor family (a base, its views, its detached twins), not to a storage:
`.data` has the same storage and a counter of its own. It also remembers who wrote last, so that an
error can name the line. It is not the hazard check of deferred execution: values are immutable.
"""

from __future__ import annotations

import os
import sys
import weakref
from types import CodeType
from typing import Any

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_KEEP = 4  # writes remembered by a counter; errors are mostly about the last one or two

Position = tuple[CodeType, int]


class Pin:
    """The value that all checked saves of one version share; emptied when they can only raise."""

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: Any) -> None:
        self.value = value


class VersionCounter:
    """Counts the in-place writes to a family of tensors.

    Attributes:
        version: number of writes so far.
        pin: weak reference to the `Pin` of this version, or None.
        writes: the last few (version, op name, code position), oldest first.
    """

    __slots__ = ("pin", "version", "writes")

    def __init__(self) -> None:
        self.version = 0
        self.pin: weakref.ref[Pin] | None = None
        self.writes: list[tuple[int, str, Position | None]] | None = None

    def bump(self, op: str) -> None:
        """Count one write by `op`, and let go of the value that doomed saves were pinning."""
        self.version = version = self.version + 1
        if self.pin is not None:
            pin = self.pin()
            if pin is not None:
                pin.value = None
            self.pin = None
        writes = self.writes
        entry = (version, op, caller())
        if writes is None:
            self.writes = [entry]
        else:
            writes.append(entry)
            if len(writes) > _KEEP:
                del writes[0]

    def writer(self, version: int) -> tuple[str, Position | None] | None:
        """Return who made the first write after `version`, if that is still known."""
        for number, op, position in self.writes or ():
            if number > version:
                return (op, position) if number == version + 1 else ("several ops", position)
        return None


def caller() -> Position | None:
    """Return where, outside of this package, the present call came from; about 0.2 µs.

    A code object and an instruction offset hold no locals alive, which a frame would.
    """
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_ROOT):
        back = frame.f_back
        if back is None:
            return None
        frame = back
    return frame.f_code, frame.f_lasti


def describe(position: Position | None) -> str:
    """Return `file.py:12, in train`, found only now that somebody wants to read it."""
    if position is None:
        return "an unknown place"
    code, instruction = position
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    return f"{code.co_filename}:{line}, in {code.co_name}"
