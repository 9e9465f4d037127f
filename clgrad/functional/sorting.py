"""Sorting along a dim, and what stands first: positions are found, elements gathered there."""

from __future__ import annotations

from typing import Any

from clgrad.dispatch import apply
from clgrad.errors import ClgradIndexError, ClgradRuntimeError
from clgrad.functional._out import with_out
from clgrad.functional._selection import ValuesAndIndices, selected_backward
from clgrad.layout import wrap_dim
from clgrad.ops.registry import REQUIRED, composite
from clgrad.ops.sorting import sorted_positions
from clgrad.tensor import Tensor

FEW = 32
"""Elements up to which the first of a row are found without sorting it."""


def positions(x: Any, dim: int, descending: bool = False, take: int | None = None) -> Any:
    """Return where the elements of a sorted dim come from, the first `take` of them.

    Equal elements keep their order; NaN counts as the largest.
    """
    size = x.shape[dim] if x.ndim else 1
    few = take if take is not None and take <= FEW and take < size else None
    made = apply(sorted_positions, (x.detach(),), (dim, descending, few))
    made._storage.value.bounds = (0, size - 1)
    if take is not None and few is None and take < size:
        return made.narrow(dim, 0, take)
    return made


def taken(x: Any, dim: int, indices: Any) -> Any:
    """Return the elements along a dim at `indices`; of a 0-d tensor itself."""
    return x.gather(dim, indices) if x.ndim else x.clone()


def _scattered(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    """Put the gradient of elements along a dim back where they came from."""
    g, dim, shape = grads[0], ctx.param("dim"), ctx.shape("x")
    if g is None or not shape:
        return (g,)
    return (g.new_zeros(shape).scatter(dim, ctx.saved("result1"), g),)


def _sort(x: Any, dim: int, descending: bool) -> tuple[Any, Any]:
    indices = positions(x, dim, descending)
    return taken(x, dim, indices), indices


_sort_op = composite(
    "sort", "x", _sort, backward=_scattered, saves=("result1",),
    params=(("dim", -1), ("descending", False)),
    doc="Elements in order along a dim, and where they come from.",
)  # fmt: skip


def _topk(x: Any, k: int, dim: int, largest: bool) -> tuple[Any, Any]:
    indices = positions(x, dim, largest, k)
    return taken(x, dim, indices), indices


_topk_op = composite(
    "topk", "x", _topk, backward=_scattered, saves=("result1",),
    params=(("k", REQUIRED), ("dim", -1), ("largest", True)),
    doc="The k largest or smallest elements along a dim, and where they are.",
)  # fmt: skip


@with_out
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> ValuesAndIndices:
    """Return the elements in order along `dim`, and where they come from, int64.

    Equal elements keep their order, whether that is asked for or not. NaN is the largest.
    """
    d = wrap_dim(dim, input.ndim, "sort")
    return ValuesAndIndices(*apply(_sort_op, (input,), (d, bool(descending))))


@with_out
def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Tensor:
    """Return where the elements of the sorted `dim` come from, int64; see `sort`."""
    made: Tensor = positions(input, wrap_dim(dim, input.ndim, "argsort"), bool(descending))
    return made


@with_out
def msort(input: Tensor) -> Tensor:
    """Return the elements in order along the first dim."""
    return sort(input, 0)[0]


@with_out
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """Return the k largest (or smallest) elements along `dim`, in order, and where they are.

    Args:
        input: any shape.
        k: how many; at most the size of `dim`.
        largest: False for the smallest.
        sorted: has no meaning here: they are always in order.

    Raises:
        ClgradRuntimeError: k is larger than the size of `dim`.
    """
    d = wrap_dim(dim, input.ndim, "topk")
    size = input.shape[d] if input.ndim else 1
    if not 0 <= k <= size:
        raise ClgradRuntimeError(
            f"topk: selected index k out of range: {k} of {size} elements along dim {dim}."
        )
    if not k:
        indices = positions(input, d, bool(largest)).narrow(d, 0, 0) if input.ndim else None
        if indices is not None:
            return ValuesAndIndices(input.narrow(d, 0, 0).clone(), indices)
    return ValuesAndIndices(*apply(_topk_op, (input,), (int(k), d, bool(largest))))


# ---- the element of a rank ----------------------------------------------------------------------


def _kthvalue(x: Any, k: int, dim: int, keepdim: bool) -> tuple[Any, Any]:
    if not x.ndim:
        return x.clone(), positions(x, 0)
    return picked(x, dim, positions(x, dim, False, k).narrow(dim, k - 1, 1), keepdim)


def picked(x: Any, dim: int, indices: Any, keepdim: bool) -> tuple[Any, Any]:
    """Return the element of each row at `indices`, which has one for each, and these."""
    values = x.gather(dim, indices)
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim).clone())


_kthvalue_op = composite(
    "kthvalue", "x", _kthvalue, backward=selected_backward, saves=("result1",),
    params=(("k", REQUIRED), ("dim", -1), ("keepdim", False)),
    doc="The k-th smallest element along a dim, and where it is.",
)  # fmt: skip


@with_out
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """Return the k-th smallest element along `dim`, counted from 1, and where it is.

    Raises:
        ClgradRuntimeError: there are fewer elements.
    """
    d = wrap_dim(dim, input.ndim, "kthvalue")
    not_empty("kthvalue", input, d)
    size = input.shape[d] if input.ndim else 1
    if not 1 <= k <= size:
        raise ClgradRuntimeError(
            f"kthvalue(): selected number k out of range for dimension {d}: {k} of {size}."
        )
    return ValuesAndIndices(*apply(_kthvalue_op, (input,), (int(k), d, bool(keepdim))))


def not_empty(name: str, input: Tensor, dim: int) -> None:
    """Raise `ClgradIndexError` where rows along `dim` have no elements."""
    if input.ndim and not input.shape[dim]:
        raise ClgradIndexError(
            f"{name}(): Expected reduction dim {dim} to have non-zero size, but the input has "
            f"shape {list(input.shape)}."
        )


__all__ = ["argsort", "kthvalue", "msort", "sort", "topk"]
METHODS = tuple(__all__)
