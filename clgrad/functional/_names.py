"""The names that PyTorch takes for an argument besides its own: NumPy's, and `input` or `self`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from clgrad.calls import ALIASES, FIRST


def translation(call: Callable[..., Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what gives the named arguments of a call the names that `call` knows.

    `call` is looked at when arguments are named for the first time.
    """
    known: dict[str, str] | None = None

    def translated(named: dict[str, Any]) -> dict[str, Any]:
        nonlocal known
        if known is None:
            known = _known(inspect.signature(call).parameters)
        return {known.get(name, name): value for name, value in named.items()}

    return translated


def _known(parameters: Mapping[str, inspect.Parameter]) -> dict[str, str]:
    """Return which parameter each name means."""
    names = list(parameters)
    any_name = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    aliases = {a: name for a, name in ALIASES.items() if any_name or name in names}
    first = dict.fromkeys(FIRST, "input" if "input" in names else names[0])
    return {**aliases, **first, **{name: name for name in names}}
