"""Which backward pass this thread is in, for those who must tell one pass from another."""

from __future__ import annotations

import itertools
import threading

_numbers = itertools.count()


class Pass:
    """One backward pass that runs node by node.

    Attributes:
        number: 0, 1, … in the order in which passes began.
        limited: whether it computes gradients for some inputs alone.
    """

    __slots__ = ("__weakref__", "limited", "number")

    def __init__(self, limited: bool = False) -> None:
        self.number = next(_numbers)
        self.limited = limited


class _Passes(threading.local):
    def __init__(self) -> None:
        self.stack: list[Pass] = []


passes = _Passes()
"""The passes of this thread, those begun inside another after it."""


def current() -> Pass | None:
    """Return the innermost pass that this thread is in."""
    return passes.stack[-1] if passes.stack else None
