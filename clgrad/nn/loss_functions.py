"""Losses as functions of tensors, composed of ops of the table.

A class index is not gathered but compared with the position along the class dimension: the mask
fuses into the reduction, nothing of it is ever in memory, and its gradient is a mask again.
"""

from __future__ import annotations

import warnings
from typing import Any

from clgrad.calls import function
from clgrad.creation import arange
from clgrad.dtypes import as_dtype, int64, uint8
from clgrad.errors import (
    ClgradRuntimeError,
    ClgradTypeError,
    ClgradValueError,
    DTypeError,
    ShapeError,
)
from clgrad.layout import wrap_dim
from clgrad.nn.classes import check_targets
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

_where = function(OPS["where"])


def stable(op: str, x: Tensor, dim: int | None, dtype: Any) -> tuple[Any, int]:
    """Return `x` less its largest element along `dim`, whose exponential is at most 1; and `dim`.

    The largest element is a constant to the derivative: the results of softmax do not depend on
    it, so neither do derivatives of any order.
    """
    if not isinstance(x, Tensor):
        raise ClgradTypeError(f"{op}: got {type(x).__name__}. Expected a tensor.")
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
        warnings.warn(
            f"Implicit dimension choice for {op} has been deprecated. Change the call to include "
            "dim=X as an argument.",
            UserWarning,
            stacklevel=3,
        )
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    if not x.is_floating_point():
        raise DTypeError(
            f"{op}: not implemented for {x.dtype.name}. Expected a floating-point dtype. "
            "Hint: pass dtype=clgrad.float32."
        )
    d = wrap_dim(dim, max(x.ndim, 1), op)
    if not x.ndim:
        return x - x.detach(), 0
    if not x.numel():
        return x, d
    return x - x.detach().amax(dim=d, keepdim=True), d


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """Return the logarithm of the softmax along `dim`.

    Math: x - max - log(sum(exp(x - max))), which neither overflows nor loses small ones.

    Args:
        input: any shape.
        dim: along which the exponentials sum to 1; must be given.
        dtype: cast `input` to this first.
    """
    shifted, d = stable("log_softmax", input, dim, dtype)
    return shifted - shifted.exp().sum(dim=d, keepdim=True).log()  # type: ignore[no-any-return]  # a Tensor


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ClgradValueError(f"{reduction} is not a valid value for reduction")


def mse_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """Return squared differences.

    Args:
        input, target: shapes that broadcast; differing ones bring a warning.
        reduction: `mean`, `sum` or `none`.
        weight: factor of each element; the mean is then divided by its sum.
    """
    _check_reduction(reduction)
    if target.shape != input.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            UserWarning,
            stacklevel=2,
        )
    distance = input - target
    loss: Any = distance * distance
    if weight is not None:
        if weight.shape != input.shape:
            raise ClgradValueError("Inputs and weights must have the same size.")
        loss = loss * weight
    if reduction == "none":
        return loss  # type: ignore[no-any-return]  # a Tensor
    total: Tensor = loss.sum()
    if reduction == "sum":
        return total
    mean: Tensor = loss.mean() if weight is None else total / weight.sum()
    return mean


def _class_dim(op: str, input: Tensor, target: Tensor) -> int:
    """Check the shapes of logits (C), (N, C, *) and classes (), (N, *); return where C is."""
    if not input.ndim:
        raise ShapeError(f"{op}: input is 0-d. Expected shape (C) or (N, C, *).")
    d = 0 if input.ndim == 1 else 1
    want = (*input.shape[:d], *input.shape[d + 1 :])
    if tuple(target.shape) == want:
        return d
    if d and target.ndim and target.shape[0] != input.shape[0]:
        raise ClgradValueError(
            f"{op}: Expected input batch_size ({input.shape[0]}) to match target batch_size "
            f"({target.shape[0]})."
        )
    raise ShapeError(
        f"{op}: input has shape {list(input.shape)}, target {list(target.shape)}. Expected a "
        f"target of shape {list(want)} with class indices. Hint: target.squeeze() where a size "
        "of 1 is left over, or floats of the input's shape for probabilities."
    )


def _check_weight(op: str, weight: Tensor | None, classes: int) -> None:
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ShapeError(
            f"{op}: weight tensor should be defined either for all {classes} classes or no "
            f"classes but got weight tensor of shape: {list(weight.shape)}."
        )


def _along(weight: Tensor, input: Tensor, d: int) -> Tensor:
    """Return class weights in a shape that broadcasts along dimension `d` of the input."""
    made: Tensor = weight.reshape([-1 if k == d else 1 for k in range(input.ndim)])
    return made


def _of_classes(
    op: str, logp: Any, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float,
) -> Tensor:  # fmt: skip
    """Return the loss of log-probabilities against class indices."""
    if target.dtype not in (int64, uint8):
        raise DTypeError(
            f"{op}: expected target dtype to be Long or Byte, but got {target.dtype.name}. "
            "Expected class indices as int64. Hint: target.long()."
        )
    d = _class_dim(op, logp, target)
    classes = logp.shape[d]
    _check_weight(op, weight, classes)
    if weight is not None:
        weight = _along(weight, logp, d)
    some_ignored = check_targets(op, target, classes, ignore_index)
    there = target.unsqueeze(d)
    index = arange(classes, device=target.device)
    mask: Any = there == index.reshape([-1 if k == d else 1 for k in range(logp.ndim)])
    counted: Any = there != ignore_index
    if some_ignored:
        mask = mask * counted  # ignore_index may be a class
    picked = _where(mask, logp if weight is None else logp * weight, 0)
    loss = -picked.sum(dim=d)
    count: Any = target.numel()  # by what the mean divides
    if weight is not None:
        count = _where(mask, weight, 0).sum()
    elif some_ignored:
        count = counted.to(logp.dtype).sum()
    if smoothing:
        spread = logp if weight is None else logp * weight
        if some_ignored:
            spread = _where(counted, spread, 0)
        loss = loss * (1 - smoothing) - spread.sum(dim=d) * (smoothing / classes)
    if reduction == "none":
        return loss  # type: ignore[no-any-return]  # a Tensor
    total: Any = loss.sum()
    if reduction == "mean":
        if isinstance(count, int):
            total = total / (count or float("nan"))
        else:
            total = total / count
    return total  # type: ignore[no-any-return]  # a Tensor


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return the negative of the given log-probabilities at the classes `target`.

    Args:
        input: log-probabilities, shape (C) or (N, C, *).
        target: class indices, int64, shape () or (N, *).
        weight: shape (C), factor of each class; the mean is divided by those that count.
        ignore_index: a class that counts for nothing.
        reduction: `mean`, `sum` or `none`.

    Raises:
        ClgradIndexError: a target that is no class.
    """
    _check_reduction(reduction)
    return _of_classes("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100,
    reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Return the negative log-likelihood of `target` under the softmax of `input`.

    Args:
        input: logits, shape (C) or (N, C, *).
        target: class indices (int64, shape () or (N, *)), or probabilities (float, the shape of
            `input`).
        weight: shape (C), factor of each class.
        ignore_index: a class that counts for nothing.
        reduction: `mean`, `sum` or `none`.
        label_smoothing: share of the probability that is spread over all classes.

    Raises:
        ClgradIndexError: a target that is no class.
        ShapeError: shapes that do not fit.
    """
    _check_reduction(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ClgradRuntimeError(
            f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    if not input.ndim:
        raise ShapeError("cross_entropy: input is 0-d. Expected shape (C) or (N, C, *).")
    d = 0 if input.ndim == 1 else 1
    if target.is_floating_point():
        if ignore_index >= 0:
            raise ClgradRuntimeError(
                "cross_entropy: ignore_index is not supported for floating point target, got "
                f"{ignore_index}. Hint: give such samples a row of zeros."
            )
        return _of_probabilities(input, target, weight, reduction, label_smoothing, d)
    _class_dim("cross_entropy", input, target)
    logp = log_softmax(input, d)
    return _of_classes(
        "cross_entropy", logp, target, weight, ignore_index, reduction, label_smoothing
    )


def _of_probabilities(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, d: int
) -> Tensor:
    if target.shape != input.shape:
        raise ShapeError(
            f"cross_entropy: Expected floating point target with class probabilities to have the "
            f"shape {list(input.shape)} of the input, got {list(target.shape)}. "
            "Hint: class indices are integers; use target.long()."
        )
    classes = input.shape[d]
    _check_weight("cross_entropy", weight, classes)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    terms: Any = log_softmax(input, d) * target
    if weight is not None:
        terms = terms * _along(weight, input, d)
    loss = -terms.sum(dim=d)
    if reduction == "none":
        return loss  # type: ignore[no-any-return]  # a Tensor
    total: Tensor = loss.sum()
    return total / (input.numel() // classes) if reduction == "mean" else total
