"""Where a tensor is not zero: the one family of ops whose shape depends on data, so they wait."""

from __future__ import annotations

from typing import Any

from clgrad.calls import function
from clgrad.creation import empty
from clgrad.dispatch import apply
from clgrad.dtypes import bool_, int64
from clgrad.errors import ClgradTypeError
from clgrad.functional._out import with_out
from clgrad.functional.shaping import contiguous
from clgrad.functional.splitting import unbind
from clgrad.ops.finding import count_op, find_op
from clgrad.ops.meta import meta_of
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor, wrap

__all__ = ["argwhere", "nonzero", "where"]
METHODS = ("argwhere", "nonzero")


def coordinates(mask: Tensor) -> Tensor:
    """Return the coordinates of the true elements of a mask of one dim or more, a row each.

    Waits for the device: the number of rows is a shape. A column is contiguous in memory.
    """
    shape = mask._meta.shape
    if not mask._meta.numel:
        return empty(0, len(shape), dtype=int64, device=mask.device)
    mask = contiguous(mask.detach())
    counts: Tensor = apply(count_op, (mask,))
    count = int(counts.sum().item())
    if not count:
        return empty(0, len(shape), dtype=int64, device=mask.device)
    found: Tensor = apply(find_op, (mask, counts), (count,))
    found._storage.value.bounds = (0, max(shape) - 1)
    layout = found._meta.layout.transpose(0, 1)
    return wrap(found._storage, meta_of(int64, layout, mask.device))


def as_mask(x: Tensor) -> Tensor:
    """Return where `x` is not zero."""
    made: Tensor = x if x._meta.dtype is bool_ else apply(OPS["ne"], (x, 0))
    return made


@with_out
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return where `input` is not zero: coordinates (n, ndim), or with `as_tuple` one index a dim.

    Waits for the device.
    """
    mask = as_mask(input.detach())
    found = coordinates(mask if mask._meta.ndim else mask.reshape(1))
    if as_tuple:
        return unbind(found, 1)
    if not mask._meta.ndim:
        return empty(found._meta.shape[0], 0, dtype=int64, device=mask.device)
    return found


def argwhere(input: Tensor) -> Tensor:
    """Return the coordinates (n, ndim) at which `input` is not zero; waits for the device."""
    made: Tensor = nonzero(input)
    return made


_choose = function(OPS["where"])


def where(
    condition: Any, input: Any = None, other: Any = None, *, out: Any = None, **named: Any
) -> Any:
    """Return `input` where `condition` holds, else `other`; of a condition alone, `nonzero`.

    Raises:
        DTypeError: the condition is not bool. ShapeError: shapes that do not broadcast.
    """
    input = named.pop("self", input)
    if named:
        raise ClgradTypeError(f"where() got an unexpected keyword argument {next(iter(named))!r}.")
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise ClgradTypeError("where() takes a condition, or a condition with two more operands.")
    if not isinstance(condition, Tensor):
        raise ClgradTypeError(
            f"where: condition is a {type(condition).__name__}. Expected a bool tensor."
        )
    return (
        _choose(condition, input, other)
        if out is None
        else _choose(condition, input, other, out=out)
    )
