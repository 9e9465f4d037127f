"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clgrad.errors import ClgradRuntimeError
from clgrad.nn.modules.module import Module
from clgrad.tensor import Tensor


def functional_call(
    module: Module, parameters_and_buffers: dict[str, Tensor], args: Any = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """Return what a module computes with other parameters and buffers in place of its own.

    Args:
        module: is left as it was.
        parameters_and_buffers: tensors by dotted names; they may have a history.
        args: a tuple of arguments, or one argument.
        kwargs: keyword arguments.
        tie_weights: a tensor that the module has under several names is replaced under all.
        strict: names must match exactly.

    Raises:
        ClgradRuntimeError: names that do not match, if strict.
    """
    given = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, parameters_and_buffers, tie_weights, strict):
        return module(*given, **(kwargs or {}))


@contextmanager
def _replaced(module: Module, values: dict[str, Tensor], tie: bool, strict: bool) -> Iterator[None]:
    places = _places(module)
    if strict:
        missing, unexpected = places.keys() - values.keys(), values.keys() - places.keys()
        if missing or unexpected:
            text = f"Error(s) in reparametrizing for {type(module).__name__}:"
            for kind, names in (("Unexpected", unexpected), ("Missing", missing)):
                if names:
                    listed = ", ".join(f"'{name}'" for name in sorted(names))
                    text += f"\n\t{kind} key(s): {listed}."
            raise ClgradRuntimeError(text)
    wanted = dict(values)
    if tie:
        owners = {id(table[name]): wanted[key] for key, (table, name) in places.items()
                  if key in wanted}  # fmt: skip
        for key, (table, name) in places.items():
            if key not in wanted and id(table[name]) in owners:
                wanted[key] = owners[id(table[name])]
    before = []
    try:
        for key, value in wanted.items():
            if key in places:
                table, name = places[key]
                before.append((table, name, table[name]))
                table[name] = value
        yield
    finally:
        for table, name, old in reversed(before):
            table[name] = old


def _places(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Return for each dotted name the table that holds the tensor, and its name there."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for name, value in table.items():
                if value is not None:
                    found[f"{path}.{name}" if path else name] = (table, name)
    return found


__all__ = ["functional_call"]
