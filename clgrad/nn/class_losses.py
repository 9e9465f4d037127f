"""Losses of classes: against indices, or against a probability for each class.

A class index is not gathered but compared with the position along the class dimension: the mask
fuses into the reduction, nothing of it is ever in memory, and its gradient is a mask again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from clgrad.calls import function
from clgrad.creation import arange
from clgrad.dispatch import apply
from clgrad.dtypes import int64, uint8
from clgrad.errors import (
    ClgradIndexError,
    ClgradNotImplementedError,
    ClgradRuntimeError,
    ClgradValueError,
    DTypeError,
    ShapeError,
)
from clgrad.functional.linear import linear
from clgrad.functional.softmax import log_softmax
from clgrad.nn.classes import check_targets
from clgrad.nn.loss_common import chosen, elementwise, reduced
from clgrad.ops.registry import OPS, REQUIRED, Op
from clgrad.tensor import Tensor

_where = function(OPS["where"])


def _class_dim(op: str, input: Tensor, target: Tensor) -> int:
    """Check the shapes of logits (C), (N, C, *) and classes () or (1), (N, *); return C's dim."""
    if not input.ndim:
        raise ClgradValueError(
            f"{op}: Expected 1 or more dimensions (got 0). Hint: shapes are (C) or (N, C, *)."
        )
    d = 0 if input.ndim == 1 else 1
    want = (*input.shape[:d], *input.shape[d + 1 :])
    if tuple(target.shape) == want or (not d and target.shape == (1,)):
        return d
    batch = target.shape[0] if target.ndim else 0
    if d and batch != input.shape[0]:
        raise ClgradValueError(
            f"{op}: Expected input batch_size ({input.shape[0]}) to match target batch_size "
            f"({batch})."
        )
    kind = ShapeError if d else ClgradValueError  # as PyTorch
    raise kind(
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


@lru_cache(maxsize=16)
def _nll_op(weighted: bool, image: bool, divided: bool) -> Op:
    """The loss at class indices, and by what a mean divides, if only the device knows that."""

    def masks(target: Any, d: int, classes: int, ignore: int, some: bool) -> tuple[Any, Any]:
        there = target.unsqueeze(d)
        index = arange(classes, device=target.device)
        mask = there == index.reshape([-1 if k == d else 1 for k in range(there.ndim)])
        counted = there != ignore
        return (mask * counted if some else mask), counted  # ignore_index may be a class

    def forward(logp: Any, target: Any, *given: Any) -> Any:
        *weights, d, ignore, some, reduction = given
        weight = _along(weights[0], logp.ndim, d) if weighted else None
        mask, counted = masks(target, d, logp.shape[d], ignore, some)
        picked = _where(mask, logp if weight is None else logp * weight, 0)
        loss = -picked.sum(dim=d)
        if reduction == "none":
            return loss
        if reduction == "sum":
            return loss.sum()
        if not divided:
            return loss.sum() / (target.numel() or float("nan"))
        counts = counted if weight is None else _where(mask, weight, 0)
        total = counts.to(logp.dtype.compute).sum()
        return (loss.sum() / total).to(logp.dtype), total

    def backward(ctx: Any, grads: Any) -> tuple[Any, ...]:
        d, ignore, some = ctx.param("dim"), ctx.param("ignore_index"), ctx.param("some_ignored")
        target, reduction = ctx.saved("target"), ctx.param("reduction")
        shape = ctx.shape("logp")
        weight = _along(ctx.saved("weight"), len(shape), d) if weighted else None
        mask, _ = masks(target, d, shape[d], ignore, some)
        g = grads[0] if isinstance(grads, tuple) else grads
        if reduction == "none":
            g = g.unsqueeze(d)
        elif reduction == "mean":
            g = g / (ctx.saved("result1").detach() if divided else target.numel() or float("nan"))
        g = -g if weight is None else -g * weight
        return _where(mask, g, 0), None, *([None] if weighted else [])

    names = ("logp", "target", *(["weight"] if weighted else []))
    return Op(
        name="nll_loss", kind="composite", inputs=names,
        params=(
            ("dim", REQUIRED), ("ignore_index", REQUIRED), ("some_ignored", REQUIRED),
            ("reduction", REQUIRED),
        ),
        forward=forward, backward=backward,
        saves={"logp": (*names[1:], *(["result1"] if divided else []))},
        node_name="NllLoss2DBackward0" if image else "NllLossBackward0",
    )  # fmt: skip


def _along(weight: Any, ndim: int, d: int) -> Any:
    """Return class weights in a shape that broadcasts along dimension `d` of the input."""
    return weight.reshape([-1 if k == d else 1 for k in range(ndim)])


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
    if not d:
        target = target.reshape(())
    classes = logp.shape[d]
    _check_weight(op, weight, classes)
    some = check_targets(op, target, classes, ignore_index)
    divided = reduction == "mean" and (weight is not None or some)
    nll = _nll_op(weight is not None, logp.ndim > 2, divided)
    given = (logp, target) if weight is None else (logp, target, weight)
    made = apply(nll, given, (d, ignore_index, some, reduction))
    loss, total = made if divided else (made, target.numel() or float("nan"))
    if not smoothing:
        return loss  # type: ignore[no-any-return]  # a Tensor
    spread = logp if weight is None else logp * _along(weight, logp.ndim, d)
    if some:
        spread = _where(target.unsqueeze(d) != ignore_index, spread, 0)
    spread = -spread.sum(dim=d)
    if reduction != "none":
        spread = spread.sum()
        if reduction == "mean":
            spread = (spread / total).to(logp.dtype)
    return loss * (1 - smoothing) + spread * (smoothing / classes)  # type: ignore[no-any-return]  # as above


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None,
    size_average: bool | None = None, ignore_index: int = -100, reduce: bool | None = None,
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
    reduction = chosen(reduction, size_average, reduce)
    return _of_classes("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None,
    size_average: bool | None = None, ignore_index: int = -100, reduce: bool | None = None,
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
    reduction = chosen(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ClgradRuntimeError(
            f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    if not input.ndim:
        raise ClgradIndexError("cross_entropy: input is 0-d. Expected shape (C) or (N, C, *).")
    d = 0 if input.ndim == 1 else 1
    if target.is_floating_point():
        if ignore_index >= 0:
            raise ClgradRuntimeError(
                "cross_entropy: ignore_index is not supported for floating point target, got "
                f"{ignore_index}. Hint: give such samples a row of zeros."
            )
        return _of_probabilities(input, target, weight, reduction, label_smoothing, d)
    _class_dim("cross_entropy", input, target)
    return _of_classes(
        "cross_entropy", log_softmax(input, d), target, weight, ignore_index, reduction,
        label_smoothing,
    )  # fmt: skip


def _of_probabilities(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, d: int
) -> Tensor:
    if target.shape != input.shape:
        other_batch = target.ndim and target.shape[0] != input.shape[0]
        kind = ClgradValueError if other_batch else ShapeError  # as PyTorch
        raise kind(
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
        terms = terms * _along(weight, input.ndim, d)
    loss = -terms.sum(dim=d)
    if reduction == "none":
        return loss  # type: ignore[no-any-return]  # a Tensor
    total: Tensor = loss.sum()
    return total / (input.numel() // classes) if reduction == "mean" else total


def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
    weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0, options: None = None,
) -> Tensor:  # fmt: skip
    """Return `cross_entropy` of `linear(input, linear_weight, linear_bias)`.

    Args:
        input: shape (D) or (N, D).
        linear_weight: shape (C, D), or (C, *, D) for a loss at each place of `*`, given N.
        target: class indices, shape () or (N, *), or probabilities, (C) or (N, C, *).
        linear_bias: shape (C, *).
        weight: shape (C), factor of each class.
        reduction: `mean`, `sum` or `none`.
        ignore_index: a class that counts for nothing; -100 if left out.
        label_smoothing: share of the probability that is spread over all classes.
        options: PyTorch's plan to go through the batch in chunks; there is none here.

    Raises:
        ShapeError: shapes that do not fit. ClgradRuntimeError: `ignore_index` of probabilities.
        ClgradNotImplementedError: `options`.
    """
    op = "linear_cross_entropy"
    if options is not None:
        raise ClgradNotImplementedError(
            f"{op}: options are not supported. Hint: give parts of the batch one after the other, "
            "and add up their losses."
        )
    if input.ndim not in (1, 2):
        raise ShapeError(f"{op}: expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise ShapeError(
            f"{op}: expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}"
        )
    classes, *places, features = linear_weight.shape
    if input.shape[-1] != features:
        raise ShapeError(
            f"{op}: expected equal input and linear_weight last dimensions (in_features), got "
            f"{input.shape[-1]} and {features}, respectively"
        )
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *places):
        raise ShapeError(
            f"{op}: expected linear_bias shape {(classes, *places)}, got {tuple(linear_bias.shape)}"
        )
    if places and input.ndim == 1:
        raise ShapeError(
            f"{op}: K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} "
            f"requires batched input, (N, {features}), got unbatched input with shape "
            f"{tuple(input.shape)}"
        )
    shape = (*input.shape[:-1], classes, *places)
    if tuple(target.shape) == shape and ignore_index is not None:
        raise ClgradRuntimeError(
            f"{op}: ignore_index cannot be specified when target contains probabilities"
        )
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight.reshape((-1, features)), bias).reshape(shape)
    return cross_entropy(
        logits, target, weight, ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction, label_smoothing=label_smoothing,
    )  # fmt: skip


# ---- margins between classes -------------------------------------------------------------------


def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0,
    weight: Tensor | None = None, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return by how much other classes come closer than `margin` to the target's score.

    Math: sum over j != y of max(0, margin - x[y] + x[j]) ** p, times weight[y], divided by C.

    Args:
        input: scores, shape (N, C) or (C).
        target: class indices, int64, shape (N) or ().
        p: 1 or 2.
        weight: shape (C), factor of each class.

    Raises:
        ClgradIndexError: a target that is no class.
    """
    reduction = chosen(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ClgradValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ClgradValueError("weight must be one-dimensional")
    if not input.ndim and not target.ndim:
        input = input.reshape(1)
    if input.ndim not in (1, 2) or target.ndim > 1 or not input.shape[-1]:
        raise ShapeError(
            "multi_margin_loss: Expected non-empty vector or matrix with optional 0-dim batch "
            f"size, but got: {list(input.shape)} and target {list(target.shape)}."
        )
    if target.dtype is not int64:
        raise DTypeError(
            f"multi_margin_loss: expected scalar type Long but found {target.dtype.name}. "
            "Hint: target.long()."
        )
    classes = input.shape[-1]
    if target.ndim and input.ndim == 1:
        input = input.unsqueeze(0)
    target = target.reshape(tuple(input.shape[:-1]))
    _check_weight("multi_margin_loss", weight, classes)
    check_targets("multi_margin_loss", target, classes, 0)
    mask: Any = target.unsqueeze(-1) == arange(classes, device=target.device)
    score = _where(mask, input, 0).sum(dim=-1, keepdim=True)
    excess = apply(OPS["relu"], (margin - score + input,))
    if p == 2:
        excess = excess * excess
    if weight is not None:
        excess = excess * _where(mask, weight, 0).sum(dim=-1, keepdim=True)
    return reduced(_where(mask, 0, excess).sum(dim=-1) / classes, reduction)  # type: ignore[no-any-return]  # a Tensor


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return by how much classes that are no targets come closer than 1 to those that are.

    Math: sum over targets j and others i of max(0, 1 - (x[j] - x[i])), divided by C.

    Args:
        input: scores, shape (N, C) or (C).
        target: class indices, int64, the shape of `input`; what follows a -1 does not count.
    """
    reduction = chosen(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ShapeError(
            f"multilabel_margin_loss: inconsistent target size: {list(target.shape)} for input of "
            f"size: {list(input.shape)}"
        )
    if target.dtype is not int64:
        raise DTypeError(
            f"multilabel_margin_loss: expected scalar type Long but found {target.dtype.name}. "
            "Hint: target.long()."
        )
    if not input.ndim:
        input, target = input.reshape(1), target.reshape(1)
    classes = input.shape[-1]
    check_targets("multilabel_margin_loss", target, classes, -1)
    index = arange(classes, device=target.device)
    ended: Any = _where(target < 0, index, classes).amin(dim=-1, keepdim=True)
    counts: Any = index < ended  # which entries of the list of targets count
    named = target.unsqueeze(-1) == index  # (…, entry, class)
    chosen_ = (named * counts.unsqueeze(-1)).to(input.dtype)
    is_target = chosen_.sum(dim=-2) > 0
    score = _where(named, input.unsqueeze(-2), 0).sum(dim=-1, keepdim=True)
    excess = apply(OPS["relu"], (1 - (score - input.unsqueeze(-2)),))
    pairs = _where(counts.unsqueeze(-1) * (is_target == False).unsqueeze(-2), excess, 0)  # noqa: E712  # of a tensor
    return reduced(pairs.sum(dim=(-2, -1)) / classes, reduction)  # type: ignore[no-any-return]  # a Tensor


_log_sigmoid_loss = elementwise(
    "multilabel_soft_margin_term", "x, t",
    "t * (log1p(exp(-abs(x))) + maximum(-x, 0)) + (1 - t) * (log1p(exp(-abs(x))) + maximum(x, 0))",
    dx="g * (sigmoid(x) - t)", dt="-g * x",
)  # fmt: skip


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return the cross entropy of each class being there or not, averaged over classes.

    Args:
        input: logits, shape (N, C).
        target: 1 where a class is there, 0 where not; the shape of `input`.
        weight: shape (C), factor of each class.
    """
    reduction = chosen(reduction, size_average, reduce)
    loss = apply(_log_sigmoid_loss, (input, target), ("none",))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(dim=-1) / input.shape[-1], reduction)  # type: ignore[no-any-return]  # a Tensor
