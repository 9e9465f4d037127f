"""Eigenvalues of symmetric matrices, and singular values.

Source of the gradients: M. Seeger et al., "Auto-differentiating linear algebra" (arXiv 1710.08717).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from clgrad.dispatch import apply
from clgrad.errors import ClgradRuntimeError
from clgrad.functional._matrices import (
    check_finite,
    check_matrices,
    check_square,
    parts,
)
from clgrad.functional._out import with_out
from clgrad.functional.diagonals import diag_embed, tril, triu
from clgrad.functional.joining import cat
from clgrad.functional.making import eye
from clgrad.functional.reflections import columns_of, reflections
from clgrad.ops import matrices
from clgrad.ops.registry import REQUIRED, composite
from clgrad.tensor import Tensor


class Eigh(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors, one a column."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def _eigh(x: Any, upper: bool) -> tuple[Any, Any]:
    n = x._meta.shape[-1]
    whole = triu(x) + triu(x, 1).mT if upper else tril(x) + tril(x, -1).mT
    values, vectors = parts(apply(matrices.eigh, (whole.contiguous(),)), (n,), (n, n))
    return values, vectors.mT.contiguous()


def _differences(x: Any) -> Any:
    """Return x[j] - x[i], with ones on the diagonal."""
    n = x._meta.shape[-1]
    return x.unsqueeze(-2) - x.unsqueeze(-1) + eye(n, dtype=x.dtype, device=x.device)


def _off_diagonal(x: Any) -> Any:
    return tril(x, -1) + triu(x, 1)


def _eigh_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    of_values, of_vectors = grads
    values, vectors = ctx.saved("y"), ctx.saved("result1")
    if of_vectors is None:
        return ((vectors * of_values.unsqueeze(-2)) @ vectors.mT,)
    inner = _off_diagonal(vectors.mT @ of_vectors) / _differences(values)
    inner = (inner + inner.mT) * 0.5
    if of_values is not None:
        inner = inner + diag_embed(of_values)
    return (vectors @ inner @ vectors.mT,)


_eigh_op = composite(
    "linalg_eigh", "x", _eigh, backward=_eigh_back, saves=("y", "result1"),
    params=(("upper", REQUIRED),), add=False,
)  # fmt: skip


def _symmetric(name: str, A: Tensor, UPLO: str) -> tuple[Tensor, Tensor]:
    check_square(name, A)
    if UPLO.upper() not in ("U", "L"):
        raise ClgradRuntimeError(
            f"{name}: Expected UPLO argument to be 'L' or 'U', but got {UPLO}."
        )
    check_finite(name, A)
    values, vectors = apply(_eigh_op, (A,), (UPLO.upper() == "U",))
    return values, vectors


@with_out
def eigh(A: Tensor, UPLO: str = "L") -> Eigh:
    """Return eigenvalues, ascending, and eigenvectors, one a column, of symmetric matrices.

    Args:
        A: shape (*, n, n). UPLO: "L" or "U": the triangle that is read.

    Raises:
        LinAlgError: an element is inf or NaN. ClgradRuntimeError: another UPLO.
    """
    return Eigh(*_symmetric("linalg.eigh", A, UPLO))


@with_out
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Return the eigenvalues, ascending, of symmetric matrices; see `eigh`."""
    return _symmetric("linalg.eigvalsh", A, UPLO)[0]


# ---- singular values ---------------------------------------------------------------------------


class SVD(NamedTuple):
    """Left singular vectors as columns, singular values, descending, right ones as rows."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def _svd(x: Any, full: bool) -> tuple[Any, Any, Any]:
    m, n = x._meta.shape[-2:]
    wide = (x.mT if m > n else x).contiguous()
    k, size = min(m, n), max(m, n)
    values, turns, rows = parts(apply(matrices.svd, (wide,)), (k,), (k, k), (k, size))
    a, tau = reflections(rows.mT)
    long = columns_of(a, tau, size if full else k)
    signs = a.diagonal(0, -2, -1).unsqueeze(-2)
    signs = (signs >= 0).to(x.dtype) * 2 - 1
    long = cat([long[..., :k] * signs, long[..., k:]], -1)
    short = turns.mT.contiguous()
    return (long, values, turns) if m > n else (short, values, long.mT.contiguous())


def _skew(x: Any) -> Any:
    return x - x.mT


def _svd_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    u, s, vh = ctx.saved("y"), ctx.saved("result1"), ctx.saved("result2")
    k = s._meta.shape[-1]
    m, n = ctx.shape("x")[-2:]
    u, vh = u[..., :k], vh[..., :k, :]
    of_u = None if grads[0] is None else grads[0][..., :k]
    of_vh = None if grads[2] is None else grads[2][..., :k, :]
    if of_u is None and of_vh is None:
        return (u @ (grads[1].unsqueeze(-1) * vh),)
    gaps = _differences(s * s)
    inner: Any = 0
    if of_u is not None:
        inner = _skew(u.mT @ of_u) / gaps * s.unsqueeze(-2)
    if of_vh is not None:
        inner = inner + s.unsqueeze(-1) * (_skew(vh @ of_vh.mT) / gaps)
    if grads[1] is not None:
        inner = inner + diag_embed(grads[1])
    made = u @ inner @ vh
    if m > k and of_u is not None:
        part = of_u / s.unsqueeze(-2)
        made = made + (part - u @ (u.mT @ part)) @ vh
    if n > k and of_vh is not None:
        part = of_vh / s.unsqueeze(-1)
        made = made + u @ (part - (part @ vh.mT) @ vh)
    return (made,)


_svd_op = composite(
    "linalg_svd", "x", _svd, backward=_svd_back, saves=("y", "result1", "result2"),
    params=(("full", REQUIRED),), add=False,
)  # fmt: skip


@with_out
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """Return U, S, Vh with A = U diag(S) Vh; singular values descend.

    Args:
        A: shape (*, m, n). full_matrices: whether U and Vh are square. driver: None.

    Raises:
        LinAlgError: an element is inf or NaN.
    """
    check_matrices("linalg.svd", A)
    if driver is not None:
        raise ClgradRuntimeError(
            "linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with "
            "cuSOLVER backend."
        )
    check_finite("linalg.svd", A)
    return SVD(*apply(_svd_op, (A,), (bool(full_matrices),)))


@with_out
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Return the singular values of matrices (*, m, n), descending; see `svd`."""
    return svd(A, False, driver=driver)[1]
