"""Parametrizations: a parameter that is computed from others whenever it is read.

A parametrized module gets a class of its own, with a property under the parameter's name; what it
is computed from is in `module.parametrizations.<name>.original`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.nn.modules.container import ModuleDict, ModuleList
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor


class _Cache:
    depth = 0
    made: dict[tuple[int, str], Tensor] = {}  # noqa: RUF012  # of the process


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor once inside the block."""
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if not _Cache.depth:
            _Cache.made.clear()


def _enter(module: Module, name: str, value: Tensor | None) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _same(what: str, before: Tensor, after: Any, *, shape: bool = True) -> None:
    """Check that a result is a tensor of the dtype and shape of what it stands for."""
    if not isinstance(after, Tensor):
        raise ClgradValueError(f"{what} must return a tensor. Got {type(after).__name__}.")
    for name in ("dtype", "shape") if shape else ("dtype",):
        if getattr(before, name) != getattr(after, name):
            raise ClgradValueError(
                f"{what} may not change the {name} of the tensor, unless the `unsafe` flag is "
                f"enabled: {getattr(before, name)!r} became {getattr(after, name)!r}."
            )


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied one after the other, and what they start from.

    Args:
        modules: at least one; `right_inverse`, where it is defined, finds what to start from.
        original: the tensor as it was.
        unsafe: let shape and dtype change.

    Attributes:
        original: what is trained, or `original0`, `original1`, … where there are several.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not len(modules):
            raise ClgradValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        start: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):
                        start = module.right_inverse(start)
        self.is_tensor = isinstance(start, Tensor)
        if not self.is_tensor and not isinstance(start, Sequence):
            raise ClgradValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(start).__name__}"
            )
        self.ntensors = 1 if self.is_tensor else len(start)
        before = original.data
        if self.is_tensor:
            _same("`right_inverse`", original, start, shape=False)
            original.data = start
            _enter(self, "original", original)
        else:
            for k, part in enumerate(start):
                if not isinstance(part, Tensor):
                    raise ClgradValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors. Got "
                        f"element {k} of the sequence with type {type(part).__name__}."
                    )
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                _enter(self, f"original{k}", part)
        if not unsafe:
            _same("Registering a parametrization", before, self())

    def _originals(self) -> list[Any]:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{k}") for k in range(self.ntensors)]

    def right_inverse(self, value: Any) -> None:
        """Set what is trained so that the parametrized tensor becomes `value`.

        Raises:
            ClgradRuntimeError: a parametrization without a `right_inverse`.
            ClgradValueError: it returned something else than it should.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise ClgradRuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
            if not self.is_tensor and not isinstance(value, Sequence):
                raise ClgradValueError(
                    "'right_inverse' must return a sequence of tensors. Got "
                    f"{type(value).__name__}."
                )
            values = [value] if self.is_tensor else list(value)
            if len(values) != self.ntensors:
                raise ClgradValueError(
                    "'right_inverse' must return a sequence of tensors of length "
                    f"{self.ntensors}. Got a sequence of length {len(values)}."
                )
            for mine, new in zip(self._originals(), values, strict=True):
                _same("`right_inverse`", mine, new, shape=False)
                mine.data = new

    def forward(self) -> Tensor:
        """Return the parametrized tensor."""
        first, *rest = self
        made: Tensor = first(*self._originals())
        for module in rest:
            made = module(made)
        return made


def _deep_copy(self: Module, memo: dict[int, Any]) -> Module:
    replica = memo[id(self)] = object.__new__(type(self))
    replica.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return replica


def _state(self: Module) -> Any:
    raise ClgradRuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(). "
        "Hint: save module.state_dict(), or remove_parametrizations() first."
    )


def _inject_class(module: Module) -> None:
    cls = type(module)
    body: dict[str, Any] = {"__getstate__": _state}
    if not hasattr(cls, "__deepcopy__"):
        body["__deepcopy__"] = _deep_copy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), body)


def _inject_property(module: Module, name: str) -> None:
    def get(self: Any) -> Tensor:
        made: Tensor
        if not _Cache.depth:
            made = self.parametrizations[name]()
            return made
        key = (id(self), name)
        if key not in _Cache.made:
            _Cache.made[key] = self.parametrizations[name]()
        return _Cache.made[key]

    def put(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, put))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute a parameter or buffer by a module from now on; returns `module`.

    Args:
        module: that has the tensor.
        tensor_name: a parameter, a buffer, or a tensor that is parametrized already.
        parametrization: maps a tensor to what is used; may have a `right_inverse`.
        unsafe: let shape and dtype change.

    Raises:
        ClgradValueError: no such tensor, or a result of another shape or dtype.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        entered: Any = module.parametrizations
        if not unsafe:
            before = getattr(module, tensor_name)
            after = parametrization(before)
            _same("A parametrization", before, after)
            if hasattr(parametrization, "right_inverse"):
                try:
                    back = parametrization.right_inverse(after)
                except NotImplementedError:
                    pass
                else:
                    _same("parametrization.right_inverse", before, back)
        entered[tensor_name].append(parametrization)
        entered[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        made = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = made
    else:
        raise ClgradValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrized tensors, or one of a name."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make a tensor a plain parameter or buffer again; returns `module`.

    Args:
        module: that has the tensor.
        tensor_name: its name.
        leave_parametrized: keep the computed value, rather than what it was computed from.

    Raises:
        ClgradValueError: it is not parametrized, or was computed from several tensors and these
            are to be left.
    """
    if not is_parametrized(module, tensor_name):
        raise ClgradValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    entered: Any = module.parametrizations
    made = entered[tensor_name]
    if made.is_tensor:
        left = made.original
        if leave_parametrized:
            with no_grad():
                left.data = getattr(module, tensor_name)
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        left = Parameter(value) if value.requires_grad else value
    else:
        raise ClgradValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del entered[tensor_name]
    _enter(module, tensor_name, left)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """Return the class of a module as it was."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give another module the parametrizations, and what they start from; returns it.

    Args:
        from_module: has them.
        to_module: gets them.
        tensor_name: of one tensor; all if None.
    """
    if not is_parametrized(from_module):
        return to_module
    given: Any = from_module.parametrizations
    for name in given if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for parametrization in given[name]:
            register_parametrization(to_module, name, parametrization)
        taken: Any = to_module.parametrizations
        for key, value in [*given[name]._parameters.items(), *given[name]._buffers.items()]:
            setattr(taken[name], key, value)
    return to_module


__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization",
    "remove_parametrizations", "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]  # fmt: skip
