"""Anomaly mode: nodes remember where they were made, and what they compute is looked at for NaN.

Thread-local. What is here is the switch, what is noted of nodes, and the texts; the engine says
which node runs (`running`) and has its gradients looked at (`inspect`). Kernels test values where
they compute them (`graph.checks`), so that an error is raised when they have run: at the end of a
backward pass, or whenever the host waits.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from clgrad.errors import AutogradError
from clgrad.graph import checks, watch
from clgrad.graph.position import Position, caller, describe, stack, traceback_of
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
    forward = False
    kind = checks.NAN  # what is looked for
    running: Any = None  # the node whose derivative is being computed
    stops: tuple[Callable[[], None], ...] = ()


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
    metadata = node._own_hooks().metadata
    metadata["traceback_"] = Trace(stack())
    if mode.running is not None:
        metadata["parent_"] = mode.running


def inspect(node: Any, results: Sequence[Any]) -> None:
    """Have a node's gradients looked at, if the mode is on.

    Raises:
        AutogradError: one that is in memory already is bad; the others are looked at as they are
            computed.
    """
    if not (mode.on and mode.check_nan):
        return
    for k, grad in enumerate(results):
        if grad is None or not grad.is_floating_point() or not grad.numel():
            continue
        value = grad._storage.value
        if getattr(value, "looked_at", None) is mode.kind:
            continue
        value.looked_at = mode.kind
        if not checks.look(value, mode.kind, _Backward(node, k, mode.kind)):
            plain = grad.detach()
            if mode.kind == checks.NOT_FINITE:
                plain = plain - plain
            if bool((plain != plain).sum().item()):
                raise _bad_gradient(node, k, mode.kind, "")


class _Backward:
    """Who wants to know of a bad gradient: output `k` of a node."""

    def __init__(self, node: Any, k: int, kind: str) -> None:
        self.node = node
        self.k = k
        self.kind = kind

    def __call__(self, text: str) -> AutogradError:
        explain(self.node)
        return _bad_gradient(self.node, self.k, self.kind, text)


def _bad_gradient(node: Any, k: int, kind: str, text: str) -> AutogradError:
    found = "nan" if kind == checks.NAN else "nan or inf"
    return AutogradError(
        f"Function '{node.name()}' returned {found} values in its {k}th output. {text} Hint: look "
        "at the operands there; log and division near 0, sqrt at 0 and inf - inf are the usual "
        "sources."
    )


class _Forward:
    """Who wants to know of a bad result: the line that called the op."""

    def __init__(self, place: Position | None) -> None:
        self.place = place

    def __call__(self, text: str) -> AutogradError:
        return AutogradError(
            f"forward: {text} It was called at {describe(self.place)}. Expected finite numbers. "
            "Hint: it is the first op whose result is bad; look at its operands there."
        )


def _recorded(batch: Any, sig: Any, values: Sequence[Any], result: Any) -> None:
    """Have an op of the forward pass looked at."""
    if mode.forward and mode.running is None:
        checks.look(result, mode.kind, _Forward(caller()))


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
    return node._hooks.metadata if node._hooks is not None else {}


def _traced(node: Any, title: str) -> str:
    trace = _metadata(node).get("traceback_")
    if trace is None:
        return _NO_TRACE + (f" It was made at {describe(node._place)}." if node._place else "")
    return f"{title}\n{trace}"


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


_State = tuple[bool, bool, bool, str]


def _state() -> _State:
    return mode.on, mode.check_nan, mode.forward, mode.kind


def _switch(state: _State) -> None:
    """Set the mode of this thread, and listen for what it needs."""
    for stop in mode.stops:
        stop()
    mode.on, mode.check_nan, mode.forward, mode.kind = state
    stops = []
    if mode.on:
        stops.append(noting.listen(note))
    if mode.on and mode.forward:
        stops.append(watch.listen(_recorded))
    mode.stops = tuple(stops)


class set_detect_anomaly:  # noqa: N801  # PyTorch's name
    """Switch anomaly mode; acts when called, and undoes it at the end of a `with` block.

    Args:
        mode: on or off.
        check_nan: look for NaN in gradients.
        forward: look at the results of all ops, too.
        check_inf: look for infinities as well.
    """

    def __init__(
        self, mode: bool = True, check_nan: bool = True, *, forward: bool = False,
        check_inf: bool = False,
    ) -> None:  # fmt: skip
        self._before = _state()
        _switch((mode, check_nan, forward, checks.NOT_FINITE if check_inf else checks.NAN))

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and mode.on and mode.forward:
                _flush()
        finally:
            _switch(self._before)


def _flush() -> None:
    """Run what is pending, so that what is bad is found where it was looked for."""
    from clgrad.graph.pending import local

    for recorder in list(getattr(local, "recorders", {}).values()):
        recorder.flush()


class detect_anomaly:  # noqa: N801  # PyTorch's name
    """Inside the block, NaN is found where it arises, and errors in backward say where from.

    Kernels test what they compute, which takes no further pass over memory; an error is raised when
    they have run, and names the first bad op, the first bad element and what the op was given.

    Args:
        check_nan: look for NaN in the gradients that nodes compute.
        forward: look at the results of all other ops, too.
        check_inf: look for infinities as well.

    Warns:
        UserWarning: when made, that this is slow; and of an error in backward, with the traceback
            of the call that made the node, if the mode was on then.
    """

    def __init__(
        self, check_nan: bool = True, *, forward: bool = False, check_inf: bool = False
    ) -> None:
        self._wanted = check_nan, forward, check_inf
        warnings.warn(_ENABLED, UserWarning, stacklevel=2)

    def __enter__(self) -> None:
        check_nan, forward, check_inf = self._wanted
        self._inner = set_detect_anomaly(True, check_nan, forward=forward, check_inf=check_inf)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inner.__exit__(kind, error, trace)
