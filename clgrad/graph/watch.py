"""Who wants to see what is recorded and run: the kernel dump, statistics of plans.

Off by default, and then a test of one flag per op; source lines are collected only while somebody
watches, because finding them costs as much as recording the op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

active = False
"""Whether ops are noted as they are recorded."""
strict = False
"""Whether somebody must see every op, so that no segment may be recorded at once."""


@dataclass(slots=True)
class Statistics:
    """Counts over all flushes: plans run, kernels launched, buffers donated and copied, recipes."""

    flushes: int = 0
    launches: int = 0
    donations: int = 0
    copies: int = 0
    recipes: int = 0


statistics = Statistics()
OnRecord = Callable[[Any, Any, Sequence[Any], Any], None]
OnFlush = Callable[[Any, Any, Any], None]
OnSplice = Callable[[Any, int, int], None]
OnBegin = Callable[[Any], None]
_on_record: list[OnRecord] = []
_on_flush: list[OnFlush] = []
_on_splice: list[OnSplice] = []
_on_begin: list[OnBegin] = []


def recorded(batch: Any, sig: Any, values: Sequence[Any], result: Any) -> None:
    """Say that an op on `values` is now the last entry of `batch`, with the handle `result`."""
    for listener in _on_record:
        listener(batch, sig, values, result)


def spliced(batch: Any, start: int, count: int) -> None:
    """Say that `count` ops of a segment are now entries of `batch`, from `start` on."""
    for listener in _on_splice:
        listener(batch, start, count)


def begins(batch: Any) -> None:
    """Say that a batch is about to be run."""
    for listener in _on_begin:
        listener(batch)


def flushed(plan: Any, device: Any, batch: Any) -> None:
    """Say that a plan has been enqueued."""
    statistics.flushes += 1
    statistics.launches += plan.launches
    statistics.donations += plan.donations
    statistics.copies += plan.copies
    statistics.recipes += len(plan.recipes)
    for listener in _on_flush:
        listener(plan, device, batch)


def listen(
    on_record: OnRecord | None = None,
    on_flush: OnFlush | None = None,
    *,
    on_splice: OnSplice | None = None,
    on_begin: OnBegin | None = None,
) -> Callable[[], None]:
    """Call functions as things happen, in whatever thread they do.

    Args:
        on_record: `(batch, sig, values, result)` after each op.
        on_flush: `(plan, device, batch)` after each flush.
        on_splice: `(batch, start, count)` after a segment; without it none is made while
            `on_record` listens, so that it sees every op by itself.
        on_begin: `(batch)` before each flush.

    Returns:
        A function that ends it.
    """
    parts: list[tuple[list[Any], Any]] = [
        (_on_record, on_record), (_on_flush, on_flush), (_on_splice, on_splice),
        (_on_begin, on_begin),
    ]  # fmt: skip
    demanding = on_record is not None and on_splice is None

    def stop() -> None:
        for listeners, listener in parts:
            if listener is not None:
                listeners.remove(listener)
        if demanding:
            _demanding.pop()
        _update()

    for listeners, listener in parts:
        if listener is not None:
            listeners.append(listener)
    if demanding:
        _demanding.append(None)
    _update()
    return stop


_demanding: list[None] = []


def _update() -> None:
    global active, strict
    active, strict = bool(_on_record), bool(_demanding)


def reset() -> Statistics:
    """Set the counts to zero and return what they were."""
    global statistics
    old, statistics = statistics, Statistics()
    return old
