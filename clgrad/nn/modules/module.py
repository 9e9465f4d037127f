"""`Module`: a tree of parameters, buffers and submodules with a `forward`.

Attributes decide what is what: a `Parameter`, a module or a registered buffer that is assigned is
entered in a table of its own. Saving and loading is in `_state`, hooks and calls are in `_calling`,
moving and casting in `_conversion`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clgrad.autograd.clearing import clear_grads
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.nn.modules import _everywhere as everywhere
from clgrad.nn.modules._calling import Calling
from clgrad.nn.modules._conversion import Converting
from clgrad.nn.modules._everywhere import (
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from clgrad.nn.modules._state import Saving
from clgrad.nn.parameter import Buffer, Parameter
from clgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

_TABLES = ("_parameters", "_buffers", "_modules")


class Module(Calling, Saving, Converting):
    """Base of every layer and model: assign layers in `__init__`, compute in `forward`.

    Attributes:
        training: whether layers such as dropout behave as in training.
        call_super_init: whether `Module.__init__` hands its arguments to the next class, for
            multiple inheritance.
    """

    training: bool
    call_super_init: bool = False
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            name = f"{type(self).__name__}.__init__()"
            if kwargs:
                raise ClgradTypeError(
                    f"{name} got an unexpected keyword argument '{next(iter(kwargs))}'"
                )
            raise ClgradTypeError(
                f"{name} takes 1 positional argument but {len(args) + 1} were given"
            )
        put = self.__dict__.__setitem__
        put("training", True)
        for table in _TABLES:
            put(table, {})
        put("_non_persistent_buffers_set", set())
        self._init_hooks()
        self._init_state_hooks()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; subclasses say how.

        Raises:
            NotImplementedError: a subclass does not.
        """
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function. '
            "Hint: define forward(self, ...)."
        )

    # ---- attributes ---------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._leave_others("parameter", "_parameters", name)
            self.register_parameter(name, value)
        elif name in own.get("_parameters", ()):
            self._only_none("parameter", "clgrad.nn.Parameter or None", name, value)
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            self._leave_others("module", "_modules", name)
            own["_modules"][name] = everywhere.registered(everywhere.new_modules, self, name, value)
        elif name in own.get("_modules", ()):
            self._only_none("child module", "clgrad.nn.Module or None", name, value)
            own["_modules"][name] = everywhere.registered(everywhere.new_modules, self, name, None)
        elif isinstance(value, Buffer) or name in own.get("_buffers", ()):
            self._set_buffer(name, value)
        else:
            object.__setattr__(self, name, value)

    def _leave_others(self, kind: str, target: str, name: str) -> None:
        """Remove a name from every table but `target`, where it keeps its place."""
        own = self.__dict__
        if target not in own:
            raise AttributeError(
                f"cannot assign {kind}{'s' * (kind == 'parameter')} before Module.__init__() call. "
                "Hint: call super().__init__() first."
            )
        for table in _TABLES:
            if table != target:
                own[table].pop(name, None)
        own["_non_persistent_buffers_set"].discard(name)
        own.pop(name, None)

    def _only_none(self, kind: str, expected: str, name: str, value: Any) -> None:
        if value is not None:
            raise ClgradTypeError(
                f"cannot assign '{type(value).__name__}' as {kind} '{name}' ({expected} expected). "
                "Hint: assign to its .data, or delete the attribute first."
            )

    def _set_buffer(self, name: str, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise ClgradTypeError(
                f"cannot assign '{type(value).__name__}' as buffer '{name}' "
                "(clgrad.nn.Buffer, clgrad.Tensor or None expected)."
            )
        if isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
        else:
            self.register_buffer(name, value, name not in self._non_persistent_buffers_set)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in _TABLES:
            found = own.get(table)
            if found is not None and name in found:
                return found[name]
        text = f"'{type(self).__name__}' object has no attribute '{name}'"
        if name in _TABLES:
            text += ". Hint: call super().__init__() first."
        raise AttributeError(text)

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules}
        return sorted(n for n in names if not n[:1].isdigit())

    def _check_name(self, kind: str, name: Any, table: str) -> None:
        own = self.__dict__
        if table not in own:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise ClgradTypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: "{name}"')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in own[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Enter a tensor that belongs to the module and is not trained.

        Args:
            name: attribute under which it is found.
            tensor: None for a buffer that is filled later and not saved meanwhile.
            persistent: whether `state_dict` holds it.

        Raises:
            KeyError: a name that cannot be, or is taken.
            ClgradTypeError: a name or a value of another type.
        """
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ClgradTypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(clgrad.Tensor or None required)."
            )
        self._buffers[name] = everywhere.registered(everywhere.new_buffers, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Enter a parameter; None for one that this module does without.

        Raises:
            KeyError: a name that cannot be, or is taken.
            ClgradTypeError: a name or a value of another type.
            ClgradValueError: a parameter with a history.
        """
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise ClgradTypeError(
                    f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                    "(clgrad.nn.Parameter or None required)."
                )
            if param.grad_fn is not None:
                raise ClgradValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            param = everywhere.registered(everywhere.new_parameters, self, name, param)
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Enter a submodule.

        Raises:
            KeyError: a name that cannot be, or is taken.
            ClgradTypeError: a name or a value of another type.
        """
        if module is not None and not isinstance(module, Module):
            raise ClgradTypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._modules[name] = everywhere.registered(everywhere.new_modules, self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """Enter a submodule; see `add_module`."""
        self.add_module(name, module)

    # ---- the tree -----------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield direct submodules with their names, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it with their dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, below, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def _named_members(
        self, members: Callable[[Module], Any], prefix: str = "", recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:  # fmt: skip
        """Yield what `members` finds in each module, with dotted names."""
        seen = set()
        trees = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in trees:
            for name, value in members(module):
                if value is None or (remove_duplicate and value in seen):
                    continue
                seen.add(value)
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield parameters with their dotted names; one that is shared, once."""
        return self._named_members(
            lambda module: module._parameters.items(), prefix, recurse, remove_duplicate
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield parameters, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield buffers with their dotted names."""
        return self._named_members(
            lambda module: module._buffers.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _member(self, item: str, kind: str, found: Callable[[Module, Any], bool]) -> Any:
        if not hasattr(self, item):
            raise AttributeError(f"{self._get_name()} has no attribute `{item}`")
        value = getattr(self, item)
        if not found(self, value):
            raise AttributeError(f"`{item}` is not {kind}")
        return value

    def get_submodule(self, target: str) -> Module:
        """Return the submodule of a dotted name; raises `AttributeError` if there is none."""
        module: Module = self
        for item in target.split(".") if target else ():
            module = module._member(item, "an nn.Module", lambda _, v: isinstance(v, Module))
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module where a dotted name says.

        Args:
            target: dotted name; all but its last part must exist.
            module: what to put there.
            strict: the last part must exist too.

        Raises:
            ClgradValueError: an empty name, or no module.
            AttributeError: a part that does not exist or is no module.
        """
        if not target:
            raise ClgradValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ClgradValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            parent.get_submodule(name)
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name; raises `AttributeError` if there is none."""
        path, _, name = target.rpartition(".")
        found: Parameter = self.get_submodule(path)._member(
            name, "an nn.Parameter", lambda _, v: isinstance(v, Parameter)
        )
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer of a dotted name; raises `AttributeError` if there is none."""
        path, _, name = target.rpartition(".")
        found: Tensor = self.get_submodule(path)._member(
            name, "a buffer", lambda module, _: name in module._buffers
        )
        return found

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every submodule, then on this module; returns the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ---- modes and gradients -------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and below; returns the module."""
        if not isinstance(mode, bool):
            raise ClgradValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode here and below; returns the module."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of every parameter; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or fill it with zeros."""
        clear_grads(self.parameters(), set_to_none)

    # ---- printing and copies -------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return what `repr` shows between the parentheses beside the submodules."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({n}): {indent(repr(m))}" for n, m in self._modules.items()]
        if not children and len(lines) < 2:
            return f"{self._get_name()}({extra})"
        body = "\n  ".join(lines + children)
        return f"{self._get_name()}(\n  {body}\n)"

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)


def indent(text: str) -> str:
    """Return `text` with every line but the first moved right by two columns; blank ones stay."""
    first, *rest = text.split("\n")
    return "\n".join([first, *[f"  {line}" if line.strip() else "" for line in rest]])


__all__ = [
    "Module", "register_module_backward_hook", "register_module_buffer_registration_hook",
    "register_module_forward_hook", "register_module_forward_pre_hook",
    "register_module_full_backward_hook", "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook", "register_module_parameter_registration_hook",
]  # fmt: skip
