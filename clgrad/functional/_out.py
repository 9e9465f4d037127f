"""`out=` for functions that are not records."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from clgrad.functional._names import translation
from clgrad.outputs import check_outs, store_out

F = TypeVar("F", bound=Callable[..., Any])


def with_out(call: F) -> F:
    """Return `call` with `out`, a tensor or a tuple of them as it returns, and NumPy's names."""
    translated = translation(call)

    @functools.wraps(call)
    def wrapped(*args: Any, out: Any = None, **named: Any) -> Any:
        if named:
            named = translated(named)
        if out is None:
            return call(*args, **named)
        name = call.__name__
        outs = out if isinstance(out, tuple | list) else (out,)
        check_outs(name, outs, (*args, *named.values()))
        result = call(*args, **named)
        if isinstance(result, tuple):
            for target, part in zip(outs, result, strict=True):
                store_out(name, target, part)
        else:
            store_out(name, outs[0], result)
        return out

    return wrapped  # type: ignore[return-value]  # it takes one argument more
