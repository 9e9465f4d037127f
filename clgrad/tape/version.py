"""Version counters: the check that nobody overwrote what a derivative will read.

A counter belongs to a tensor family (a base, its views, its detached twins), not to a storage:
`.data` has the same storage and a counter of its own. It also remembers who wrote last, so that an
error can name the line. It is not the hazard check of deferred execution: values are immutable.
"""

from __future__ import annotations

import weakref
from typing import Any

from clgrad.graph.position import Position, caller, describe, written_from

_KEEP = 4  # writes remembered by a counter; errors are mostly about the last one or two

__all__ = ["Pin", "Position", "VersionCounter", "caller", "describe"]


class Pin:
    """The value that all checked saves of one version share; emptied when they can only raise.

    Attributes:
        value: what was saved.
        counter, version: of the family, and when it was first saved.
        tensor: weak reference to what was first saved of the family in this version.
    """

    __slots__ = ("__weakref__", "counter", "tensor", "value", "version")

    value: Any
    counter: VersionCounter
    version: int
    tensor: weakref.ref[Any]

    def __init__(self, value: Any) -> None:
        self.value = value


class VersionCounter:
    """Counts the in-place writes to a family of tensors.

    Attributes:
        version: number of writes so far.
        pin: weak reference to the `Pin` of this version, or None.
        writes: the last few (version, op name, code position, whether an optimizer did it), oldest
            first.
    """

    __slots__ = ("pin", "version", "writes")

    def __init__(self) -> None:
        self.version = 0
        self.pin: weakref.ref[Pin] | None = None
        self.writes: list[tuple[int, str, Position | None, bool]] | None = None

    def bump(self, op: str) -> None:
        """Count one write by `op`, and let go of the value that doomed saves were pinning."""
        self.version = version = self.version + 1
        if self.pin is not None:
            pin = self.pin()
            if pin is not None:
                pin.value = None
            self.pin = None
        writes = self.writes
        entry = (version, op, *written_from())
        if writes is None:
            self.writes = [entry]
        else:
            writes.append(entry)
            if len(writes) > _KEEP:
                del writes[0]

    def writer(self, version: int) -> tuple[str, Position | None] | None:
        """Return who made the first write after `version`, if that is still known."""
        for number, op, position, stepped in self.writes or ():
            if number > version:
                who = op if number == version + 1 else "several ops"
                return (f"an optimizer's step ({who})" if stepped else who), position
        return None
