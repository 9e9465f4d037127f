"""Reductions at indices, with or without what is there: `scatter_reduce`, `index_reduce`."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

from clgrad import writing
from clgrad.batching import whole
from clgrad.dispatch import apply
from clgrad.dtypes import float32, int64
from clgrad.errors import ClgradRuntimeError
from clgrad.functional._at import write_at
from clgrad.ops.indexing import Picking
from clgrad.ops.registry import OPS, REQUIRED, Op, camel, composite, pointwise
from clgrad.ops.signature import extreme
from clgrad.tensor import Tensor

COMBINE = {"sum": "add", "mean": "add", "prod": "mul", "amax": "max", "amin": "min"}
"""What each reduction does with two elements."""


_FLOOR = pointwise("floor_mean", "a, n", "floor_divide(a, n)", add=False)


def _where(mask: Any, a: Any, b: Any) -> Any:
    return apply(OPS["where"], (mask, a, b))


def _into(
    target: Tensor, source: Tensor, index: Tensor, picking: Picking, how: str, own: bool
) -> None:
    """Reduce over `target`, which counts itself if `own`."""
    dtype = target._meta.dtype
    if not own:
        start = {"prod": 1, "amax": extreme(dtype, False), "amin": extreme(dtype, True)}
        write_at(target, start.get(how, 0), (index,), picking, "set")
    write_at(target, source, (index,), picking, COMBINE[how])
    if how == "mean":
        count = _count(target, index, picking, own)
        mean = target / count if dtype.kind == "f" else apply(_FLOOR, (target, count))
        writing.store_tensor(target, mean)


def _count(target: Tensor, index: Tensor, picking: Picking, own: bool) -> Any:
    """Return how many elements went into each of `target`, at least 1."""
    dtype = target._meta.dtype
    dtype = (float32 if dtype.itemsize == 2 else dtype) if dtype.kind == "f" else int64
    made = apply(OPS["full"], (int(own),), (target._meta.shape, dtype), target._meta.device)
    write_at(made, 1, (index,), picking, "add")
    return _where(made == 0, 1, made)


def _forward(*arguments: Any) -> Tensor:
    base, source, index, picking, how, own = arguments
    out: Tensor = base.contiguous().clone()
    _into(out, source, index, picking, how, own)
    return out


def _backward(name: str, ctx: Any, g: Any) -> tuple[Any, Any]:
    base, source, index, y = (ctx.saved(n) for n in ("base", "source", "index", "y"))
    picking, how, own = ctx.param("picking"), ctx.param("reduce"), ctx.param("include_self")

    def at(x: Any) -> Any:
        return x._pick([index], picking)

    def added(x: Any, part: Any) -> Any:
        return x._place(part, [index], picking, "add")

    if how == "sum":
        for_base, for_source = g, at(g)
    elif how == "mean":
        share = g / _count(base, index, picking, own).to(g.dtype)
        for_base, for_source = share, at(share)
    elif how == "prod":
        for_base, for_source, zeros = _product_back(ctx, g, base, source, index, y, at, added)
        if ctx.recording:
            for_source = apply(_once, (for_source, zeros), (name,))
    else:  # those that attain the extreme share the gradient
        hits = (source == at(y)).to(g.dtype)
        own_hits = (base == y).to(g.dtype)
        share = g / added(own_hits, hits)
        for_base, for_source = own_hits * share, hits * at(share)
    if not own and ctx.needs("base"):
        for_base = for_base._place(0, [index], picking, "set")
    return for_base, for_source


def _product_back(
    ctx: Any, g: Any, base: Any, source: Any, index: Any, y: Any, at: Any, added: Any
) -> tuple[Any, Any, Any]:
    """Gradients of a product: of all other factors, which are not y / factor where that is 0.

    The third result is how many zeros of the source went where each of its elements did.
    """
    static = (ctx.param("picking"), "prod", ctx.param("include_self"))

    def product(a: Any, b: Any) -> Any:
        return apply(reduce_op("scatter_reduce", "prod"), (a, b, index), static)

    filled = _where(base == 0, 1, base)
    for_base = g * product(filled, source) / filled
    zero = source == 0
    zeros = at(added(base._zeros(base.shape), zero.to(base.dtype)))
    alone = _where(zero, zeros, 0) == 1
    others = product(base, _where(alone, 1, source))
    for_source = _where(alone, at(g * others), at(g * y) / _where(zero, 1, source))
    return for_base, for_source, zeros


def _once_backward(ctx: Any, g: Any) -> tuple[Any, None]:
    if (whole(ctx.saved("zeros")) > 1).any().item():
        source = "src" if ctx.param("name") == "scatter_reduce" else "source"
        raise ClgradRuntimeError(
            f"{ctx.param('name')}(): Double backward is unsupported for {source} when >1 zeros in "
            f"{source} are scattered to the same position in self. Expected one zero at most."
        )
    return g, None


_once = composite(
    "product_gradient", "x, zeros", lambda x, zeros, name: x.clone(), backward=_once_backward,
    saves=("zeros",), params=(("name", REQUIRED),), add=False,
)  # fmt: skip
"""The gradient of a product for its source: differentiable where no two zeros met."""


@lru_cache(maxsize=64)
def reduce_op(name: str, how: str) -> Op:
    """Return the op that reduces a source into a copy of a tensor at one index tensor."""
    return composite(
        name, "base, source, index", _forward, backward=partial(_backward, name),
        saves=("base", "source", "index", "y"), node_name=f"{camel(name)}Backward0", add=False,
        params=(("picking", REQUIRED), ("reduce", how), ("include_self", True)),
    )  # fmt: skip


def reduce_at(
    name: str, x: Tensor, source: Tensor, index: Tensor, picking: Picking, how: str, own: bool
) -> Tensor:
    """Return a copy of `x` into which a source was reduced where a picking chooses."""
    made: Tensor = apply(reduce_op(name, how), (x, source, index), (picking, how, own))
    return made


def reduce_at_(
    name: str, x: Tensor, source: Tensor, index: Tensor, picking: Picking, how: str, own: bool
) -> Tensor:
    """Do the same in place."""
    return writing.run_(
        reduce_op(name, how), (x, source, index), (picking, how, own),
        lambda: _into(x, source, index, picking, how, own),
    )  # fmt: skip
