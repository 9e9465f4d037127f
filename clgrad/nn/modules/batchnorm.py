"""Batch normalisation; `_NormBase` is shared with instance normalisation."""

from __future__ import annotations

from typing import Any

from clgrad.creation import empty, ones, tensor, zeros
from clgrad.dtypes import int64
from clgrad.errors import ClgradValueError
from clgrad.nn import functional, init
from clgrad.nn.modules.module import Module
from clgrad.nn.parameter import Parameter
from clgrad.tensor import Tensor


class _NormBase(Module):
    """Normalisation of channels, with statistics that are kept for evaluation.

    Attributes:
        weight, bias: shape (num_features), ones and zeros, or None unless `affine`.
        running_mean, running_var: shape (num_features), or None unless `track_running_stats`.
        num_batches_tracked: int64, how often they were updated.
    """

    _version = 2
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool,
        track_running_stats: bool, device: Any, dtype: Any, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            made = Parameter(empty(num_features, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, made)
        mean = var = count = None
        if track_running_stats:
            mean = zeros(num_features, device=device, dtype=dtype)
            var = ones(num_features, device=device, dtype=dtype)
            count = tensor(0, dtype=int64, device=device)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics."""
        if self.running_mean is not None:
            self.running_mean.zero_()
        if self.running_var is not None:
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set weights to one, biases to zero, and forget the statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        """Check how many dims the input has; subclasses say how many."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        key = f"{prefix}num_batches_tracked"
        older = local_metadata.get("version") in (None, 1)  # it came with version 2
        if older and self.track_running_stats and key not in state_dict:
            kept = self.num_batches_tracked
            state_dict[key] = tensor(0, dtype=int64) if kept is None else kept
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def expect_dims(input: Tensor, *counts: int) -> None:
    """Check the number of dims; raises `ClgradValueError`."""
    if input.ndim not in counts:
        raise ClgradValueError(
            f"expected {' or '.join(f'{n}D' for n in counts)} input (got {input.ndim}D input)"
        )


class _BatchNorm(_NormBase):
    """Normalises each channel over the batch, then scales and shifts it.

    Math: (x - mean) / sqrt(var + eps) * weight + bias.

    Args:
        num_features: number of channels C.
        eps: added to the variance.
        momentum: share of a batch in the running statistics; None for their plain mean.
        affine: whether there are weights (and biases, if `bias`).
        track_running_stats: keep statistics, and use them in evaluation.
        device, dtype: of all that.
        bias: whether something is added.

    Source: Ioffe and Szegedy 2015.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (N, C, *), normalised."""
        self._check_input_dim(input)
        share = 0.0 if self.momentum is None else self.momentum
        tracked = self.training and self.track_running_stats
        if tracked and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                share = 1.0 / float(self.num_batches_tracked)
        used = tracked or not self.training
        return functional.batch_norm(
            input,
            self.running_mean if used else None,
            self.running_var if used else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            share,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__

    def _check_input_dim(self, input: Tensor) -> None:
        expect_dims(input, 2, 3)


class BatchNorm2d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__

    def _check_input_dim(self, input: Tensor) -> None:
        expect_dims(input, 4)


class BatchNorm3d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__

    def _check_input_dim(self, input: Tensor) -> None:
        expect_dims(input, 5)
