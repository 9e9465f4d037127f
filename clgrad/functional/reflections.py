"""QR by Householder's reflections, and products of reflections.

Source of the gradient: M. Seeger et al., "Auto-differentiating linear algebra" (arXiv 1710.08717).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from clgrad.creation import empty
from clgrad.dispatch import apply
from clgrad.errors import ClgradRuntimeError, ShapeError
from clgrad.functional._matrices import (
    check_matrices,
    parts,
)
from clgrad.functional._out import with_out
from clgrad.functional.diagonals import tril, triu
from clgrad.functional.factors import solve_triangular
from clgrad.functional.joining import cat
from clgrad.functional.making import eye
from clgrad.ops import matrices
from clgrad.ops.registry import REQUIRED, composite
from clgrad.tensor import Tensor


class QR(NamedTuple):
    """Orthonormal columns, and an upper triangle."""

    Q: Tensor
    R: Tensor


class Reflections(NamedTuple):
    """R with the vectors of Householder's reflections below it, and their factors."""

    a: Tensor
    tau: Tensor


def reflections(x: Any) -> tuple[Any, Any]:
    """Return R with the vectors below it, and the factors, without history."""
    m, n = x._meta.shape[-2:]
    a, tau = parts(apply(matrices.qr, (x.contiguous(),)), (m, n), (min(m, n),))
    return a, tau


def columns_of(a: Any, tau: Any, columns: int) -> Any:
    """Return the first columns of the product of reflections, without history."""
    packed = apply(matrices.reflect, (a.contiguous(), tau.contiguous()), (columns,))
    return parts(packed, (a._meta.shape[-2], columns))[0]


def _qr(x: Any, mode: str) -> tuple[Any, Any]:
    m, n = x._meta.shape[-2:]
    a, tau = reflections(x)
    columns = m if mode == "complete" else min(m, n)
    if mode == "r":
        return empty(0, dtype=x.dtype, device=x.device), triu(a[..., : min(m, n), :])
    r = triu(a if mode == "complete" else a[..., :columns, :])
    return columns_of(a, tau, columns), r


def _qr_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    of_q, of_r = grads
    q, r, mode = ctx.saved("y"), ctx.saved("result1"), ctx.param("mode")
    m, n = ctx.shape("x")[-2:]
    if mode == "r":
        raise ClgradRuntimeError(
            "linalg.qr: The derivative of linalg.qr depends on Q, which is not computed when "
            "mode='r'. Please use linalg.qr(A, mode='reduced')."
        )
    if mode == "complete" and m > n:
        raise ClgradRuntimeError(
            "linalg.qr: The QR decomposition is not differentiable when mode='complete' and "
            "nrows > ncols."
        )
    if m >= n:
        return (_tall_qr(of_q, of_r, q, r),)
    left, right = r[..., :m], r[..., m:]
    of_left = None if of_r is None else of_r[..., :m]
    if of_r is None:
        return (cat([_tall_qr(of_q, None, q, left), right * 0], -1),)
    along = q @ (right @ of_r[..., m:].mT)
    of_q = along if of_q is None else of_q + along
    return (cat([_tall_qr(of_q, of_left, q, left), q @ of_r[..., m:]], -1),)


def _tall_qr(of_q: Any, of_r: Any, q: Any, r: Any) -> Any:
    """Return the gradient for a matrix with at least as many rows as columns."""
    inner: Any = None
    if of_r is not None:
        inner = r @ of_r.mT
    if of_q is not None:
        part = of_q.mT @ q
        inner = -part if inner is None else inner - part
    copied = tril(inner, -1)
    made = q @ (tril(inner) + copied.mT)
    if of_q is not None:
        made = of_q + made
    return solve_triangular(r.mT, made, upper=False, left=False)


_qr_op = composite(
    "linalg_qr", "x", _qr, backward=_qr_back, saves=("y", "result1"), params=(("mode", REQUIRED),),
    add=False,
)  # fmt: skip


@with_out
def qr(A: Tensor, mode: str = "reduced") -> QR:
    """Return Q with orthonormal columns and R, upper triangular, with Q R = A.

    Args:
        A: shape (*, m, n). mode: "reduced"; "complete" for a square Q; "r" for R alone.

    Raises:
        ClgradRuntimeError: another mode.
    """
    check_matrices("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise ClgradRuntimeError(
            f"linalg.qr: received unrecognized mode '{mode}' but expected one of 'reduced' "
            "(default), 'r', or 'complete'."
        )
    return QR(*apply(_qr_op, (A,), (mode,)))


@with_out
def geqrf(input: Tensor) -> Reflections:
    """Return R with the vectors of Householder's reflections below it, and their factors tau.

    It has no derivative; `linalg.qr` has.
    """
    check_matrices("geqrf", input)
    a, tau = reflections(input.detach())
    return Reflections(a, tau)


def _reflected(x: Any, v: Any, tau: Any) -> Any:
    """Return (I - tau v v^T) x."""
    return x - (tau * v) @ (v.mT @ x)


def _product_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    a, tau = ctx.saved("a"), ctx.saved("tau")
    m, n = a._meta.shape[-2:]
    count = tau._meta.shape[-1]
    if not count:
        return None, None
    lower = tril(a, -1) + eye(m, n, dtype=a.dtype, device=a.device)
    vectors = [lower[..., k : k + 1] for k in range(count)]
    factors = [tau[..., k, None, None] for k in range(count)]
    behind = [eye(m, n, dtype=a.dtype, device=a.device)]
    for v, t in zip(reversed(vectors[1:]), reversed(factors[1:]), strict=True):
        behind.append(_reflected(behind[-1], v, t))
    of_columns, of_tau = [], []
    for v, t, rest in zip(vectors, factors, reversed(behind), strict=True):
        inner = g @ rest.mT
        of_tau.append(-(v.mT @ inner @ v).squeeze(-1))
        of_columns.append(-t * ((inner + inner.mT) @ v))
        g = _reflected(g, v, t)
    if count < n:
        of_columns.append((a * 0)[..., count:])
    return tril(cat(of_columns, -1), -1), cat(of_tau, -1)


_product_op = composite(
    "linalg_householder_product", "a, tau",
    lambda a, tau: columns_of(a, tau, a._meta.shape[-1]),
    backward=_product_back, saves={"a": ("a", "tau"), "tau": ("a", "tau")}, add=False,
)  # fmt: skip


@with_out
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """Return the first n columns of the product of reflections I - tau[k] v[k] v[k]^T.

    Args:
        input: shape (*, m, n), m >= n; the vectors below the diagonal, whose leading 1 is not read.
        tau: shape (*, k), k <= n.
    """
    name = "linalg.householder_product"
    check_matrices(name, input, tau.unsqueeze(-1) if tau.ndim else input)
    m, n = input._meta.shape[-2:]
    if m < n:
        raise ShapeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]."
        )
    if not tau.ndim or tau._meta.shape[-1] > n:
        raise ShapeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1].")
    if tau._meta.shape[:-1] != input._meta.shape[:-2]:
        raise ShapeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau._meta.shape[:-1])}."
        )
    made: Tensor = apply(_product_op, (input, tau))
    return made


@with_out
def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Return Q @ other (other @ Q unless `left`), Q the square product of reflections."""
    check_matrices("ormqr", input, other)
    m, n = input._meta.shape[-2:]
    if other._meta.shape[-2 if left else -1] < tau._meta.shape[-1]:
        raise ShapeError(
            f"ormqr: other.shape[{-2 if left else -1}] must be greater than or equal to "
            "tau.shape[-1]."
        )
    if tau._meta.shape[-1] > n:
        raise ShapeError("ormqr: input.shape[-1] must be greater than or equal to tau.shape[-1].")
    if other._meta.shape[-2 if left else -1] != m:
        raise ShapeError(
            f"ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2]."
        )
    wide = input if n >= m else cat([input, input.new_zeros(*input._meta.shape[:-1], m - n)], -1)
    q = householder_product(wide[..., :m], tau)
    q = q.mT if transpose else q
    return q @ other if left else other @ q
