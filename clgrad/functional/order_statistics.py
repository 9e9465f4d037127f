"""Medians, modes and quantiles: elements of a rank along a dim, found by sorting."""

from __future__ import annotations

from typing import Any

from clgrad.batching import whole
from clgrad.calls import function
from clgrad.creation import tensor
from clgrad.dispatch import apply
from clgrad.dtypes import int64
from clgrad.errors import ClgradRuntimeError, DTypeError, UnsupportedDTypeError
from clgrad.functional._out import with_out
from clgrad.functional._selection import ValuesAndIndices, selected_backward, spread_evenly
from clgrad.functional.sorting import not_empty, picked, positions, sort
from clgrad.layout import wrap_dim
from clgrad.ops.registry import OPS, REQUIRED, composite
from clgrad.ops.sorting import positions_in_order
from clgrad.tensor import Tensor

_where = function(OPS["where"])


def _middle(x: Any, dim: int, ignore: bool) -> Any:
    """Return where the lower middle element of each row is; the first NaN, unless ignored."""
    n = x.shape[dim]
    if not x.is_floating_point():
        return positions(x, dim, False, (n + 1) // 2).narrow(dim, (n - 1) // 2, 1)
    missing = x != x
    if ignore:
        count = n - missing.to(int64).sum(dim=dim, keepdim=True)
        rank = _where(count > 0, (count - 1) // 2, 0)
        rank._storage.value.bounds = (0, n - 1)
        return positions(x, dim).gather(dim, rank)
    usual = positions(x, dim, False, (n + 1) // 2).narrow(dim, (n - 1) // 2, 1)
    return _where(missing.any(dim=dim, keepdim=True), x.argmax(dim=dim, keepdim=True), usual)


def _median_of_dim(ignore: bool) -> Any:
    def forward(x: Any, dim: int, keepdim: bool) -> tuple[Any, Any]:
        if not x.ndim:
            return x.clone(), positions(x, 0)
        return picked(x, dim, _bounded(_middle(x, dim, ignore), x.shape[dim]), keepdim)

    return forward


def _bounded(indices: Any, size: int) -> Any:
    indices._storage.value.bounds = (0, size - 1)
    return indices


def _median_of_all(ignore: bool) -> Any:
    def forward(x: Any) -> Any:
        flat = x.reshape(-1)
        indices = _bounded(_middle(flat, 0, ignore), flat.shape[0])
        return flat.gather(0, indices).reshape(())

    return forward


def _spread(ctx: Any, g: Any) -> tuple[Any]:
    return (spread_evenly(g, ctx.saved("x"), ctx.saved("y")),)


_of_all = {
    name: composite(
        f"_{name}_of_all",
        "x",
        _median_of_all(ignore),
        backward=_spread,
        saves=("x", "y"),
        node_name=f"{name.capitalize()}Backward0",
        doc="The lower middle element.",
    )
    for name, ignore in (("median", False), ("nanmedian", True))
}
_of_dim = {
    name: composite(
        f"_{name}_of_dim",
        "x",
        _median_of_dim(ignore),
        backward=selected_backward,
        saves=("result1",),
        params=(("dim", REQUIRED), ("keepdim", False)),
        node_name=f"{name.capitalize()}Backward1",
        doc="The lower middle element along a dim.",
    )
    for name, ignore in (("median", False), ("nanmedian", True))
}


def _median(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Any:
    if input.dtype.kind == "b":
        raise UnsupportedDTypeError(
            f"{name}: not implemented for bool. Expected numbers. Hint: input.int()."
        )
    if dim is None:
        if not input.numel():
            return tensor(float("nan"), dtype=input.dtype, device=input.device)
        return apply(_of_all[name], (input,))
    d = wrap_dim(dim, input.ndim, name)
    not_empty(name, input, d)
    return ValuesAndIndices(*apply(_of_dim[name], (input,), (d, bool(keepdim))))


@with_out
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the lower middle element: of all, or along `dim` as (values, indices).

    A NaN among the elements is the median. The gradient of the first is shared by all elements
    that equal it.
    """
    return _median("median", input, dim, keepdim)


@with_out
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the lower middle element of those that are no NaN; see `median`."""
    return _median("nanmedian", input, dim, keepdim)


# ---- the most frequent ---------------------------------------------------------------------------


def _mode(x: Any, dim: int, keepdim: bool) -> tuple[Any, Any]:
    if not x.ndim:
        return x.clone(), positions(x, 0)
    rows = x.movedim(dim, -1)
    order = positions(rows, rows.ndim - 1)
    ordered = rows.gather(-1, order).contiguous()
    low = apply(positions_in_order, (ordered, ordered), (int64, False))
    high = apply(positions_in_order, (ordered, ordered), (int64, True))
    best = _bounded((high - low).argmax(dim=-1, keepdim=True), rows.shape[-1])
    last = _bounded(_where(high > 0, high - 1, 0), rows.shape[-1])
    at = _bounded(order.gather(-1, last.gather(-1, best)), rows.shape[-1])
    return picked(x, dim, at.movedim(-1, dim), keepdim)


_mode_op = composite(
    "mode", "x", _mode, backward=selected_backward, saves=("result1",),
    params=(("dim", -1), ("keepdim", False)),
    doc="The smallest of the most frequent elements along a dim, and where it is last.",
)  # fmt: skip


@with_out
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """Return the smallest of the most frequent elements along `dim`, and where it is last."""
    d = wrap_dim(dim, input.ndim, "mode")
    not_empty("mode", input, d)
    return ValuesAndIndices(*apply(_mode_op, (input,), (d, bool(keepdim))))


# ---- quantiles -----------------------------------------------------------------------------------

_BETWEEN = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str,
    ignore: bool,
) -> Any:  # fmt: skip
    x: Any = input
    if not x.numel():
        raise ClgradRuntimeError(f"{name}() input tensor must be non-empty")
    if x.dtype.name not in ("float32", "float64"):
        raise DTypeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in _BETWEEN:
        raise ClgradRuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise ClgradRuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = tensor(float(q), dtype=x.dtype, device=x.device)
    if q.ndim > 1:
        raise ClgradRuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q.dtype is not x.dtype:
        raise DTypeError(f"{name}() q tensor must be same dtype as the input tensor")
    if q.numel() and bool(whole((q >= 0) * (q <= 1)).logical_not().any()):
        raise ClgradRuntimeError(f"{name}() q values must be in the range [0, 1]")
    ndim = x.ndim
    if dim is None:
        rows = x.reshape(-1)
    elif not ndim:
        wrap_dim(dim, 0, name)
        rows = x.unsqueeze(-1)
    else:
        rows = x.movedim(wrap_dim(dim, ndim, name), -1)
    found = _between(rows, q.reshape(-1), interpolation, ignore)
    if keepdim:
        if dim is None:
            found = found.reshape((*(1,) * ndim, found.shape[-1]))
        elif ndim:
            found = found.unsqueeze(-2).movedim(-2, dim if dim >= 0 else dim + ndim)
    found = found.movedim(-1, 0)
    return found.squeeze(0) if not q.ndim else found


def _between(rows: Any, q: Any, interpolation: str, ignore: bool) -> Any:
    """Return the quantiles of each row, in a new last dim."""
    n = rows.shape[-1]
    ordered = sort(rows, -1).values
    present = (rows == rows).detach()
    if ignore:
        count = present.to(rows.dtype).sum(dim=-1, keepdim=True)
        ranks = q * (count - 1)
        ranks = _where(ranks < 0, 0, ranks)
    else:
        ranks = _where(present.all(dim=-1, keepdim=True), q * (n - 1), float(n - 1))
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = _bounded(ranks.detach().to(int64), n)
    lower = ordered.gather(-1, below)
    if interpolation not in ("linear", "midpoint"):
        return lower
    weight = ranks - below if interpolation == "linear" else ranks.detach() * 0 + 0.5
    above = _bounded(ranks.detach().ceil().to(int64), n)
    return lower.lerp(ordered.gather(-1, above), weight)


@with_out
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """Return quantiles of all elements, or along `dim`; NaN where there is one.

    Args:
        input: float32 or float64.
        q: a number from 0 to 1, or a tensor of them, shape () or (Q).
        keepdim: keep the folded dims as size 1.
        interpolation: between two elements: `linear`, `lower`, `higher`, `midpoint`, `nearest`.

    Returns:
        Shape of the folded input, with a first dim of Q if q has one.
    """
    made: Tensor = _quantile("quantile", input, q, dim, keepdim, interpolation, False)
    return made


@with_out
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """Return quantiles of the elements that are no NaN; see `quantile`."""
    made: Tensor = _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)
    return made


__all__ = ["median", "mode", "nanmedian", "nanquantile", "quantile"]
METHODS = tuple(__all__)
