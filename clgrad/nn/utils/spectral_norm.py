"""Spectral normalisation by a hook before `forward`; `parametrizations` has the newer way.

Source: Miyato et al. 2018.
"""

from __future__ import annotations

from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.functional.sampling import randn
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.nn.utils._weights import as_matrix, normalized, output_dim
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor


class SpectralNorm:
    """The hook: divides the weight by its largest singular value before each call."""

    _version = 1

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations <= 0:
            raise ClgradValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """Return the weight with a largest singular value of about 1."""
        weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(normalized(matrix.t() @ u, self.eps))
                    u.copy_(normalized(matrix @ v, self.eps))
                u, v = u.clone(), v.clone()
        made: Tensor = weight / (u * (matrix @ v)).sum()
        return made

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))

    def note_version(self, module: Module, state: Any, prefix: str, metadata: Any) -> None:
        """Enter the version of what is saved, as PyTorch does."""
        metadata.setdefault("spectral_norm", {})[f"{self.name}.version"] = self._version


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
    dim: int | None = None,
) -> Module:  # fmt: skip
    """Divide a weight by its largest singular value; returns `module`.

    Args:
        module: that has the weight, which becomes `<name>_orig`.
        name: of the weight.
        n_power_iterations: steps of the estimate at each call while training.
        eps: norms are at least this large.
        dim: along which outputs lie; None for what the module has.

    Raises:
        ClgradRuntimeError: it was done already.
        ClgradValueError: no weight, or no iterations.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            raise ClgradRuntimeError(
                f"Cannot register two spectral_norm hooks on the same parameter {name}"
            )
    where = output_dim(module) if dim is None else dim
    made = SpectralNorm(name, n_power_iterations, where, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ClgradValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.data)
    shape = as_matrix(weight.detach(), where).shape
    for part, size in zip("uv", shape, strict=True):
        drawn = randn(size, dtype=weight.dtype, device=weight.device)
        module.register_buffer(f"{name}_{part}", normalized(drawn, eps))
    module.register_forward_pre_hook(made)
    module._register_state_dict_hook(made.note_version)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the normalised weight a parameter again; returns `module`.

    Raises:
        ClgradValueError: it was not normalised.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            with no_grad():
                weight = hook.compute_weight(module, False)
            for part in ("", "_u", "_v", "_orig"):
                delattr(module, f"{name}{part}")
            module.register_parameter(name, Parameter(weight.detach()))
            del module._forward_pre_hooks[key]
            for other, noted in list(module._state_dict_hooks.items()):
                if getattr(noted, "__self__", None) is hook:
                    del module._state_dict_hooks[other]
            return module
    raise ClgradValueError(f"spectral_norm of '{name}' not found in {module}")


__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]
