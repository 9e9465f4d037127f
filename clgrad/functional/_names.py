"""The names that PyTorch takes for an argument besides its own: NumPy's, and `input` or `self`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from clgrad.calls import ALIASES, FIRST


def translation(call: Callable[..., Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what gives the named arguments of a call the names that `call` knows.

    `call` is looked at when arguments are named for the first time.
    """
    known: dict[str, str] = {}

    def translated(named: dict[str, Any]) -> dict[str, Any]:
        if not known:
            parameters = inspect.signature(call).parameters
            names = list(parameters)
            any_name = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            known.update((a, name) for a, name in ALIASES.items() if any_name or name in names)
            known.update(dict.fromkeys(FIRST, "input" if "input" in names else names[0]))
            known.update((name, name) for name in names)
        return {known.get(name, name): value for name, value in named.items()}

    return translated
