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
_on_record: list[OnRecord] = []
_on_flush: list[OnFlush] = []


def recorded(batch: Any, sig: Any, values: Sequence[Any], result: Any) -> None:
    """Say that an op on `values` is now the last entry of `batch`, with the handle `result`."""
    for listener in _on_record:
        listener(batch, sig, values, result)


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
    on_record: OnRecord | None = None, on_flush: OnFlush | None = None
) -> Callable[[], None]:
    """Call `on_record(batch, sig, values, result)` after each op, `on_flush(plan, device, batch)`
    after each flush.

    Returns:
        A function that ends it.
    """
    global active

    def stop() -> None:
        global active
        if on_record is not None:
            _on_record.remove(on_record)
            active = bool(_on_record)
        if on_flush is not None:
            _on_flush.remove(on_flush)

    if on_record is not None:
        _on_record.append(on_record)
        active = True
    if on_flush is not None:
        _on_flush.append(on_flush)
    return stop


def reset() -> Statistics:
    """Set the counts to zero and return what they were."""
    global statistics
    old, statistics = statistics, Statistics()
    return old
