"""Who wants to know of nodes as they are made: anomaly mode, checkpoints, explanations.

Listeners are a thread's own. While nobody listens in any thread, a node costs one test of `open`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Listener = Callable[[Any], None]


class Switch:
    """How many listeners there are in all threads."""

    open = 0


class _Listeners(threading.local):
    def __init__(self) -> None:
        self.all: list[Listener] = []


listeners = _Listeners()
_counting = threading.Lock()


def listen(listener: Listener) -> Callable[[], None]:
    """Call `listener(node)` for every node that this thread makes, before it saves anything.

    Returns:
        A function that ends it, once.
    """
    mine = listeners.all
    mine.append(listener)
    _count(1)

    def stop() -> None:
        if listener in mine:
            mine.remove(listener)
            _count(-1)

    return stop


def _count(step: int) -> None:
    with _counting:
        Switch.open += step


def note(node: Any) -> None:
    """Tell this thread's listeners of a new node."""
    for listener in listeners.all:
        listener(node)
