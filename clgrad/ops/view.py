"""View ops: a function from layout to layout each, and how a gradient goes back through it.

No view computes anything. Going back, those that drop elements embed the gradient in zeros, which
is one op (`embed`) and one node, differentiable itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clgrad.layout import Layout
from clgrad.ops.registry import REQUIRED, Op, composite, view
from clgrad.ops.slabs import Slabs, slabs


def _reshaped(ctx: Any, g: Any) -> tuple[Any]:
    return (g.reshape(ctx.shape("x")),)


def _summed(ctx: Any, g: Any) -> tuple[Any]:
    return (g,)  # the engine sums every gradient to the shape of its edge


def _permute_back(ctx: Any, g: Any) -> tuple[Any]:
    dims = [d % max(g.ndim, 1) for d in ctx.param("dims")]
    return (g.permute(sorted(range(len(dims)), key=dims.__getitem__)),)


def _transpose_back(ctx: Any, g: Any) -> tuple[Any]:
    return (g.transpose(ctx.param("dim0"), ctx.param("dim1")),)


def embedded(ctx: Any, g: Any) -> tuple[Any]:
    """Put the gradient where its elements came from, in zeros of the input's shape."""
    whole = Layout.contiguous(ctx.shape("x"))
    return (g._embed(ctx.again(whole), whole),)


def _strided_back(ctx: Any, g: Any) -> tuple[Any]:
    return (g._embed(ctx.output().layout, ctx.layout("x")),)


permute = view(
    "permute", Layout.permute, _permute_back, params=(("dims", REQUIRED),),
    doc="Dimensions in another order.",
)  # fmt: skip
transpose = view(
    "transpose", Layout.transpose, _transpose_back, params=(("dim0", REQUIRED), ("dim1", REQUIRED)),
    doc="Two dimensions swapped.",
)  # fmt: skip
t = view(
    "t", lambda x: x.transpose(0, 1) if x.ndim == 2 else x, lambda ctx, g: (g.t(),),
    doc="The transpose of a matrix.",
)  # fmt: skip
expand = view(
    "expand", Layout.expand, _summed, params=(("size", REQUIRED),),
    doc="Dimensions of size 1 repeated without a copy.",
)  # fmt: skip
squeeze = view("squeeze", Layout.squeeze, _reshaped, doc="Without dimensions of size 1.")
squeeze_dim = view(
    "squeeze_dim", Layout.squeeze, _reshaped, params=(("dim", REQUIRED),),
    node_name="SqueezeBackward1", doc="Without the given dimensions, where their size is 1.",
)  # fmt: skip
squeeze_dims = view(
    "squeeze_dims", Layout.squeeze, _reshaped, params=(("dim", REQUIRED),),
    node_name="SqueezeBackward2", doc="Without the given dimensions, where their size is 1.",
)  # fmt: skip
unsqueeze = view(
    "unsqueeze", Layout.unsqueeze, _reshaped, params=(("dim", REQUIRED),),
    doc="With a new dimension of size 1.",
)  # fmt: skip
select = view(
    "select", Layout.select, embedded, params=(("dim", REQUIRED), ("index", REQUIRED)),
    doc="One entry along a dimension.",
)  # fmt: skip
slice_ = view(
    "slice", Layout.slice, embedded,
    params=(("dim", 0), ("start", None), ("end", None), ("step", 1)),
    doc="Entries `start` to `end` along a dimension, every `step`.",
)  # fmt: skip
narrow = view(
    "narrow", Layout.narrow, embedded,
    params=(("dim", REQUIRED), ("start", REQUIRED), ("length", REQUIRED)),
    node_name="SliceBackward0", doc="`length` entries from `start` along a dimension.",
)  # fmt: skip
view_ = view(
    "view", Layout.view, _reshaped, params=(("shape", REQUIRED),),
    doc="The same elements in the same order as another shape.",
)  # fmt: skip
diagonal = view(
    "diagonal", Layout.diagonal, embedded, params=(("offset", 0), ("dim1", 0), ("dim2", 1)),
    doc="A diagonal of two dimensions, as the last one.",
)  # fmt: skip
as_strided = view(
    "as_strided", Layout.as_strided, _strided_back,
    params=(("size", REQUIRED), ("stride", REQUIRED), ("storage_offset", None)),
    doc="Any layout over the same storage.",
)  # fmt: skip
unfold = view(
    "unfold", Layout.unfold, embedded,
    params=(("dimension", REQUIRED), ("size", REQUIRED), ("step", REQUIRED)),
    doc="Windows along a dimension; the window is the last one.",
)  # fmt: skip
alias = view("alias", lambda x: x, _summed, doc="The same elements, another tensor.")


# ---- gradients of what drops elements ----------------------------------------------------------


def _through(x: Any, layout: Layout) -> Any:
    return x.as_strided(layout.shape, layout.strides, layout.offset)


def _picked(g: Any, layout: Layout) -> Any:
    """Return what `layout`, made for a contiguous tensor of `g`'s shape, shows of `g`."""
    g = g.contiguous()  # which may still be a view that begins anywhere
    return g.as_strided(layout.shape, layout.strides, layout.offset + g.storage_offset())


def _accumulate(out: Any, g: Any, layout: Layout) -> None:
    """Add `g` to the elements of `out` that `layout` shows, also where it shows one repeatedly.

    Dimensions of stride 0 are summed; of dimensions that interleave, the smallest is taken one
    entry at a time.
    """
    still = [d for d, (n, s) in enumerate(zip(layout.shape, layout.strides, strict=True))
             if s == 0 and n > 1]  # fmt: skip
    if still:
        g = g.sum(dim=still)
        for d in reversed(still):
            layout = layout.select(d, 0)
    if layout.has_overlap:
        d = min((n, d) for d, n in enumerate(layout.shape) if n > 1)[1]
        for k in range(layout.shape[d]):
            _accumulate(out, g.select(d, k), layout.select(d, k))
    else:
        _through(out, layout).add_(g)


def _embed(g: Any, layout: Layout, shape: tuple[int, ...]) -> Any:
    made = g._framed(layout, tuple(shape))
    if made is not None:
        return made
    out = g._zeros(shape)
    if layout.has_overlap:
        _accumulate(out, g, layout)
    else:
        _through(out, layout).copy_(g)
    return out


embed_op = composite(
    "_embed", "g", _embed, params=(("layout", REQUIRED), ("shape", REQUIRED)),
    backward=lambda ctx, g: (_picked(g, ctx.param("layout")),),
    node_name="EmbedBackward0", doc="Zeros of `shape` with `g` added at `layout`.",
)  # fmt: skip


def _embed_many(*arguments: Any) -> Any:
    *gradients, layouts, shape = arguments
    lying = slabs(layouts, shape)
    if lying is not None:
        return _joined(gradients, lying, shape)
    out = gradients[0]._zeros(shape)
    for g, layout in zip(gradients, layouts, strict=True):
        _accumulate(out, g, layout)
    return out


def _joined(gradients: Sequence[Any], lying: Slabs, shape: tuple[int, ...]) -> Any:
    """Return the sum of slabs: joins, with zeros in the gaps."""
    total: Any = None
    gaps: dict[int, Any] = {}
    dense: dict[int, Any] = {}
    for layer in lying.layers:
        pieces = []
        for length, parts in layer:
            wide = (*shape[: lying.dim], length, *shape[lying.dim + 1 :])
            if not parts:
                if length not in gaps:
                    gaps[length] = gradients[0]._zeros(wide)
                pieces.append(gaps[length])
                continue
            g = gradients[parts[0]]
            for k in parts[1:]:
                g = g + gradients[k]
            if id(g) not in dense:
                dense[id(g)] = g, g.reshape(wide).contiguous()
            pieces.append(dense[id(g)][1])
        made = pieces[0]._cat(pieces, lying.dim)
        total = made if total is None else total + made
    return total


@lru_cache(maxsize=256)
def embed_many_op(count: int) -> Op:
    """Return the op that embeds `count` gradients in one tensor of zeros."""
    return Op(
        name="_embed_many",
        kind="composite",
        inputs=tuple(f"g{k}" for k in range(count)),
        params=(("layouts", REQUIRED), ("shape", REQUIRED)),
        forward=_embed_many,
        backward=lambda ctx, g: tuple([_picked(g, layout) for layout in ctx.param("layouts")]),
        node_name="EmbedManyBackward0",
    )


def put_part(base: Any, part: Any, layout: Layout) -> Any:
    """Return a copy of `base` with a tensor or a number written at a layout for contiguous ones."""
    out = base.contiguous().clone()
    target = _through(out, layout)
    target.fill_(part) if isinstance(part, int | float) else target.copy_(part)
    return out


def put_part_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    """Return the gradients of both operands of `put_part`."""
    layout = ctx.param("layout")
    whole = Layout.contiguous(tuple(g.shape))
    rest = g._scatter(None, layout, whole) if ctx.needs("base") else None
    return rest, _picked(g, layout) if ctx.needs("part") else None


scatter_op = composite(
    "_scatter", "base, part", put_part, backward=put_part_back, params=(("layout", REQUIRED),),
    node_name="LayoutScatterBackward0", doc="A copy of `base` with `part` written at `layout`.",
)  # fmt: skip


def _in_storage(layouts: Sequence[Layout], base: Layout) -> tuple[int, ...]:
    return (max(base.span[1], *(layout.span[1] for layout in layouts)),)


# What nodes of views call, as methods of tensors (`methods` passes `dispatch.apply`). `base` is the
# layout of the tensor whose gradient is meant; where it is not contiguous from element 0, the work
# is done on its storage as a flat tensor.


def embed(apply: Any, g: Any, layout: Layout, base: Layout) -> Any:
    """Return the gradient of a `base` of which `g` is the gradient of the part at `layout`."""
    if base.offset == 0 and base.is_contiguous:
        return apply(embed_op, (g,), (layout, base.shape))
    flat = apply(embed_op, (g,), (layout, _in_storage((layout,), base)))
    return shown(apply, flat, base)


def embed_all(apply: Any, given: Sequence[tuple[Any, Layout]], base: Layout) -> Any:
    """Do `embed` for several parts at once."""
    if len(given) == 1:
        return embed(apply, *given[0], base)
    gradients = tuple([g for g, _ in given])
    layouts = tuple([layout for _, layout in given])
    op = embed_many_op(len(given))
    if base.offset == 0 and base.is_contiguous:
        return apply(op, gradients, (layouts, base.shape))
    flat = apply(op, gradients, (layouts, _in_storage(layouts, base)))
    return shown(apply, flat, base)


def shown(apply: Any, flat: Any, base: Layout) -> Any:
    """Return what a base with this layout shows of a gradient of its storage.

    Where it shows an element repeatedly, each gets an equal share.
    """
    seen = _through(flat, base)
    if not base.has_overlap:
        return seen
    ones = seen._zeros(base.shape).add_(1)
    count = apply(embed_op, (ones,), (base, tuple(flat.shape)))
    return seen / _through(count, base)


def part(apply: Any, g: Any, layout: Layout, base: Layout) -> Any:
    """Return the part at `layout` of the gradient `g` of a `base`."""
    if base.offset == 0 and base.is_contiguous:
        return _picked(g, layout)
    flat = apply(embed_op, (g,), (base, _in_storage((layout,), base)))
    return _through(flat, layout)


def scatter(apply: Any, g: Any, part: Any, layout: Layout, base: Layout) -> Any:
    """Return the gradient `g` of a `base` with its part at `layout` replaced (None: zeros)."""
    part = 0 if part is None else part
    if base.offset == 0 and base.is_contiguous:
        return apply(scatter_op, (g, part), (layout,))
    flat = apply(embed_op, (g,), (base, _in_storage((layout,), base)))
    return _through(apply(scatter_op, (flat, part), (layout,)), base)
