"""Names of linear algebra outside of `linalg`, and what has no other."""

from __future__ import annotations

from typing import Any, NamedTuple

from clgrad.dispatch import apply
from clgrad.errors import ShapeError
from clgrad.functional import factors, reflections, spectra
from clgrad.functional._matrices import (
    broadcast_batches,
    check_square,
)
from clgrad.functional._out import with_out
from clgrad.functional.least_squares import pinv
from clgrad.functional.solving import identity, inv, linalg_lu_solve
from clgrad.ops.registry import composite
from clgrad.tensor import Tensor


@with_out
def inverse(input: Tensor) -> Tensor:
    """Return `linalg.inv(input)`."""
    return inv(input)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """Return `linalg.pinv(input, rcond)`."""
    return pinv(input, rcond)


@with_out
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """Return `linalg.lu_solve(LU_data, LU_pivots, input)`."""
    return linalg_lu_solve(LU_data, LU_pivots, input)


class TriangularSolution(NamedTuple):
    """A solution, and the matrix that it is of."""

    solution: Tensor
    cloned_coefficient: Tensor


@with_out
def triangular_solve(
    input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False,
    unitriangular: bool = False,
) -> TriangularSolution:  # fmt: skip
    """Return X of A X = input; `linalg.solve_triangular` is what it became."""
    a, turned = (A.mT, not upper) if transpose else (A, upper)
    made = factors.solve_triangular(a, input, upper=turned, unitriangular=unitriangular)
    return TriangularSolution(made, A.clone())


def _cholesky_solve(b: Any, factor: Any, upper: bool) -> Any:
    low = factor.mT if upper else factor
    part = factors.solve_triangular(low, b, upper=False)
    return factors.solve_triangular(low.mT, part, upper=True)


def _of_factor(product: Any, factor: Any, upper: bool) -> Any:
    """Return the gradient for a factor; the whole of it counts, as in PyTorch."""
    both = product + product.mT
    return -(factor @ both) if upper else -(both @ factor)


def _cholesky_solve_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    factor, upper = ctx.saved("factor"), ctx.param("upper")
    of_b = apply(_cholesky_solve_op, (g, factor), (upper,))
    of_factor = None
    if ctx.needs("factor"):
        of_factor = _of_factor(of_b @ ctx.saved("y").mT, factor, upper)
    return of_b if ctx.needs("b") else None, of_factor


_cholesky_solve_op = composite(
    "cholesky_solve", "b, factor", _cholesky_solve, backward=_cholesky_solve_back,
    saves={"b": ("factor",), "factor": ("factor", "y")}, params=(("upper", False),), add=False,
)  # fmt: skip


@with_out
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """Return X of A X = input, A = L L^T, or L^T L if `upper`; batch dims broadcast.

    Raises:
        ShapeError: these do not fit.
    """
    check_square("cholesky_solve", L, input)
    if input._meta.shape[-2] != L._meta.shape[-1]:
        raise ShapeError(
            f"cholesky_solve: Incompatible matrix sizes for cholesky_solve: each A matrix is "
            f"{L._meta.shape[-1]} by {L._meta.shape[-1]} but each b matrix is "
            f"{input._meta.shape[-2]} by {input._meta.shape[-1]}."
        )
    factor, b = broadcast_batches("cholesky_solve", L, input)
    made: Tensor = apply(_cholesky_solve_op, (b, factor), (bool(upper),))
    return made


def _cholesky_inverse(factor: Any, upper: bool) -> Any:
    low = factor.mT if upper else factor
    half = factors.solve_triangular(low, identity(low), upper=False)
    return half.mT @ half


def _cholesky_inverse_back(ctx: Any, g: Any) -> tuple[Any]:
    y = ctx.saved("y")
    return (_of_factor(y @ (g @ y), ctx.saved("factor"), ctx.param("upper")),)


_cholesky_inverse_op = composite(
    "cholesky_inverse", "factor", _cholesky_inverse, backward=_cholesky_inverse_back,
    saves=("factor", "y"), params=(("upper", False),), add=False,
)  # fmt: skip


@with_out
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """Return the inverse of L L^T, or of L^T L if `upper`."""
    check_square("cholesky_inverse", L)
    made: Tensor = apply(_cholesky_inverse_op, (L,), (bool(upper),))
    return made


@with_out
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Return `linalg.cholesky(input)`, of which the lower triangle is read in any case."""
    made: Tensor = factors.cholesky(input)
    return made.mT if upper else made


@with_out
def qr(input: Tensor, some: bool = True) -> reflections.QR:
    """Return `linalg.qr(input)`, with a square Q unless `some`."""
    return reflections.qr(input, "reduced" if some else "complete")


class OldSVD(NamedTuple):
    """Left singular vectors, singular values, right singular vectors; vectors are columns."""

    U: Tensor
    S: Tensor
    V: Tensor


@with_out
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> OldSVD:
    """Return `linalg.svd(input)` with V in place of its transpose; zeros unless `compute_uv`."""
    u, s, vh = spectra.svd(input, not some)
    if not compute_uv:
        m, n = input._meta.shape[-2:]
        batch = input._meta.shape[:-2]
        u, v = input.new_zeros(*batch, m, m), input.new_zeros(*batch, n, n)
        return OldSVD(u, s, v)
    return OldSVD(u, s, vh.mT)


@with_out
def orgqr(input: Tensor, tau: Tensor) -> Tensor:
    """Return `linalg.householder_product(input, tau)`."""
    return reflections.householder_product(input, tau)


@with_out
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """Return `linalg.lu_factor(A)`, with what failed if `get_infos`."""
    made, pivots, info = factors.lu_factor_ex(A, pivot=pivot)
    if not get_infos:
        factors._check_lu("lu", info)
    return (made, pivots, info) if get_infos else (made, pivots)


geqrf, ormqr, lu_unpack = reflections.geqrf, reflections.ormqr, factors.lu_unpack

__all__ = [
    "cholesky", "cholesky_inverse", "cholesky_solve", "geqrf", "inverse", "lu",
    "lu_solve", "lu_unpack", "orgqr", "ormqr", "pinverse", "qr", "svd",
    "triangular_solve",
]  # fmt: skip
METHODS = tuple(n for n in __all__ if n != "lu_unpack")
