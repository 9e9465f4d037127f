"""Reductions: what is folded, from what start, and how it is finished.

The order in which elements are folded is fixed by the shape alone, so results are deterministic.
"""

from __future__ import annotations

from typing import Any

from clgrad.ops.registry import Op, reduction

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
    "sum", init="0", combine="a + b", dx="g", promote="integer", params=DTYPE, two_names=True,
    doc="Sum along dims; integers are summed in int64.",
)  # fmt: skip
mean = reduction(
    "mean", init="0", combine="a + b", finish="a / n", dx="g / n", promote="float", params=DTYPE,
    two_names=True, doc="Mean along dims; NaN of nothing.",
)  # fmt: skip
nansum = reduction(
    "nansum", init="0", element="where(x != x, 0, x)", combine="a + b",
    dx="where(x != x, 0, g)", promote="integer", params=DTYPE,
    doc="Sum along dims of what is not NaN; integers are summed in int64.",
)  # fmt: skip
all_ = reduction(
    "all", init="1", combine="a and b", accumulate=("bool",), result="bool",
    doc="Whether no element is zero; NaN is not.",
)  # fmt: skip
any_ = reduction(
    "any", init="0", combine="a or b", accumulate=("bool",), result="bool",
    doc="Whether an element is not zero; NaN is not.",
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
_TAKEN = (
    "where({0} or (b0 != b0 and a0 == a0) or ((b0 == a0 or (b0 != b0 and a0 != a0)) and b1 < a1)"
)


def _extremum(name: str, compare: str, start: str, finish: str, doc: str) -> Op:
    """Declare the position of an extremum or its value; both are the same fold."""
    taken = _TAKEN.format(compare)
    return reduction(
        name, init=(start, "highest"), element=("x", "i"),
        combine=(f"{taken}, b0, a0)", f"{taken}, b1, a1)"), accumulate=("acc", "int64"),
        finish=finish, result="int64" if finish == "a1" else "same", empty=False, doc=doc,
    )  # fmt: skip


argmax = _extremum(
    "argmax", "b0 > a0", "lowest", "a1",
    "Position of the first largest element along a dim; the first NaN wins.",
)  # fmt: skip
argmin = _extremum(
    "argmin", "b0 < a0", "highest", "a1",
    "Position of the first smallest element along a dim; the first NaN wins.",
)  # fmt: skip
value_of_argmax = _extremum(
    "_value_of_argmax", "b0 > a0", "lowest", "a0", "The element at argmax, in the same fold."
)
value_of_argmin = _extremum(
    "_value_of_argmin", "b0 < a0", "highest", "a0", "The element at argmin, in the same fold."
)
