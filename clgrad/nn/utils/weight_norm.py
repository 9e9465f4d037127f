"""Weight normalisation by a hook before `forward`; `parametrizations.weight_norm` is the newer way.

Source: Salimans and Kingma 2016.
"""

from __future__ import annotations

import warnings
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.nn.utils._weights import norm_except_dim, scaled
from clgrad.tensor import Tensor


class WeightNorm:
    """The hook: computes the weight from its lengths and directions before each call."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """Return the weight of the lengths and directions that a module has."""
        g, v = (getattr(module, f"{self.name}_{part}") for part in "gv")
        return scaled(v, g, self.dim)

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train length and direction of a weight apart; returns `module`.

    Args:
        module: that has the weight.
        name: of the weight.
        dim: lengths are kept along it; None for one length.

    Raises:
        ClgradRuntimeError: it was done already.
    """
    warnings.warn(
        "`nn.utils.weight_norm` is deprecated in favor of `nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise ClgradRuntimeError(
                f"Cannot register two weight_norm hooks on the same parameter {name}"
            )
    made = WeightNorm(name, dim)
    weight = getattr(module, name)
    del module._parameters[name]
    lengths = norm_except_dim(weight.detach(), made.dim)
    module.register_parameter(f"{name}_g", Parameter(lengths))
    module.register_parameter(f"{name}_v", Parameter(weight.data))
    setattr(module, name, made.compute_weight(module))
    module.register_forward_pre_hook(made)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a parameter again; returns `module`.

    Raises:
        ClgradValueError: it was not normalised.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            weight = hook.compute_weight(module)
            delattr(module, name)
            del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
            setattr(module, name, Parameter(weight.data))
            del module._forward_pre_hooks[key]
            return module
    raise ClgradValueError(f"weight_norm of '{name}' not found in {module}")


__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]
