"""What normalising a weight means, whatever way it is attached to a module."""

from __future__ import annotations

from typing import Any

from clgrad.nn import functional
from clgrad.nn.modules.conv import _ConvTransposeNd
from clgrad.nn.modules.module import Module
from clgrad.tensor import Tensor


def norm_except_dim(v: Tensor, dim: int) -> Tensor:
    """Return the 2-norm over all dims but one, which are kept with size 1; over all for -1."""
    dims = tuple(k for k in range(v.ndim) if k != dim % v.ndim) if dim != -1 else None
    squares: Any = v * v
    total = squares.sum() if dims is None else squares.sum(dim=dims, keepdim=True)
    norm: Tensor = total.sqrt()
    return norm


def scaled(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """Return `v` with the norms `g`. Source: Salimans and Kingma 2016."""
    return v * (g / norm_except_dim(v, dim))


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """Return a weight with `dim` first and all others joined."""
    if dim:
        weight = weight.permute(dim, *[d for d in range(weight.ndim) if d != dim])
    made: Tensor = weight.reshape(weight.shape[0], -1)
    return made


def normalized(x: Tensor, eps: float) -> Tensor:
    """Return a vector of length 1."""
    made: Tensor = functional.normalize(x, dim=0, eps=eps)
    return made


def output_dim(module: Module) -> int:
    """Return the dim of a weight along which outputs lie."""
    return 1 if isinstance(module, _ConvTransposeNd) else 0
