"""Powers and exponentials of matrices, and what else `linalg` has that needs no factors."""

from __future__ import annotations

import math
from typing import Any

from clgrad.batching import whole
from clgrad.calls import function
from clgrad.creation import arange
from clgrad.dispatch import apply
from clgrad.dtypes import float64
from clgrad.errors import ClgradRuntimeError, DTypeError
from clgrad.functional._matrices import check_square
from clgrad.functional._out import with_out
from clgrad.functional.joining import cat
from clgrad.functional.making import eye
from clgrad.functional.solving import inv
from clgrad.layout import broadcast_shapes, wrap_dim
from clgrad.ops.registry import OPS, composite
from clgrad.tensor import Tensor

_where = function(OPS["where"])


@with_out
def matrix_power(A: Tensor, n: int) -> Tensor:
    """Return the n-th power of matrices (*, m, m), of their inverses for negative n."""
    check_square("linalg.matrix_power", A)
    if n == 0:
        size = A._meta.shape[-1]
        one: Tensor = A.clone().copy_(eye(size, dtype=A.dtype, device=A.device))
        return one
    base = inv(A) if n < 0 else A
    made = None
    for k, bit in enumerate(reversed(f"{abs(n):b}")):
        if k:
            base = base @ base
        if bit == "1":
            made = base if made is None else made @ base
    assert made is not None
    return made.clone() if made is A else made


_TERMS = 18
_REACH = {True: 1.0, False: 1.5}
"""Norm up to which `_TERMS` terms are as exact as float64 (True), or float32, can be."""


def _exponential(x: Any) -> Any:
    """Scaling and squaring with a Taylor series.

    Source: N. Higham, Functions of Matrices (SIAM 2008), section 10.3.
    """
    n = x._meta.shape[-1]
    one = eye(n, dtype=x.dtype, device=x.device)
    if not x.numel():
        return x.clone()
    norm = x.abs().sum(-2).amax(-1)[..., None, None]
    most = whole(norm).amax().item()
    if not math.isfinite(most):
        return x * math.nan
    reach = _REACH[x.dtype is float64]
    times = (norm / reach).log2().ceil().clamp(min=0)
    scaled = x * (-times).exp2()
    made = one + scaled / _TERMS
    for k in range(_TERMS - 1, 0, -1):
        made = one + (scaled @ made) / k
    for k in range(max(0, math.ceil(math.log2(most / reach))) if most > reach else 0):
        made = _where(times > k, made @ made, made)
    return made


def _exponential_back(ctx: Any, g: Any) -> tuple[Any]:
    """Read the gradient off the exponential of a matrix of blocks.

    Source: N. Higham, Functions of Matrices (SIAM 2008), equation 3.16.
    """
    x = ctx.saved("x").mT
    n = x._meta.shape[-1]
    above = cat([x, g], -1)
    below = cat([x * 0, x], -1)
    return (matrix_exp(cat([above, below], -2))[..., :n, n:],)


_exponential_op = composite(
    "linalg_matrix_exp", "x", _exponential, backward=_exponential_back, saves=("x",), add=False
)


def matrix_exp(input: Tensor) -> Tensor:
    """Return the exponentials of matrices (*, n, n): the sum of A^k / k!."""
    if input.is_floating_point() and input.dtype.itemsize == 2:
        wide: Tensor = matrix_exp(input.float()).to(input.dtype)
        return wide
    check_square("linalg.matrix_exp", input)
    made: Tensor = apply(_exponential_op, (input,))
    return made


@with_out
def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Return the powers 0, 1, …, N - 1 of elements along a new last dim."""
    if not x.ndim:
        x = x.unsqueeze(0)
    count = x._meta.shape[-1] if N is None else N
    if count < 0 or (N is not None and N <= 1):
        raise ClgradRuntimeError("linalg.vander: N must be greater than 1.")
    if not x.is_floating_point():
        x = x.long()
    made: Tensor = x.unsqueeze(-1) ** arange(count, dtype=x.dtype, device=x.device)
    return made


@with_out
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Return sums of products along `dim`; other dims broadcast."""
    if x.dtype is not y.dtype:
        raise DTypeError(
            f"linalg.vecdot: Expected vectors of one dtype, got {x.dtype.name} and {y.dtype.name}."
        )
    shape = broadcast_shapes(x._meta.shape, y._meta.shape, op="linalg.vecdot")
    made: Tensor = (x * y).sum(wrap_dim(dim, len(shape), "linalg.vecdot"), dtype=x.dtype)
    return made


def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return a view of the diagonals of matrices (*, m, n)."""
    made: Tensor = A.diagonal(offset, dim1, dim2)
    return made


__all__ = ["matrix_exp", "matrix_power"]
METHODS = ("matrix_exp", "matrix_power")
