"""The profiler under its older names: `clgrad.autograd.profiler`.

`profile` here can be switched off, and takes the arguments of the older one.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from clgrad.profiler import profile as _profile
from clgrad.profiler.events import EventList, FunctionEvent, FunctionEventAvg, Interval
from clgrad.profiler.ranges import record_function

__all__ = [
    "EventList", "FunctionEvent", "FunctionEventAvg", "Interval", "profile", "record_function",
]  # fmt: skip


class profile(_profile):  # noqa: N801  # PyTorch's name
    """Records what happens inside a `with` block; see `clgrad.profiler.profile`.

    Args:
        enabled: whether anything is recorded.
        options: those of `clgrad.profiler.profile`; `use_cpu`, `use_kineto` and the like are taken
            for PyTorch's sake.
    """

    def __init__(self, enabled: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.enabled = enabled

    def __enter__(self) -> profile:  # noqa: PYI034  # Self needs Python 3.11
        if self.enabled:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.enabled:
            self.stop()
