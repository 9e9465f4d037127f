"""Hooks of all modules at once: tables of the whole process, for debugging and profiling.

They run before the hooks of a module itself. Importable by the names under which PyTorch has them:
`clgrad.nn.modules.module.register_module_forward_hook` and so on.
"""

from __future__ import annotations

from typing import Any

from clgrad.errors import ClgradRuntimeError
from clgrad.tape.hooks import RemovableHandle, Table

forward_pre = Table()
forward = Table()
forward_with_kwargs = Table()
forward_always = Table()
backward_pre = Table()
backward = Table()
new_buffers = Table()
new_modules = Table()
new_parameters = Table()


class Kind:
    """Which kind of backward hook all modules have: full ones, or those of single nodes."""

    full: bool | None = None


def registered(table: Table, module: Any, name: str, value: Any) -> Any:
    """Return what registration hooks make of a new member of `module`."""
    for hook in list(table.values()):
        changed = hook(module, name, value)
        if changed is not None:
            value = changed
    return value


def register_module_forward_pre_hook(hook: Any) -> RemovableHandle:
    """Call `hook(module, args)` before the `forward` of every module."""
    return RemovableHandle(forward_pre, hook)


def register_module_forward_hook(
    hook: Any, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, result)` after the `forward` of every module.

    Args:
        hook: with `with_kwargs`, `hook(module, args, kwargs, result)`.
        with_kwargs: hand keyword arguments over too.
        always_call: run it also when `forward` raised.
    """
    flags = [t for t, on in ((forward_with_kwargs, with_kwargs), (forward_always, always_call))
             if on]  # fmt: skip
    return RemovableHandle(forward, hook, *flags)


def register_module_full_backward_pre_hook(hook: Any) -> RemovableHandle:
    """Call `hook(module, grad_output)` before the gradients of any module are computed."""
    return RemovableHandle(backward_pre, hook)


def register_module_full_backward_hook(hook: Any) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` after the gradients of any module.

    Raises:
        ClgradRuntimeError: there are backward hooks of the other kind.
    """
    return _of_kind(hook, full=True)


def register_module_backward_hook(hook: Any) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` of the last node of every module; deprecated.

    Raises:
        ClgradRuntimeError: there are full backward hooks.
    """
    return _of_kind(hook, full=False)


def _of_kind(hook: Any, full: bool) -> RemovableHandle:
    if Kind.full is (not full):
        raise ClgradRuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module "
            "hook. Please use only one of them."
        )
    Kind.full = full
    return RemovableHandle(backward, hook)


def register_module_buffer_registration_hook(hook: Any) -> RemovableHandle:
    """Call `hook(module, name, buffer)` whenever a buffer is registered; it may return another."""
    return RemovableHandle(new_buffers, hook)


def register_module_module_registration_hook(hook: Any) -> RemovableHandle:
    """Call `hook(module, name, child)` whenever a module is entered; it may return another."""
    return RemovableHandle(new_modules, hook)


def register_module_parameter_registration_hook(hook: Any) -> RemovableHandle:
    """Call `hook(module, name, param)` whenever a parameter is entered; it may return another."""
    return RemovableHandle(new_parameters, hook)
