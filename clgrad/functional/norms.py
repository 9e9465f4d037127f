"""Norms of vectors and matrices, along dims."""

from __future__ import annotations

import math
from typing import Any

from clgrad.dispatch import apply
from clgrad.dtypes import as_dtype, get_default_dtype
from clgrad.errors import ClgradRuntimeError, DTypeError, ShapeError
from clgrad.functional._gradients import gradient_op
from clgrad.functional._out import with_out
from clgrad.functional.softmax import widened
from clgrad.functional.spectra import svdvals
from clgrad.layout import wrap_dim
from clgrad.ops.registry import composite
from clgrad.ops.signature import reduced_dims
from clgrad.shapes import dims_of
from clgrad.tensor import Tensor

# `h` is the gradient that arrives, `v` the norm. One of zero has the gradient zero, as in PyTorch.
_of_1 = gradient_op("norm_1.dx", "h x", "h * sign(x)")
_of_2 = gradient_op("norm_2.dx", "h x v", "0 if v == 0 else h * (x / v)")
_of_less = gradient_op(
    "norm_p.dx",
    "h x v",
    "(0 if x == 0 else sign(x) * pow(abs(x), p - 1)) * (h * pow(v, 1 - p))",
    "p",
)
_of_more = gradient_op(
    "norm_p.dx", "h x v", "0 if v == 0 else sign(x) * pow(abs(x), p - 1) * (h / pow(v, p - 1))", "p"
)
_ATTAINED = "abs(x) == v or (x != x and v != v)"
_attained = gradient_op("norm_inf.mask", "x v", f"1 if {_ATTAINED} else 0")
_of_inf = gradient_op("norm_inf.dx", "h x v c", f"h * sign(x) / c if {_ATTAINED} else 0")


def powered_norm(x: Any, p: float, dim: Any, keepdim: bool) -> Any:
    """Return the p-norm of `x`, computed of ops of the table without history."""
    if p == 2:
        return (x * x).sum(dim=dim, keepdim=keepdim).sqrt()
    if p == 0:
        return (x != 0).to(x.dtype).sum(dim=dim, keepdim=keepdim)
    size = x.abs()
    if p == 1:
        return size.sum(dim=dim, keepdim=keepdim)
    if math.isinf(p):
        return (size.amax if p > 0 else size.amin)(dim=dim, keepdim=keepdim)
    return (size**p).sum(dim=dim, keepdim=keepdim) ** (1.0 / p)


def norm_gradient(g: Any, x: Any, y: Any, p: float, dim: Any) -> Any:
    """Return the gradient of the p-norm `y` of `x`; `g` and `y` broadcast against `x`.

    Of a count (`p` is 0) there is none: None, as in PyTorch.
    """
    if p == 0:
        return None
    if p == 1:
        return apply(_of_1, (g, x))
    if p == 2:
        return apply(_of_2, (g, x, y))
    if math.isinf(p):
        count = apply(_attained, (x.detach(), y.detach())).sum(dim=dim, keepdim=True)
        return apply(_of_inf, (g, x, y, count))
    return apply(_of_less if p < 1 else _of_more, (g, x, y, float(p)))


def _forward(x: Any, p: float, dim: Any, keepdim: bool) -> Any:
    return powered_norm(widened(x), p, dim, keepdim).to(x.dtype)


def _backward(ctx: Any, g: Any) -> tuple[Any]:
    p, dims, keepdim = ctx.param("ord"), ctx.param("dim"), ctx.param("keepdim")
    y, g = ctx.restore(ctx.saved("y"), dims, keepdim), ctx.restore(g, dims, keepdim)
    return (norm_gradient(g, ctx.saved("x"), y, p, dims),)


_vector_norm_op = composite(
    "linalg_vector_norm", "x", _forward, backward=_backward, saves=("x", "y"),
    params=(("ord", 2.0), ("dim", None), ("keepdim", False)),
    doc="The p-norm of elements along dims, whatever the shape.",
)  # fmt: skip


def _floating(name: str, x: Any, dtype: Any) -> Any:
    if dtype is not None:
        wanted = as_dtype(dtype)
        if not wanted.is_floating_point:
            raise DTypeError(
                f"{name}: dtype should be floating point or complex, got {wanted.name}."
            )
        return x.to(wanted)
    if not x.is_floating_point():
        raise DTypeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.name}. "
            f"Hint: x.to(clgrad.{get_default_dtype().name})."
        )
    return x


@with_out
def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return `sum(abs(x) ** ord) ** (1 / ord)` of elements along dims, whatever the shape.

    Args:
        x: a floating-point dtype, any shape.
        ord: any number; inf and -inf give the largest and the smallest, 0 counts what is not 0.
        dim: an int, several, or None for all.
        dtype: cast `x` to this first.

    Raises:
        DTypeError: integers. ClgradRuntimeError: a norm of no elements that has no value.
    """
    made: Tensor = _norm("linalg.vector_norm", x, float(ord), dim, keepdim, dtype)
    return made


def _norm(name: str, x: Any, p: float, dim: Any, keepdim: bool, dtype: Any) -> Any:
    x = _floating(name, x, dtype)
    dims = dims_of(dim)
    folded = reduced_dims(name, dims, x.ndim)
    if (p < 0 or math.isinf(p)) and not all(x.shape[d] for d in folded if x.ndim):
        raise ClgradRuntimeError(
            f"{name} cannot compute the {p} norm on an empty tensor because the operation does "
            "not have an identity."
        )
    return apply(_vector_norm_op, (x,), (p, dims, bool(keepdim)))


_SINGULAR = ("nuc", 2, -2)


@with_out
def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return a norm of matrices.

    Args:
        A: shape (*, m, n).
        ord: `"fro"`; by singular values: `"nuc"` their sum, 2 the largest, -2 the smallest; by sums
            of absolute values: inf and -inf over rows, 1 and -1 over columns.
        dim: which two dims are the matrices'.
        dtype: cast `A` to this first.

    Raises:
        ClgradRuntimeError: an order that is none.
    """
    name = "linalg.matrix_norm"
    x = _floating(name, A, dtype)
    if len(tuple(dim)) != 2:
        raise ShapeError(f"{name}: dim must be a 2-tuple. Got {list(dim)}.")
    rows, columns = (wrap_dim(d, x.ndim, name) for d in dim)
    if rows == columns:
        raise ShapeError(f"{name}: dims must be different. Got ({dim[0]}, {dim[1]}).")
    if x.ndim < 2:
        raise ShapeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if ord == "fro":
        return _norm(name, x, 2.0, (rows, columns), keepdim, None)  # type: ignore[no-any-return]
    if ord in _SINGULAR:
        values = svdvals(x.movedim((rows, columns), (-2, -1)))
        one: Tensor
        if not values.shape[-1]:
            one = values.amin(-1) if ord == -2 else values.sum(-1)
        else:
            one = values.sum(-1) if ord == "nuc" else values[..., 0 if ord == 2 else -1]
        if keepdim:
            for d in sorted((rows, columns)):
                one = one.unsqueeze(d)
        return one
    if ord not in (1, -1, math.inf, -math.inf):
        raise ClgradRuntimeError(f"{name}: Order {ord} not supported.")
    summed, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = _norm(name, x, 1.0, (summed,), True, None)
    largest = sums.amax if x.shape[other] else sums.sum  # 0 is the largest of no norms
    found = (largest if ord > 0 else sums.amin)(dim=(other,), keepdim=True)
    if keepdim:
        return found  # type: ignore[no-any-return]  # a Tensor
    return found.squeeze((rows, columns))  # type: ignore[no-any-return]  # as above


@with_out
def linalg_norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return a norm: of vectors along one dim, of matrices along two.

    Args:
        A: any shape; 1 or 2 dims if `ord` is given without `dim`.
        ord: None for the root of the sum of squares; else as `vector_norm` or `matrix_norm`.
    """
    if ord is None:
        return _norm("linalg.norm", A, 2.0, dim, keepdim, dtype)  # type: ignore[no-any-return]
    dims = dim if dim is None or isinstance(dim, int) else tuple(dim)
    if dims is None:
        if A.ndim > 2:
            raise ShapeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                f"{A.ndim}D."
            )
        dims = tuple(range(A.ndim))
    if isinstance(dims, int) or len(dims) < 2:
        if isinstance(ord, str):
            raise ClgradRuntimeError(f"linalg.norm: Order {ord!r} is of matrices. Expected 2 dims.")
        return _norm("linalg.norm", A, float(ord), dims, keepdim, dtype)  # type: ignore[no-any-return]
    found: Tensor = matrix_norm(A, ord, dims, keepdim, dtype=dtype)
    return found


@with_out
def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """Return the p-norm of elements along dims, whatever the shape; `"fro"` is 2.

    Args:
        input: a floating-point dtype, any shape.
        p: a number, inf, -inf, `"fro"`, or `"nuc"`, the sum of singular values; None is 2.
        dim: an int, several, or None for all.
        dtype: cast `input` to this first.
    """
    if p == "nuc":
        found: Tensor = matrix_norm(input, "nuc", dim or (-2, -1), keepdim, dtype=dtype)
        return found
    order = 2.0 if p is None or p == "fro" else float(p)
    return _norm("norm", input, order, dim, keepdim, dtype)  # type: ignore[no-any-return]  # a Tensor


__all__ = ["norm"]
METHODS = ("norm",)
