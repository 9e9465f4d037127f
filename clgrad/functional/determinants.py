"""Determinants of matrices."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from clgrad.batching import whole
from clgrad.calls import function
from clgrad.dispatch import apply
from clgrad.dtypes import float64, int32
from clgrad.functional import factors, spectra
from clgrad.functional._matrices import (
    check_square,
)
from clgrad.functional._out import with_out
from clgrad.functional.diagonals import diag_embed
from clgrad.functional.making import eye
from clgrad.functional.solving import identity, solve_op
from clgrad.ops.registry import OPS, composite
from clgrad.tensor import Tensor

_where = function(OPS["where"])


class Slogdet(NamedTuple):
    """The sign of a determinant, and the logarithm of its size."""

    sign: Tensor
    logabsdet: Tensor


def _sign_of_exchanges(pivots: Any, like: Any) -> Any:
    count = pivots._meta.shape[-1]
    stayed = pivots == eye(1, dtype=int32, device=pivots.device)[0].expand(count).cumsum(-1)
    return (stayed.to(like.dtype) * 2 - 1).prod(-1)


def _det(x: Any) -> tuple[Any, Any, Any]:
    lu, pivots, _ = factors._lu(x, True)
    diagonal = lu.diagonal(0, -2, -1)
    return _sign_of_exchanges(pivots, lu) * diagonal.prod(-1), lu, pivots


def _det_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    g, det, x = grads[0], ctx.saved("y"), ctx.saved("x")
    scaled = (g * det)[..., None, None]
    if not ctx.recording:
        lu = ctx.saved("result1")
        least = 2.220446049250313e-16 if lu.dtype is float64 else 1.1920928955078125e-07
        lu = lu + diag_embed((lu.diagonal(0, -2, -1) == 0).to(lu.dtype) * least)
        return (factors.solve_factored(lu, ctx.saved("result2"), identity(x) * scaled, True),)
    if bool(whole(det).all()):
        return (apply(solve_op, (x.mT, identity(x) * scaled))[0],)
    u, s, vh = spectra.svd(x)  # what is orthogonal has a determinant of 1 or -1
    sign = linalg_det(u.detach()) * linalg_det(vh.detach())
    same = identity(x)
    others = (same + (1 - same) * s.unsqueeze(-2)).prod(-1)
    return ((g * sign)[..., None, None] * (u * others.unsqueeze(-2)) @ vh,)


_det_op = composite(
    "linalg_det", "x", _det, backward=_det_back, saves=("x", "y", "result1", "result2"), add=False
)


@with_out
def linalg_det(A: Tensor) -> Tensor:
    """Return the determinants of matrices (*, n, n)."""
    check_square("linalg.det", A)
    made: Tensor = apply(_det_op, (A,))[0]
    return made


def _slogdet(x: Any) -> tuple[Any, Any, Any, Any]:
    lu, pivots, _ = factors._lu(x, True)
    diagonal = lu.diagonal(0, -2, -1)
    sign = _sign_of_exchanges(pivots, lu) * diagonal.sign().prod(-1)
    return sign, diagonal.abs().log().sum(-1), lu, pivots


def _slogdet_back(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    g, x = grads[1], ctx.saved("x")
    if g is None:
        return (x * 0,)
    scaled = identity(x) * g[..., None, None]
    if not ctx.recording:
        lu, pivots = ctx.saved("result2"), ctx.saved("result3")
        return (factors.solve_factored(lu, pivots, scaled, True),)
    return (apply(solve_op, (x.mT, scaled))[0],)


_slogdet_op = composite(
    "linalg_slogdet", "x", _slogdet, backward=_slogdet_back, saves=("x", "result2", "result3"),
    add=False,
)  # fmt: skip


@with_out
def linalg_slogdet(A: Tensor) -> Slogdet:
    """Return the signs of determinants and the logarithms of their sizes; 0 has -inf."""
    check_square("linalg.slogdet", A)
    return Slogdet(*apply(_slogdet_op, (A,))[:2])


def det(input: Tensor) -> Tensor:
    """Return `linalg.det(input)`."""
    return linalg_det(input)


@with_out
def slogdet(input: Tensor) -> Slogdet:
    """Return `linalg.slogdet(input)`."""
    return linalg_slogdet(input)


def logdet(input: Tensor) -> Tensor:
    """Return the logarithms of determinants; NaN of a negative one."""
    sign, size = linalg_slogdet(input)
    made: Tensor = _where(sign.detach() < 0, math.nan, size)
    return made


__all__ = ["det", "logdet", "slogdet"]
METHODS = ("det", "logdet", "slogdet")
