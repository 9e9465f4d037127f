"""Decompositions of low rank, found from products with random vectors.

Source: Halko, Martinsson and Tropp, Finding structure with randomness, arXiv:0909.4061, algorithms
4.4 (a basis by subspace iteration) and 5.1 (the decomposition from that basis).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from clgrad.errors import ClgradValueError
from clgrad.functional._matrices import check_matrices
from clgrad.functional.products import matmul
from clgrad.functional.reflections import qr
from clgrad.functional.sampling import randn
from clgrad.functional.spectra import svd
from clgrad.tensor import Tensor


class LowRank(NamedTuple):
    """Left singular vectors, singular values, right singular vectors; vectors are columns."""

    U: Tensor
    S: Tensor
    V: Tensor


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> LowRank:
    """Return U, S, V with U diag(S) V^T about A - M, for matrices of a rank of about `q`.

    Args:
        A: shape (*, m, n). q: how many vectors are tried; a little more than the rank.
        niter: steps of subspace iteration. M: broadcasts to A's shape.

    Returns:
        Shapes (*, m, k), (*, k) and (*, n, k), where k is q, m or n, whichever is least.

    Raises:
        DTypeError: neither float32 nor float64.
    """
    check_matrices("svd_lowrank", A)
    a: Any = A if M is None else A - M.broadcast_to(A.shape)
    wide = A.shape[-2] < A.shape[-1]
    if wide:
        a = a.mT
    start = randn(a.shape[-1], 6 if q is None else q, dtype=A.dtype, device=A.device)
    basis = qr(matmul(a, start)).Q
    for _ in range(2 if niter is None else niter):
        basis = qr(matmul(a, qr(matmul(a.mT, basis)).Q)).Q
    u, s, vh = svd(matmul(basis.mT, a), False)
    left, right = matmul(basis, u), vh.mT
    return LowRank(right, s, left) if wide else LowRank(left, s, right)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> LowRank:
    """Return the `q` principal components of the rows of A: U, S, V of `svd_lowrank`.

    Args:
        A: shape (*, m, n): m samples of n numbers. q: at most m and n; 6, if these are not less.
        center: subtract the mean of the samples.

    Returns:
        Shapes (*, m, q), (*, q) and (*, n, q); `A @ V` are the samples in q numbers each.

    Raises:
        ClgradValueError: `q` or `niter` is out of range.
    """
    check_matrices("pca_lowrank", A)
    least = min(A.shape[-2:])
    if q is None:
        q = min(6, least)
    if not 0 <= q <= least:
        raise ClgradValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={least}"
        )
    if niter < 0:
        raise ClgradValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A, q, niter, A.mean(dim=-2, keepdim=True) if center else None)


__all__ = ["pca_lowrank", "svd_lowrank"]
METHODS: tuple[str, ...] = ()
