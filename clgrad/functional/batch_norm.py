"""Normalization by channel over a batch, and over each sample, with running statistics.

Forward and backward are column reductions. Mean and variance are found in one pass: `mean_of` and
`variance_of` fold the same numbers, hence once, and a batch is read twice each way.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

from clgrad.dispatch import apply
from clgrad.errors import ClgradValueError, ShapeError
from clgrad.functional.arranging import repeat
from clgrad.functional.normalization import (
    by_channel,
    check_dtypes,
    operands_of,
    rstd_op,
    scaled_by,
    split_given,
)
from clgrad.functional.softmax import widened
from clgrad.ops.moments import mean_of, variance_of
from clgrad.ops.registry import REQUIRED, Op, pointwise
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

_moved = pointwise(
    "_moved", "running, now, *, kept=0.9, share=0.1", "kept * running + share * now",
    inplace=False, doc="A running statistic, moved towards that of a batch.",
)  # fmt: skip


def _batch_dims(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _batch_statistics(x: Any, eps: float) -> tuple[Any, Any, Any]:
    """Return mean, variance and reciprocal standard deviation by channel, shape (1, C, 1, …)."""
    static = (_batch_dims(x), True)
    mean = apply(mean_of, (x,), static)
    variance = apply(variance_of, (x,), static)
    return mean, variance, apply(rstd_op, (variance, eps))


@lru_cache(maxsize=4)
def _batch_norm_op(weight: bool, bias: bool) -> Op:
    """By the statistics of the batch; returns mean, rstd and the variance besides."""

    def forward(x: Any, *given: Any) -> tuple[Any, ...]:
        w, b, (eps,) = split_given(given, weight, bias)
        wide = widened(x)
        mean, variance, rstd = _batch_statistics(wide, eps)
        y = scaled_by((wide - mean) * rstd, by_channel(w, x), by_channel(b, x))
        return y.to(x.dtype), mean, rstd, variance

    def backward(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        g, x = widened(grads[0]), widened(ctx.saved("x"))
        dims = _batch_dims(x)
        if ctx.recording:
            centred = x - x.mean(dim=dims, keepdim=True)
            rstd = apply(
                rstd_op, ((centred * centred).mean(dim=dims, keepdim=True), ctx.param("eps"))
            )
        else:
            centred, rstd = x - ctx.saved("result1"), ctx.saved("result2")
        unit = centred * rstd
        along = (g * unit).sum(dim=dims, keepdim=True)  # first: the other then joins its kernel
        total = g.sum(dim=dims, keepdim=True)
        out = [None]
        if ctx.needs("x"):
            share = 1.0 / max(x.numel() // max(x.shape[1], 1), 1)
            scale = rstd * by_channel(ctx.saved("weight"), x) if weight else rstd
            out[0] = (g - (total + unit * along) * share) * scale
        if weight:
            out.append(along.reshape(-1) if ctx.needs("weight") else None)
        if bias:
            out.append(total.reshape(-1) if ctx.needs("bias") else None)
        return tuple(out)

    read = ("x", "result1", "result2")
    saved = (*read, "weight") if weight else read
    return Op(
        name="batch_norm", kind="composite", inputs=operands_of(weight, bias),
        params=(("eps", REQUIRED),), forward=forward, backward=backward,
        saves={"x": saved, "weight": read, "bias": read},
        node_name="NativeBatchNormBackward0",
    )  # fmt: skip


@lru_cache(maxsize=4)
def _batch_norm_eval_op(weight: bool, bias: bool) -> Op:
    """By given statistics, which get no gradient."""

    def forward(x: Any, mean: Any, variance: Any, *given: Any) -> Any:
        w, b, (eps,) = split_given(given, weight, bias)
        wide = widened(x)
        rstd = by_channel(apply(rstd_op, (widened(variance), eps)), x)
        y = (wide - by_channel(mean, x)) * rstd
        return scaled_by(y, by_channel(w, x), by_channel(b, x)).to(x.dtype)

    def backward(ctx: Any, g: Any) -> tuple[Any, ...]:
        x, g = widened(ctx.saved("x")), widened(g)
        rstd = by_channel(apply(rstd_op, (widened(ctx.saved("variance")), ctx.param("eps"))), x)
        dims = _batch_dims(x)
        out: list[Any] = [None, None, None]
        if ctx.needs("x"):
            out[0] = g * (rstd * by_channel(ctx.saved("weight"), x) if weight else rstd)
        if weight:
            unit = (x - by_channel(ctx.saved("mean"), x)) * rstd
            out.append((g * unit).sum(dim=dims) if ctx.needs("weight") else None)
        if bias:
            out.append(g.sum(dim=dims) if ctx.needs("bias") else None)
        return tuple(out)

    saved = ("x", "mean", "variance", *(["weight"] if weight else []))
    names = ("x", "mean", "variance", *operands_of(weight, bias)[1:])
    return Op(
        name="batch_norm", kind="composite", inputs=names, params=(("eps", REQUIRED),),
        forward=forward, backward=backward, saves=dict.fromkeys(names, saved),
        node_name="NativeBatchNormBackward0",
    )  # fmt: skip


def _check_channels(name: str, channels: int, **given: Tensor | None) -> None:
    for what, one in given.items():
        if one is not None and one.numel() != channels:
            raise ShapeError(
                f"{name}: {what} should contain {channels} elements not {one.numel()}. "
                "Expected one for each channel of the input's dim 1."
            )


def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
    weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Return the input normalized by channel, over the batch or by running statistics.

    Args:
        input: shape (N, C, *).
        running_mean, running_var: shape (C); while training they move by `momentum` towards the
            mean and the unbiased variance of the batch, in place, else they are used.
        weight, bias: shape (C).
        training: use the statistics of the batch.

    Raises:
        ClgradValueError: training with one value per channel.
        ShapeError: a parameter of another size, or no statistics to use.
    """
    if training:
        _verify_batch_size(input)
    if input.ndim < 2:
        raise ShapeError(
            f"batch_norm: input has shape {list(input.shape)}. Expected at least 2 dimensions, "
            "(N, C, *)."
        )
    _check_channels(
        "batch_norm", input.shape[1], weight=weight, bias=bias, running_mean=running_mean,
        running_var=running_var,
    )  # fmt: skip
    check_dtypes("batch_norm", input, weight, bias, running_mean, running_var)
    given = [t for t in (weight, bias) if t is not None]
    if not training:
        if running_mean is None or running_var is None:
            what = "running_mean" if running_mean is None else "running_var"
            raise ShapeError(
                f"batch_norm: Expected {what} to be defined when training=False. "
                "Hint: pass running statistics, or training=True."
            )
        made: Tensor = apply(
            _batch_norm_eval_op(weight is not None, bias is not None),
            (input, running_mean.detach(), running_var.detach(), *given), (float(eps),),
        )  # fmt: skip
        return made
    op = _batch_norm_op(weight is not None, bias is not None)
    y, mean, _, variance = apply(op, (input, *given), (float(eps),))
    count = input.numel() // max(input.shape[1], 1)
    if count:  # an empty batch says nothing
        with no_grad():
            _move(running_mean, mean, momentum)
            _move(running_var, variance, momentum, count / max(count - 1, 1))
    result: Tensor = y
    return result


def _move(running: Tensor | None, now: Any, momentum: float, factor: float = 1.0) -> None:
    """Move a running statistic towards that of a batch; not counted as a write, as in PyTorch."""
    if running is not None and running.numel():
        data = running.data
        share = (1.0 - momentum, momentum * factor)
        data.copy_(apply(_moved, (data, now.detach().reshape(-1), *share)))


def _verify_batch_size(input: Tensor) -> None:
    count = prod(input.shape[:1]) * prod(input.shape[2:])
    if count == 1:
        raise ClgradValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )


def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Return the input normalized by channel, each sample by itself.

    Args:
        input: shape (N, C, *).
        running_mean, running_var: shape (C); they move towards the mean over the batch of each
            sample's statistics, or are used if not `use_input_stats`.
        weight, bias: shape (C).

    Raises:
        ClgradValueError: one spatial element, so that there is no variance.
    """
    if use_input_stats:
        _verify_spatial_size(input)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n, c = input.shape[:2]
    _check_channels(
        "instance_norm", c, weight=weight, bias=bias, running_mean=running_mean,
        running_var=running_var,
    )  # fmt: skip
    check_dtypes("instance_norm", input, weight, bias, running_mean, running_var)
    flat = input.reshape((1, n * c, *input.shape[2:]))
    given = [repeat(t, n) for t in (weight, bias) if t is not None]
    op = _batch_norm_op(weight is not None, bias is not None)
    y, mean, _, variance = apply(op, (flat, *given), (float(eps),))
    count = flat.numel() // max(n * c, 1)
    with no_grad():
        _move(running_mean, mean.reshape((n, c)).mean(dim=0), momentum)
        moved = variance.reshape((n, c)).mean(dim=0)
        _move(running_var, moved, momentum, count / max(count - 1, 1))
    result: Tensor = y.reshape(input.shape)
    return result


def _verify_spatial_size(input: Tensor) -> None:
    size = 1
    for extent in input.shape[2:]:
        size *= extent
    if size == 1:
        raise ClgradValueError(
            f"Expected more than 1 spatial element when training, got input size {input.shape}"
        )
