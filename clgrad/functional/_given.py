"""How sizes, dims and lists of tensors are given: one by one, as one sequence, or by name."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradTypeError
from clgrad.tensor import Tensor


def integer(op: str, value: Any) -> int:
    """Return an int, a NumPy integer or an integer tensor of one element as an int.

    Raises:
        ClgradTypeError: it is none of these.
    """
    if type(value) is int:
        return value
    try:
        return int(operator.index(value))
    except TypeError:
        raise ClgradTypeError(
            f"{op}: got {value!r} of type {type(value).__name__}. Expected an integer."
        ) from None


def check_tensor(op: str, value: Any, name: str = "input", position: int = 1) -> None:
    """Raise `ClgradTypeError` where an argument that must be a tensor is none."""
    if not isinstance(value, Tensor):
        raise ClgradTypeError(
            f"{op}(): argument {name!r} (position {position}) must be Tensor, not "
            f"{type(value).__name__}. Hint: clgrad.tensor(...) makes one."
        )


def integers(op: str, args: Any, named: Any = None) -> tuple[int, ...]:
    """Return integers that were passed one by one, as one sequence, or by name.

    Raises:
        ClgradTypeError: something else was passed, or nothing.
    """
    if named is not None:
        if args:
            raise ClgradTypeError(f"{op}() got its sizes or dims twice, by position and by name.")
        args = named
    elif len(args) == 1 and isinstance(args[0], Sequence):
        args = args[0]
    if isinstance(args, int) or not isinstance(args, Sequence):
        args = (args,)
    return tuple([integer(op, n) for n in args])


def tensors(op: str, args: Any) -> list[Tensor]:
    """Return tensors that were passed one by one or as one sequence.

    Raises:
        ClgradTypeError: something else is among them. ClgradRuntimeError: there are none.
    """
    if len(args) == 1 and isinstance(args[0], list | tuple):
        args = args[0]
    found = list(args)
    if not found:
        raise ClgradRuntimeError(f"{op}: {op} expects a non-empty TensorList.")
    for item in found:
        if not isinstance(item, Tensor):
            raise ClgradTypeError(
                f"{op}: got {type(item).__name__}. Expected tensors. "
                "Hint: clgrad.tensor(...) makes one."
            )
    return found
