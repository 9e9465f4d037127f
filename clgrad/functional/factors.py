"""Factors of matrices: triangular systems, LU, Cholesky.

Each is one node that saves what PyTorch's saves; gradients are made of products and triangular
solutions, so that they have gradients again. Sources of the gradients: I. Murray, "Differentiation
of the Cholesky decomposition" (arXiv 1602.07527); LU by hand, of d(P L U) = P (dL U + L dU).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from clgrad.creation import empty
from clgrad.dispatch import apply
from clgrad.dtypes import int32
from clgrad.errors import ClgradRuntimeError, LinAlgError, ShapeError
from clgrad.functional._matrices import (
    broadcast_batches,
    check_matrices,
    check_square,
    first_failure,
    parts,
)
from clgrad.functional._out import with_out
from clgrad.functional.diagonals import diag_embed, tril, triu
from clgrad.functional.joining import cat
from clgrad.functional.making import eye
from clgrad.ops import matrices
from clgrad.ops.registry import REQUIRED, composite
from clgrad.tensor import Tensor

# ---- triangular systems --------------------------------------------------------------------------


def _triangular(a: Any, b: Any, upper: bool, unit: bool) -> Any:
    packed = apply(matrices.solve, (a.contiguous(), b.contiguous()), (upper, unit))
    return parts(packed, b._meta.shape[-2:])[0]


def _triangular_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    a, y, upper, unit = ctx.saved("a"), ctx.saved("y"), ctx.param("upper"), ctx.param("unit")
    part = apply(_triangular_op, (a.mT, g), (not upper, unit))
    if not ctx.needs("a"):
        return None, part
    both = -(part @ y.mT)
    of_a = triu(both, int(unit)) if upper else tril(both, -int(unit))
    return of_a, part if ctx.needs("b") else None


_triangular_op = composite(
    "linalg_solve_triangular", "a, b", _triangular, backward=_triangular_back,
    saves={"a": ("a", "y"), "b": ("a", "y")}, params=(("upper", REQUIRED), ("unit", REQUIRED)),
    add=False,
)  # fmt: skip


@with_out
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """Return X of A X = B, or of X A = B unless `left`, where A is triangular.

    Args:
        A: shape (*, n, n); only the triangle that `upper` says is read, without its diagonal if
            `unitriangular`, which then counts as ones.
        B: shape (*, n, k), or (*, k, n) unless `left`; batch dims broadcast.

    Raises:
        ShapeError: these do not fit. DTypeError: no float32 or float64, or not of one dtype.
    """
    name = "linalg.solve_triangular"
    check_square(name, A, B)
    n, m = A._meta.shape[-1], B._meta.shape[-2 if left else -1]
    if n != m:
        raise ShapeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({n}x{n} and "
            f"{B._meta.shape[-2]}x{B._meta.shape[-1]})."
        )
    a, b = broadcast_batches(name, A, B)
    made: Tensor
    if left:
        made = apply(_triangular_op, (a, b), (bool(upper), bool(unitriangular)))
    else:
        made = apply(_triangular_op, (a.mT, b.mT), (not upper, bool(unitriangular))).mT
    return made


# ---- LU ------------------------------------------------------------------------------------------


class LUFactors(NamedTuple):
    """L below the diagonal and U on and above it, and what rows were exchanged with, from 1."""

    LU: Tensor
    pivots: Tensor


class LUFactorsEx(NamedTuple):
    """The same, and where the first zero on the diagonal of U stands, from 1, or 0."""

    LU: Tensor
    pivots: Tensor
    info: Tensor


class PLU(NamedTuple):
    """A permutation, a unit lower and an upper triangle, whose product is the matrix."""

    P: Tensor
    L: Tensor
    U: Tensor


def _lu(x: Any, pivoting: bool) -> tuple[Any, Any, Any]:
    m, n = x._meta.shape[-2:]
    packed = apply(matrices.lu, (x.contiguous(),), (pivoting,))
    made, pivots, info = parts(packed, (m, n), (min(m, n),), ())
    return made, pivots.to(int32), info.to(int32)


def unit_lower(lu: Any) -> Any:
    """Return L, (*, m, k), of the factors in one matrix."""
    m, n = lu._meta.shape[-2:]
    k = min(m, n)
    return tril(lu[..., :k], -1) + eye(m, k, dtype=lu.dtype, device=lu.device)


def upper_of(lu: Any) -> Any:
    """Return U, (*, k, n), of the factors in one matrix."""
    return triu(lu[..., : min(lu._meta.shape[-2:]), :])


def row_order(pivots: Any, m: int) -> Any:
    """Return where each of m rows comes from after the exchanges, int64."""
    found = apply(matrices.rows, (pivots.contiguous(),), (m,))
    found._storage.value.bounds = (0, m - 1)
    return found


def rows_taken(x: Any, order: Any) -> Any:
    """Return rows of each matrix in an order (*, m)."""
    return x.gather(-2, order.unsqueeze(-1).expand(*order._meta.shape, x._meta.shape[-1]))


def rows_back(x: Any, order: Any) -> Any:
    """Return rows of each matrix where the order took them from."""
    return rows_taken(x, order.argsort(-1))


def _lu_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    g = grads[0]
    if g is None:
        return (None,)
    lu = ctx.saved("y")
    m, n = lu._meta.shape[-2:]
    k = min(m, n)
    lower, upper = unit_lower(lu), upper_of(lu)
    top, left = lower[..., :k, :], upper[..., :k]
    inner = tril(top.mT @ tril(g[..., :k, :k], -1), -1) + triu(triu(g[..., :k, :k]) @ left.mT)
    if n > k:
        inner = inner - tril(g[..., k:] @ upper[..., k:].mT, -1)
    if m > k:
        inner = inner - triu(lower[..., k:, :].mT @ g[..., k:, :])
    inner = solve_triangular(left.mT, inner, upper=False, left=False)
    made = solve_triangular(top.mT, inner, upper=True, unitriangular=True)
    if n > k:
        right = solve_triangular(top.mT, g[..., k:], upper=True, unitriangular=True)
        made = cat([made, right], -1)
    if m > k:
        below = solve_triangular(left.mT, g[..., k:, :], upper=False, left=False)
        made = cat([made, below], -2)
    if not ctx.param("pivoting"):
        return (made,)
    return (rows_back(made, row_order(ctx.saved("result1"), m)),)


_lu_op = composite(
    "linalg_lu_factor_ex", "x", _lu, backward=_lu_back, saves=("y", "result1"),
    params=(("pivoting", REQUIRED),), add=False,
)  # fmt: skip


@with_out
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> LUFactorsEx:
    """Return LU factors of matrices (*, m, n) in one matrix, pivots, and where U has a zero."""
    check_matrices("linalg.lu_factor_ex", A)
    made = LUFactorsEx(*apply(_lu_op, (A,), (bool(pivot),)))
    if check_errors:
        _check_lu("linalg.lu_factor_ex", made.info)
    return made


def _check_lu(name: str, info: Tensor) -> None:
    failed = first_failure(info)
    if failed:
        raise LinAlgError(
            f"{name}: {failed[0]}U[{failed[1]},{failed[1]}] is zero and using it on lu_solve would "
            "result in a division by zero. Hint: linalg.lu_factor_ex does not look."
        )


@with_out
def lu_factor(A: Tensor, *, pivot: bool = True) -> LUFactors:
    """Return LU factors of matrices (*, m, n) in one matrix, and pivots.

    Raises:
        LinAlgError: U has a zero on its diagonal.
    """
    check_matrices("linalg.lu_factor", A)
    made, pivots, info = apply(_lu_op, (A,), (bool(pivot),))
    _check_lu("linalg.lu_factor", info)
    return LUFactors(made, pivots)


def permutation_of(pivots: Any, m: int, like: Any) -> Any:
    """Return the matrix that puts rows back where the exchanges took them from."""
    order = row_order(pivots, m)
    place = eye(m, dtype=like.dtype, device=like.device)[order]
    return place.mT


@with_out
def lu(A: Tensor, *, pivot: bool = True) -> PLU:
    """Return P, L, U with A = P L U; P is empty without pivoting."""
    check_matrices("linalg.lu", A)
    made, pivots, _ = apply(_lu_op, (A,), (bool(pivot),))
    place = permutation_of(pivots, A._meta.shape[-2], A) if pivot else empty(
        0, dtype=A.dtype, device=A.device
    )  # fmt: skip
    return PLU(place, unit_lower(made), upper_of(made))


@with_out
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> PLU:
    """Return P, L, U of what `lu_factor` returns; what is not wanted is empty."""
    if unpack_pivots and LU_pivots.dtype is not int32:
        raise ClgradRuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
            f"dtype. Got {LU_pivots.dtype.name}. Note: this function is intended to be used with "
            "the output produced by linalg.lu_factor."
        )
    if LU_data.ndim < 2:
        raise ShapeError(f"lu_unpack: expected at least 2 dimensions, got {LU_data.ndim}.")
    none = empty(0, dtype=LU_data.dtype, device=LU_data.device)
    place = none
    if unpack_pivots:
        place = permutation_of(LU_pivots, LU_data._meta.shape[-2], LU_data)
    if not unpack_data:
        return PLU(place, none, none)
    return PLU(place, unit_lower(LU_data), upper_of(LU_data))


def solve_factored(lu: Any, pivots: Any, b: Any, transposed: bool = False) -> Any:
    """Return X of A X = B, or of A^T X = B, of the LU factors of A."""
    order = row_order(pivots, lu._meta.shape[-1])
    order = order.expand(*b._meta.shape[:-2], order._meta.shape[-1])
    if not transposed:
        part = solve_triangular(lu, rows_taken(b, order), upper=False, unitriangular=True)
        return solve_triangular(lu, part, upper=True)
    part = solve_triangular(lu.mT, b, upper=False)
    return rows_back(solve_triangular(lu.mT, part, upper=True, unitriangular=True), order)


# ---- Cholesky ------------------------------------------------------------------------------------


class CholeskyEx(NamedTuple):
    """L, and the order of the first minor that is not positive, from 1, or 0."""

    L: Tensor
    info: Tensor


def _cholesky(x: Any) -> tuple[Any, Any]:
    n = x._meta.shape[-1]
    made, info = parts(apply(matrices.cholesky, (x.contiguous(),)), (n, n), ())
    return made, info.to(int32)


def _half_diagonal(x: Any) -> Any:
    return tril(x) - diag_embed(x.diagonal(0, -2, -1) * 0.5)


def _cholesky_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    if grads[0] is None:
        return (None,)
    low = ctx.saved("y")
    inner = _half_diagonal(low.mT @ grads[0])
    inner = (inner + inner.mT) * 0.5
    left = solve_triangular(low.mT, inner, upper=True)
    return (solve_triangular(low, left, upper=False, left=False),)


_cholesky_op = composite(
    "linalg_cholesky_ex", "x", _cholesky, backward=_cholesky_back, saves=("y",), add=False
)


@with_out
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """Return Cholesky factors of symmetric positive matrices (*, n, n), and where that failed."""
    name = "linalg.cholesky_ex"
    check_square(name, A)
    made, info = apply(_cholesky_op, (A.mT if upper else A,))
    if check_errors:
        _check_minor(name, info)
    return CholeskyEx(made.mT if upper else made, info)


def _check_minor(name: str, info: Tensor) -> None:
    failed = first_failure(info)
    if failed:
        raise LinAlgError(
            f"{name}: {failed[0]}The factorization could not be completed because the input is not "
            f"positive-definite (the leading minor of order {failed[1]} is not positive-definite)."
        )


@with_out
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """Return L, lower triangular, with L L^T = A, or its transpose if `upper`.

    Args:
        A: symmetric and positive definite, shape (*, n, n); one triangle of it is read.

    Raises:
        LinAlgError: a matrix is not positive definite.
    """
    check_square("linalg.cholesky", A)
    made, info = apply(_cholesky_op, (A.mT if upper else A,))
    _check_minor("linalg.cholesky", info)
    return made.mT if upper else made  # type: ignore[no-any-return]  # a Tensor
