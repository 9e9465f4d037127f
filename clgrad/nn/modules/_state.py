"""State dictionaries of modules: what they hold, and how they are loaded, with every fault told.

Names, metadata and the shape of the text are PyTorch's, so that checkpoints fit both ways. A base
of `Module`.
"""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from clgrad.creation import tensor
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, StateDictError
from clgrad.nn.parameter import Parameter, is_lazy
from clgrad.tape.grad_mode import no_grad
from clgrad.tape.hooks import RemovableHandle, Table
from clgrad.tensor import Tensor

Hook = Callable[..., Any]

_EXTRA = "_extra_state"
_TABLES = (
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)  # fmt: skip


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it had no use for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


class _OwnedHook:
    """A hook that is handed its module, without keeping the module alive."""

    def __init__(self, hook: Hook, module: Any) -> None:
        self.hook = hook
        self.module = weakref.ref(module)

    def __call__(self, *args: Any) -> Any:
        module = self.module()
        if module is None:
            raise ClgradRuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args)

    def __reduce__(self) -> Any:
        return _OwnedHook, (self.hook, self.module())


class Saving:
    """What makes an object with tables of members save and load them."""

    _version: int = 1
    """Of the layout of saved state; see `_load_from_state_dict`."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _state_dict_hooks: Table
    _state_dict_pre_hooks: Table
    _load_state_dict_pre_hooks: Table
    _load_state_dict_post_hooks: Table

    def _init_state_hooks(self) -> None:
        for table in _TABLES:
            self.__dict__[table] = Table()

    # ---- saving -------------------------------------------------------------------------------

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Return an ordered dictionary of parameters and persistent buffers by dotted names.

        Args:
            args: the same by position, which is deprecated.
            destination: a dictionary to fill instead of a new one.
            prefix: what every name begins with.
            keep_vars: the parameters themselves rather than detached tensors over their memory.
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead.",
                FutureWarning,
                stacklevel=2,
            )
            given = (*args, *(destination, prefix, keep_vars)[len(args) :])
            destination, prefix, keep_vars = given
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in list(self._state_dict_hooks.values()):
            changed = hook(self, destination, prefix, metadata)
            if changed is None:
                continue
            if getattr(hook, "_from_public_api", False):
                raise ClgradRuntimeError("state_dict post-hook must return None")
            destination = changed
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Enter what this module itself holds, without its submodules."""
        for name, value in self._saved():
            kept = keep_vars or is_lazy(value)
            destination[prefix + name] = value if kept else value.detach()
        if getattr(type(self), "get_extra_state", None) is not Saving.get_extra_state:
            destination[prefix + _EXTRA] = self.get_extra_state()

    def _saved(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                yield name, buffer

    def get_extra_state(self) -> Any:
        """Return what else to save; subclasses define it together with `set_extra_state`."""
        raise ClgradRuntimeError(
            f"{type(self).__name__}.get_extra_state() was called and is not defined. "
            "Hint: define it in the subclass."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned; subclasses define it."""
        raise ClgradRuntimeError(
            f"{type(self).__name__}.set_extra_state() was called and is not defined. "
            "Hint: define it in the subclass."
        )

    # ---- loading ------------------------------------------------------------------------------

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values by name into parameters and buffers.

        Args:
            state_dict: dotted names with tensors, or arrays: whatever NumPy takes for one.
            strict: names must match exactly.
            assign: take the given tensors themselves instead of copying their values.

        Returns:
            (missing_keys, unexpected_keys).

        Raises:
            StateDictError: names (if strict) or shapes that do not match; all are told at once.
        """
        if not isinstance(state_dict, Mapping):
            raise ClgradTypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict)}. "
                "Hint: pass what state_dict() returned."
            )
        loading = _Loading(OrderedDict(state_dict), getattr(state_dict, "_metadata", None), assign)
        loading.module(self, loading.values, "")
        faults = loading.faults
        if strict and loading.unexpected:
            faults.insert(0, f"Unexpected key(s) in state_dict: {_quoted(loading.unexpected)}.")
        if strict and loading.missing:
            faults.insert(0, f"Missing key(s) in state_dict: {_quoted(loading.missing)}.")
        if faults:
            raise StateDictError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(faults)
                + "\nExpected names and shapes of this module's own state_dict(). "
                "Hint: strict=False passes over names, never over shapes."
            )
        return IncompatibleKeys(loading.missing, loading.unexpected)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        """Load what this module itself holds; subclasses may first rename what is older.

        Args:
            state_dict: everything whose name begins with `prefix`.
            prefix: of this module.
            local_metadata: has the `version` under which the state was saved, if known.
            strict: whether to fill the two lists of keys.
            missing_keys, unexpected_keys, error_msgs: where to add what is wrong.
        """
        for hook in list(self._load_state_dict_pre_hooks.values()):
            hook(
                state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                error_msgs,
            )  # fmt: skip
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = dict(self._saved())
        for name, mine in own.items():
            key = prefix + name
            if key in state_dict:
                fault = self._load_one(name, mine, key, state_dict[key], assign)
                if fault:
                    error_msgs.append(fault)
            elif strict:
                missing_keys.append(key)
        extra = prefix + _EXTRA
        takes_extra = getattr(type(self), "set_extra_state", None) is not Saving.set_extra_state
        if takes_extra and extra in state_dict:
            self.set_extra_state(state_dict[extra])
        elif takes_extra and strict:
            missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if not strict:
            return
        for key in state_dict:
            if not key.startswith(prefix) or key == extra:
                continue
            first, dot, _ = key[len(prefix) :].partition(".")
            if first not in (self._modules if dot else own):
                unexpected_keys.append(key)

    def _load_one(self, name: str, mine: Tensor, key: str, value: Any, assign: bool) -> str | None:
        """Load one value; return what is wrong with it, or None."""
        if not isinstance(value, Tensor):
            if not hasattr(value, "__array__"):
                return (
                    f'While copying the parameter named "{key}", expected a tensor or an array '
                    f"from checkpoint but received {type(value).__name__}."
                )
            array = np.asarray(value.detach() if hasattr(value, "detach") else value)
            value = tensor(array, device=mine.device)
        if is_lazy(mine) and is_lazy(value):
            return None
        if not mine.ndim and tuple(value.shape) == (1,):
            value = value[0]  # scalars of old checkpoints
        if value.shape != mine.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {value.shape} from "
                f"checkpoint, the shape in current model is {mine.shape}."
            )
        with no_grad():
            if not assign:
                mine.copy_(value.to(mine.device))
                return None
            if isinstance(mine, Parameter):
                if isinstance(value, Parameter):
                    value.requires_grad_(mine.requires_grad)
                else:
                    value = Parameter(value, mine.requires_grad)
            setattr(self, name, value)
        return None

    # ---- hooks --------------------------------------------------------------------------------

    def register_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before the state of this module is saved."""
        return RemovableHandle(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` after it was saved.

        The hook changes the dictionary in place and returns None.
        """
        hook._from_public_api = True  # type: ignore[attr-defined]  # a function takes attributes
        return RemovableHandle(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook: Hook) -> RemovableHandle:
        """Call a hook as after saving that may return another dictionary."""
        if getattr(hook, "_from_public_api", False):
            raise ClgradRuntimeError(
                "Cannot register the same function as the state dict post hook that was "
                "previously registered via register_state_dict_post_hook"
            )
        return RemovableHandle(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, *arguments of _load_from_state_dict)` before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Hook, with_module: bool = False
    ) -> RemovableHandle:
        entered = _OwnedHook(hook, self) if with_module else hook
        return RemovableHandle(self._load_state_dict_pre_hooks, entered)

    def register_load_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` after loading; it may change the lists."""
        return RemovableHandle(self._load_state_dict_post_hooks, hook)


class _Loading:
    """One call of `load_state_dict`."""

    def __init__(self, values: Any, metadata: Any, assign: bool) -> None:
        self.values = values
        if metadata is not None:
            values._metadata = metadata
        self.metadata = metadata
        self.assign = assign
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.faults: list[str] = []

    def module(self, module: Any, values: Any, prefix: str) -> None:
        """Load a module, then those below it."""
        local = {} if self.metadata is None else self.metadata.get(prefix[:-1], {})
        if self.assign:
            local["assign_to_params_buffers"] = True
        module._load_from_state_dict(
            values, prefix, local, True, self.missing, self.unexpected, self.faults
        )
        for name, child in module._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                part = {key: v for key, v in values.items() if key.startswith(below)}
                self.module(child, part, below)
        keys = IncompatibleKeys(self.missing, self.unexpected)
        for hook in list(module._load_state_dict_post_hooks.values()):
            if hook(module, keys) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not "
                    "expected to return new values, if incompatible_keys need to be modified, it "
                    "should be done inplace."
                )


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
