"""Which steps of a loop are profiled."""

from __future__ import annotations

import enum
from collections.abc import Callable

from clgrad.errors import ClgradValueError


class ProfilerAction(enum.Enum):
    """What a profiler does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


class ProfilerActivity(enum.Enum):
    """What may be recorded, by PyTorch's names: the host, and the devices whatever they are."""

    CPU = 0
    CUDA = 1
    XPU = 2
    MTIA = 3
    HPU = 4
    PrivateUse1 = 5


Schedule = Callable[[int], ProfilerAction]


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Schedule:  # fmt: skip
    """Return a schedule: skip some steps, then cycles of waiting, warming up and recording.

    Args:
        wait, warmup, active: steps of each part of a cycle; the last active one ends it.
        repeat: number of cycles; 0 for ever.
        skip_first: steps before the first cycle.
        skip_first_wait: whether the first cycle begins without waiting.

    Raises:
        ClgradValueError: a number is negative, or nothing would ever be recorded.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise ClgradValueError(
            f"schedule: wait={wait}, warmup={warmup}, active={active}, repeat={repeat}, "
            f"skip_first={skip_first}. Expected no negative number, and active of 1 or more."
        )

    def action(step: int) -> ProfilerAction:
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        length = wait + warmup + active
        if repeat and step // length >= repeat:
            return ProfilerAction.NONE
        at = step % length
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return action
