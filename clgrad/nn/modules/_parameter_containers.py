"""Lists and dictionaries of parameters; plain tensors that are put in become parameters."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clgrad.errors import ClgradIndexError, ClgradRuntimeError, ClgradTypeError, ClgradValueError
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


def position(index: Any, length: int, what: str) -> int:
    """Return a possibly negative index as one from 0; raises `ClgradIndexError` out of range."""
    number: int = operator.index(index)
    if not -length <= number < length:
        raise ClgradIndexError(
            f"{what}: index {number} is out of range. Expected {-length} to {length - 1}."
        )
    return number % length


def pairs(items: Any, what: str) -> Iterator[tuple[Any, Any]]:
    """Yield keys and values of a mapping or of a sequence of pairs.

    Raises:
        ClgradTypeError: neither of both.
        ClgradValueError: an element that is no pair.
    """
    if not isinstance(items, Iterable):
        raise ClgradTypeError(
            f"{what}.update should be called with an iterable of key/value pairs, but got "
            f"{type(items).__name__}"
        )
    if hasattr(items, "items"):
        yield from items.items()
        return
    for k, item in enumerate(items):
        if not isinstance(item, Iterable):
            raise ClgradTypeError(
                f"{what} update sequence element #{k} should be Iterable; is {type(item).__name__}"
            )
        pair = tuple(item)
        if len(pair) != 2:
            raise ClgradValueError(
                f"{what} update sequence element #{k} has length {len(pair)}; 2 is required"
            )
        yield pair


def _entered(value: Any) -> Any:
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return Parameter(value)
    return value


def _described(items: Iterable[tuple[Any, Any]]) -> str:
    lines = []
    for key, value in items:
        if isinstance(value, Tensor):
            kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
            size = "x".join(map(str, value.shape))
            lines.append(f"  ({key}): {kind} containing: [{value.dtype!r} of size {size}]")
        else:
            lines.append(f"  ({key}): Object of type: {type(value).__name__}")
    return "\n".join(lines)


class _NotCalled(Module):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ClgradRuntimeError(
            f"{type(self).__name__} should not be called. Hint: index it, and use its parameters "
            "in the forward() of the module that holds it."
        )


class ParameterList(_NotCalled):
    """A list of parameters; other values are kept as they are."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(() if values is None else values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([self[k] for k in range(self._size)])

    def _name(self, index: Any) -> str:
        return str(position(index, self._size, "ParameterList"))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)([self[k] for k in range(*index.indices(self._size))])
        return getattr(self, self._name(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        setattr(self, self._name(index), _entered(value))

    def append(self, value: Any) -> Self:
        """Add a value at the end; returns the list."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add values at the end; returns the list."""
        given: Any = values
        if not isinstance(given, Iterable) or isinstance(given, Tensor):
            raise ClgradTypeError(
                "ParameterList.extend should be called with an iterable, but got "
                f"{type(values).__name__}"
            )
        for value in values:
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def extra_repr(self) -> str:
        """Return a line for each value."""
        return _described(enumerate(self))


class ParameterDict(_NotCalled):
    """A dictionary of parameters in the order of insertion; other values are kept as they are."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        self.update({} if parameters is None else parameters)

    def _name(self, key: Any) -> str:
        if not isinstance(key, str):
            raise ClgradTypeError(
                "Index given to ParameterDict cannot be used as a key as it is not a string (type "
                f"is '{type(key).__name__}')."
            )
        return key

    def __getitem__(self, key: str) -> Any:
        return getattr(self, self._name(key))

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, self._name(key), _entered(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, self._name(key))

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def copy(self) -> ParameterDict:
        """Return another dictionary of the same parameters."""
        return ParameterDict(list(self.items()))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return what is under `key`, after entering `default` if nothing is."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Remove everything."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key: str) -> Any:
        """Remove and return what is under `key`."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last key and its value."""
        key = list(self._keys)[-1]
        return key, self.pop(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return what is under `key`, or `default`."""
        return getattr(self, key) if key in self._keys else default

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """Return a dictionary with `default` under each key."""
        return ParameterDict([(key, default) for key in keys])

    def keys(self) -> Any:
        """Return the keys."""
        return self._keys.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return keys with their values."""
        return ((key, self[key]) for key in self._keys)

    def values(self) -> Iterable[Any]:
        """Return the values."""
        return (self[key] for key in self._keys)

    def update(self, parameters: Any) -> None:
        """Enter values by key; those of a plain mapping in the order of their keys."""
        found = pairs(parameters, "ParameterDict")
        ordered = hasattr(parameters, "move_to_end") or isinstance(parameters, ParameterDict)
        if isinstance(parameters, Mapping) and not ordered:
            found = iter(sorted(found, key=lambda pair: pair[0]))
        for key, value in found:
            self[key] = value

    def extra_repr(self) -> str:
        """Return a line for each value."""
        return _described(self.items())

    def __or__(self, other: ParameterDict) -> ParameterDict:
        made = self.copy()
        made.update(other)
        return made

    def __ror__(self, other: ParameterDict) -> ParameterDict:
        made = other.copy()
        made.update(self)
        return made

    def __ior__(self, other: ParameterDict) -> Self:
        self.update(other)
        return self
