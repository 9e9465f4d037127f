"""Distances and similarities of vectors: of pairs, and of all with all."""

from __future__ import annotations

from typing import Any

import numpy as np

from clgrad.creation import tensor
from clgrad.dispatch import apply
from clgrad.dtypes import int64
from clgrad.errors import ClgradRuntimeError, DTypeError, ShapeError
from clgrad.functional._arguments import numpy_names
from clgrad.functional._out import with_out
from clgrad.functional.norms import norm, norm_gradient, powered_norm, vector_norm
from clgrad.functional.picking import index_select
from clgrad.functional.softmax import widened
from clgrad.layout import broadcast_shapes
from clgrad.ops.registry import REQUIRED, composite, pointwise
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

at_least = pointwise(
    "_at_least", "x, *, low=0.0", "maximum(x, low)", dx="where(x >= low, g, 0)", inplace=False,
    node_name="ClampMinBackward0", doc="`x`, or `low` where it is less.",
)  # fmt: skip


# ---- of two tensors ----------------------------------------------------------------------------


def _dist(a: Any, b: Any, p: float) -> Any:
    return powered_norm(widened(a) - b, p, None, False).to(a.dtype)


def _dist_backward(ctx: Any, g: Any) -> tuple[Any, Any]:
    difference = ctx.saved("a") - ctx.saved("b")
    found = norm_gradient(g, difference, ctx.saved("y"), ctx.param("p"), None)
    return found, -found if ctx.needs("b") and found is not None else None


_dist_op = composite(
    "dist", "a, b", _dist, backward=_dist_backward, saves=("a", "b", "y"), params=(("p", 2.0),),
    doc="The p-norm of the difference of two tensors.",
)  # fmt: skip


@numpy_names
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of `input - other`, whose shapes broadcast, as a 0-d tensor."""
    made: Tensor = apply(_dist_op, (input, other), (float(p),))
    return made


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the p-norm of `x1 - x2 + eps` along the last dim.

    Args:
        x1, x2: shapes (N, D) or (D), which broadcast.
    """
    made: Tensor = norm(x1 - x2 + eps, p, -1, keepdim)
    return made


@with_out
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle of vectors along `dim`.

    Args:
        x1, x2: shapes that broadcast.
        eps: least norm of a vector; a smaller one counts as this.
    """
    dtype = (x1.detach().reshape(-1)[:0] + x2.detach().reshape(-1)[:0]).dtype
    if not dtype.is_floating_point:
        raise ClgradRuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {dtype.name}"
        )
    shape = broadcast_shapes(tuple(x1.shape), tuple(x2.shape), op="cosine_similarity")
    total = _unit(x1.to(dtype).expand(shape), dim, eps) * _unit(
        x2.to(dtype).expand(shape), dim, eps
    )
    return total.sum(dim=dim)  # type: ignore[no-any-return]  # a Tensor


def _unit(x: Any, dim: int, eps: float) -> Any:
    """Divide by the norm; the gradient takes it as it was before `eps` came in, as in PyTorch."""
    size = vector_norm(x, 2, dim, True).clone()
    with no_grad():
        size.copy_(apply(at_least, (size, eps)))
    return x / size


@with_out
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Return vectors along `dim` divided by their p-norm, or by `eps` where that is larger."""
    size = apply(at_least, (norm(input, p, dim, True), eps))
    made: Any = input / size
    return made  # type: ignore[no-any-return]  # a Tensor


# ---- of all with all ---------------------------------------------------------------------------


def _pairs(a: Any, b: Any) -> Any:
    return a.unsqueeze(-2) - b.unsqueeze(-3)


def _cdist(a: Any, b: Any, p: float) -> Any:
    return powered_norm(widened(_pairs(a, b)), p, -1, False).to(a.dtype)


def _cdist_backward(ctx: Any, g: Any) -> tuple[Any, Any]:
    y, p = ctx.saved("y").unsqueeze(-1), ctx.param("p")
    difference = _pairs(ctx.saved("a"), ctx.saved("b"))
    found = norm_gradient(g.unsqueeze(-1), difference, y, p, -1) if p else difference * 0
    return (
        found.sum(dim=-2) if ctx.needs("a") else None,
        -found.sum(dim=-3) if ctx.needs("b") else None,
    )


_cdist_op = composite(
    "cdist", "a, b", _cdist, backward=_cdist_backward, saves=("a", "b", "y"),
    params=(("p", REQUIRED),), doc="The p-norm of the difference of each row of a and each of b.",
)  # fmt: skip


def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0,
    compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:  # fmt: skip
    """Return the p-norm of the difference of each row of `x1` and each of `x2`.

    Args:
        x1: shape (*, P, M).
        x2: shape (*, R, M); leading dims broadcast.
        compute_mode: has no meaning here: differences are always taken.

    Returns:
        Shape (*, P, R).

    Raises:
        ShapeError: fewer than two dims, or rows of different lengths.
        DTypeError: different dtypes.
    """
    for name, x in (("X1", x1), ("X2", x2)):
        if x.ndim < 2:
            raise ShapeError(
                f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D. "
                "Hint: unsqueeze(0) makes one row of a vector."
            )
    if x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(
            "cdist: X1 and X2 must have the same number of columns. X1: "
            f"{x1.shape[-1]} X2: {x2.shape[-1]}."
        )
    if p < 0:
        raise ClgradRuntimeError(f"cdist only supports non-negative p values, got {p}.")
    if x1.dtype is not x2.dtype:
        raise DTypeError(
            f"cdist: X1 is {x1.dtype} and X2 is {x2.dtype}. Expected one dtype. "
            "Hint: x2.to(x1.dtype)."
        )
    made: Tensor = apply(_cdist_op, (x1, x2), (float(p),))
    return made


def _each_pair(x: Any) -> list[Any]:
    """Return the numbers of the first and of the second row of each pair of rows."""
    pairs = np.triu_indices(x.shape[0], 1)
    return [tensor(index, dtype=int64, device=x.device) for index in pairs]


def _pdist(x: Any, p: float) -> Any:
    rows, others = (index_select(x, 0, index) for index in _each_pair(x))
    return powered_norm(widened(rows) - others, p, -1, False).to(x.dtype)


def _pdist_backward(ctx: Any, g: Any) -> tuple[Any]:
    x, y, p = ctx.saved("x"), ctx.saved("y").unsqueeze(-1), ctx.param("p")
    first, second = _each_pair(x)
    difference = index_select(x, 0, first) - index_select(x, 0, second)
    found = norm_gradient(g.unsqueeze(-1), difference, y, p, -1) if p else difference * 0
    return (x._zeros(x.shape).index_add(0, first, found).index_add(0, second, -found),)


_pdist_op = composite(
    "pdist", "x", _pdist, backward=_pdist_backward, saves=("x", "y"), params=(("p", REQUIRED),),
    doc="The p-norm of the difference of each row and each later one.",
)  # fmt: skip


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Return the p-norm of the difference of each row and each later one.

    Args:
        input: shape (N, M).

    Returns:
        Shape (N (N - 1) / 2): row 0 with 1, 2, …, then row 1 with 2, ….

    Raises:
        ShapeError: another number of dims. DTypeError: no floats.
    """
    if input.ndim != 2:
        raise ShapeError(f"pdist only supports 2D tensors, got: {input.ndim}D. Expected (N, M).")
    if not input.is_floating_point():
        raise DTypeError(
            f"pdist only supports floating-point dtypes, got {input.dtype.name}. Hint: .float()."
        )
    if p < 0:
        raise ClgradRuntimeError(f"pdist only supports non-negative p values, got {p}.")
    made: Tensor = apply(_pdist_op, (input,), (float(p),))
    return made


__all__ = ["cdist", "cosine_similarity", "dist", "pairwise_distance", "pdist"]
METHODS = ("dist",)
