"""How plain functions of dims are called: `out=`, and NumPy's names of arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from clgrad.functional._names import translation

F = TypeVar("F", bound=Callable[..., Any])


def numpy_names(call: F) -> F:
    """Return `call` that also takes `axis` for `dim`, `x2` for `other` and the like."""
    translated = translation(call)

    @functools.wraps(call)
    def wrapped(*args: Any, **named: Any) -> Any:
        return call(*args, **translated(named)) if named else call(*args)

    return wrapped  # type: ignore[return-value]  # it takes other names, too
