"""A segment: recorded work that is recorded again in one go, on other operands.

What a stretch of the tape did is taken down once, with its operands by number; to record it again
is to append its entries with the operands' present refs. That costs a tenth of recording each op.
Nothing here knows what the work is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clgrad.ops.signature import Signature

TapeEntry = tuple[Signature, tuple[int, ...], int | None]
"""Signature, refs of the operands, and ref of the old value of a write or None."""
Number = tuple[int, int]
"""(which number of an entry, which of those that are passed when a segment is recorded again)."""

PLACED = 4
"""Positions on a tape for which a segment keeps its entries ready."""


class Segment:
    """Entries of a tape, in terms of operands.

    Attributes:
        entries: refs count from the start of the segment; ~k stands for operand k.
        scalars: the numbers of each entry; those in `varying` are passed anew.
        outputs: the entries whose results are wanted.
    """

    __slots__ = ("entries", "outputs", "placed", "scalars", "varying")

    def __init__(
        self, entries: Sequence[TapeEntry], scalars: Sequence[tuple[Any, ...]],
        varying: Mapping[int, Sequence[Number]], outputs: Sequence[int],
    ) -> None:  # fmt: skip
        self.entries = tuple(entries)
        self.scalars = tuple(scalars)
        self.varying = tuple((e, tuple(places)) for e, places in varying.items())
        self.outputs = tuple(outputs)
        self.placed: dict[Any, list[TapeEntry]] = {}

    def place(self, base: int, refs: tuple[int, ...]) -> list[TapeEntry]:
        """Return the entries for a tape that has `base` entries, on operands with these refs."""
        found = self.placed.get((base, refs))
        if found is None:

            def placed(ref: int) -> int:
                return base + ref if ref >= 0 else refs[~ref]

            found = [
                (sig, tuple([placed(r) for r in sources]), None if old is None else placed(old))
                for sig, sources, old in self.entries
            ]
            if len(self.placed) >= PLACED:
                self.placed.clear()
            self.placed[base, refs] = found
        return found

    def numbers(self, given: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the numbers of each entry, with those that vary as given."""
        made = list(self.scalars)
        for e, places in self.varying:
            changed = list(made[e])
            for k, n in places:
                changed[k] = given[n]
            made[e] = tuple(changed)
        return made


def segment_of(
    entries: Sequence[TapeEntry], scalars: Sequence[tuple[Any, ...]], start: int,
    operands: Mapping[int, int], varying: Mapping[int, Sequence[Number]], outputs: Sequence[int],
) -> Segment | None:  # fmt: skip
    """Return the segment of a tape's entries from `start` on.

    Args:
        operands: ref of each operand on that tape -> its number.
        varying: entry of the tape -> its numbers that will be passed anew.
        outputs: entries of the tape whose results are wanted.

    Returns:
        None where the work reads something that is no operand.
    """

    def relative(ref: int) -> int:
        return ref - start if ref >= start else ~operands[ref]

    try:
        made = [
            (sig, tuple([relative(r) for r in sources]), None if old is None else relative(old))
            for sig, sources, old in entries[start:]
        ]
    except KeyError:
        return None
    return Segment(
        made, scalars[start:], {e - start: places for e, places in varying.items()},
        [e - start for e in outputs],
    )  # fmt: skip
