"""A step length along a direction that satisfies the strong Wolfe conditions.

Source: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms 3.5 and 3.6, with the
safeguards and constants of minFunc (Schmidt 2005), which PyTorch has too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from clgrad.tensor import Tensor

DECREASE, CURVATURE = 1e-4, 0.9
"""How much of the slope a step must gain, and to what part the slope must fall."""


@dataclass(frozen=True)
class Point:
    """A place on the way: step length, loss, gradient, and slope along the direction."""

    step: float
    loss: float
    grad: Tensor
    slope: float


def minimum_between(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Return where the cubic through two points with their slopes is least, within bounds."""
    low, high = bounds or (min(a.step, b.step), max(a.step, b.step))
    first, last = (a, b) if a.step <= b.step else (b, a)
    if first.step == last.step:
        return (low + high) / 2
    mean = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = mean * mean - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    root = math.sqrt(square)
    width = last.slope - first.slope + 2 * root
    if width == 0:
        return (low + high) / 2
    place = last.step - (last.step - first.step) * ((last.slope + root - mean) / width)
    return min(max(place, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, step: float, reach: float, tolerance: float,
    most: int,
) -> tuple[Point, int]:  # fmt: skip
    """Return a point that satisfies the conditions, or the best one found, and the evaluations.

    Args:
        evaluate: loss, gradient and slope after a step of a given length.
        start: where the search begins, at step 0.
        step: the first length to try.
        reach: largest element of the direction.
        tolerance: stop when no element would move by more.
        most: how often to evaluate again after the first step.
    """
    search = _Search(evaluate, start, most)
    bracket = search.bracket(step)
    if len(bracket) == 2 and search.count <= most:
        bracket = search.zoom(bracket, reach, tolerance)
    return min(bracket, key=lambda p: p.loss), search.count


class _Search:
    def __init__(self, evaluate: Callable[[float], Point], start: Point, most: int) -> None:
        self.evaluate = evaluate
        self.start = start
        self.most = most
        self.count = 0

    def at(self, step: float) -> Point:
        self.count += 1
        return self.evaluate(step)

    def too_high(self, p: Point) -> bool:
        start = self.start
        return p.loss > start.loss + DECREASE * p.step * start.slope

    def flat(self, p: Point) -> bool:
        return abs(p.slope) <= -CURVATURE * self.start.slope

    def bracket(self, step: float) -> list[Point]:
        """Return one point that satisfies the conditions, or two with such a point between."""
        before, now = self.start, self.at(step)
        for k in range(self.most):
            if self.too_high(now) or (k > 1 and now.loss >= before.loss):
                return [before, now]
            if self.flat(now):
                return [now]
            if now.slope >= 0:
                return [before, now]
            bounds = (now.step + 0.01 * (now.step - before.step), now.step * 10)
            longer = minimum_between(before, now, bounds)
            before, now = now, self.at(longer)
        return [self.start, now]

    def zoom(self, bracket: list[Point], reach: float, tolerance: float) -> list[Point]:
        """Narrow a bracket until a point in it satisfies the conditions."""
        low, high = sorted(bracket, key=lambda p: p.loss)
        slow = False
        while self.count <= self.most:
            if abs(high.step - low.step) * reach < tolerance:
                break
            step, slow = self._inside(bracket, slow)
            now = self.at(step)
            if self.too_high(now) or now.loss >= low.loss:
                bracket[bracket.index(high)] = now
                low, high = sorted(bracket, key=lambda p: p.loss)
                continue
            if self.flat(now):
                return [now]
            place = bracket.index(low)
            if now.slope * (high.step - low.step) >= 0:
                bracket[1 - place] = high = low
            bracket[place] = low = now
        return [low]

    def _inside(self, bracket: list[Point], slow: bool) -> tuple[float, bool]:
        """Return the next length to try, which keeps off the ends, and whether it came near one."""
        step = minimum_between(bracket[0], bracket[1])
        least, most = (f(p.step for p in bracket) for f in (min, max))
        margin = 0.1 * (most - least)
        if min(most - step, step - least) >= margin:
            return step, False
        if slow or step >= most or step <= least:
            return (most - margin if most - step < step - least else least + margin), False
        return step, True
