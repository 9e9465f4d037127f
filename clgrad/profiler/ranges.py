"""Ranges of a program that the user named; they cost two list tests while nobody profiles."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from time import perf_counter_ns
from types import TracebackType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

collectors: list[Any] = []
"""Who collects at present."""


class _Open(threading.local):
    def __init__(self) -> None:
        self.names: list[str] = []


_open = _Open()


def labels() -> tuple[str, ...]:
    """Return the names of the ranges in which this thread is, outermost first."""
    return tuple(_open.names)


class record_function:  # noqa: N801  # PyTorch's name
    """Give a stretch of the program a name in profiles: a `with` block, or a decorator.

    Args:
        name: what it is called.
        args: shown with it in the trace.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args

    def __enter__(self) -> record_function:  # noqa: PYI034  # Self needs Python 3.11
        self._start = perf_counter_ns()
        _open.names.append(self.name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _open.names.pop()
        if collectors:
            from clgrad.profiler.collect import Call

            call = Call("range", self.name, threading.get_ident(), self._start, perf_counter_ns())
            if self.args is not None:
                call.detail["args"] = self.args
            for collector in collectors:
                collector.calls.append(call)

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]  # functools.wraps keeps the signature
