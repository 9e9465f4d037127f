"""How plain functions of dims are called: `out=`, and NumPy's names of arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from clgrad.functional._out import with_out

F = TypeVar("F", bound=Callable[..., Any])

_NUMPY = {"axis": "dim", "keepdims": "keepdim"}


def numpy_names(call: F) -> F:
    """Return `call` that also takes `axis` for `dim` and `keepdims` for `keepdim`."""

    @functools.wraps(call)
    def wrapped(*args: Any, **named: Any) -> Any:
        if "axis" in named or "keepdims" in named:
            named = {_NUMPY.get(name, name): value for name, value in named.items()}
        return call(*args, **named)

    return wrapped  # type: ignore[return-value]  # it takes other names, too


def reducing(call: F) -> F:
    """Return `call` with `out=` and NumPy's names: what a function of dims takes in PyTorch."""
    return numpy_names(with_out(call))
