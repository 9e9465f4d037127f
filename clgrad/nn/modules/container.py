"""Modules that hold other modules in order or by name; `ParameterList` and `ParameterDict` too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from clgrad.errors import ClgradIndexError, ClgradTypeError, ClgradValueError
from clgrad.nn.modules._parameter_containers import (
    ParameterDict,
    ParameterList,
    pairs,
    position,
)
from clgrad.nn.modules.module import Module, indent

if TYPE_CHECKING:
    from typing_extensions import Self


class _Ordered(Module):
    """Submodules called 0, 1, 2, …"""

    _modules: dict[str, Any]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def _key(self, index: Any) -> str:
        return list(self._modules)[position(index, len(self), type(self).__name__)]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._part(list(self._modules.items())[index])
        return self._modules[self._key(index)]

    def _part(self, items: list[tuple[str, Any]]) -> Any:
        """Return a container with some of the modules."""
        raise NotImplementedError

    def __setitem__(self, index: Any, module: Module) -> None:
        setattr(self, self._key(index), module)

    def __delitem__(self, index: Any) -> None:
        names = list(self._modules)
        for name in names[index] if isinstance(index, slice) else [self._key(index)]:
            delattr(self, name)
        self._renumber(self)

    def _renumber(self, modules: Iterable[Any]) -> None:
        self._modules = {str(k): module for k, module in enumerate(list(modules))}

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns the container."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns the container."""
        if not isinstance(modules, Iterable):
            raise ClgradTypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got "
                f"{type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self

    def _insert(self, index: int, module: Module) -> None:
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)

    def pop(self, key: Any) -> Any:
        """Remove and return a module, or a part given by a slice."""
        module = self[key]
        del self[key]
        return module


class Sequential(_Ordered):
    """Modules that are called one after the other.

    Args:
        args: modules, or one `OrderedDict` of names and modules.

    Example:
        >>> model = clgrad.nn.Sequential(clgrad.nn.Linear(4, 8), clgrad.nn.ReLU())
        >>> model(clgrad.zeros(2, 4)).shape
        clgrad.Size([2, 8])
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = len(args) == 1 and isinstance(args[0], OrderedDict)
        for name, module in args[0].items() if named else enumerate(args):
            self.add_module(str(name), module)

    def forward(self, input: Any) -> Any:
        """Return the last module's result."""
        for module in self:
            input = module(input)
        return input

    def _part(self, items: list[tuple[str, Any]]) -> Any:
        return type(self)(OrderedDict(items))

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the one at `index`; returns the container.

        Raises:
            AssertionError: it is no module.
            ClgradIndexError: an index out of range.
        """
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        if not -len(self) <= index <= len(self):
            raise ClgradIndexError(f"Index out of range: {index}")
        self._insert(index, module)
        return self

    def _other(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ClgradValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other)} is given."
            )
        return other

    def __add__(self, other: Any) -> Sequential:
        return Sequential(*self, *self._other(other))

    def __iadd__(self, other: Any) -> Self:
        return self.extend(self._other(other))

    def _times(self, count: Any) -> int:
        if not isinstance(count, int):
            raise ClgradTypeError(
                f"unsupported operand type(s) for *: {type(self)} and {type(count)}"
            )
        if count <= 0:
            raise ClgradValueError(f"Non-positive multiplication factor {count} for {type(self)}")
        return count

    def __mul__(self, other: Any) -> Sequential:
        return Sequential(*(list(self) * self._times(other)))

    __rmul__ = __mul__

    def __imul__(self, other: Any) -> Self:
        return self.extend(list(self) * (self._times(other) - 1))


class ModuleList(_Ordered):
    """A list whose modules are entered; it has no `forward`."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def _part(self, items: list[tuple[str, Any]]) -> Any:
        return type(self)([module for _, module in items])

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the one at `index`."""
        if not isinstance(module, Module):
            raise ClgradTypeError(f"{type(module).__name__} is not a Module subclass")
        self._insert(index, module)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __repr__(self) -> str:
        lines, start = [], 0
        for text, same in groupby(map(repr, self)):
            count = len(list(same))
            which, times = (f"{start}", "") if count == 1 else (
                f"{start}-{start + count - 1}", f"{count} x ")  # fmt: skip
            lines.append(f"\n  ({which}): {times}{indent(text)}")
            start += count
        return f"{self._get_name()}({''.join(lines)}\n)" if lines else f"{self._get_name()}()"


class ModuleDict(Module):
    """A dictionary whose modules are entered; it has no `forward`."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove every module."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Remove and return a module."""
        return self._modules.pop(key)

    def keys(self) -> Any:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> Any:
        """Return the modules."""
        return self._modules.values()

    def items(self) -> Any:
        """Return names with their modules."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Enter modules by their names."""
        for key, module in pairs(modules, "ModuleDict"):
            self[key] = module


__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]
