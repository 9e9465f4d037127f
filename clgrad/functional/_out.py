"""`out=` for functions that are not records."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from clgrad.calls import check_out, store_out
from clgrad.tensor import Tensor
from clgrad.writing import check_overlap


def _check_overlap(name: str, outs: Any, given: Any) -> None:
    operands = [t for a in given for t in (a if isinstance(a, list | tuple) else (a,))]
    operands = [t for t in operands if isinstance(t, Tensor)]
    for target in outs:
        if target._meta.layout.has_overlap or any(t._storage is target._storage for t in operands):
            check_overlap(name, target, operands)


F = TypeVar("F", bound=Callable[..., Any])


def with_out(call: F) -> F:
    """Return `call` with an argument `out`: a tensor, or a tuple of them as `call` returns."""

    @functools.wraps(call)
    def wrapped(*args: Any, out: Any = None, **named: Any) -> Any:
        if out is None:
            return call(*args, **named)
        name = call.__name__
        outs = out if isinstance(out, tuple | list) else (out,)
        for target in outs:
            check_out(name, target, (*args, *named.values()))
        _check_overlap(name, outs, (*args, *named.values()))
        result = call(*args, **named)
        if isinstance(result, tuple):
            for target, part in zip(outs, result, strict=True):
                store_out(name, target, part)
        else:
            store_out(name, outs[0], result)
        return out

    return wrapped  # type: ignore[return-value]  # it takes one argument more
