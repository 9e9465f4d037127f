"""Losses that compare numbers with numbers, place by place.

Those that PyTorch records as one node are a formula each (`elementwise`); the others are composed.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from clgrad.batching import whole
from clgrad.calls import function
from clgrad.dispatch import apply
from clgrad.dtypes import TORCH_NAMES
from clgrad.errors import ClgradRuntimeError, ClgradValueError, DTypeError, ShapeError
from clgrad.functional.distances import at_least
from clgrad.layout import broadcast_shapes
from clgrad.nn.loss_common import (
    check_reduction,
    chosen,
    elementwise,
    expanded,
    reduced,
    weighted,
)
from clgrad.ops.registry import OPS, Op
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

_where = function(OPS["where"])

_mse = elementwise("mse_loss", "x, t", "(x - t) * (x - t)", dx="g * 2 * (x - t)",
                   dt="-g * 2 * (x - t)")  # fmt: skip
_SLOPE = "(-1 if x - t <= -{0} else (1 if x - t >= {0} else (x - t) / {0}))"
_smooth_l1 = elementwise(
    "smooth_l1_loss", "x, t, *, beta=1.0",
    "0.5 * (x - t) * (x - t) / beta if abs(x - t) < beta else abs(x - t) - 0.5 * beta",
    dx=f"g * {_SLOPE.format('beta')}", dt=f"-g * {_SLOPE.format('beta')}",
)  # fmt: skip
_BOUNDED = "(-delta if x - t <= -delta else (delta if x - t >= delta else x - t))"
_huber = elementwise(
    "huber_loss", "x, t, *, delta=1.0",
    "0.5 * (x - t) * (x - t) if abs(x - t) < delta else delta * (abs(x - t) - 0.5 * delta)",
    dx=f"g * {_BOUNDED}", dt=f"-g * {_BOUNDED}",
)  # fmt: skip
_kl = elementwise(
    "kl_div", "x, t", "(0 if t == 0 else t * log(t)) - t * x",
    dx="-g * t", dt="g * ((0 if t == 0 else log(t)) + t / t - x)",
)  # fmt: skip
_kl_log = elementwise(
    "kl_div_log", "x, t", "exp(t) * (t - x)", like="kl_div",
    dx="-g * exp(t)", dt="g * exp(t) * (t - x + 1)",
)  # fmt: skip
_soft_margin = elementwise(
    "soft_margin_loss", "x, t", "log1p(exp(-abs(t * x))) + maximum(-(t * x), 0)",
    dx="-g * t * sigmoid(-(t * x))", dt="-g * x * sigmoid(-(t * x))",
)  # fmt: skip


def _with_weight(name: str, inputs: str, like: str, formula: str, **derivatives: str) -> list[Op]:
    """Return a loss without and with a factor `w` for each term."""
    scaled = {key: f"w * ({text})" for key, text in derivatives.items()}
    return [
        elementwise(name, inputs, formula, like=like, **derivatives),
        elementwise(f"{name}_weighted", f"{inputs}, w", f"w * ({formula})", like=like, **scaled),
    ]


# A logarithm is cut off at -100, so that a probability of 0 makes no infinity.
_bce = _with_weight(
    "binary_cross_entropy", "x, t", "binary_cross_entropy",
    "(t - 1) * maximum(log1p(-x), -100) - t * maximum(log(x), -100)",
    dx="g * (x - t) / maximum((1 - x) * x, 1e-12)", dt="g * (log1p(-x) - log(x))",
)  # fmt: skip
_LOG_SIGMOID = "(log1p(exp(-abs(x))) + maximum(-x, 0))"  # of x, negative
_LOG_SIGMOID_OF_MINUS = "(log1p(exp(-abs(x))) + maximum(x, 0))"
_LIKE = "binary_cross_entropy_with_logits"
_bce_logits = _with_weight(
    "bce_logits", "x, t", _LIKE, f"(1 - t) * x + {_LOG_SIGMOID}",
    dx="g * (sigmoid(x) - t)", dt="-g * x",
)  # fmt: skip
_bce_logits_positive = _with_weight(
    "bce_logits_positive", "x, t, p", _LIKE, f"(1 - t) * x + (1 + (p - 1) * t) * {_LOG_SIGMOID}",
    dx="g * ((p * t + 1 - t) * sigmoid(x) - p * t)",
    dt=f"g * (p * {_LOG_SIGMOID} - {_LOG_SIGMOID_OF_MINUS})",
)  # fmt: skip


def _made(op: Op, *operands: Any) -> Tensor:
    *values, reduction = operands
    made: Tensor = apply(op, tuple(values), (reduction,))
    return made


def mse_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return squared differences.

    Args:
        input, target: shapes that broadcast; differing ones bring a warning.
        reduction: `mean`, `sum` or `none`.
        weight: factor of each element; the mean is then divided by its sum.
    """
    reduction = chosen(reduction, size_average, reduce)
    x, t = expanded("mse_loss", input, target)
    if weight is None:
        return _made(_mse, x, t, reduction)
    return weighted(_made(_mse, x, t, "none"), weight, input, reduction)  # type: ignore[no-any-return]  # a Tensor


def l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return absolute differences; see `mse_loss`."""
    reduction = chosen(reduction, size_average, reduce)
    x, t = expanded("l1_loss", input, target)
    return weighted((x - t).abs(), weight, input, reduction)  # type: ignore[no-any-return]  # a Tensor


def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Tensor:  # fmt: skip
    """Return squared differences divided by `2 * beta` below `beta`, absolute ones beyond.

    Args:
        input, target: shapes that broadcast; differing ones bring a warning.
        reduction: `mean`, `sum` or `none`.
        beta: where the two pieces meet; 0 gives `l1_loss`.
    """
    reduction = chosen(reduction, size_average, reduce)
    x, t = expanded("smooth_l1_loss", input, target)
    if beta < 0:
        raise ClgradRuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return reduced((x - t).abs(), reduction)  # type: ignore[no-any-return]  # a Tensor
    return _made(_smooth_l1, x, t, float(beta), reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return half of squared differences below `delta`, and the tangent from there on beyond.

    Args:
        input, target: shapes that broadcast; differing ones bring a warning.
        reduction: `mean`, `sum` or `none`.
        delta: above 0.
        weight: factor of each element; the mean is then divided by its sum.
    """
    check_reduction(reduction)
    x, t = expanded("huber_loss", input, target)
    if delta <= 0:
        raise ClgradRuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is None:
        return _made(_huber, x, t, float(delta), reduction)
    return weighted(_made(_huber, x, t, float(delta), "none"), weight, input, reduction)  # type: ignore[no-any-return]  # a Tensor


def kl_div(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", log_target: bool = False,
) -> Tensor:  # fmt: skip
    """Return `target * (log(target) - input)`, the divergence of distributions.

    Args:
        input: log-probabilities.
        target: probabilities, or their logarithms if `log_target`.
        reduction: `batchmean` (the sum, divided by the first size), `sum`, `mean` or `none`.
    """
    if size_average is not None or reduce is not None or reduction != "batchmean":
        reduction = chosen(reduction, size_average, reduce)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. "
            "'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition. 'mean' will be changed to behave the same as 'batchmean' in the next "
            "major release.",
            UserWarning,
            stacklevel=2,
        )
    x, t = input, target
    if x.shape != t.shape:
        x, t = x + t.detach() * 0, t + x.detach() * 0
    batch = reduction == "batchmean"
    made: Any = _made(_kl_log if log_target else _kl, x, t, "sum" if batch else reduction)
    found: Tensor = made / input.shape[0] if batch and input.ndim else made
    return found


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return the cross entropy of two classes, given their probability.

    Args:
        input: probabilities of the class 1.
        target: probabilities, the shape of `input`.
        weight: factor of each term; broadcasts.
        reduction: `mean`, `sum` or `none`.

    Raises:
        ClgradValueError: the shapes differ.
    """
    reduction = chosen(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ClgradValueError(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) is deprecated. Please ensure they have the same size."
        )
    if target.dtype is not input.dtype:
        raise DTypeError(
            f"binary_cross_entropy: Found dtype {target.dtype.name} but expected "
            f"{input.dtype.name}. Hint: cast the target with .to(input.dtype)."
        )
    if weight is None:
        return _made(_bce[0], input, target, reduction)
    return _made(_bce[1], input, target, weight.expand(input.shape), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the cross entropy of two classes, given the logit of the class 1.

    Args:
        input: logits.
        target: probabilities, the shape of `input`.
        weight: factor of each term; broadcasts.
        reduction: `mean`, `sum` or `none`.
        pos_weight: factor of what belongs to class 1; broadcasts.

    Raises:
        ClgradValueError: the shapes differ. DTypeError: the target holds integers.
    """
    reduction = chosen(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ClgradValueError(
            f"Target size ({target.shape}) must be the same as input size ({input.shape})"
        )
    if not target.is_floating_point():
        raise DTypeError(
            "binary_cross_entropy_with_logits: result type Float can't be cast to the desired "
            f"output type {TORCH_NAMES[target.dtype.name]}: the target has dtype "
            f"{target.dtype.name}. Expected probabilities. Hint: target.float()."
        )
    shape = input.shape
    ops = _bce_logits if pos_weight is None else _bce_logits_positive
    given = [t.expand(shape) for t in (pos_weight, weight) if t is not None]
    return _made(ops[weight is not None], input, target, *given, reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return `log(1 + exp(-target * input))` for targets of 1 and -1."""
    reduction = chosen(reduction, size_average, reduce)
    x, t = input, target
    if x.shape != t.shape:
        shape = broadcast_shapes(tuple(x.shape), tuple(t.shape), op="soft_margin_loss")
        if shape != tuple(x.shape):
            raise ShapeError(
                f"soft_margin_loss: output with shape {list(x.shape)} doesn't match the broadcast "
                f"shape {list(shape)}. Expected a target that broadcasts to the input."
            )
        t = t.expand(shape)
    return _made(_soft_margin, x, t, reduction)


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
    size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return the negative log-likelihood of counts under Poisson distributions.

    Args:
        input: expectations, or their logarithms if `log_input`.
        target: counts.
        full: add Stirling's approximation of the term that does not depend on `input`.
        eps: added to expectations before their logarithm is taken.
    """
    reduction = chosen(reduction, size_average, reduce)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + _where(target <= 1, 0, stirling)
    return reduced(loss, reduction)  # type: ignore[no-any-return]  # a Tensor


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return the negative log-likelihood of numbers under normal distributions.

    Args:
        input: expectations, any shape.
        target: shape of `input`, or one that broadcasts.
        var: variances: a number, the shape of `input`, or without its last dim, or with size 1
            in one dim. It is read on the host, to see that none is negative.
        full: add the constant term.
        eps: least variance.

    Raises:
        ClgradValueError: a negative variance, or variances of a shape that does not fit.
    """
    variance: Any = var
    if isinstance(var, int | float):
        negative = var < 0
        variance = input.new_full((), var).expand(input.shape)
    else:
        negative = bool((whole(variance) < 0).to(input.dtype).sum())
    if negative:
        raise ClgradValueError("var has negative entry/entries")
    have, want = tuple(variance.shape), tuple(input.shape)
    if have == want[:-1]:
        variance = variance.unsqueeze(-1)
    elif have != want and (
        len(have) != len(want) or sum(b for a, b in zip(want, have, strict=True) if a != b) != 1
    ):
        raise ClgradValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ClgradValueError(f"{reduction} is not valid")
    variance = variance.clone()
    with no_grad():
        variance.copy_(apply(at_least, (variance, float(eps))))
    distance = input - target
    loss = 0.5 * (variance.log() + distance * distance / variance)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)  # type: ignore[no-any-return]  # a Tensor
