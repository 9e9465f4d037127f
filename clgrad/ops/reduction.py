"""Reductions: what is folded, from what start, and how it is finished.

The order in which elements are folded is fixed by the shape alone, so results are deterministic.
"""

from __future__ import annotations

from typing import Any

from clgrad.ops.registry import composite, reduction

DTYPE = (("dtype", None),)


def _ties(ctx: Any, g: Any) -> tuple[Any]:
    """Share the gradient evenly among all elements that attain the extreme, as PyTorch does."""
    x, y = ctx.saved("x"), ctx.saved("y")
    dims, keepdim = ctx.param("dim"), ctx.param("keepdim")
    y, g = ctx.restore(y, dims, keepdim), ctx.restore(g, dims, keepdim)
    mask = x == y
    count = mask.sum(dim=dims, keepdim=True)
    return ((g / count.to(dtype=g.dtype)) * mask.to(dtype=g.dtype),)


sum_ = reduction(
    "sum", init="0", combine="a + b", dx="g", promote="integer", params=DTYPE,
    doc="Sum along dims; integers are summed in int64.",
)  # fmt: skip
mean = reduction(
    "mean", init="0", combine="a + b", finish="a / n", dx="g / n", promote="float", params=DTYPE,
    doc="Mean along dims; NaN of nothing.",
)  # fmt: skip
amax = reduction(
    "amax", init="lowest", combine="maximum(a, b)", backward=_ties, saves=("x", "y"), empty=False,
    doc="Largest element along dims; NaN wins. Ties share the gradient evenly.",
)  # fmt: skip
amin = reduction(
    "amin", init="highest", combine="minimum(a, b)", backward=_ties, saves=("x", "y"), empty=False,
    doc="Smallest element along dims; NaN wins. Ties share the gradient evenly.",
)  # fmt: skip

# b replaces a where it is larger, or NaN against a number, or an equal that stands earlier
_ARG = "where({0} or (b0 != b0 and a0 == a0) or ((b0 == a0 or (b0 != b0 and a0 != a0)) and b1 < a1)"
argmax = reduction(
    "argmax", init=("lowest", "highest"), element=("x", "i"),
    combine=(_ARG.format("b0 > a0") + ", b0, a0)", _ARG.format("b0 > a0") + ", b1, a1)"),
    accumulate=("acc", "int64"), finish="a1", result="int64", empty=False,
    doc="Position of the first largest element along a dim; the first NaN wins.",
)  # fmt: skip
argmin = reduction(
    "argmin", init=("highest", "highest"), element=("x", "i"),
    combine=(_ARG.format("b0 < a0") + ", b0, a0)", _ARG.format("b0 < a0") + ", b1, a1)"),
    accumulate=("acc", "int64"), finish="a1", result="int64", empty=False,
    doc="Position of the first smallest element along a dim; the first NaN wins.",
)  # fmt: skip


def _var(x: Any, dim: Any, correction: float, keepdim: bool) -> Any:
    """Two passes: the mean, then the mean of the squared distances from it."""
    mean = x.mean(dim=dim, keepdim=True)
    centred = x - mean
    count = x.numel() // max(mean.numel(), 1)
    total = (centred * centred).sum(dim=dim, keepdim=keepdim)
    return total / max(count - correction, 0.0)


def _var_backward(ctx: Any, g: Any) -> tuple[Any]:
    x = ctx.saved("x")
    dims, keepdim, correction = ctx.param("dim"), ctx.param("keepdim"), ctx.param("correction")
    g = ctx.restore(g, dims, keepdim)
    count = x.numel() // max(g.numel(), 1)
    scale = 2.0 / max(count - correction, 0.0) if count > correction else float("nan")
    return ((g * scale) * (x - x.mean(dim=dims, keepdim=True)),)


var = composite(
    "var", "x", _var, backward=_var_backward, saves=("x",),
    params=(("dim", None), ("correction", 1), ("keepdim", False)),
    doc="Variance along dims, divided by n - correction.",
)  # fmt: skip
