"""Hooks of optimizers: before and after a step, and around saving and loading state.

The base of `Optimizer` alone; it knows nothing of parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from clgrad.errors import ClgradRuntimeError
from clgrad.tape.hooks import RemovableHandle, Table

Hook = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])

_all_pre, _all_post = Table(), Table()


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before each step of every optimizer."""
    return RemovableHandle(_all_pre, hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after each step of every optimizer."""
    return RemovableHandle(_all_post, hook)


def stepping(step: F) -> F:
    """Let the method `step` run the hooks around itself, once if one `step` calls another."""

    @functools.wraps(step)
    def wrapped(self: Hooked, *args: Any, **kwargs: Any) -> Any:
        if self._stepping:
            return step(self, *args, **kwargs)
        self._stepping = self._stepped = True
        args = (self, *args)  # as PyTorch's hooks see them
        try:
            for hook in (*_all_pre.values(), *self._step_pre_hooks.values()):
                changed = hook(self, args, kwargs)
                if changed is None:
                    continue
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise ClgradRuntimeError(
                        f"{type(self).__name__}.step must return None or a tuple of (new_args, "
                        f"new_kwargs), but got {changed}. It is what a step pre hook returned."
                    )
                args, kwargs = changed
            result = step(*args, **kwargs)
            for hook in (*self._step_post_hooks.values(), *_all_post.values()):
                hook(self, args, kwargs)
        finally:
            self._stepping = False
        return result

    wrapped._runs_hooks = True  # type: ignore[attr-defined]  # read by `__init_subclass__`
    return wrapped  # type: ignore[return-value]  # functools.wraps keeps the signature


class Hooked:
    """What lets users look on, and change what is passed, saved and loaded."""

    step: Callable[..., Any]

    def __init__(self) -> None:
        self._step_pre_hooks, self._step_post_hooks = Table(), Table()
        self._state_pre_hooks, self._state_post_hooks = Table(), Table()
        self._load_pre_hooks, self._load_post_hooks = Table(), Table()
        self._stepping = False
        self._stepped = False  # what schedulers ask, to warn where they are called first

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__ and not hasattr(cls.step, "_runs_hooks"):
            cls.step = stepping(cls.step)

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before a step; it may return new arguments."""
        return RemovableHandle(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after a step."""
        return RemovableHandle(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before its state is saved."""
        return _entered(self._state_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after; it may return another dictionary."""
        return _entered(self._state_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; it may return another dictionary."""
        return _entered(self._load_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return _entered(self._load_post_hooks, hook, prepend)


def _entered(table: Table, hook: Hook, prepend: bool) -> RemovableHandle:
    before = dict(table) if prepend else {}
    handle = RemovableHandle(table, hook)
    for key in before:  # what is entered again comes last
        table[key] = table.pop(key)
    return handle
