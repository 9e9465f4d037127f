"""Joining tensors: `cat` and `stack`. Each is one op and one node, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clgrad import dispatch
from clgrad.dispatch import apply, fresh
from clgrad.dtypes import result_type
from clgrad.errors import ClgradTypeError, ClgradValueError, ShapeError
from clgrad.layout import wrap_dim
from clgrad.ops.meta import fresh_meta
from clgrad.ops.registry import REQUIRED, Op
from clgrad.ops.signature import common_device
from clgrad.tensor import Tensor

__all__ = ["cat", "concat", "concatenate", "stack"]
METHODS: tuple[str, ...] = ()


def _cat(*arguments: Any) -> Tensor:
    *parts, dim = arguments
    first = parts[0]._meta
    common_device(_cat_op(len(parts), "cat"), [p._meta for p in parts], None)
    dtype = result_type([(p._meta.dtype, "dim" if p._meta.ndim else "zero") for p in parts])
    shape = list(first.shape)
    shape[dim] = sum(p._meta.shape[dim] for p in parts)
    meta = fresh_meta(dtype, tuple(shape), first.device)
    out = fresh(dispatch.backend.empty(first.device, meta.numel, dtype), meta)
    start = 0
    for part in parts:
        length = part._meta.shape[dim]
        if part._meta.numel:
            out.narrow(dim, start, length).copy_(part)
        start += length
    return out


def _cat_back(ctx: Any, g: Any) -> tuple[Any, ...]:
    dim, start, grads = ctx.param("dim"), 0, []
    for name in ctx.inputs():
        length = ctx.shape(name)[dim]
        grads.append(g.narrow(dim, start, length) if ctx.needs(name) else None)
        start += length
    return tuple(grads)


@lru_cache(maxsize=256)
def _cat_op(count: int, name: str) -> Op:
    return Op(
        name=name, kind="composite", inputs=tuple(f"x{k}" for k in range(count)),
        params=(("dim", REQUIRED),), forward=_cat if name == "cat" else _stack,
        backward=_cat_back if name == "cat" else _stack_back,
        node_name="CatBackward0" if name == "cat" else "StackBackward0",
    )  # fmt: skip


def _list(op: str, tensors: Any) -> list[Tensor]:
    if isinstance(tensors, Tensor):
        raise ClgradTypeError(f"{op}: got a tensor. Expected a sequence of tensors.")
    found = list(tensors)
    if not found:
        raise ClgradValueError(f"{op}: expected a non-empty list of Tensors.")
    for item in found:
        if not isinstance(item, Tensor):
            raise ClgradTypeError(
                f"{op}: got {type(item).__name__} in the list. Expected tensors alone."
            )
    return found


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return tensors one after the other along an existing dimension.

    Args:
        tensors: shapes equal but along `dim`; an empty one of shape (0,) is passed over.

    Raises:
        ShapeError: another size differs.
    """
    found = _list("cat", tensors)
    kept = [t for t in found if t._meta.shape != (0,)] or found[:1]
    ndim = kept[0]._meta.ndim
    if not ndim:
        raise ShapeError("cat: zero-dimensional tensor cannot be concatenated. Hint: use stack().")
    d = wrap_dim(dim, ndim, "cat")
    want = kept[0]._meta.shape
    for k, one in enumerate(kept):
        have = one._meta.shape
        if len(have) != ndim or any(
            a != b for i, (a, b) in enumerate(zip(have, want, strict=True)) if i != d
        ):
            raise ShapeError(
                f"cat: Sizes of tensors must match except in dimension {d}. Expected sizes like "
                f"{list(want)} but got {list(have)} for tensor number {k} in the list."
            )
    made: Tensor = apply(_cat_op(len(kept), "cat"), tuple(kept), (d,))
    return made


concat = concatenate = cat


def _stack(*arguments: Any) -> Tensor:
    *parts, dim = arguments
    return _cat(*[p.unsqueeze(dim) for p in parts], dim)


def _stack_back(ctx: Any, g: Any) -> tuple[Any, ...]:
    dim = ctx.param("dim")
    return tuple([g.select(dim, k) if ctx.needs(n) else None for k, n in enumerate(ctx.inputs())])


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return tensors of one shape one after the other along a new dimension.

    Raises:
        ShapeError: the shapes differ.
    """
    found = _list("stack", tensors)
    want = found[0]._meta.shape
    d = wrap_dim(dim, len(want) + 1, "stack")
    for k, one in enumerate(found):
        if one._meta.shape != want:
            raise ShapeError(
                f"stack: stack expects each tensor to be equal size, but got {list(want)} at "
                f"entry 0 and {list(one._meta.shape)} at entry {k}."
            )
    made: Tensor = apply(_cat_op(len(found), "stack"), tuple(found), (d,))
    return made
