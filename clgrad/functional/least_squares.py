"""Pseudoinverses, ranks, least squares."""

from __future__ import annotations

from typing import Any, NamedTuple

from clgrad.batching import whole
from clgrad.calls import function
from clgrad.creation import empty, zeros
from clgrad.dispatch import apply
from clgrad.dtypes import float64
from clgrad.errors import ClgradRuntimeError, ShapeError
from clgrad.functional import spectra
from clgrad.functional._matrices import (
    broadcast_batches,
    check_dtypes,
    check_matrices,
    is_vector,
)
from clgrad.functional._out import with_out
from clgrad.ops.registry import OPS, composite
from clgrad.tensor import Tensor

_where = function(OPS["where"])


def epsilon(x: Any) -> float:
    """Return the distance from 1 to the next number of a dtype."""
    return 2.220446049250313e-16 if x.dtype is float64 else 1.1920928955078125e-07


def _threshold(x: Any, largest: Any, atol: Any, rtol: Any) -> Any:
    """Return up to where singular values count as zero, (*, 1)."""
    if rtol is None:
        above = atol is not None and (isinstance(atol, Tensor) or atol > 0)
        default = max(x._meta.shape[-2:]) * epsilon(x)
        rtol = default
        if above:
            rtol = _where(atol > 0, 0.0, default) if isinstance(atol, Tensor) else 0.0
    atol = 0.0 if atol is None else atol
    atol = atol.unsqueeze(-1) if isinstance(atol, Tensor) and atol.ndim else atol
    rtol = rtol.unsqueeze(-1) if isinstance(rtol, Tensor) and rtol.ndim else rtol
    relative = largest * rtol
    return _where(relative > atol, relative, atol)


def _pinv(x: Any, atol: Any, rtol: Any, hermitian: bool = False) -> Any:
    if not x.numel():
        m, n = x._meta.shape[-2:]
        return zeros(*x._meta.shape[:-2], n, m, dtype=x.dtype, device=x.device)
    if hermitian:
        s, v = spectra._eigh(x, False)
        size, u, vh = s.abs(), v, v.mT
    else:
        u, s, vh = spectra._svd(x, False)
        size = s
    inverse = _where(size > _threshold(x, size.amax(-1, True), atol, rtol), 1 / s, 0.0)
    return (vh.mT * inverse.unsqueeze(-2)) @ u.mT


def _pinv_back(ctx: Any, g: Any) -> tuple[Any]:
    """Source: G. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973), 413-432."""
    return (_pinv_gradient(g, ctx.saved("x"), ctx.saved("y")),)


def _pinv_gradient(g: Any, x: Any, y: Any) -> Any:
    m, n = x._meta.shape[-2:]
    if m <= n:
        k = g.mT @ y
        ky = k @ y.mT
        return -(y @ k).mT + ky - (x @ y) @ ky + (y.mT @ y) @ (g.mT - k @ x)
    k = y @ g.mT
    yk = y.mT @ k
    return -(k @ y).mT + (g.mT - x @ k) @ y @ y.mT + yk - (yk @ y) @ x


_pinv_op = composite(
    "linalg_pinv", "x", _pinv, backward=_pinv_back, saves=("x", "y"),
    params=(("atol", None), ("rtol", None), ("hermitian", False)), add=False,
)  # fmt: skip


@with_out
def pinv(
    A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """Return the pseudoinverses of matrices (*, m, n), shape (*, n, m).

    Singular values up to max(atol, rtol * the largest) count as zero; `rtol` defaults to
    max(m, n) epsilon where `atol` is not given. `rcond` is its older name.
    """
    check_matrices("linalg.pinv", A)
    rtol = rcond if rtol is None else rtol
    atol, rtol = (t.item() if isinstance(t, Tensor) and not t.ndim else t for t in (atol, rtol))
    if not isinstance(atol, Tensor) and not isinstance(rtol, Tensor):
        made: Tensor = apply(_pinv_op, (A,), (atol, rtol, bool(hermitian)))
        return made
    u, s, vh = spectra.svd(A, False)
    kept = s.detach() > _threshold(A, s.detach()[..., :1], atol, rtol)
    inverse = _where(kept, 1 / _where(kept, s, 1.0), 0.0)
    found: Tensor = (vh.mT * inverse.unsqueeze(-2)) @ u.mT
    return found


@with_out
def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """Return how many singular values of each matrix are above the threshold of `pinv`, int64.

    `tol` is an older name of `atol`, without a relative threshold.
    """
    check_matrices("linalg.matrix_rank", A)
    if tol is not None:
        atol, rtol = tol, 0.0
    x = A.detach()
    sizes = spectra.eigvalsh(x).abs() if hermitian else spectra.svdvals(x)
    if not sizes._meta.shape[-1]:
        sizes = sizes.new_zeros(*sizes._meta.shape[:-1], 1)
    made: Tensor = (sizes > _threshold(x, sizes.amax(-1, True), atol, rtol)).sum(-1)
    return made


class LeastSquares(NamedTuple):
    """A solution, sums of squared residuals, the ranks, the singular values."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def _lstsq(a: Any, b: Any, rcond: Any, driver: str) -> tuple[Any, ...]:
    m, n = a._meta.shape[-2:]
    made = _pinv(a, None, rcond) @ b
    none = empty(0, dtype=a.dtype, device=a.device)
    rank = none.long() if driver == "gels" else matrix_rank(a, rtol=rcond)
    residuals = none
    if m > n and (driver == "gels" or bool((whole(rank) == n).all())) and driver != "gelsy":
        rest = a @ made - b
        residuals = (rest * rest).sum(-2)
    return made, residuals, rank


def _lstsq_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any, Any]:
    a, b, made = ctx.saved("a"), ctx.saved("b"), ctx.saved("y")
    of_a = of_b = None
    if grads[0] is not None:
        inverse = pinv(a)
        of_a = _pinv_gradient(grads[0] @ b.mT, a, inverse) if ctx.needs("a") else None
        of_b = inverse.mT @ grads[0]
    if grads[1] is not None and grads[1].numel():
        rest = (a @ made - b) * (2 * grads[1].unsqueeze(-2))
        more = rest @ made.mT
        of_a, of_b = more if of_a is None else of_a + more, -rest if of_b is None else of_b - rest
    return of_a, of_b


_lstsq_op = composite(
    "linalg_lstsq", "a, b", _lstsq, backward=_lstsq_back, add=False,
    saves={"a": ("a", "b", "y"), "b": ("a", "b", "y")},
    params=(("rcond", None), ("driver", "gelsy")),
)  # fmt: skip


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """Return X with the least norm among those that make the norm of A X - B least.

    Args:
        A: shape (*, m, n). B: shape (*, m, k) or (*, m).
        rcond: singular values up to this times the largest count as zero.
        driver: as in LAPACK; what is returned beside the solution depends on it.

    Returns:
        solution, residuals (empty unless m > n and all ranks are n), rank (empty for "gels"),
        singular values ("gelsd" and "gelss" alone).
    """
    name = "linalg.lstsq"
    check_matrices(name, A)
    check_dtypes(name, A, B)
    driver = "gelsy" if driver is None else driver
    if driver not in _DRIVERS:
        raise ClgradRuntimeError(
            f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss). "
            f"Got {driver}."
        )
    m = A._meta.shape[-2]
    vector = is_vector(A, B)
    b = B.unsqueeze(-1) if vector else B
    if b.ndim < 2 or b._meta.shape[-2] != m:
        raise ShapeError(
            f"{name}: input.size(-2) should match other.size({-1 if vector else -2}). Got "
            f"{list(A._meta.shape)} and {list(B._meta.shape)}."
        )
    a, b = broadcast_batches(name, A, b)
    made, residuals, rank = apply(_lstsq_op, (a, b), (rcond, driver))
    values = empty(0, dtype=A.dtype, device=A.device)
    if driver in ("gelsd", "gelss"):
        values = spectra.svdvals(a.detach())
    return LeastSquares(made.squeeze(-1) if vector else made, residuals, rank, values)
