"""Views and reshapes as functions; each is also a method of `Tensor`.

What needs a copy makes one (`reshape`, `contiguous`, `flatten`); everything else shares memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clgrad.dispatch import apply, apply_view, attach
from clgrad.errors import ShapeError
from clgrad.graph.storage import Storage
from clgrad.layout import infer_size, wrap_dim
from clgrad.ops import view as _views
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import OPS, REQUIRED, Op
from clgrad.ops.registry import composite as _composite
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import requires_grad_of
from clgrad.tape.record import Plan
from clgrad.tensor import Tensor, wrap

__all__ = [
    "as_strided", "broadcast_to", "clone", "diagonal", "flatten", "moveaxis", "movedim", "narrow",
    "permute", "reshape", "select", "squeeze", "swapaxes", "swapdims", "t", "transpose",
    "unflatten", "unsqueeze",
]  # fmt: skip
METHODS = (
    *__all__, "alias", "contiguous", "expand", "expand_as", "reshape_as", "unfold", "view_as",
)  # fmt: skip


def _sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    if len(args) == 1 and not isinstance(args[0], int):
        args = tuple(args[0])
    return tuple([int(n) for n in args])


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


def clone(x: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return the same values in a storage of their own (the memory is shared until written)."""
    made: Tensor = apply(_clone_op, (x,))
    return made


def contiguous(x: Tensor, memory_format: Any = None) -> Tensor:
    """Return `x` itself if it is contiguous, else a copy that is."""
    if x._meta.layout.is_contiguous:
        return x
    made: Tensor = apply(OPS["copy"], (x,))
    return made


_unsafe_view = Op(
    name="_unsafe_view", kind="view", inputs=("x",), params=(("shape", REQUIRED),),
    backward=lambda ctx, g: (g.reshape(ctx.shape("x")),), node_name="UnsafeViewBackward0",
)  # fmt: skip


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """Return the same elements in the same order as another shape: a view if that is possible."""
    size = infer_size(_sizes(shape), x._meta.numel, "reshape")
    if size == x._meta.shape and not (mode.grad and requires_grad_of(x)):
        return _view(_views.view_, x, size)
    made = apply_view(_views.view_, x, (size,))
    if made is not None:
        return made
    return unsafe_view(contiguous(x), size)


def unsafe_view(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return a new contiguous tensor, which nobody else will see, as another shape.

    The result is no view: it is its own base, as the result of one op is.
    """
    meta = fresh_meta(x._meta.dtype, size, x._meta.device)
    made = wrap(x._storage, meta)
    made._inference = x._inference
    if mode.grad and requires_grad_of(x):
        attach(_unsafe_plan(x._meta, meta), (x,), (), made)
    return made


@lru_cache(maxsize=4096)
def _unsafe_plan(source: Meta, made: Meta) -> Plan:
    return Plan(_unsafe_view, (source,), (made.shape,), None, (made,))


def view(x: Tensor, *shape: Any) -> Tensor:
    """Return the same memory as another shape.

    Raises:
        ShapeError: the strides do not allow it.
    """
    size = _sizes(shape)
    made = apply_view(_views.view_, x, (size,))
    if made is None:
        raise ShapeError(
            "view: view size is not compatible with input tensor's size and stride (at least one "
            f"dimension spans across two contiguous subspaces): shape {list(x._meta.shape)}, "
            f"strides {list(x._meta.layout.strides)}, wanted {list(size)}. "
            "Hint: use reshape(), which copies where it must."
        )
    return made


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """Return `x` viewed with the shape of `other`."""
    return view(x, other._meta.shape)


def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """Return `x` reshaped to the shape of `other`."""
    return reshape(x, other._meta.shape)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return `x` with dimensions `start_dim` to `end_dim` as one."""
    shape = x._meta.shape
    first = wrap_dim(start_dim, max(len(shape), 1), "flatten")
    last = wrap_dim(end_dim, max(len(shape), 1), "flatten")
    if not shape:
        return reshape(x, 1)
    if first > last:
        raise ShapeError("flatten: start_dim cannot come after end_dim.")
    if first == last:
        return x
    count = 1
    for n in shape[first : last + 1]:
        count *= n
    return reshape(x, (*shape[:first], count, *shape[last + 1 :]))


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return `x` with dimension `dim` read as several."""
    shape = x._meta.shape
    d = wrap_dim(dim, len(shape), "unflatten")
    inner = infer_size(tuple(sizes), shape[d], "unflatten")
    return view(x, (*shape[:d], *inner, *shape[d + 1 :]))


# ---- views -------------------------------------------------------------------------------------


def permute(x: Tensor, *dims: Any) -> Tensor:
    """Return `x` with its dimensions in the given order."""
    return _view(_views.permute, x, _sizes(dims))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return `x` with two dimensions swapped."""
    return _view(_views.transpose, x, dim0, dim1)


swapaxes = swapdims = transpose


def t(x: Tensor) -> Tensor:
    """Return the transpose of a matrix; a vector stays as it is."""
    if x._meta.ndim > 2:
        raise ShapeError(
            f"t: t() expects a tensor with <= 2 dimensions, but self is {x._meta.ndim}D. "
            "Hint: use transpose(dim0, dim1) or .mT."
        )
    return _view(_views.t, x)


def movedim(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Return `x` with dimensions moved to other places; the others keep their order."""
    ndim = x._meta.ndim
    src = [wrap_dim(d, ndim, "movedim") for d in ((source,) if isinstance(source, int) else source)]
    dst = [
        wrap_dim(d, ndim, "movedim")
        for d in ((destination,) if isinstance(destination, int) else destination)
    ]
    if len(src) != len(dst) or len({*src}) != len(src) or len({*dst}) != len(dst):
        raise ShapeError(f"movedim: got source {source} and destination {destination}. Expected "
                         "as many of each, none twice.")  # fmt: skip
    rest = iter([d for d in range(ndim) if d not in src])
    place = dict(zip(dst, src, strict=True))
    return permute(x, [place[d] if d in place else next(rest) for d in range(ndim)])


moveaxis = movedim


def expand(x: Tensor, *size: Any) -> Tensor:
    """Return `x` with dimensions of size 1 repeated, without a copy; -1 keeps a size."""
    return _view(_views.expand, x, _sizes(size))


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """Return `x` expanded to the shape of `other`."""
    return expand(x, other._meta.shape)


broadcast_to = expand


def squeeze(x: Tensor, dim: Any = None) -> Tensor:
    """Return `x` without dimensions of size 1 (among `dim`, if given)."""
    if dim is None:
        return _view(_views.squeeze, x)
    return _view(_views.squeeze_dim, x, dim if isinstance(dim, int) else tuple(dim))


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """Return `x` with a dimension of size 1 before `dim`."""
    return _view(_views.unsqueeze, x, dim)


def select(x: Tensor, dim: int, index: int) -> Tensor:
    """Return entry `index` along `dim`."""
    return _view(_views.select, x, dim, int(index))


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Return `length` entries from `start` along `dim`."""
    return _view(_views.narrow, x, dim, int(start), length)


def slice_(
    x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Return entries `start` to `end` along `dim`, every `step`."""
    return _view(_views.slice_, x, dim, start, end, step)


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a diagonal of two dimensions, as the last one."""
    return _view(_views.diagonal, x, offset, dim1, dim2)


def as_strided(
    x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Return any layout over the storage of `x`.

    Raises:
        ShapeError: it would leave the storage.
    """
    layout = x._meta.layout.as_strided(tuple(size), tuple(stride), storage_offset)
    if layout.numel and layout.span[1] > x._storage.numel:
        raise ShapeError(
            f"as_strided: setStorage: sizes {list(size)}, strides {list(stride)}, storage offset "
            f"{layout.offset} are out of bounds for storage of {x._storage.numel} elements."
        )
    return _view(_views.as_strided, x, tuple(size), tuple(stride), storage_offset)


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return windows of `size` every `step` along a dimension; the window is the last one."""
    return _view(_views.unfold, x, dimension, size, step)


def alias(x: Tensor) -> Tensor:
    """Return another tensor with the same elements."""
    return _view(_views.alias, x)
