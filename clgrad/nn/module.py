"""`Module`: a tree of parameters, buffers and submodules with a `forward`.

Attributes decide what is what: a `Parameter`, a module or a registered buffer that is assigned is
entered in a table of its own. Saving and loading is in `state`, hooks and calls are in `calling`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clgrad import dtypes
from clgrad.autograd.clearing import clear_grads
from clgrad.creation import resolve_device
from clgrad.dtypes import DType, as_dtype
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.nn import state
from clgrad.nn.calling import Calling
from clgrad.nn.parameter import Parameter
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

_TABLES = ("_parameters", "_buffers", "_modules")


class Module(Calling):
    """Base of every layer and model: assign layers in `__init__`, compute in `forward`."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        put = self.__dict__.__setitem__
        put("training", True)
        for table in _TABLES:
            put(table, {})
        put("_non_persistent", set())
        self._init_hooks()

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
        parameters = own.get("_parameters")
        if isinstance(value, Parameter | Module):
            if parameters is None:
                raise AttributeError(
                    f"cannot assign {type(value).__name__.lower()} before Module.__init__() call. "
                    "Hint: call super().__init__() first."
                )
            target = "_parameters" if isinstance(value, Parameter) else "_modules"
            for table in _TABLES:
                if table != target:  # in its own it keeps its place
                    own[table].pop(name, None)
            own.pop(name, None)
            own[target][name] = value
            return
        if parameters is not None:
            if name in parameters:
                if value is not None:
                    raise ClgradTypeError(
                        f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                        "(clgrad.nn.Parameter or None expected). Hint: assign to its .data, or "
                        "delete the attribute first."
                    )
                parameters[name] = None
                return
            if name in own["_modules"]:
                if value is not None:
                    raise ClgradTypeError(
                        f"cannot assign '{type(value).__name__}' as child module '{name}' "
                        "(clgrad.nn.Module or None expected)."
                    )
                own["_modules"][name] = None
                return
            if name in own["_buffers"]:
                if value is not None and not isinstance(value, Tensor):
                    raise ClgradTypeError(
                        f"cannot assign '{type(value).__name__}' as buffer '{name}' "
                        "(clgrad.Tensor or None expected)."
                    )
                own["_buffers"][name] = value
                return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in _TABLES:
            found = own.get(table)
            if found is not None and name in found:
                return found[name]
        if "_parameters" not in own and name in _TABLES:
            raise AttributeError(
                f"'{type(self).__name__}' object has no attribute '{name}'. "
                "Hint: call super().__init__() first."
            )
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                self._non_persistent.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules}
        return sorted(n for n in names if not n[:1].isdigit())

    def _check_name(self, kind: str, name: Any, table: Mapping[str, Any]) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise ClgradTypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: "{name}"')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in table:
            raise KeyError(f"attribute '{name}' already exists")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Enter a tensor that belongs to the module and is not trained.

        Args:
            name: attribute under which it is found.
            tensor: None for a buffer that is filled later and not saved meanwhile.
            persistent: whether `state_dict` holds it.
        """
        self._check_name("buffer", name, self.__dict__.get("_buffers", {}))
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ClgradTypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(clgrad.Tensor or None required)."
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent.discard(name)
        else:
            self._non_persistent.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Enter a parameter; None for one that this module does without."""
        self._check_name("parameter", name, self.__dict__.get("_parameters", {}))
        if param is not None and not isinstance(param, Parameter):
            raise ClgradTypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(clgrad.nn.Parameter or None required)."
            )
        self._parameters[name] = param

    def register_module(self, name: str, module: Module | None) -> None:
        """Enter a submodule."""
        if module is not None and not isinstance(module, Module):
            raise ClgradTypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name("module", name, self.__dict__.get("_modules", {}))
        self._modules[name] = module

    add_module = register_module

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

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def _named(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        trees = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in trees:
            for name, value in getattr(module, table).items():
                if value is None or (remove_duplicate and value in seen):
                    continue
                seen.add(value)
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield parameters with their dotted names; one that is shared, once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield parameters, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield buffers with their dotted names."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """Return the submodule of a dotted name; raises `AttributeError` if there is none."""
        module: Module = self
        for item in target.split(".") if target else ():
            if not hasattr(module, item):
                raise AttributeError(f"{type(module).__name__} has no attribute `{item}`")
            module = getattr(module, item)
            if not isinstance(module, Module):
                raise AttributeError(f"`{item}` is not an nn.Module")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name; raises `AttributeError` if there is none."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._parameters.get(name)
        if found is None:
            raise AttributeError(f"`{target}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer of a dotted name; raises `AttributeError` if there is none."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._buffers.get(name)
        if found is None:
            raise AttributeError(f"`{target}` is not a buffer")
        return found

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every submodule, then on this module; returns the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ---- modes, gradients, conversions ---------------------------------------------------------

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

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Replace the memory of every parameter, gradient and buffer; identities stay."""
        done: set[Tensor] = set()
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is None or parameter in done:
                    continue
                done.add(parameter)
                grad = parameter.grad
                parameter.grad = None
                with no_grad():
                    parameter.data = fn(parameter.data)
                    if grad is not None:
                        parameter.grad = fn(grad).requires_grad_(grad.requires_grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **named: Any) -> Self:
        """Move the module to a device, and its floats to a dtype; returns the module.

        Takes `(device)`, `(dtype)`, `(device, dtype)` or `(tensor)`, which has both.

        Raises:
            ClgradTypeError: a dtype that is no float.
        """
        device, dtype = named.pop("device", None), named.pop("dtype", None)
        named.pop("non_blocking", None)
        if named:
            raise ClgradTypeError(f"to() got an unexpected keyword argument {next(iter(named))!r}.")
        for arg in args:
            if isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, DType):
                dtype = arg
            elif not isinstance(arg, bool):
                device = arg
        wanted = None if dtype is None else as_dtype(dtype)
        if wanted is not None and not wanted.is_floating_point:
            raise ClgradTypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={wanted!r}. Hint: cast single tensors with .to()."
            )
        where = None if device is None else resolve_device(device)

        def convert(x: Tensor) -> Tensor:
            made: Tensor = x.to(device=where, dtype=wanted if x.is_floating_point() else None)
            return made

        return self._apply(convert)

    def type(self, dst_type: DType) -> Self:
        """Cast every parameter and buffer; returns the module."""
        return self._apply(lambda x: x.to(as_dtype(dst_type)))

    def float(self) -> Self:
        """Cast floats to float32; returns the module."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """Cast floats to float64; returns the module."""
        return self.to(dtypes.float64)

    def half(self) -> Self:
        """Cast floats to float16; returns the module."""
        return self.to(dtypes.float16)

    def bfloat16(self) -> Self:
        """Cast floats to bfloat16; returns the module."""
        return self.to(dtypes.bfloat16)

    def cpu(self) -> Self:
        """Move the module to the first CPU device; returns the module."""
        return self.to("cpu")

    # ---- state --------------------------------------------------------------------------------

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Return an ordered dictionary of parameters and persistent buffers by dotted names.

        Args:
            destination: a dictionary to fill instead of a new one.
            prefix: what every name begins with.
            keep_vars: the parameters themselves rather than detached tensors over their memory.
        """
        return state.save(self, destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values by name into parameters and buffers.

        Args:
            state_dict: dotted names with tensors or NumPy arrays.
            strict: names must match exactly.
            assign: take the given tensors themselves instead of copying their values.

        Returns:
            (missing_keys, unexpected_keys).

        Raises:
            StateDictError: names (if strict) or shapes that do not match; all are told at once.
        """
        return state.load(self, state_dict, strict, assign)

    # ---- printing -----------------------------------------------------------------------------

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


def indent(text: str) -> str:
    """Return `text` with every line but the first moved right by two columns."""
    return text.replace("\n", "\n  ")
