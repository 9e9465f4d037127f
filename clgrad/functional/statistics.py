"""Variance, standard deviation, covariance: composed, one node each."""

from __future__ import annotations

import warnings
from typing import Any

from clgrad.calls import function
from clgrad.dispatch import apply
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, DTypeError, ShapeError
from clgrad.functional._gradients import gradient_op
from clgrad.functional._out import with_out
from clgrad.functional.products import matmul
from clgrad.functional.softmax import widened
from clgrad.graph.position import stacklevel
from clgrad.ops.moments import mean_of, variance_of
from clgrad.ops.registry import OPS, composite
from clgrad.shapes import dims_of
from clgrad.tensor import Tensor

_where = function(OPS["where"])

LONG = 2048
"""Elements from which on a variance is found in one pass over memory instead of two."""


def _variance(x: Any, dim: Any, correction: float, keepdim: bool) -> tuple[Any, Any]:
    """Return variance and mean of a float32 or float64 tensor.

    Short rows stay in the cache: their mean comes first, then the squared distances from it.
    """
    mean = x.mean(dim=dim, keepdim=True)
    count = x.numel() // max(mean.numel(), 1)
    freedom = max(count - correction, 0.0)
    if count >= LONG:
        mean = apply(mean_of, (x,), (dim, keepdim))
        return apply(variance_of, (x,), (dim, keepdim)) * (
            count / freedom if freedom else _INF
        ), mean
    centred = x - mean
    total = (centred * centred).sum(dim=dim, keepdim=keepdim)
    return total / freedom, mean.reshape(total.shape)


_INF = float("inf")


def _variance_gradient(ctx: Any, g: Any) -> Any:
    """Return the gradient of the variance; `g` broadcasts against the input.

    Where correction leaves no degree of freedom it is infinite, as in PyTorch.
    """
    x, dim, correction = ctx.saved("x"), ctx.param("dim"), ctx.param("correction")
    mean = x.mean(dim=dim, keepdim=True)
    freedom = x.numel() // max(mean.numel(), 1) - correction
    if dim is None and freedom <= 0:
        return g * _where(x == mean, float("nan"), _INF)
    return g * (2.0 / freedom if freedom else _INF) * (x - mean)


def _var(x: Any, dim: Any, correction: float, keepdim: bool) -> Any:
    return _variance(widened(x), dim, correction, keepdim)[0].to(x.dtype)


def _std(x: Any, dim: Any, correction: float, keepdim: bool) -> Any:
    return _variance(widened(x), dim, correction, keepdim)[0].sqrt().to(x.dtype)


def _var_mean(x: Any, dim: Any, correction: float, keepdim: bool) -> tuple[Any, Any]:
    var, mean = _variance(widened(x), dim, correction, keepdim)
    return var.to(x.dtype), mean.to(x.dtype)


def _std_mean(x: Any, dim: Any, correction: float, keepdim: bool) -> tuple[Any, Any]:
    var, mean = _variance(widened(x), dim, correction, keepdim)
    return var.sqrt().to(x.dtype), mean.to(x.dtype)


_half_share = gradient_op("std.dx", "h v", "0 if v == 0 else h / (v * 2)")


def _restored(ctx: Any, value: Any) -> Any:
    return ctx.restore(value, ctx.param("dim"), ctx.param("keepdim"))


def _var_backward(ctx: Any, g: Any) -> tuple[Any]:
    return (_variance_gradient(ctx, _restored(ctx, g)),)


def _std_backward(ctx: Any, g: Any) -> tuple[Any]:
    share = apply(_half_share, (_restored(ctx, g), _restored(ctx, ctx.saved("y"))))
    return (_variance_gradient(ctx, share),)


def _with_mean(ctx: Any, grads: tuple[Any, ...], of_std: bool) -> tuple[Any]:
    g, of_mean = grads
    total = None
    if g is not None:
        total = _std_backward(ctx, g)[0] if of_std else _var_backward(ctx, g)[0]
    if of_mean is not None:
        of_mean = _restored(ctx, of_mean)
        count = ctx.saved("x").numel() // max(of_mean.numel(), 1)
        part = (of_mean / max(count, 1)).expand(ctx.shape("x"))
        total = part if total is None else total + part
    return (total,)


_PARAMS = (("dim", None), ("correction", 1), ("keepdim", False))
_var_op = composite(
    "var", "x", _var, backward=_var_backward, saves=("x",), params=_PARAMS,
    doc="Variance along dims, divided by n - correction.",
)  # fmt: skip
_std_op = composite(
    "std", "x", _std, backward=_std_backward, saves=("x", "y"), params=_PARAMS,
    doc="Standard deviation along dims.",
)  # fmt: skip
_var_mean_op = composite(
    "var_mean", "x", _var_mean, backward=lambda ctx, g: _with_mean(ctx, g, False), saves=("x",),
    params=_PARAMS, doc="Variance and mean along dims.",
)  # fmt: skip
_std_mean_op = composite(
    "std_mean", "x", _std_mean, backward=lambda ctx, g: _with_mean(ctx, g, True), saves=("x", "y"),
    params=_PARAMS, doc="Standard deviation and mean along dims.",
)  # fmt: skip


def _called(op: Any, input: Tensor, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> Any:
    """Sort out the three ways of calling: `(unbiased)`, `(dim, unbiased)`, `(dim, correction=)`."""
    if isinstance(dim, bool):
        unbiased, dim = dim, None
    if unbiased is not None and (not isinstance(unbiased, bool) or correction is not None):
        raise ClgradTypeError(
            f"{op.name}() received an invalid combination of arguments: unbiased={unbiased}, "
            f"correction={correction}. Expected unbiased as a bool, or correction as a number."
        )
    if not input.is_floating_point():
        raise DTypeError(
            f"{op.name}: std and var only support floating point and complex dtypes, got "
            f"{input.dtype.name}. Hint: input.float()."
        )
    if correction is None:
        correction = 0 if unbiased is False else 1
    dims = dims_of(dim)
    if dims == ():
        dims = None
    made = apply(op, (input,), (dims, correction, bool(keepdim)))
    count = (made if isinstance(made, Tensor) else made[0]).numel()
    if input.numel() // max(count, 1) <= correction:
        warnings.warn(
            f"{op.name}(): degrees of freedom is <= 0. Correction should be strictly less than the "
            "reduction factor (input numel divided by output numel).",
            UserWarning,
            stacklevel=stacklevel(),
        )
    return made


@with_out
def var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None,
) -> Tensor:  # fmt: skip
    """Return the mean squared distance from the mean along dims, over n - correction.

    Args:
        input: a floating-point dtype, any shape.
        dim: an int, several, or None for all.
        unbiased: False for a correction of 0.
        keepdim: keep the folded dims as size 1.
        correction: 1 if not given.

    Raises:
        DTypeError: integers.
    """
    made: Tensor = _called(_var_op, input, dim, unbiased, keepdim, correction)
    return made


@with_out
def std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None,
) -> Tensor:  # fmt: skip
    """Return the standard deviation along dims, the root of `var`."""
    made: Tensor = _called(_std_op, input, dim, unbiased, keepdim, correction)
    return made


@with_out
def var_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the variance and the mean along dims; see `var`."""
    made: tuple[Tensor, Tensor] = _called(_var_mean_op, input, dim, unbiased, keepdim, correction)
    return made


@with_out
def std_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the standard deviation and the mean along dims; see `var`."""
    made: tuple[Tensor, Tensor] = _called(_std_mean_op, input, dim, unbiased, keepdim, correction)
    return made


# ---- of several variables ----------------------------------------------------------------------


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the covariances of variables.

    Args:
        input: shape (variables, observations), or (observations).
        correction: taken from the number of observations.
        fweights: how often each observation counts, integers.
        aweights: the weight of each observation.

    Returns:
        Shape (variables, variables), or () of one.
    """
    if input.ndim > 2:
        raise ShapeError(
            "cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    x = input.reshape((1, -1)) if input.ndim < 2 else input
    if not x.is_floating_point():
        x = x.float()
    weight: Any = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        if given.ndim > 1 or given.numel() != x.shape[1]:
            raise ClgradRuntimeError(
                f"cov(): expected {name} to have one weight for each of {x.shape[1]} observations, "
                f"got shape {list(given.shape)}."
            )
        if given.is_floating_point() is (name == "fweights"):
            kind = "integral" if name == "fweights" else "floating point"
            raise ClgradRuntimeError(
                f"cov(): expected {name} to have {kind} dtype, but got {name} with "
                f"{given.dtype.name} dtype"
            )
        if bool((given < 0).any()):
            raise ClgradRuntimeError(f"cov(): {name} cannot be negative")
        weight = given if weight is None else weight * given
    if weight is None:
        total: Any = x.shape[1]
        mean = x.sum(dim=1, keepdim=True) / (total or float("nan"))
        centred = x - mean
        scaled = centred
    else:
        total = weight.sum()
        mean = (x * weight).sum(dim=1, keepdim=True) / total
        centred = x - mean
        scaled = centred * weight
    if weight is not None and aweights is not None and correction:
        squares = (weight * aweights).sum()
        freedom: Any = total - correction * squares / total
    else:
        freedom = total - correction
    freedom = (
        max(freedom, 0) if not isinstance(freedom, Tensor) else _where(freedom < 0, 0, freedom)
    )
    product: Any = matmul(centred, scaled.t())
    made: Any = product / freedom
    return made.squeeze()  # type: ignore[no-any-return]  # a Tensor


def corrcoef(input: Tensor) -> Tensor:
    """Return the correlations of variables: covariances over the product of deviations.

    Args:
        input: shape (variables, observations), or (observations).
    """
    if input.ndim > 2:
        raise ShapeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    found: Any = cov(input)
    if not found.ndim:
        return found / found  # type: ignore[no-any-return]  # a Tensor
    deviation = found.diagonal().sqrt()
    scaled = found / deviation.unsqueeze(1) / deviation.unsqueeze(0)
    return scaled.clamp(-1, 1)  # type: ignore[no-any-return]  # a Tensor


__all__ = ["corrcoef", "cov", "std", "std_mean", "var", "var_mean"]
METHODS = ("corrcoef", "cov", "std", "var")
