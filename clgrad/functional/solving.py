"""Systems of equations: solutions and inverses; tensors as matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from clgrad.calls import function
from clgrad.dispatch import apply
from clgrad.dtypes import int32
from clgrad.errors import ClgradRuntimeError, LinAlgError, ShapeError
from clgrad.functional import factors, spectra
from clgrad.functional._matrices import (
    broadcast_batches,
    check_dtypes,
    check_matrices,
    check_square,
    first_failure,
    is_vector,
)
from clgrad.functional._out import with_out
from clgrad.functional.making import eye
from clgrad.functional.norms import matrix_norm
from clgrad.ops.registry import OPS, composite
from clgrad.tensor import Tensor

_where = function(OPS["where"])


def identity(x: Any) -> Any:
    n = x._meta.shape[-1]
    return eye(n, dtype=x.dtype, device=x.device).expand(x._meta.shape)


class Solution(NamedTuple):
    """A solution, and where the first zero on the diagonal of U stands, from 1, or 0."""

    result: Tensor
    info: Tensor


class Inverse(NamedTuple):
    """An inverse, and where the first zero on the diagonal of U stands, from 1, or 0."""

    inverse: Tensor
    info: Tensor


def _solve(a: Any, b: Any) -> tuple[Any, Any, Any, Any]:
    lu, pivots, info = factors._lu(a, True)
    return factors.solve_factored(lu, pivots, b), info, lu, pivots


def _solve_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any, Any]:
    g = grads[0]
    if g is None:
        return None, None
    if ctx.recording:
        of_b = apply(solve_op, (ctx.saved("a").mT, g))[0]
    else:
        of_b = factors.solve_factored(ctx.saved("result2"), ctx.saved("result3"), g, True)
    of_a = -(of_b @ ctx.saved("y").mT) if ctx.needs("a") else None
    return of_a, of_b if ctx.needs("b") else None


_READ = ("a", "result2", "result3")
solve_op = composite(
    "linalg_solve_ex", "a, b", _solve, backward=_solve_back,
    saves={"a": ("y", *_READ), "b": _READ}, add=False,
)  # fmt: skip


def _solved(name: str, A: Tensor, B: Tensor, left: bool) -> tuple[Tensor, Tensor]:
    check_square(name, A)
    check_dtypes(name, A, B)
    vector = is_vector(A, B)
    if vector and not left:
        raise ShapeError(f"{name}: Vector broadcasting of the left hand side is not supported.")
    b = B.unsqueeze(-1) if vector else B if left else B.mT
    if b.ndim < 2 or b._meta.shape[-2] != A._meta.shape[-1]:
        raise ShapeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({list(A._meta.shape)} and {list(B._meta.shape)})."
        )
    a, b = broadcast_batches(name, A, b)
    made, info = apply(solve_op, (a if left else a.mT, b))[:2]
    return made.squeeze(-1) if vector else made if left else made.mT, info


def _check_singular(name: str, info: Tensor, what: str) -> None:
    failed = first_failure(info)
    if failed:
        raise LinAlgError(
            f"{name}: {failed[0]}The diagonal element {failed[1]} is zero, the {what} could not be "
            "completed because the input matrix is singular. Hint: linalg.lstsq and linalg.pinv "
            "take such matrices."
        )


@with_out
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Solution:
    """Return X of A X = B, and where the elimination failed; see `solve`."""
    made, info = _solved("linalg.solve_ex", A, B, left)
    if check_errors:
        _check_singular("linalg.solve_ex", info, "solve")
    return Solution(made, info)


@with_out
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """Return X of A X = B, or of X A = B unless `left`.

    Args:
        A: shape (*, n, n).
        B: shape (*, n, k), or (n,) or (*, n) for vectors; batch dims broadcast.

    Raises:
        LinAlgError: a matrix is singular. ShapeError: the shapes do not fit.
    """
    made, info = _solved("linalg.solve", A, B, left)
    _check_singular("linalg.solve", info, "solve")
    return made


def _inv(x: Any) -> tuple[Any, Any]:
    lu, pivots, info = factors._lu(x, True)
    return factors.solve_factored(lu, pivots, identity(x)), info


def _inv_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    y = ctx.saved("y").mT
    return (None if grads[0] is None else -(y @ (grads[0] @ y)),)


_inv_op = composite("linalg_inv_ex", "x", _inv, backward=_inv_back, saves=("y",), add=False)


@with_out
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Inverse:
    """Return the inverses of matrices (*, n, n), and where the elimination failed."""
    check_square("linalg.inv_ex", A)
    made, info = apply(_inv_op, (A,))
    if check_errors:
        _check_singular("linalg.inv_ex", info, "inversion")
    return Inverse(made, info)


@with_out
def inv(A: Tensor) -> Tensor:
    """Return the inverses of matrices (*, n, n).

    Raises:
        LinAlgError: a matrix is singular.
    """
    check_square("linalg.inv", A)
    made, info = apply(_inv_op, (A,))
    _check_singular("linalg.inv", info, "inversion")
    return made  # type: ignore[no-any-return]  # a Tensor


@with_out
def linalg_lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """Return X of A X = B of what `lu_factor(A)` returned; X A = B unless `left`.

    Args:
        adjoint: whether A stands for its transpose.
    """
    name = "linalg.lu_solve"
    check_square(name, LU, B)
    if pivots.dtype is not int32:
        raise ClgradRuntimeError(
            f"{name}: pivots should be a Tensor of scalar type int32, got {pivots.dtype.name}."
        )
    b = B if left else B.mT
    if b._meta.shape[-2] != LU._meta.shape[-1]:
        raise ShapeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({list(LU._meta.shape)} and {list(B._meta.shape)})."
        )
    lu, b = broadcast_batches(name, LU, b)
    made: Tensor = factors.solve_factored(lu, pivots, b, bool(adjoint) == bool(left))
    return made if left else made.mT


@with_out
def cond(A: Tensor, p: Any = None) -> Tensor:
    """Return norm(A) * norm(inv(A)) for each matrix; of order 2 where `p` is None.

    Args:
        A: shape (*, m, n), square unless `p` is None, 2 or -2.
    """
    check_matrices("linalg.cond", A)
    if p is None or p in (2, -2):
        s = spectra.svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    check_square("linalg.cond", A)
    inverse, info = apply(_inv_op, (A,))
    made = matrix_norm(A, p) * matrix_norm(inverse, p)
    found: Tensor = _where(info == 0, made, math.inf)
    return found


# ---- tensors as matrices ----------------------------------------------------------------------


@with_out
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """Return the inverse of A as a matrix whose rows are its first `ind` dims."""
    if ind <= 0:
        raise ClgradRuntimeError(
            "linalg.tensorinv: Expected a strictly positive integer for 'ind'."
        )
    shape = A._meta.shape
    rows, columns = math.prod(shape[:ind]), math.prod(shape[ind:])
    if rows != columns:
        raise ShapeError(
            "linalg.tensorinv: Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {columns} != {rows}."
        )
    return inv(A.reshape(rows, columns)).reshape(*shape[ind:], *shape[:ind])  # type: ignore[no-any-return]


@with_out
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """Return X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to the end before."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = A._meta.shape[B.ndim :]
    rows, columns = B.numel(), math.prod(shape)
    if rows != columns or A.numel() != rows * columns:
        raise ShapeError(
            "linalg.tensorsolve: Expected self to satisfy the requirement "
            "prod(self.shape[other.ndim:])"
            f" == prod(self.shape[:other.ndim]), but got {columns} != "
            f"{math.prod(A._meta.shape[: B.ndim])}."
        )
    return solve(A.reshape(rows, columns), B.flatten()).reshape(*shape)  # type: ignore[no-any-return]
