"""What stands between users and plain functions: an argument of a wrong type is said to be one.

The functions themselves ask for no types; what they meet inside, such as an array without the
attributes of a tensor, is an `AttributeError` of something that the user has not written. Here it
becomes the `TypeError` that PyTorch raises. Under `autocast` the operands of some are cast, too.
A guarded function costs 0.1 µs more than the function.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from clgrad.autocasting import POLICIES, Switch, cast_call
from clgrad.errors import ClgradError, ClgradTypeError
from clgrad.tensor import Tensor

_made: dict[Any, Any] = {}
_SIMPLE = frozenset(("Tensor", "None", "float", "int", "bool"))
_WRONG = (str, bytes, list, tuple, dict, set)


def guard(namespace: ModuleType, names: Iterable[str]) -> None:
    """Guard functions of a module, in it and where they were defined."""
    for name in names:
        function: Any = getattr(namespace, name)
        if not isinstance(function, FunctionType) or function in _made:
            continue
        made = guarded(function, POLICIES.get(name))
        home, known = sys.modules[function.__module__], function.__name__
        if getattr(home, known, None) is function:
            setattr(home, known, made)  # pickle looks there
        setattr(namespace, name, made)
        _made[made] = function


def method(function: Any) -> Any:
    """Return a function as a method: unguarded where the tensor itself is all that can be wrong."""
    plain = _made.get(function)
    if plain is None or getattr(function, "casts", False):
        return function
    kinds = [str(kind) for name, kind in plain.__annotations__.items() if name != "return"]
    return plain if sum("Tensor" in kind or kind == "Any" for kind in kinds) < 2 else function


def guarded(function: Callable[..., Any], policy: str | None = None) -> Callable[..., Any]:
    """Return a function that explains arguments of wrong types, and casts under `autocast`."""

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except (AttributeError, ClgradError) as error:
            explained = _explain(function, args, named, error)
            if explained is None:
                raise
        raise explained

    if policy is None:
        return call

    @functools.wraps(function)
    def casting(*args: Any, **named: Any) -> Any:
        return cast_call(policy, call, args, named) if Switch.open else call(*args, **named)

    casting.casts = True  # type: ignore[attr-defined]  # for `method`
    return casting


def _explain(
    function: Callable[..., Any], args: Any, named: Any, error: Exception
) -> ClgradTypeError | None:
    """Return the error for an argument that should be a tensor and is none, if that was it."""
    culprit = getattr(error, "obj", None)
    strange = isinstance(error, AttributeError) and not hasattr(Tensor, str(error.name))
    if isinstance(error, ClgradTypeError) or (strange and not hasattr(culprit, "dtype")):
        return None
    try:
        given = inspect.signature(function).bind(*args, **named)
    except TypeError:
        return None
    lost = isinstance(error, AttributeError)
    for position, (name, parameter) in enumerate(given.signature.parameters.items(), 1):
        value = given.arguments.get(name, Tensor)
        wanted = set(str(parameter.annotation).split(" | "))
        if value is Tensor or isinstance(value, Tensor) or (value is None and "None" in wanted):
            continue
        each = isinstance(value, list | tuple) and (
            parameter.kind is parameter.VAR_POSITIONAL or "Tensor" not in wanted
        )
        for k, item in enumerate(value) if each else ():
            if lost and item is culprit and _is_wrong(item):
                where = f"as element {k} in argument {position - 1}, but got "
                return _error(f"{function.__name__}(): expected Tensor {where}", item)
        if each:
            continue
        meant = "Tensor" in wanted and wanted <= _SIMPLE
        if (meant and (lost or _is_wrong(value))) or (
            lost and value is culprit and _is_wrong(value)
        ):
            which = f"argument {name!r} (position {position}) must be Tensor, not "
            return _error(f"{function.__name__}(): {which}", value)
    return None


def _is_wrong(value: Any) -> bool:
    """Whether a value can be meant by no parameter that is a tensor, or a number in its place."""
    return value is None or isinstance(value, _WRONG) or hasattr(value, "__array__")


def _error(text: str, value: Any) -> ClgradTypeError:
    kind = type(value)
    shown = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    shown = "None" if value is None else shown
    usable = hasattr(value, "__array__") or isinstance(value, list | tuple)
    hint = " Hint: clgrad.tensor(...) makes one." if usable else ""
    return ClgradTypeError(f"{text}{shown}.{hint}")
