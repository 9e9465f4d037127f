"""What selects elements: its results, and where a gradient goes."""

from __future__ import annotations

from typing import Any, NamedTuple

from clgrad.calls import function
from clgrad.creation import arange
from clgrad.dispatch import apply
from clgrad.functional._gradients import gradient_op
from clgrad.ops.registry import OPS, pointwise
from clgrad.tensor import Tensor

_where = function(OPS["where"])


class ValuesAndIndices(NamedTuple):
    """Elements along a dim, and where they stand."""

    values: Tensor
    indices: Tensor


def at_positions(g: Any, indices: Any, shape: tuple[int, ...], dim: int) -> Any:
    """Return zeros of `shape` with `g` where `indices`, one of each row, stand along `dim`."""
    if not shape:
        return g
    place = arange(shape[dim], device=g.device)
    place = place.reshape([-1 if k == dim else 1 for k in range(len(shape))])
    return _where(place == indices, g, 0)


def selected_backward(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    """Put the gradient of what was selected along `dim` where it came from."""
    g, dim, keepdim, shape = grads[0], ctx.param("dim"), ctx.param("keepdim"), ctx.shape("x")
    if g is None:
        return (None,)
    indices = ctx.restore(ctx.saved("result1"), dim, keepdim)
    return (at_positions(ctx.restore(g, dim, keepdim), indices, shape, dim % max(len(shape), 1)),)


_MASK = "x == y or (x != x and y != y)"
_attains = pointwise(
    "_attains", "x, y", _MASK, result="bool", inplace=False, doc="Whether x is the extremum y."
)
_share_of_ties = gradient_op("max.dx", "h x v c", f"h / c if {_MASK.replace('y', 'v')} else 0")


def spread_evenly(g: Any, x: Any, y: Any) -> Any:
    """Return the gradient of one element of all, shared by those that equal it."""
    count = apply(_attains, (x, y)).sum().to(g.dtype)
    return apply(_share_of_ties, (g, x, y, count))
