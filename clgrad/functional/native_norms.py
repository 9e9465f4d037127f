"""Normalizations that return the statistics besides, as PyTorch's operators of these names do.

Statistics are the means and the reciprocals of the standard deviations; they have no gradient.
"""

from __future__ import annotations

from typing import Any

from clgrad.creation import empty
from clgrad.dispatch import apply
from clgrad.functional.batch_norm import batch_norm
from clgrad.functional.normalization import group_norm, layer_norm, rstd_op
from clgrad.functional.softmax import widened
from clgrad.ops.moments import mean_of, variance_of
from clgrad.tensor import Tensor

Normalized = tuple[Tensor, Tensor, Tensor]


def _statistics(x: Any, dims: tuple[int, ...], eps: float) -> tuple[Any, Any]:
    """Return mean and reciprocal standard deviation over some dims, which are kept."""
    wide = widened(x.detach())
    mean, variance = (apply(op, (wide,), (dims, True)) for op in (mean_of, variance_of))
    return mean, apply(rstd_op, (variance, float(eps)))


def native_layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Normalized:
    """Return `layer_norm`, and statistics of the input's shape with ones for what is normalized."""
    made = layer_norm(input, normalized_shape, weight, bias, eps)
    dims = tuple(range(input.ndim - len(tuple(normalized_shape)), input.ndim))
    return (made, *_statistics(input, dims, eps))


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int,
    group: int, eps: float,
) -> Normalized:  # fmt: skip
    """Return `group_norm` of N images of C channels with HxW points, and statistics (N, group)."""
    made = group_norm(input, group, weight, bias, eps)
    mean, rstd = _statistics(input.reshape((N, group, C // group * HxW)), (2,), eps)
    return made, mean.squeeze(2), rstd.squeeze(2)


def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float,
) -> Normalized:  # fmt: skip
    """Return `batch_norm`, and statistics (C) of the batch; none, shape (0), unless training."""
    made = batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        none = empty((0,), dtype=widened(made.detach()).dtype, device=input.device)
        return made, none, none.clone()
    mean, rstd = _statistics(input, (0, *range(2, input.ndim)), eps)
    return made, mean.reshape(-1), rstd.reshape(-1)


__all__ = ["native_batch_norm", "native_group_norm", "native_layer_norm"]
METHODS: tuple[str, ...] = ()
