"""Parametrizations of weights: by direction and length, or by their largest singular value."""

from __future__ import annotations

from typing import Any

from clgrad.errors import ClgradIndexError, ClgradValueError
from clgrad.functional.sampling import randn
from clgrad.nn.modules.module import Module
from clgrad.nn.utils._weights import as_matrix, norm_except_dim, normalized, output_dim, scaled
from clgrad.nn.utils.parametrize import register_parametrization
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """Return the weight of lengths and directions."""
        return scaled(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return lengths and directions of a weight."""
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train length and direction of a weight apart; returns `module`.

    Args:
        module: that has the weight.
        name: of the weight.
        dim: lengths are kept along it; None for one length.

    Source: Salimans and Kingma 2016.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def from_hooks(state: Any, prefix: str, *rest: Any) -> None:
        """Rename what the older `weight_norm` saved."""
        keys = (f"{prefix}{name}_g", f"{prefix}{name}_v")
        if all(key in state for key in keys):
            for k, key in enumerate(keys):
                state[f"{prefix}parametrizations.{name}.original{k}"] = state.pop(key)

    module._register_load_state_dict_pre_hook(from_hooks)
    return module


class _SpectralNorm(Module):
    """Divides a weight by an estimate of its largest singular value, found by power iteration."""

    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise ClgradIndexError(
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but "
                f"got {dim})"
            )
        if n_power_iterations <= 0:
            raise ClgradValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                drawn = randn(size, dtype=matrix.dtype, device=matrix.device)
                self.register_buffer(name, normalized(drawn, eps))
            self._iterate(matrix, 15)

    def _iterate(self, matrix: Tensor, count: int) -> None:
        with no_grad():
            for _ in range(count):
                self._u.copy_(normalized(matrix @ self._v, self.eps))
                self._v.copy_(normalized(matrix.t() @ self._u, self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with a largest singular value of about 1."""
        if weight.ndim == 1:
            return normalized(weight, self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        made: Tensor = weight / (u * (matrix @ v)).sum()
        return made

    def right_inverse(self, value: Tensor) -> Tensor:
        """Return the weight itself."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
    dim: int | None = None,
) -> Module:  # fmt: skip
    """Divide a weight by its largest singular value; returns `module`.

    Args:
        module: that has the weight.
        name: of the weight.
        n_power_iterations: steps of the estimate at each reading while training.
        eps: norms are at least this large.
        dim: along which outputs lie; None for what the module has.

    Raises:
        ClgradValueError: no such weight, or no iterations.

    Source: Miyato et al. 2018.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ClgradValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    where = output_dim(module) if dim is None else dim
    made = _SpectralNorm(weight, n_power_iterations, where, eps)
    return register_parametrization(module, name, made)


__all__ = ["spectral_norm", "weight_norm"]
