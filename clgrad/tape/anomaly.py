"""Anomaly mode: nodes remember where they were made, and backward looks for NaN.

Thread-local. What is here is the switch, what is noted of nodes, and the texts; the engine says
which node runs (`running`) and looks at its gradients (`inspect`).
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from clgrad.errors import AutogradError
from clgrad.graph.position import Position, stack, traceback_of
from clgrad.tape import noting

_ENABLED = (
    "Anomaly Detection has been enabled. This mode will increase the runtime and should only be "
    "enabled for debugging."
)
_NO_TRACE = (
    "No forward pass information available. Enable detect anomaly during forward pass for more "
    "information."
)


class _Mode(threading.local):
    on = False
    check_nan = True
    running: Any = None  # the node whose derivative is being computed
    stop: Callable[[], None] | None = None


mode = _Mode()


class Trace:
    """Where a node was made; `str` of it reads like a traceback.

    Attributes:
        positions: of all calls that led there, innermost first.
    """

    __slots__ = ("positions",)

    def __init__(self, positions: tuple[Position, ...]) -> None:
        self.positions = positions

    def __str__(self) -> str:
        return traceback_of(self.positions)


def note(node: Any) -> None:
    """Remember on `node` where it is being made, and which node's derivative that is part of."""
    metadata = node._hooks().metadata
    metadata["traceback_"] = Trace(stack())
    if mode.running is not None:
        metadata["parent_"] = mode.running


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
                f"Function '{node.name()}' returned nan values in its {k}th output. "
                "Hint: look at the operands there; log and division near 0, sqrt at 0 and inf - "
                "inf are the usual sources."
            )


def explain(node: Any) -> None:
    """Warn of an error in `node`: where it was made, and where what asked for that was."""
    _warn(
        f"Error detected in {node.name()}. "
        + _traced(node, "Traceback of forward call that caused the error:")
    )
    while (parent := _metadata(node).get("parent_")) is not None:
        node = parent
        _warn(
            f"\n\nPrevious calculation was induced by {node.name()}. "
            + _traced(node, "Traceback of forward call that induced the previous calculation:")
        )


def _metadata(node: Any) -> dict[Any, Any]:
    return node.hooks.metadata if node.hooks is not None else {}


def _traced(node: Any, title: str) -> str:
    trace = _metadata(node).get("traceback_")
    return _NO_TRACE if trace is None else f"{title}\n{trace}"


def _warn(text: str) -> None:
    """Warn, even while an error is under way that must not be replaced by this warning."""
    try:
        warnings.warn(text, UserWarning, stacklevel=4)
    except UserWarning:  # a filter turns warnings into errors
        sys.stderr.write(f"{text}\n")


def is_anomaly_enabled() -> bool:
    """Return whether anomaly mode is on in this thread."""
    return mode.on


def is_anomaly_check_nan_enabled() -> bool:
    """Return whether anomaly mode, where on, looks for NaN."""
    return mode.check_nan


def _switch(on: bool, check_nan: bool) -> None:
    mode.on, mode.check_nan = on, check_nan
    if on and mode.stop is None:
        mode.stop = noting.listen(note)
    elif not on and mode.stop is not None:
        mode.stop()
        mode.stop = None


class set_detect_anomaly:  # noqa: N801  # PyTorch's name
    """Switch anomaly mode; acts when called, and undoes it at the end of a `with` block."""

    def __init__(self, mode: bool = True, check_nan: bool = True) -> None:
        self.prev = is_anomaly_enabled()
        self.prev_check_nan = is_anomaly_check_nan_enabled()
        _switch(mode, check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _switch(self.prev, self.prev_check_nan)


class detect_anomaly:  # noqa: N801  # PyTorch's name
    """Inside the block, backward raises at the first NaN and says which line it came from.

    Warns:
        UserWarning: when made, that this is slow; and of an error in backward, with the traceback
            of the call that made the node, if the mode was on then.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._wanted = check_nan
        warnings.warn(_ENABLED, UserWarning, stacklevel=2)

    def __enter__(self) -> None:
        self._inner = set_detect_anomaly(True, self._wanted)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inner.__exit__(kind, error, trace)
