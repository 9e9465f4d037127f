"""State dictionaries of modules: what they hold, and how they are loaded, with every fault told.

Names and the shape of the text are PyTorch's, so that checkpoints fit both ways.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clgrad.creation import tensor
from clgrad.errors import ClgradTypeError, StateDictError
from clgrad.nn.parameter import Parameter
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

if TYPE_CHECKING:
    from clgrad.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it had no use for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


def entries(module: Module, prefix: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield (dotted name, table that holds it, name there) of all that is saved, in order."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield prefix + name, module.__dict__["_parameters"], name
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent:
            yield prefix + name, module.__dict__["_buffers"], name
    for name, child in module._modules.items():
        if child is not None:
            yield from entries(child, f"{prefix}{name}.")


def save(module: Module, destination: Any, prefix: str, keep_vars: bool) -> Any:
    """Fill and return the state dictionary of a module."""
    if destination is None:
        destination = OrderedDict()
    for key, table, name in entries(module, prefix):
        destination[key] = table[name] if keep_vars else table[name].detach()
    return destination


def load(module: Module, values: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Copy or assign `values` by name; see `Module.load_state_dict`."""
    if not isinstance(values, Mapping):
        raise ClgradTypeError(
            f"Expected state_dict to be dict-like, got {type(values).__name__}. "
            "Hint: pass what state_dict() returned."
        )
    own = list(entries(module, ""))
    known = {key for key, _, _ in own}
    missing = [key for key, _, _ in own if key not in values]
    unexpected = [key for key in values if key not in known]
    faults = []
    if strict and missing:
        faults.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
    if strict and unexpected:
        faults.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
    for key, table, name in own:
        if key in values:
            fault = _put(table, name, key, values[key], assign)
            if fault:
                faults.append(fault)
    if faults:
        raise StateDictError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t"
            + "\n\t".join(faults)
            + "\nExpected names and shapes of this module's own state_dict(). "
            "Hint: strict=False passes over names, never over shapes."
        )
    return IncompatibleKeys(missing, unexpected)


def _put(table: dict[str, Any], name: str, key: str, value: Any, assign: bool) -> str | None:
    """Load one value; return what is wrong with it, or None."""
    mine: Tensor = table[name]
    if isinstance(value, np.ndarray | np.generic):
        value = tensor(np.asarray(value), device=mine.device)
    if not isinstance(value, Tensor):
        return (
            f'While copying the parameter named "{key}", expected a tensor or a NumPy array from '
            f"checkpoint but received {type(value).__name__}."
        )
    if value.shape != mine.shape:
        return (
            f"size mismatch for {key}: copying a param with shape {list(value.shape)} from "
            f"checkpoint, the shape in current model is {list(mine.shape)}."
        )
    with no_grad():
        if not assign:
            mine.copy_(value.to(mine.device))
        elif isinstance(mine, Parameter):
            table[name] = (
                value if isinstance(value, Parameter) else Parameter(value, mine.requires_grad)
            )
        else:
            table[name] = value
    return None


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
