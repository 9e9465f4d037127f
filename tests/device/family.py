"""Many cases, one flush: what a family of tests records runs as few kernels, compared by case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clgrad import dispatch
from clgrad.autograd.running import running

Check = Callable[[], Any]
"""Compares what a case has recorded; raises, or returns what is wrong as a text."""


@contextmanager
def one_flush() -> Iterator[None]:
    """Record what is inside, backward passes included, and flush at the end."""
    running.composing += 1
    try:
        yield
    finally:
        running.composing -= 1
    dispatch.backend.flush()


class Family:
    """Cases that are recorded together and compared after a common flush, each under its name."""

    def __init__(self) -> None:
        self._cases: list[tuple[str, Callable[[], Check]]] = []

    def add(self, name: Any, record: Callable[[], Check]) -> None:
        """Add a case: `record()` records it and returns how to compare it."""
        self._cases.append((str(name), record))

    def check(self) -> None:
        """Record all cases, flush once, compare each.

        One that differs, or whose kernel does not build, is recorded again by itself, which tells a
        fault of its own from one of its company.
        """
        with one_flush():
            checks = [record() for _, record in self._cases]
        wrong = []
        for (name, record), check in zip(self._cases, checks, strict=True):
            fault = _fault(check)
            if fault:
                alone = _fault(lambda record=record: _alone(record))
                company = "" if alone else "\n(by itself it is right)"
                wrong.append(f"{name}: {fault}{company}")
        total = len(self._cases)
        assert total, "nothing was compared"
        assert not wrong, f"{len(wrong)} of {total} cases differ\n" + "\n".join(wrong[:20])


def _alone(record: Callable[[], Check]) -> Any:
    with one_flush():
        check = record()
    return check()


def _fault(check: Check) -> str | None:
    try:
        found: str | None = check()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return found
