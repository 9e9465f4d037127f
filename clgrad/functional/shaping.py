"""Views and reshapes as functions; each is also a method of `Tensor`.

What needs a copy makes one (`reshape`, `contiguous`, `flatten`); everything else shares memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clgrad.dispatch import apply, apply_view, attach
from clgrad.errors import ClgradRuntimeError, ShapeError
from clgrad.formats import contiguous_format, memory_order
from clgrad.functional._arguments import numpy_names
from clgrad.functional._given import integer, integers
from clgrad.graph.storage import Storage
from clgrad.layout import infer_size, wrap_dim
from clgrad.ops import view as _views
from clgrad.ops.meta import Meta, fresh_meta, meta_of
from clgrad.ops.registry import OPS, REQUIRED, Op
from clgrad.ops.registry import composite as _composite
from clgrad.shapes import dims_of
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import requires_grad_of
from clgrad.tape.record import Plan
from clgrad.tape.tangents import follow, forward
from clgrad.tensor import Tensor, wrap

__all__ = [
    "adjoint",
    "as_strided",
    "broadcast_to",
    "clone",
    "diagonal",
    "flatten",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "ravel",
    "reshape",
    "select",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]  # fmt: skip
METHODS = (
    *__all__, "alias", "contiguous", "expand", "expand_as", "reshape_as", "unfold", "view_as",
)  # fmt: skip


def _sizes(op: str, args: Any, named: Any = None) -> tuple[int, ...]:
    """Return sizes or dims that were given one by one, as one sequence, or by name."""
    if named is not None or not args:
        return integers(op, args, named)
    if len(args) == 1 and isinstance(args[0], Sequence):
        args = args[0]
    return tuple([n if type(n) is int else integer(op, n) for n in args])


def _view(op: Op, x: Tensor, *static: Any) -> Tensor:
    made = apply_view(op, x, static)
    assert made is not None
    return made


# ---- copies ------------------------------------------------------------------------------------


def _clone(x: Tensor) -> Tensor:
    """Share the value where it is the whole storage, which costs nothing; else copy."""
    meta = x._meta
    layout, value = meta.layout, x._storage.value
    whole = layout.offset == 0 and layout.numel == value.numel and not layout.has_overlap
    if whole and not value.shared:
        return wrap(Storage(value), meta)
    copied: Tensor = apply(OPS["copy"], (x,))
    return copied


_clone_op = _composite(
    "clone", "x", _clone, backward=lambda ctx, g: (g,), doc="The same values in new memory.",
    node_name="CloneBackward0",
)  # fmt: skip


def _in_order(x: Any, order: tuple[int, ...]) -> Tensor:
    laid: Tensor = apply(OPS["copy"], (permute(x, order),))
    meta = laid._meta
    layout = meta.layout.permute([order.index(d) for d in range(len(order))])
    return wrap(laid._storage, meta_of(meta.dtype, layout, meta.device))


_ordered, ordered_to = (
    _composite(
        "_in_order", "x", _in_order, backward=lambda ctx, g: (g,), params=(("order", REQUIRED),),
        node_name=node, add=False,
    )
    for node in ("CloneBackward0", "ToCopyBackward0")
)  # fmt: skip


def in_order(x: Tensor, order: tuple[int, ...], op: Op) -> Tensor:
    """Return a copy whose dims lie in memory in this order, the innermost last."""
    made: Tensor = apply(op, (x,), (order,))
    return made


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return the same values in a storage of their own (the memory is shared until written).

    With `memory_format=channels_last` elements are copied into that order.
    """
    order = memory_order("clone", memory_format, input._meta.ndim)
    if order is not None:
        return in_order(input, order, _ordered)
    if memory_format is contiguous_format and not input._meta.layout.is_contiguous:
        return contiguous(input)
    made: Tensor = apply(_clone_op, (input,))
    return made


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """Return `input` itself if it is contiguous in a format, else a copy that is."""
    order = memory_order("contiguous", memory_format, input._meta.ndim)
    if order is not None:
        there = input._meta.layout.permute(order).is_contiguous
        return input if there else in_order(input, order, _ordered)
    if input._meta.layout.is_contiguous:
        return input
    made: Tensor = apply(OPS["copy"], (input,))
    return made


_unsafe_view = Op(
    name="_unsafe_view", kind="view", inputs=("x",), params=(("shape", REQUIRED),),
    backward=lambda ctx, g: (g.reshape(ctx.shape("x")),), node_name="UnsafeViewBackward0",
)  # fmt: skip


def reshape(input: Tensor, *args: Any, shape: Any = None) -> Tensor:
    """Return the same elements in the same order as another shape: a view if that is possible."""
    size = infer_size(_sizes("reshape", args, shape), input._meta.numel, "reshape")
    if size == input._meta.shape and not (mode.grad and requires_grad_of(input)):
        return _view(_views.view_, input, size)
    made = apply_view(_views.view_, input, (size,))
    if made is not None:
        return made
    return unsafe_view(contiguous(input), size)


def unsafe_view(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return a new contiguous tensor, which nobody else will see, as another shape.

    The result is no view: it is its own base, as the result of one op is.
    """
    meta = fresh_meta(x._meta.dtype, size, x._meta.device)
    made = wrap(x._storage, meta)
    made._inference = x._inference
    if mode.grad and requires_grad_of(x):
        attach(_unsafe_plan(x._meta, meta), (x,), (), made)
    if forward.open and mode.forward:
        follow(x, made, lambda tangent: unsafe_view(tangent, size))
    return made


@lru_cache(maxsize=4096)
def _unsafe_plan(source: Meta, made: Meta) -> Plan:
    return Plan(_unsafe_view, (source,), (made.shape,), None, (made,))


def view(input: Tensor, *args: Any, size: Any = None) -> Tensor:
    """Return the same memory as another shape.

    Raises:
        ShapeError: the strides do not allow it.
    """
    size = _sizes("view", args, size)
    made = apply_view(_views.view_, input, (size,))
    if made is None:
        raise ShapeError(
            "view: view size is not compatible with input tensor's size and stride (at least one "
            f"dimension spans across two contiguous subspaces): shape {list(input._meta.shape)}, "
            f"strides {list(input._meta.layout.strides)}, wanted {list(size)}. "
            "Hint: use reshape(), which copies where it must."
        )
    return made


@numpy_names
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """Return `input` viewed with the shape of `other`."""
    return view(input, other._meta.shape)


@numpy_names
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """Return `input` reshaped to the shape of `other`."""
    return reshape(input, other._meta.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return `input` with dimensions `start_dim` to `end_dim` as one."""
    shape = input._meta.shape
    first = wrap_dim(start_dim, max(len(shape), 1), "flatten")
    last = wrap_dim(end_dim, max(len(shape), 1), "flatten")
    if not shape:
        return reshape(input, 1)
    if first > last:
        raise ShapeError("flatten: start_dim cannot come after end_dim.")
    if first == last:
        return input
    count = 1
    for n in shape[first : last + 1]:
        count *= n
    return reshape(input, (*shape[:first], count, *shape[last + 1 :]))


def ravel(input: Tensor) -> Tensor:
    """Return `input` as a vector: a view if that is possible."""
    return view(contiguous(input), -1)


@numpy_names
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return `input` with dimension `dim` read as several; one size may be -1."""
    shape = input._meta.shape
    if not len(sizes):
        raise ShapeError("unflatten: sizes must be non-empty.")
    d = wrap_dim(dim, len(shape), "unflatten")
    inner = infer_size(tuple(sizes), shape[d], "unflatten")
    return view(input, (*shape[:d], *inner, *shape[d + 1 :]))


# ---- views -------------------------------------------------------------------------------------


def permute(input: Tensor, *args: Any, dims: Any = None) -> Tensor:
    """Return `input` with its dimensions in the given order."""
    return _view(_views.permute, input, _sizes("permute", args, dims))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return `input` with two dimensions swapped."""
    return _view(_views.transpose, input, dim0, dim1)


swapdims = transpose


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Return `input` with two dimensions swapped."""
    return _view(_views.transpose, input, axis0, axis1)


def t(input: Tensor) -> Tensor:
    """Return the transpose of a matrix; a vector stays as it is."""
    if input._meta.ndim > 2:
        raise ShapeError(
            f"t: t() expects a tensor with <= 2 dimensions, but self is {input._meta.ndim}D. "
            "Hint: use transpose(dim0, dim1) or .mT."
        )
    return _view(_views.t, input)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Return `input` with dimensions moved to other places; the others keep their order."""
    ndim = input._meta.ndim
    src, dst = [
        [wrap_dim(d, ndim, "movedim") for d in ((dims,) if isinstance(dims, int) else dims)]
        for dims in (dims_of(source), dims_of(destination))
    ]
    if len(src) != len(dst) or len({*src}) != len(src) or len({*dst}) != len(dst):
        raise ShapeError(f"movedim: got source {source} and destination {destination}. Expected "
                         "as many of each, none twice.")  # fmt: skip
    rest = iter([d for d in range(ndim) if d not in src])
    place = dict(zip(dst, src, strict=True))
    return permute(input, [place[d] if d in place else next(rest) for d in range(ndim)])


moveaxis = movedim


def expand(input: Tensor, *args: Any, size: Any = None, implicit: bool = False) -> Tensor:
    """Return `input` with dimensions of size 1 repeated, without a copy; -1 keeps a size."""
    return _view(_views.expand, input, _sizes("expand", args, size))


@numpy_names
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Return `input` expanded to the shape of `other`."""
    return expand(input, other._meta.shape)


def broadcast_to(input: Tensor, size: Any, *more: Any) -> Tensor:
    """Return `input` expanded to a shape."""
    return _view(_views.expand, input, _sizes("broadcast_to", (size, *more)))


def adjoint(input: Tensor) -> Tensor:
    """Return `input` with its last two dimensions swapped: no dtype here is complex."""
    return _view(_views.transpose, input, -2, -1)


@numpy_names
def squeeze(input: Tensor, dim: Any = None, *more: int) -> Tensor:
    """Return `input` without dimensions of size 1 (among `dim`, if given)."""
    if more:
        dim = (dim, *more)
    if dim is None:
        return _view(_views.squeeze, input)
    if isinstance(dim, list | tuple):
        return _view(_views.squeeze_dims, input, _sizes("squeeze", (dim,)))
    return _view(_views.squeeze_dim, input, integer("squeeze", dim))


@numpy_names
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return `input` with a dimension of size 1 before `dim`."""
    return _view(_views.unsqueeze, input, dim)


@numpy_names
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return entry `index` along `dim`."""
    return _view(_views.select, input, dim, integer("select", index))


@numpy_names
def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """Return `length` entries from `start` along `dim`."""
    if isinstance(start, Tensor):
        if start.ndim or start.dtype.kind not in "ui":
            raise ClgradRuntimeError("narrow: start must be an 0-dim integral Tensor.")
        start = integer("narrow", start)
    return _view(_views.narrow, input, dim, integer("narrow", start), integer("narrow", length))


def slice_(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Return entries `start` to `end` along `dim`, every `step`."""
    return _view(_views.slice_, input, dim, start, end, step)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a diagonal of two dimensions, as the last one."""
    return _view(_views.diagonal, input, integer("diagonal", offset), dim1, dim2)


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Return any layout over the storage of `input`.

    Raises:
        ShapeError: it would leave the storage.
    """
    layout = input._meta.layout.as_strided(tuple(size), tuple(stride), storage_offset)
    if layout.numel and layout.span[1] > input._storage.numel:
        if input._storage.value.own:
            raise ShapeError(
                f"as_strided: result = tensor.as_strided({list(size)}, {list(stride)}, "
                f"{layout.offset}) can access memory outside of `tensor`: a sample has "
                f"{input._storage.numel} elements. This is not supported inside of vmap, please "
                "try to rewrite the `as_strided` call as a sequence of view operations."
            )
        raise ShapeError(
            f"as_strided: setStorage: sizes {list(size)}, strides {list(stride)}, storage offset "
            f"{layout.offset} are out of bounds for storage of {input._storage.numel} elements."
        )
    return _view(_views.as_strided, input, tuple(size), tuple(stride), storage_offset)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return windows of `size` every `step` along a dimension; the window is the last one."""
    size, step = integer("unfold", size), integer("unfold", step)
    return _view(_views.unfold, input, dimension, size, step)


def alias(input: Tensor) -> Tensor:
    """Return another tensor with the same elements."""
    return _view(_views.alias, input)
