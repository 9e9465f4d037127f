"""Who wants to know of nodes as they are made: anomaly mode, checkpoints, explanations.

Listeners are a thread's own. While nobody listens in any thread, a node costs one test of `open`.
What ends or hides history without a node is told as an event:

    enter, leave   ops in between are part of one node, if one is made of them
    inside         that node, its operands, and their edges
    detach, data   of a tensor, which goes on without history
    view           made where nothing is recorded: the view
    host           a tensor whose elements are read
    write          in place, of a tensor

Who wants to stand for the forward functions of composites puts itself into `listeners.composite`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Listener = Callable[[Any], None]
EventListener = Callable[[str, Any], None]


class Switch:
    """How many listeners there are in all threads."""

    open = 0


class _Listeners(threading.local):
    def __init__(self) -> None:
        self.all: list[Listener] = []
        self.events: list[EventListener] = []
        self.composite: Callable[[Any, Any, Any], Any] | None = None


listeners = _Listeners()
_counting = threading.Lock()


def listen(listener: Listener, events: EventListener | None = None) -> Callable[[], None]:
    """Call `listener(node)` for every node that this thread makes, before it saves anything.

    Args:
        events: called with the kind and the thing of each event.

    Returns:
        A function that ends it, once.
    """
    mine = listeners
    mine.all.append(listener)
    if events is not None:
        mine.events.append(events)
    _count(1)

    def stop() -> None:
        if listener in mine.all:
            mine.all.remove(listener)
            if events is not None:
                mine.events.remove(events)
            _count(-1)

    return stop


def _count(step: int) -> None:
    with _counting:
        Switch.open += step


def forward(op: Any, operands: Any, static: Any) -> Any:
    """Run the forward function of a composite, or what stands for it in this thread."""
    if listeners.composite is not None:
        return listeners.composite(op, operands, static)
    return op.forward(*operands, *static)


def note(node: Any) -> None:
    """Tell this thread's listeners of a new node."""
    for listener in listeners.all:
        listener(node)


def event(kind: str, thing: Any = None) -> None:
    """Tell this thread's listeners of something that makes no node; call it if `Switch.open`."""
    for listener in listeners.events:
        listener(kind, thing)
