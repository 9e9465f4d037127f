"""Sums of a tensor and a product: `addmm` and its like, one node each.

The sum is part of the product's kernel. Where `beta` is 0, what is added is not read at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad import writing
from clgrad.dispatch import apply
from clgrad.errors import DTypeError
from clgrad.functional._out import with_out
from clgrad.functional.placing import as_number
from clgrad.functional.products import check_batches, check_ndim, mv, outer
from clgrad.functional.shaping import permute, reshape
from clgrad.layout import broadcast_shapes
from clgrad.ops import contraction as _ops
from clgrad.ops.registry import Op, composite
from clgrad.tensor import Tensor

__all__ = ["addbmm", "addmm", "addmv", "addmv_", "addr", "baddbmm"]
METHODS = (*__all__, "addbmm_", "addmm_", "addr_", "baddbmm_")

Product = Callable[[Any, Any], Any]


def _summed(product: Product) -> Callable[..., Any]:
    def forward(x: Any, a: Any, b: Any, beta: float, alpha: float) -> Any:
        made = product(a, b)
        if alpha != 1:
            made = made * alpha
        if beta != 0:
            return made + (x if beta == 1 else x * beta)
        shape = broadcast_shapes(x._meta.shape, made._meta.shape)
        return made.expand(shape).clone() if shape != made._meta.shape else made

    return forward


def _scaled(x: Any, factor: float) -> Any:
    return x if x is None or factor == 1 else x * factor


def _op(name: str, product: Product, gradients: Callable[[Any, Any], tuple[Any, Any]]) -> Op:
    def backward(ctx: Any, g: Any) -> tuple[Any, Any, Any]:
        beta, alpha = ctx.param("beta"), ctx.param("alpha")
        base = _scaled(g, beta) if ctx.needs("x") else None
        a, b = gradients(ctx, g)
        return base, _scaled(a, alpha), _scaled(b, alpha)

    return composite(
        name, "x, a, b", _summed(product), backward=backward, add=False,
        saves={"a": ("b",), "b": ("a",)}, params=(("beta", 1), ("alpha", 1)),
    )  # fmt: skip


def _batches_summed(a: Any, b: Any) -> Any:
    """Return the sum of the products of two batches: one product of wide matrices."""
    n, m, p = a._meta.shape[1], b._meta.shape[2], a._meta.shape[0] * a._meta.shape[2]
    return apply(_ops.mm, (reshape(permute(a, (1, 0, 2)), (n, p)), reshape(b, (p, m))))


def _batches_summed_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    g = g.unsqueeze(0)
    da = apply(_ops.bmm, (g, ctx.saved("b").transpose(1, 2))) if ctx.needs("a") else None
    return da, apply(_ops.bmm, (ctx.saved("a").transpose(1, 2), g)) if ctx.needs("b") else None


def _vector_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    da = outer(g, ctx.saved("b")) if ctx.needs("a") else None
    return da, mv(ctx.saved("a").t(), g) if ctx.needs("b") else None


def _outer_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    da = mv(g, ctx.saved("b")) if ctx.needs("a") else None
    return da, mv(g.t(), ctx.saved("a")) if ctx.needs("b") else None


_addmm = _op(
    "addmm", lambda a, b: apply(_ops.mm, (a, b)), lambda ctx, g: _ops.gradients(ctx, g, "mm")
)
_baddbmm = _op(
    "baddbmm", lambda a, b: apply(_ops.bmm, (a, b)), lambda ctx, g: _ops.gradients(ctx, g, "matmul")
)
_addbmm = _op("addbmm", _batches_summed, _batches_summed_back)
_addmv = _op("addmv", mv, _vector_back)
_addr = _op("addr", outer, _outer_back)


_RANKS = {
    "addmm": (("mat1", 2), ("mat2", 2)), "addmv": (("mat", 2), ("vec", 1)),
    "addr": (("vec1", 1), ("vec2", 1)),
}  # fmt: skip
"""What the factors are called, and how many dims they have."""


def _call(op: Op, inplace: bool, x: Tensor, a: Tensor, b: Tensor, beta: float, alpha: float) -> Any:
    if op.name in _RANKS:
        for (name, rank), one in zip(_RANKS[op.name], (a, b), strict=True):
            check_ndim(op.name, name, one, rank)
    else:
        check_batches(op.name, a, b)
    if x._meta.dtype is not a._meta.dtype:
        raise DTypeError(
            f"{op.name}: self and mat2 must have the same dtype, but got {x.dtype.name} and "
            f"{a.dtype.name}. Hint: cast one with .to(dtype)."
        )
    static = (as_number(beta, x._meta.dtype), as_number(alpha, x._meta.dtype))
    if inplace:
        return writing.run_forward_(op, (x, a, b), static)
    return apply(op, (x, a, b), static)


@with_out
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return `beta * input + alpha * (mat1 @ mat2)`; `input` is broadcast.

    Args:
        mat1: shape (m, k). mat2: shape (k, n).
    """
    return _call(_addmm, False, input, mat1, mat2, beta, alpha)  # type: ignore[no-any-return]


@with_out
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Return `beta * input + alpha * (mat @ vec)`; `input` is broadcast.

    Args:
        mat: shape (m, k). vec: shape (k,).
    """
    return _call(_addmv, False, input, mat, vec, beta, alpha)  # type: ignore[no-any-return]


@with_out
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Return `beta * input + alpha * outer(vec1, vec2)`; `input` is broadcast."""
    return _call(_addr, False, input, vec1, vec2, beta, alpha)  # type: ignore[no-any-return]


@with_out
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return `beta * input + alpha * (batch1 @ batch2).sum(0)`; `input` is broadcast.

    Args:
        batch1: shape (b, m, k). batch2: shape (b, k, n).
    """
    return _call(_addbmm, False, input, batch1, batch2, beta, alpha)  # type: ignore[no-any-return]


@with_out
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return `beta * input + alpha * (batch1 @ batch2)`; `input` is broadcast.

    Args:
        batch1: shape (b, m, k). batch2: shape (b, k, n).
    """
    return _call(_baddbmm, False, input, batch1, batch2, beta, alpha)  # type: ignore[no-any-return]


def addmm_(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Do `addmm` in place."""
    return _call(_addmm, True, input, mat1, mat2, beta, alpha)  # type: ignore[no-any-return]


def addmv_(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Do `addmv` in place."""
    return _call(_addmv, True, input, mat, vec, beta, alpha)  # type: ignore[no-any-return]


def addr_(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Do `addr` in place."""
    return _call(_addr, True, input, vec1, vec2, beta, alpha)  # type: ignore[no-any-return]


def addbmm_(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Do `addbmm` in place."""
    return _call(_addbmm, True, input, batch1, batch2, beta, alpha)  # type: ignore[no-any-return]


def baddbmm_(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Do `baddbmm` in place."""
    return _call(_baddbmm, True, input, batch1, batch2, beta, alpha)  # type: ignore[no-any-return]
