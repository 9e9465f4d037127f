"""Covering arrays: few combinations in which every pair of choices occurs.

Most faults need two factors to meet (this op with that layout), not five. All combinations of a
dozen factors are millions; all pairs fit in little more than the product of the two largest.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
_Pair = tuple[str, Any, str, Any]


def _pairs(row: Row, names: Sequence[str]) -> set[_Pair]:
    return {(a, row[a], b, row[b]) for a, b in itertools.combinations(names, 2)}


def covering(
    factors: Mapping[str, Sequence[Any]],
    allowed: Callable[[Row], bool] = lambda row: True,
    seed: int = 0,
    candidates: int = 100,
) -> list[Row]:
    """Return rows in which every allowed pair of values occurs at least once.

    Args:
        factors: name -> its values, which must be hashable.
        allowed: whether a complete row may stand. A pair that no tried row with it may have is
            left out.
        seed: the same seed gives the same rows.
        candidates: how many random completions of a pair to choose from; more make fewer rows.

    Returns:
        Rows, each a value for every factor.

    Source: the greedy completion of pairs of AETG (Cohen, Dalal, Fredman, Patton, 1997).
    """
    rng = random.Random(seed)
    names = sorted(factors, key=lambda n: -len(factors[n]))
    missing = {
        (a, x, b, y): None
        for a, b in itertools.combinations(names, 2)
        for x in factors[a]
        for y in factors[b]
    }  # a dictionary, because sets have no order that can be relied on
    rows: list[Row] = []
    while missing:
        a, x, b, y = next(iter(missing))
        best: Row | None = None
        gain = 0
        for _ in range(candidates):
            row = {n: rng.choice(factors[n]) for n in names} | {a: x, b: y}
            if allowed(row):
                found = sum(pair in missing for pair in _pairs(row, names))
                if found > gain:
                    best, gain = row, found
        if best is None:
            del missing[a, x, b, y]
            continue
        rows.append(best)
        for pair in _pairs(best, names):
            missing.pop(pair, None)
    return rows
