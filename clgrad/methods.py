"""Methods and operators of `Tensor`: installed here, from the table and from plain functions.

Importing this module completes the class; it has no names that others use.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from clgrad import autograd, copying, creation, dispatch, dtypes, host, indexing, printing, writing
from clgrad.autograd import replaying
from clgrad.calls import function, inplace
from clgrad.dispatch import apply
from clgrad.dtypes import DType, as_dtype
from clgrad.errors import ClgradTypeError, DTypeError, ShapeError
from clgrad.formats import contiguous_format, memory_order
from clgrad.functional import (
    FAMILIES,
    _at,
    joining,
    making,
    products,
    shaping,
    special,
    splitting,
)
from clgrad.functional import _windows as windows
from clgrad.guarding import method
from clgrad.operators import OPERATORS
from clgrad.ops import contraction as _contraction  # noqa: F401  # entering the table is the point
from clgrad.ops import reduction as _reduction  # noqa: F401  # as above
from clgrad.ops import view as views
from clgrad.ops.meta import fresh_meta
from clgrad.ops.registry import OPS, Op
from clgrad.tensor import Tensor

_HOST = {
    "numpy": host.numpy, "item": host.item, "tolist": host.tolist, "__array__": host.to_array,
    "__bool__": host.to_bool, "__float__": host.to_float, "__int__": host.to_int,
    "__index__": host.to_index, "__format__": host.formatted, "__repr__": printing.shown,
    "__copy__": copying.shallow_copy, "__deepcopy__": copying.deep_copy,
    "__reduce_ex__": copying.reduced,
}  # fmt: skip
_HIDDEN = frozenset(("to", "copy", "full", "clone"))  # ops whose methods are written by hand


def _install(name: str, call: Any) -> None:
    setattr(Tensor, name, call)


def install_op(op: Op) -> None:
    """Give `Tensor` the method of one op, and the in-place one if it has that."""
    name = op.name.strip("_")
    if op.kind == "view" or op.kind == "creation" or op.name in _HIDDEN or op.name[0] == "_":
        return
    for shown in (name, *op.aliases):
        _install(shown, function(op))
        if op.inplace and op.kind == "pointwise":
            _install(f"{shown}_", inplace(op))


# ---- conversions -------------------------------------------------------------------------------


def to(x: Tensor, *args: Any, **named: Any) -> Tensor:
    """Return `x` in another dtype, on another device, or as another tensor has it.

    Takes `(dtype)`, `(device)`, `(device, dtype)` or `(other)`, and `copy=True` for a new tensor
    in any case.
    """
    copy = named.pop("copy", False)
    named.pop("non_blocking", None)
    memory_format = named.pop("memory_format", None)
    order = memory_order("to", memory_format, x._meta.ndim)
    dtype, device = named.pop("dtype", None), named.pop("device", None)
    if named:
        raise ClgradTypeError(f"to() got an unexpected keyword argument {next(iter(named))!r}.")
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, DType) or arg in (bool, int, float):
            dtype = as_dtype(arg)
        elif arg is not None and not isinstance(arg, bool):
            device = arg
    wanted = x.dtype if dtype is None else as_dtype(dtype)
    where = x.device if device is None else creation.resolve_device(device)
    made = x
    if wanted is not x.dtype:
        made = apply(OPS["to"], (made,), (wanted,))
    if where != x.device:
        made = apply(_move, (made,), (where,))
    if order is not None and not made._meta.layout.permute(order).is_contiguous:
        return shaping.in_order(made, order, shaping.ordered_to)
    if memory_format is contiguous_format:
        made = made.contiguous()
    return made.clone() if copy and made is x else made


def _moved(x: Tensor, device: Any) -> Tensor:
    flat = dispatch.backend.to_host(x.contiguous()._storage.value)
    layout = x.contiguous()._meta.layout
    part = flat[layout.offset : layout.offset + layout.numel]
    meta = fresh_meta(x.dtype, x._meta.shape, device)
    return dispatch.fresh(dispatch.backend.from_host(device, part, x.dtype), meta)


_move = Op(
    name="to_device", kind="composite", inputs=("x",), params=(("device", None),), forward=_moved,
    backward=lambda ctx, g: (g.to(ctx.device("x")),), node_name="ToCopyBackward0",
)  # fmt: skip


def _cast(dtype: DType) -> Any:
    def cast(x: Tensor, memory_format: Any = None) -> Tensor:
        return to(x, dtype, memory_format=memory_format)

    cast.__doc__ = f"Return `x` as {dtype.name}."
    return cast


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """Return `x` in the dtype of `other`."""
    return to(x, other.dtype)


def view(x: Tensor, *shape: Any, size: Any = None) -> Tensor:
    """Return the same memory as another shape; see `clgrad.functional.shaping.view`."""
    if len(shape) == 1 and isinstance(shape[0], DType):
        raise ClgradTypeError("view: viewing as another dtype is not there. Hint: to(dtype).")
    return shaping.view(x, *shape, size=size)


def cpu(x: Tensor) -> Tensor:
    """Return `x` on the first CPU device."""
    return x if getattr(x.device, "kind", "cpu") == "cpu" else to(x, "cpu")


def backward(
    x: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of `x` to the `.grad` of the leaves it came from; see `autograd`."""
    autograd.backward(x, gradient, retain_graph, create_graph, inputs=inputs)


def _iterate(x: Tensor) -> Iterator[Tensor]:
    if not x._meta.ndim:
        raise ClgradTypeError("iteration over a 0-d tensor")
    return iter(splitting.unbind(x, 0))


def _new(maker: Any) -> Any:
    def make(x: Tensor, *args: Any, dtype: Any = None, device: Any = None, **named: Any) -> Tensor:
        made: Tensor = maker(
            *args,
            dtype=x.dtype if dtype is None else dtype,
            device=x.device if device is None else device,
            **named,
        )
        return made

    make.__doc__ = f"Do `clgrad.{maker.__name__}` with the dtype and device of `x`."
    return make


def _install_all() -> None:
    for op in list(OPS.values()):
        install_op(op)
    for family in FAMILIES:
        for name in family.METHODS:
            _install(name, method(getattr(family, name)))
    for name, call in OPERATORS.items():
        _install(name, call)
    _install("__matmul__", products.matmul)
    _install("__rmatmul__", lambda x, other: products.matmul(other, x))
    for name, dtype in (
        ("float", dtypes.float32), ("double", dtypes.float64), ("half", dtypes.float16),
        ("bfloat16", dtypes.bfloat16), ("int", dtypes.int32), ("long", dtypes.int64),
        ("short", dtypes.int16), ("char", dtypes.int8), ("byte", dtypes.uint8),
        ("bool", dtypes.bool_),
    ):  # fmt: skip
        _install(name, _cast(dtype))
    for call in (to, type_as, view, cpu, backward):
        _install(call.__name__, call)
    for name, reader in _HOST.items():
        _install(name, reader)
    _install("__array_priority__", 1000)  # NumPy arrays leave `array + tensor` to us
    _install("__getitem__", indexing.getitem)
    _install("__setitem__", indexing.setitem)
    _install("__len__", indexing.length)
    _install("__iter__", _iterate)
    _install("where", lambda x, condition, other: function(OPS["where"])(condition, x, other))
    _install("polygamma", special.polygamma_of)
    _install("polygamma_", special.polygamma_of_)
    _install("real", property(lambda x: x))
    _install("imag", property(_imaginary))
    _install("_view_func", replaying.view_func)
    _install("_view_func_unsafe", replaying.view_func_unsafe)
    _install("_rev_view_func_unsafe", replaying.reverse_view_func)
    _install("volatile", property(_volatile))
    for name in ("copy_", "fill_", "zero_"):
        _install(name, getattr(writing, name))
    _install("new_zeros", _new(creation.zeros))
    _install("new_ones", _new(creation.ones))
    _install("new_empty", _new(creation.empty))
    _install("new_full", _new(creation.full))
    _install("new_tensor", _new(creation.tensor))
    _install("new", _new(creation.construct))
    _install("new_empty_strided", _new(making.empty_strided))
    _install("T", property(_reverse))
    for name in ("mT", "mH"):
        _install(name, property(_matrix_transpose))
    _install("H", property(_matrix_only))


def _reverse(x: Tensor) -> Tensor:
    if x._meta.ndim not in (0, 2):
        warnings.warn(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is "
            "deprecated and it will throw an error in a future release. Consider `x.mT` to "
            "transpose batches of matrices or `x.permute(*range(x.ndim - 1, -1, -1))` to reverse "
            f"the dimensions of a tensor. This one has shape {list(x.shape)}.",
            UserWarning,
            stacklevel=2,
        )
    return shaping.permute(x, tuple(range(x._meta.ndim - 1, -1, -1)))


def _matrix_transpose(x: Tensor) -> Tensor:
    return shaping.transpose(x, -2, -1)


def _imaginary(x: Tensor) -> Tensor:
    raise DTypeError(
        "imag is not implemented for tensors with non-complex dtypes; this one has "
        f"{x._meta.dtype.name}. Hint: zeros_like() makes one of zeros."
    )


def _volatile(x: Tensor) -> bool:
    warnings.warn("volatile was removed (Variable.volatile is always False)", stacklevel=2)
    return False


def _matrix_only(x: Tensor) -> Tensor:
    if x._meta.ndim not in (0, 2):
        raise ShapeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {x._meta.ndim}-D tensor. "
            "Hint: .mH swaps the last two dimensions."
        )
    return shaping.transpose(x, 0, -1)


def _install_internals() -> None:
    """Install what nodes call: constants on the device of a gradient, and parts of views."""

    def constant(value: float) -> Any:
        def make(x: Tensor, shape: tuple[int, ...]) -> Tensor:
            meta = x._meta
            made: Tensor = apply(OPS["full"], (value,), (tuple(shape), meta.dtype), meta.device)
            return made

        return make

    _install("_zeros", constant(0))
    _install("_ones", constant(1))
    _install("_framed", windows.embed)
    _install("_embed", lambda g, layout, base: views.embed(apply, g, layout, base))
    _install("_embed_all", lambda g, given, base: views.embed_all(apply, given, base))
    _install("_part", lambda g, layout, base: views.part(apply, g, layout, base))
    _install("_scatter", lambda g, part, layout, base: views.scatter(apply, g, part, layout, base))
    _install("_stack", lambda g, parts, dim=0: joining.stack(parts, dim))
    _install("_cat", lambda g, parts, dim=0: joining.cat(parts, dim))
    _install("_pick", lambda x, at, picking: _at.pick("index", x, at, picking))
    _install(
        "_place",
        lambda x, part, at, picking, combine: _at.place("index_put", x, part, at, picking, combine),
    )
    _install("_write_at", _at.write_at)


_install_all()
_install_internals()
