"""Reductions that are called in several ways, or give several results."""

from __future__ import annotations

from operator import index
from typing import Any, NamedTuple

from clgrad.calls import function
from clgrad.creation import bounded
from clgrad.dispatch import apply
from clgrad.dtypes import as_dtype, bool_, int64, uint8
from clgrad.errors import ClgradTypeError, DTypeError, ShapeError
from clgrad.functional._arguments import numpy_names
from clgrad.functional._given import check_tensor
from clgrad.functional._gradients import gradient_op
from clgrad.functional._out import with_out
from clgrad.functional._selection import ValuesAndIndices, selected_backward, spread_evenly
from clgrad.layout import wrap_dim
from clgrad.ops import reduction as _ops
from clgrad.ops.registry import OPS, REQUIRED, Op, composite, reduction
from clgrad.ops.signature import EmptyReductionError, reduced_dims
from clgrad.shapes import dims_of
from clgrad.tensor import Tensor

_where = function(OPS["where"])


class MinAndMax(NamedTuple):
    """The smallest and the largest element."""

    min: Tensor
    max: Tensor


# ---- products ----------------------------------------------------------------------------------

# Of z elements that are zero: of one, its gradient is p, the product of the others; of more, none
# has any. Zero times another of the w elements that are not finite is NaN.
_product_share = gradient_op(
    "prod.dx", "h x v p z w",
    "h * v / x if z == 0 else (h * p if x == 0 and z == 1 else "
    "(nan if w > (0 if x - x == 0 else 1) else 0))",
)  # fmt: skip


def _prod_backward(ctx: Any, g: Any) -> tuple[Any]:
    x, y, dim, keepdim = ctx.saved("x"), ctx.saved("y"), ctx.param("dim"), ctx.param("keepdim")
    g = ctx.restore(g, dim, keepdim)
    if not x.numel():
        return (g.expand(x.shape),)
    if ctx.recording and x.ndim:
        return (g * _product_of_others(x.to(g.dtype), dim),)
    zero = x == 0
    count = zero.to(g.dtype).sum(dim=dim, keepdim=True)
    rest = apply(_prod, (_where(zero, 1, x),), (dim, True, g.dtype))
    wild = (x - x != 0).to(g.dtype).sum(dim=dim, keepdim=True)
    if dim is None:
        wild = _where(count > 1, 0, wild)
    share = (g, x, ctx.restore(y, dim, keepdim), rest, count, wild)
    return (apply(_product_share, share),)


def _product_of_others(x: Any, dim: int | None) -> Any:
    from clgrad.functional.scans import product_of_others

    if dim is None:
        return product_of_others(x.reshape(-1), 0).reshape(x.shape)
    return product_of_others(x, wrap_dim(dim, x.ndim, "prod"))


_prod = reduction(
    "prod", init="1", combine="a * b", backward=_prod_backward, saves=("x", "y"),
    promote="integer", params=(("dtype", None),), two_names=True,
    doc="Product along a dim; integers are multiplied in int64.",
)  # fmt: skip


@with_out
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return the product of all elements, or along a dim; integers are multiplied in int64.

    Args:
        input: any shape.
        dim: an int, or None for all.
        keepdim: keep the folded dim as size 1.
        dtype: cast `input` to this first.
    """
    dim = _one_dim("prod", dim)
    wanted = None if dtype is None else as_dtype(dtype)
    made: Tensor = apply(_prod, (input,), (dim, bool(keepdim), wanted))
    return made


def _one_dim(name: str, dim: Any) -> int | None:
    if dim is None or type(dim) is int:
        return dim
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise ClgradTypeError(
            f"{name}(): argument 'dim' must be int, not {type(dim).__name__}. Hint: fold one dim "
            "after the other."
        )
    return index(dim)


# ---- extrema -----------------------------------------------------------------------------------


def _selected(name: str, value: Op, position: Op, node: str) -> Op:
    """Declare the extremum along a dim with its position."""

    def forward(x: Any, dim: int, keepdim: bool) -> tuple[Any, Any]:
        made = apply(position, (x,), (dim, keepdim))
        if made.numel() and x.ndim:
            bounded(made, 0, x.shape[dim] - 1)
        return apply(value, (x,), (dim, keepdim)), made

    return composite(
        name, "x", forward, backward=selected_backward, saves=("result1",),
        params=(("dim", REQUIRED), ("keepdim", False)), node_name=node,
        doc="The extremum along a dim, and where it is.",
    )  # fmt: skip


_max_of_dim = _selected("_max_of_dim", _ops.value_of_argmax, _ops.argmax, "MaxBackward0")
_min_of_dim = _selected("_min_of_dim", _ops.value_of_argmin, _ops.argmin, "MinBackward0")


def _spread_backward(ctx: Any, g: Any) -> tuple[Any]:
    return (spread_evenly(g, ctx.saved("x"), ctx.saved("y")),)


_max_of_all = composite(
    "_max_of_all", "x", lambda x: x.amax(), backward=_spread_backward, saves=("x", "y"),
    node_name="MaxBackward1", doc="The largest element; ties share the gradient.",
)  # fmt: skip
_min_of_all = composite(
    "_min_of_all", "x", lambda x: x.amin(), backward=_spread_backward, saves=("x", "y"),
    node_name="MinBackward1", doc="The smallest element; ties share the gradient.",
)  # fmt: skip


def _extremum(
    name: str, x: Tensor, args: tuple[Any, ...], named: dict[str, Any], of_all: Op, of_dim: Op,
    elementwise: Op,
) -> Any:  # fmt: skip
    check_tensor(name, x)
    if args and isinstance(args[0], Tensor):
        named["other"], args = args[0], args[1:]
    if "other" in named:
        if len(named) > 1 or args:
            raise ClgradTypeError(f"{name}() received an invalid combination of arguments.")
        return apply(elementwise, (x, named["other"]))
    values = dict(zip(("dim", "keepdim"), args, strict=False)) | named
    if len(args) > 2 or not values.keys() <= {"dim", "keepdim"}:
        raise ClgradTypeError(
            f"{name}() received an invalid combination of arguments. Expected (), (dim, keepdim) "
            "or (other)."
        )
    if "dim" not in values:
        if not x.numel():
            raise ShapeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        return apply(of_all, (x,))
    dim = values["dim"]
    if dim is None:
        raise ClgradTypeError(
            f"{name}() received an invalid combination of arguments. Expected dim as an int."
        )
    dim = _one_dim(name, dim) or 0
    keepdim = bool(values.get("keepdim", False))
    return ValuesAndIndices(*apply(of_dim, (x,), (wrap_dim(dim, x.ndim, name), keepdim)))


@with_out
def max(input: Tensor, *args: Any, **named: Any) -> Any:
    """Return the largest element, those along a dim, or the larger of two tensors' elements.

    `max(x)` is a 0-d tensor, `max(x, dim, keepdim=False)` is (values, indices), and `max(x, other)`
    is `maximum`. NaN wins. The gradient of the first is shared by all that attain it; that of the
    second goes to the first of them.

    Raises:
        ShapeError: nothing to take the extremum of.
    """
    return _extremum("max", input, args, named, _max_of_all, _max_of_dim, OPS["maximum"])


@with_out
def min(input: Tensor, *args: Any, **named: Any) -> Any:
    """Return the smallest element, those along a dim, or the smaller of two; see `max`."""
    return _extremum("min", input, args, named, _min_of_all, _min_of_dim, OPS["minimum"])


def _aminmax(x: Any, dim: Any, keepdim: bool) -> tuple[Any, Any]:
    return x.amin(dim=dim, keepdim=keepdim), x.amax(dim=dim, keepdim=keepdim)


def _aminmax_backward(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
    x, dim, keepdim = ctx.saved("x"), ctx.param("dim"), ctx.param("keepdim")
    total = None
    for g, name in zip(grads, ("y", "result1"), strict=True):
        if g is None:
            continue
        y, g = ctx.restore(ctx.saved(name), dim, keepdim), ctx.restore(g, dim, keepdim)
        mask = x == y
        part = mask * (g / mask.to(g.dtype).sum(dim=dim, keepdim=True))
        total = part if total is None else total + part
    return (total,)


_aminmax_op = composite(
    "aminmax", "x", _aminmax, backward=_aminmax_backward, saves=("x", "y", "result1"),
    params=(("dim", None), ("keepdim", False)), doc="The smallest and the largest element.",
)  # fmt: skip


class EmptyDimError(ShapeError, IndexError):
    """A dim without elements, of which there is no extremum."""


@with_out
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinAndMax:
    """Return the smallest and the largest element, of all or along a dim; ties share gradients.

    Raises:
        ShapeError: there are no elements.
    """
    dim = _one_dim("aminmax", dim)
    folded = reduced_dims("aminmax", dim, input.ndim)
    if 0 in [input.shape[d] for d in folded if input.ndim]:
        error = ShapeError if dim is None else EmptyDimError
        raise error(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
            f"identity. Got an input of shape {list(input.shape)}."
        )
    return MinAndMax(*apply(_aminmax_op, (input,), (dim, bool(keepdim))))


def _position(op: Op, input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    dim = _one_dim(op.name, dim)
    if input.dtype is bool_:
        raise DTypeError(
            f"{op.name}(): does not support bool input. Expected numbers. Hint: input.int()."
        )
    if dim is None and not input.numel():
        raise EmptyReductionError(op.name, input.shape, tuple(range(input.ndim)))
    made: Tensor = apply(op, (input,), (dim, bool(keepdim)))
    count = input.numel() if dim is None or not input.ndim else input.shape[dim]
    return bounded(made, 0, count - 1) if made.numel() else made


@with_out
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return where the first largest element is, int64: along `dim`, or in the flattened input.

    Raises:
        DTypeError: bools. ShapeError: nothing to take the extremum of.
    """
    return _position(_ops.argmax, input, dim, keepdim)


@with_out
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return where the first smallest element is; see `argmax`."""
    return _position(_ops.argmin, input, dim, keepdim)


# ---- truth and counts --------------------------------------------------------------------------


def _truth(op: Op, input: Any, dim: Any, keepdim: bool) -> Any:
    dims = dims_of(dim)
    if dims == ():
        made = input.clone() if input.dtype is bool_ else input != 0
    else:
        made = apply(op, (input,), (dims, bool(keepdim)))
    return made.to(uint8) if input.dtype is uint8 else made


@with_out
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return whether no element along dims is zero, as bool (uint8 of uint8); True of nothing.

    Args:
        input: any shape and dtype; NaN is not zero.
        dim: an int, several, or None for all; () folds nothing.
    """
    made: Tensor = _truth(_ops.all_, input, dim, keepdim)
    return made


@with_out
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return whether an element along dims is not zero, as bool; False of nothing. See `all`."""
    made: Tensor = _truth(_ops.any_, input, dim, keepdim)
    return made


@numpy_names
def count_nonzero(input: Tensor, dim: Any = None, *more: int) -> Tensor:
    """Return how many elements along dims are not zero, int64."""
    x: Any = input
    if more:
        dim = (dim, *more)
    made: Tensor = (x != 0).to(int64).sum(dim=dims_of(dim))
    return made


@with_out
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean along dims of what is not NaN.

    Raises:
        DTypeError: integers.
    """
    if not input.is_floating_point():
        raise DTypeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{input.dtype.name}."
        )
    x: Any = input
    count = (x.detach() == x.detach()).to(int64).sum(dim=dims_of(dim), keepdim=keepdim)
    total = apply(
        _ops.nansum, (x,), (dims_of(dim), keepdim, None if dtype is None else as_dtype(dtype))
    )
    return total / count  # type: ignore[no-any-return]  # a Tensor


__all__ = [
    "all", "aminmax", "any", "argmax", "argmin", "count_nonzero", "max", "min", "nanmean", "prod",
]  # fmt: skip
METHODS = tuple(__all__)
