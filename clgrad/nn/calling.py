"""Calling a module: its forward hooks around `forward`.

The base of `Module` alone; it knows nothing of parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.tape.hooks import RemovableHandle, Table

Hook = Callable[..., Any]


class Calling:
    """What makes an object with a `forward` callable, with hooks before and after."""

    __slots__ = ()  # `__dict__` comes with the subclass

    forward: Callable[..., Any]
    _pre_hooks: Table
    _hooks: Table
    _with_kwargs: set[int]
    _always: set[int]

    def _init_hooks(self) -> None:
        put = self.__dict__.__setitem__
        put("_pre_hooks", Table())
        put("_hooks", Table())
        put("_with_kwargs", set())
        put("_always", set())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = self.__dict__
        try:
            bare = not own["_hooks"] and not own["_pre_hooks"]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__} was called before Module.__init__(). "
                "Hint: call super().__init__() first."
            ) from None
        if bare:
            return self.forward(*args, **kwargs)
        return self._call_hooked(args, kwargs)

    def _call_hooked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for key, hook in list(self._pre_hooks.items()):
            if key in self._with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        done: set[int] = set()
        result: Any = None
        try:
            result = self.forward(*args, **kwargs)
            for key, hook in list(self._hooks.items()):
                done.add(key)
                result = self._after(key, hook, args, kwargs, result)
        except Exception:
            for key, hook in list(self._hooks.items()):
                if key in self._always and key not in done:
                    result = self._after(key, hook, args, kwargs, result)
            raise
        return result

    def _after(
        self, key: int, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> Any:
        given = (args, kwargs) if key in self._with_kwargs else (args,)
        changed = hook(self, *given, result)
        return result if changed is None else changed

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before `forward`; it may return other arguments.

        Args:
            hook: with `with_kwargs`, `hook(module, args, kwargs)`, which returns both or None.
            prepend: run it before those that are there already.
            with_kwargs: hand keyword arguments over too.
        """
        return self._register(self._pre_hooks, hook, prepend, with_kwargs)

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, result)` after `forward`; it may return another result.

        Args:
            hook: with `with_kwargs`, `hook(module, args, kwargs, result)`.
            prepend: run it before those that are there already.
            with_kwargs: hand keyword arguments over too.
            always_call: run it also when `forward` raised, with None as result.
        """
        handle = self._register(self._hooks, hook, prepend, with_kwargs)
        if always_call:
            self._always.add(handle.id)
        return handle

    def _register(
        self, table: Table, hook: Hook, prepend: bool, with_kwargs: bool
    ) -> RemovableHandle:
        handle = RemovableHandle(table, hook)
        if with_kwargs:
            self._with_kwargs.add(handle.id)
        if prepend:
            others = [(k, v) for k, v in table.items() if k != handle.id]
            for key, _ in others:
                del table[key]
            table.update(others)
        return handle
