"""When a step runs: at once, or with the gradients that it has used already dropped.

A loop that drops gradients as soon as it has stepped never reads them. What its backward pass and
its step have recorded is then left pending until they are dropped, so that a gradient which is but
an operand of its parameter's change needs no memory, or only for as long as that takes. Any other
loop has its work begun as early as possible. Only when work begins depends on this, not what it
computes.
"""

from __future__ import annotations

import math
import time

from clgrad import dispatch
from clgrad.autograd.running import running

AT_ONCE = 2e-3
"""Seconds between step and `zero_grad` in which the host did nothing else. Whether anything was
recorded, read or uploaded between them is known without a clock."""


class Pace:
    """What one optimizer knows of the loop that it is in.

    Attributes:
        patient: whether work may be left pending; not any more once that was in vain.
    """

    def __init__(self) -> None:
        self.patient = True
        self._left = False
        self._stepped_at = -math.inf
        self._mark: object = None

    def stepped(self) -> None:
        """Begin what is pending after a step, if gradients may still be read."""
        held_back, running.held_back = running.held_back, None
        running.unread = False
        self._left = held_back is not None and held_back == dispatch.backend.mark()[0]
        if not self._left:
            self.patient &= held_back is None
            dispatch.backend.flush()
        self._mark = dispatch.backend.mark()
        self._stepped_at = time.perf_counter()

    def dropped(self) -> None:
        """Begin what was left pending; note whether gradients were dropped right after a step."""
        untouched = dispatch.backend.mark() == self._mark
        at_once = untouched and time.perf_counter() - self._stepped_at < AT_ONCE
        if self._left:
            self._left = False
            self.patient = at_once
            if untouched:
                dispatch.backend.flush()
        running.unread = at_once and self.patient
