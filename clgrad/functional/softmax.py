"""Softmax and its relatives along dims: one node each, whose gradient reads the result.

The largest element is subtracted first, so that no exponential overflows. Forward and backward are
one row kernel each.
"""

from __future__ import annotations

from typing import Any

from clgrad.dispatch import apply
from clgrad.dtypes import as_dtype, get_default_dtype
from clgrad.errors import ClgradTypeError, UnsupportedDTypeError
from clgrad.functional._out import with_out
from clgrad.layout import wrap_dim
from clgrad.ops.registry import REQUIRED, composite, pointwise
from clgrad.tensor import Tensor


def widened(x: Any) -> Any:
    """Return `x` in the dtype in which it is computed: float32 for 16-bit floats."""
    dtype = x._meta.dtype
    return x if dtype.compute is dtype else x.to(dtype.compute)


def _softmax(x: Any, dim: int) -> Any:
    if not x.numel():
        return x.clone()
    wide = widened(x)
    powers = (wide - wide.amax(dim=dim, keepdim=True)).exp()
    return (powers / powers.sum(dim=dim, keepdim=True)).to(x.dtype)


def _softmax_backward(ctx: Any, g: Any) -> tuple[Any]:
    y, g, dim = widened(ctx.saved("y")), widened(g), ctx.param("dim")
    return (y * (g - (g * y).sum(dim=dim, keepdim=True)),)


_softmax_op = composite(
    "softmax", "x", _softmax, backward=_softmax_backward, saves=("y",),
    params=(("dim", REQUIRED),),
    doc="Exponentials divided by their sum along a dim.",
)  # fmt: skip


def _log_softmax(x: Any, dim: int) -> Any:
    if not x.numel():
        return x.clone()
    wide = widened(x)
    shifted = wide - wide.amax(dim=dim, keepdim=True)
    return (shifted - shifted.exp().sum(dim=dim, keepdim=True).log()).to(x.dtype)


def _log_softmax_backward(ctx: Any, g: Any) -> tuple[Any]:
    y, g, dim = widened(ctx.saved("y")), widened(g), ctx.param("dim")
    return (g - y.exp() * g.sum(dim=dim, keepdim=True),)


_log_softmax_op = composite(
    "log_softmax", "x", _log_softmax, backward=_log_softmax_backward, saves=("y",),
    params=(("dim", REQUIRED),),
    doc="Logarithm of the softmax along a dim.",
)  # fmt: skip

_finite_or_zero = pointwise(
    "_finite_or_zero", "x", "where(isinf(x), 0, x)", dx="where(isinf(x), 0, g)", inplace=False,
    doc="`x`, or 0 where it is infinite.",
)  # fmt: skip


def _logsumexp(x: Any, dim: Any, keepdim: bool) -> Any:
    """Where all elements are -inf, or one is inf, the result is that infinity, not NaN."""
    wide = widened(x)
    if not x.numel():
        return wide.exp().sum(dim=dim, keepdim=keepdim).log().to(x.dtype)
    largest = apply(_finite_or_zero, (wide.amax(dim=dim, keepdim=True),))
    total = (wide - largest).exp().sum(dim=dim, keepdim=keepdim)
    return (total.log() + largest.reshape(total.shape)).to(x.dtype)


def _logsumexp_backward(ctx: Any, g: Any) -> tuple[Any]:
    dims, keepdim = ctx.param("dim"), ctx.param("keepdim")
    y, g = ctx.restore(ctx.saved("y"), dims, keepdim), ctx.restore(g, dims, keepdim)
    return (g * (ctx.saved("x") - y).exp(),)


_logsumexp_op = composite(
    "logsumexp", "x", _logsumexp, backward=_logsumexp_backward, saves=("x", "y"),
    params=(("dim", REQUIRED), ("keepdim", False)),
    doc="Logarithm of the sum of exponentials along dims.",
)  # fmt: skip


def _prepared(name: str, x: Any, dim: int, dtype: Any) -> tuple[Any, int]:
    if not isinstance(x, Tensor):
        raise ClgradTypeError(f"{name}: got {type(x).__name__}. Expected a tensor.")
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    if not x.is_floating_point():
        raise UnsupportedDTypeError(
            f"{name}: not implemented for {x.dtype.name}. Expected a floating-point dtype. "
            "Hint: pass dtype=clgrad.float32."
        )
    return x, wrap_dim(dim, x.ndim, name)


@with_out
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return exponentials that sum to 1 along `dim`.

    Args:
        input: any shape, a floating-point dtype.
        dim: where they sum to 1.
        dtype: cast `input` to this first.

    Raises:
        UnsupportedDTypeError: integers without `dtype`. ClgradIndexError: no such dim.
    """
    x, d = _prepared("softmax", input, dim, dtype)
    made: Tensor = apply(_softmax_op, (x,), (d,))
    return made


@with_out
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return the logarithm of the softmax along `dim`.

    Math: x - max - log(sum(exp(x - max))), which neither overflows nor loses small ones.

    Args:
        input: any shape, a floating-point dtype.
        dim: along which the exponentials sum to 1.
        dtype: cast `input` to this first.

    Raises:
        UnsupportedDTypeError: integers without `dtype`. ClgradIndexError: no such dim.
    """
    x, d = _prepared("log_softmax", input, dim, dtype)
    made: Tensor = apply(_log_softmax_op, (x,), (d,))
    return made


@with_out
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """Return the logarithm of the sum of exponentials along dims; integers count as floats.

    Args:
        input: any shape.
        dim: an int or several; () means all.
        keepdim: keep the folded dims as size 1.
    """
    if not input.is_floating_point():
        input = input.to(get_default_dtype())
    dims = dim if isinstance(dim, int) else tuple(dim)
    made: Tensor = apply(_logsumexp_op, (input,), (dims, bool(keepdim)))
    return made


__all__ = ["log_softmax", "logsumexp", "softmax"]
METHODS = ("log_softmax", "logsumexp", "softmax")
