"""Anomaly mode: nodes remember where they were made, and backward looks for NaN.

Thread-local, and slow on purpose: it waits for the device after every node. What is here is the
switch and the texts; `record` notes positions and the engine looks at gradients.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from clgrad.errors import AutogradError
from clgrad.tape.version import Position, caller, describe


class _Mode(threading.local):
    on = False
    check_nan = True


mode = _Mode()


class Switch:
    """Whether any thread ever switched anomaly mode on; lets the common case skip the rest."""

    used = False


def note(node: Any) -> None:
    """Remember on `node` where it is being made, if the mode is on in this thread."""
    if mode.on:
        node._hooks().metadata["clgrad position"] = caller()


def inspect(node: Any, results: Sequence[Any]) -> None:
    """Raise `AutogradError` if one of a node's gradients holds a NaN and the mode is on."""
    if not (mode.on and mode.check_nan):
        return
    for k, grad in enumerate(results):
        if grad is None or not grad.is_floating_point() or not grad.numel():
            continue
        plain = grad.detach()
        if bool((plain != plain).sum().item()):
            raise AutogradError(
                f"Function '{node.name()}' returned nan values in its {k}th output.{where(node)} "
                "Hint: look at the operands there; log and division near 0, sqrt at 0 and inf - "
                "inf are the usual sources."
            )


def where(node: Any) -> str:
    """Return in words where `node` was made, or nothing if that was not noted."""
    if node.hooks is None or "clgrad position" not in node.hooks.metadata:
        return ""
    position: Position | None = node.hooks.metadata["clgrad position"]
    return f" Its forward was called at {describe(position)}."


def is_anomaly_enabled() -> bool:
    """Return whether anomaly mode is on in this thread."""
    return mode.on


def is_anomaly_check_nan_enabled() -> bool:
    """Return whether anomaly mode, where on, looks for NaN."""
    return mode.check_nan


class set_detect_anomaly:  # noqa: N801  # PyTorch's name
    """Switch anomaly mode; acts when called, and undoes it at the end of a `with` block."""

    def __init__(self, enabled: bool = True, check_nan: bool = True) -> None:
        self._before = mode.on, mode.check_nan
        mode.on, mode.check_nan = enabled, check_nan
        Switch.used = Switch.used or enabled

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        mode.on, mode.check_nan = self._before


class detect_anomaly:  # noqa: N801  # PyTorch's name
    """Inside the block, backward raises at the first NaN and says which line it came from."""

    def __init__(self, check_nan: bool = True) -> None:
        self._wanted = check_nan

    def __enter__(self) -> None:
        self._inner = set_detect_anomaly(True, self._wanted)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inner.__exit__(kind, error, trace)
