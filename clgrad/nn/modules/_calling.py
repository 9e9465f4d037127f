"""Calling a module: its hooks around `forward`, and those of all modules before them.

A base of `Module`; it knows nothing of parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from clgrad.errors import ClgradRuntimeError
from clgrad.nn.modules import _everywhere as everywhere
from clgrad.nn.modules._backward_hooks import BackwardHook, warn_of_node_hooks
from clgrad.tape.hooks import RemovableHandle, Table
from clgrad.tensor import Tensor

Hook = Callable[..., Any]

_TABLES = (
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks",
    "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_backward_pre_hooks",
    "_backward_hooks",
)  # fmt: skip


class Calling:
    """What makes an object with a `forward` callable, with hooks before and after."""

    forward: Callable[..., Any]
    _forward_pre_hooks: Table
    _forward_pre_hooks_with_kwargs: Table
    _forward_hooks: Table
    _forward_hooks_with_kwargs: Table
    _forward_hooks_always_called: Table
    _backward_pre_hooks: Table
    _backward_hooks: Table
    _is_full_backward_hook: bool | None

    def _init_hooks(self) -> None:
        put = self.__dict__.__setitem__
        for table in _TABLES:
            put(table, Table())
        put("_is_full_backward_hook", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = self.__dict__
        try:
            hooked = (
                own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"]
                or own["_backward_pre_hooks"] or everywhere.forward or everywhere.forward_pre
                or everywhere.backward or everywhere.backward_pre
            )  # fmt: skip
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__} was called before Module.__init__(). "
                "Hint: call super().__init__() first."
            ) from None
        if not hooked:
            return self.forward(*args, **kwargs)
        return _Call(self, args, kwargs).run()

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before `forward`; it may return other arguments.

        Args:
            hook: with `with_kwargs`, `hook(module, args, kwargs)`, which returns both or None.
            prepend: run it before those that are there already.
            with_kwargs: hand keyword arguments over too.
        """
        flags = (self._forward_pre_hooks_with_kwargs,) if with_kwargs else ()
        handle = RemovableHandle(self._forward_pre_hooks, hook, *flags)
        if prepend:
            self._forward_pre_hooks.prepend(handle)
        return handle

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
        flags = []
        if with_kwargs:
            flags.append(self._forward_hooks_with_kwargs)
        if always_call:
            flags.append(self._forward_hooks_always_called)
        handle = RemovableHandle(self._forward_hooks, hook, *flags)
        if prepend:
            self._forward_hooks.prepend(handle)
        return handle

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the gradients of the module are computed.

        Args:
            hook: gets a tuple, None for what is no tensor; may return another tuple.
            prepend: run it before those that are there already.
        """
        handle = RemovableHandle(self._backward_pre_hooks, hook)
        if prepend:
            self._backward_pre_hooks.prepend(handle)
        return handle

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` once the gradients of the inputs are there.

        Args:
            hook: gets tuples over positional arguments and results, None for what is no tensor;
                may return another `grad_input`. Where no input requires grad, it runs when the
                gradients of the outputs arrive.
            prepend: run it before those that are there already.

        Raises:
            ClgradRuntimeError: the module has backward hooks of the other kind.
        """
        handle = self._backward_hook(hook, full=True)
        if prepend:
            self._backward_hooks.prepend(handle)
        return handle

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` of the last node alone; deprecated.

        Raises:
            ClgradRuntimeError: the module has full backward hooks.
        """
        return self._backward_hook(hook, full=False)

    def _backward_hook(self, hook: Hook, full: bool) -> RemovableHandle:
        if self._is_full_backward_hook is (not full):
            raise ClgradRuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self._is_full_backward_hook = full
        return RemovableHandle(self._backward_hooks, hook)

    def _hooks_of_kind(self, full: bool) -> list[Hook]:
        """Return full backward hooks, or those of single nodes, in the order of their calls."""
        found: list[Hook] = []
        if everywhere.Kind.full is full:
            found += everywhere.backward.values()
        if self._is_full_backward_hook is full:
            found += self._backward_hooks.values()
        return found


class _Call:
    """One call of a module that has hooks."""

    def __init__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.module = module
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.done: set[int] = set()

    def run(self) -> Any:
        try:
            return self._run()
        except Exception:
            self._always()
            raise

    def _run(self) -> Any:
        module = self.module
        full = module._hooks_of_kind(True)
        pre = [*everywhere.backward_pre.values(), *module._backward_pre_hooks.values()]
        self._before()
        around = BackwardHook(module, full, pre) if full or pre else None
        if around is not None:
            self.args = around.around_inputs(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        for key, hook, with_kwargs, _ in self._forward_hooks():
            self.done.add(key)
            self._after(hook, with_kwargs)
        if around is not None:
            if not isinstance(self.result, Tensor | tuple):
                warnings.warn(
                    "For backward hooks to be called, module output should be a Tensor or a tuple "
                    f"of Tensors but received {type(self.result)}",
                    UserWarning,
                    stacklevel=5,
                )
            self.result = around.around_outputs(self.result)
        of_node = module._hooks_of_kind(False)
        if of_node:
            self._hook_last_node(of_node)
        return self.result

    def _before(self) -> None:
        module = self.module
        for key, hook in (*everywhere.forward_pre.items(), *module._forward_pre_hooks.items()):
            if key in module._forward_pre_hooks_with_kwargs:
                changed = hook(module, self.args, self.kwargs)
                if changed is None:
                    continue
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise ClgradRuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {changed}."
                    )
                self.args, self.kwargs = changed
            else:
                changed = hook(module, self.args)
                if changed is not None:
                    self.args = changed if isinstance(changed, tuple) else (changed,)

    def _forward_hooks(self) -> Iterator[tuple[int, Hook, bool, bool]]:
        """Yield (key, hook, whether it takes keyword arguments, whether it runs in any case)."""
        own = self.module
        for table, with_kwargs, always in (
            (everywhere.forward, everywhere.forward_with_kwargs, everywhere.forward_always),
            (own._forward_hooks, own._forward_hooks_with_kwargs, own._forward_hooks_always_called),
        ):
            for key, hook in list(table.items()):
                yield key, hook, key in with_kwargs, key in always

    def _after(self, hook: Hook, with_kwargs: bool) -> None:
        given = (self.args, self.kwargs) if with_kwargs else (self.args,)
        changed = hook(self.module, *given, self.result)
        if changed is not None:
            self.result = changed

    def _always(self) -> None:
        """Run the hooks that are to run in any case and have not."""
        for key, hook, with_kwargs, always in self._forward_hooks():
            if not always or key in self.done:
                continue
            try:
                self._after(hook, with_kwargs)
            except Exception as error:
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception that was "
                    f"silenced as another error was raised in forward: {error}",
                    UserWarning,
                    stacklevel=4,
                )

    def _hook_last_node(self, hooks: list[Hook]) -> None:
        first = self.result
        while not isinstance(first, Tensor):
            if isinstance(first, dict):
                first = next(v for v in first.values() if isinstance(v, Tensor))
            else:
                first = first[0]
        node = first.grad_fn
        if node is None:
            return
        module = self.module
        for hook in hooks:
            node.register_hook(lambda gi, go, hook=hook: hook(module, gi, go))
        warn_of_node_hooks(self.args, self.result, node)
