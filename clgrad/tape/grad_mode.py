"""Grad mode and inference mode: thread-local switches, as context managers and decorators.

Not the check whether an op needs a node: that is in `dispatch`, which asks here only when an
operand requires grad.
"""

from __future__ import annotations

import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


_OF_A_CLASS = ("__module__", "__name__", "__qualname__", "__doc__")


class _Mode(threading.local):
    grad = True
    asked = False
    inference = False
    forward = True
    threads = True
    replay = False
    layouts = True


_mode = mode = _Mode()  # PyTorch calls an argument `mode`
"""This thread's switches: `grad` (record nodes?), `asked` (would grad mode be on, were it not for
inference mode?), `inference` (make inference tensors?), `forward` (compute tangents, while a level
of forward-mode derivatives is open?), `replay` (remember which ops made a view?), `layouts` (are
gradients laid out as their leaves?)."""


class _Count:
    """How many inference blocks are open in any thread: what makes the common case one test."""

    __slots__ = ("lock", "open")

    def __init__(self) -> None:
        self.open = 0
        self.lock = threading.Lock()

    def add(self, step: int) -> None:
        with self.lock:
            self.open += step


inference_blocks = _Count()


def is_grad_enabled() -> bool:
    """Return whether ops of this thread are recorded for backward.

    Inside `inference_mode` nothing is, but `enable_grad` may have been asked for.
    """
    return mode.grad or mode.asked


def switch_grad(enabled: bool) -> None:
    """Turn recording on or off; in inference mode it stays off, and the wish is remembered."""
    mode.grad = enabled and not mode.inference
    mode.asked = enabled and mode.inference


def is_inference_mode_enabled() -> bool:
    """Return whether tensors that this thread makes are inference tensors."""
    return mode.inference


class _Switch:
    """A context manager that is also a decorator, of functions and of generator functions."""

    def _again(self) -> _Switch:
        """Return a manager like this one for one call of a decorated function."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        raise NotImplementedError

    def __call__(self, function: F) -> F:
        if inspect.isclass(function):
            warnings.warn(
                f"Decorating classes is deprecated: {function.__name__} becomes a function, and "
                "only its __init__ runs in this mode. Hint: decorate __init__ itself, or methods.",
                FutureWarning,
                stacklevel=2,
            )
            return self._wrap(function, _OF_A_CLASS)
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)  # type: ignore[return-value]  # same signature
        return self._wrap(function)

    def _wrap(self, function: F, copied: Sequence[str] = functools.WRAPPER_ASSIGNMENTS) -> F:
        @functools.wraps(function, copied, () if inspect.isclass(function) else ("__dict__",))
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]  # functools.wraps keeps the signature

    def _wrap_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Set the mode while the generator's own code runs, and not between its steps."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self._again():
                generator = function(*args, **kwargs)
            step: Callable[[], Any] = functools.partial(next, generator)
            try:
                while True:
                    try:
                        with self._again():
                            result = step()
                    except StopIteration as stop:
                        return stop.value
                    try:
                        sent = yield result
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = functools.partial(generator.throw, error)
                    else:
                        step = functools.partial(generator.send, sent)
            finally:
                with self._again():
                    generator.close()

        return wrapped


class _GradMode(_Switch):
    _enabled: bool

    def __enter__(self) -> None:
        self._previous = mode.grad, mode.asked
        switch_grad(self._enabled)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        mode.grad, mode.asked = self._previous


class no_grad(_GradMode):  # noqa: N801  # PyTorch's name
    """Record nothing for backward: `with no_grad():` or `@no_grad()`."""

    _enabled = False

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        return made if function is None else made(function)  # `@no_grad` without parentheses

    def _again(self) -> _Switch:
        switch: _Switch = type(self)()
        return switch


class enable_grad(no_grad):  # noqa: N801  # PyTorch's name
    """Record for backward, also inside `no_grad`."""

    _enabled = True


class _Setting(_Switch):
    """Acts when it is made, and is undone at the end of a `with` block."""

    _field: str

    def __init__(self, mode: bool) -> None:
        self._before = self._get()
        self._enabled = bool(mode)
        self._set(self._enabled)

    def _get(self) -> Any:
        return getattr(_mode, self._field)

    def _set(self, value: Any) -> None:
        setattr(_mode, self._field, value)

    def _again(self) -> _Switch:
        return type(self)(self._enabled)

    def __enter__(self) -> None:
        self._set(self._enabled)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._set(self._before)

    def __call__(self, function: F) -> F:
        self._set(self._before)  # as a decorator: only calls are affected
        return super().__call__(function)


class set_grad_enabled(_Setting):  # noqa: N801  # PyTorch's name
    """Switch recording on or off; acts when called, and undoes it at the end of a `with` block."""

    def _get(self) -> Any:
        return is_grad_enabled()

    def _set(self, value: Any) -> None:
        switch_grad(value)


class set_forward_enabled(_Setting):  # noqa: N801  # as its like
    """Switch tangents on or off; acts when called, and undoes it at the end of a `with` block."""

    _field = "forward"


class set_multithreading_enabled(_Setting):  # noqa: N801  # PyTorch's name
    """Accepted and remembered: a backward pass runs in the thread that called it, always."""

    _field = "threads"


class _force_original_view_tracking(_Setting):  # noqa: N801  # PyTorch's name
    """Let views remember the ops that made them, and have those again as history after a write."""

    _field = "replay"


class enforce_grad_layout_policy(_Setting):  # noqa: N801  # PyTorch's name
    """Say whether `.grad` is laid out as its leaf even where that takes a copy; on at first."""

    _field = "layouts"

    def __init__(self, enable: bool) -> None:
        super().__init__(enable)


def is_view_replay_enabled() -> bool:
    """Return what `_force_original_view_tracking` has set in this thread."""
    return _mode.replay


def is_multithreading_enabled() -> bool:
    """Return what `set_multithreading_enabled` has set in this thread."""
    return _mode.threads


class inference_mode(_Switch):  # noqa: N801  # PyTorch's name
    """Record nothing, and make tensors that can never take part in a graph of derivatives."""

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode):
            return cls(True)(mode)
        return super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        self._enabled = mode

    def _again(self) -> _Switch:
        switch: _Switch = inference_mode(self._enabled)
        return switch

    def __enter__(self) -> None:
        self._previous = mode.inference, mode.grad, mode.asked, mode.forward
        mode.inference = self._enabled
        mode.grad = mode.forward = not self._enabled
        mode.asked = False
        inference_blocks.add(1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        mode.inference, mode.grad, mode.asked, mode.forward = self._previous
        inference_blocks.add(-1)


def recording() -> _Switch:
    """Return a manager in which ops are recorded, whichever mode is on outside."""
    switch: _Switch = inference_mode(False) if mode.inference else enable_grad()
    return switch
