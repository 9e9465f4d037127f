"""Reading and writing at indices: what a space of points means in a tensor, and both kernels' ops.

A `Picking` says for each point of a space which element of a tensor it stands for: some dims of the
space walk along dims of the tensor, the other dims of the tensor are chosen by index tensors.
`gather`, `index_select`, `take`, embeddings and advanced indexing differ in that record alone. To
read (`pick_op`) and to add (`place_op` with "add") are each other's derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clgrad.codegen.gather import IndexOperand, lower_gather
from clgrad.codegen.scatter import lower_scatter
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.layout import Layout
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op, camel
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Picking:
    """Which element of a tensor each point of a space stands for; made by `picking`, interned.

    Attributes:
        space: sizes of the space.
        walk: per dim of the space the dim of the tensor along which it runs, or -1.
        dims: per index tensor the dim of the tensor from which it chooses; a tensor without dims
            counts as one of a single entry.
        axes: per index tensor the dims of the space along which its own dims run, in order; where
            a size of 1 meets a larger one, it is broadcast.
        wrap: whether negative indices count from the end.
        checked: whether the device must check them, because the host does not know their bounds.
        op: what an error calls the op.
    """

    space: Shape
    walk: Shape
    dims: Shape
    axes: tuple[Shape, ...]
    wrap: bool = False
    checked: bool = True
    op: str = "index"

    def walked(self, layout: Layout) -> Layout:
        """Return a tensor's layout over the space; dims that only indices reach have stride 0."""
        strides = tuple([layout.strides[d] if d >= 0 else 0 for d in self.walk])
        return Layout(self.space, strides, layout.offset)

    def spread(self, index: Layout, k: int) -> Layout:
        """Return the layout of index tensor `k` over the space."""
        strides = [0] * len(self.space)
        for size, stride, d in zip(index.shape, index.strides, self.axes[k], strict=True):
            strides[d] = stride if size > 1 else 0
        return Layout(self.space, tuple(strides), index.offset)

    def operands(
        self, layout: Layout, indices: Sequence[Layout], sig: Signature
    ) -> tuple[list[IndexOperand], list[int]]:
        """Return what the lowerings want to know of the index tensors of a signature."""
        shape, strides = layout.shape or (1,), layout.strides or (0,)  # 0-d counts as one entry
        made = [
            IndexOperand(dtype, self.spread(index, k).strides, shape[d], strides[d])
            for k, (index, dtype, d) in enumerate(
                zip(indices, sig.dtypes[1:], self.dims, strict=True)
            )
        ]  # fmt: skip
        return made, [index.offset for index in indices]


@lru_cache(maxsize=1 << 14)
def picking(
    space: Shape, walk: Shape, dims: Shape, axes: tuple[Shape, ...], wrap: bool = False,
    checked: bool = True, op: str = "index",
) -> Picking:  # fmt: skip
    """Return the one `Picking` of these: it is compared by identity, as it is a part of keys."""
    return Picking(space, walk, dims, axes, wrap, checked, op)


@dataclass(frozen=True, slots=True)
class Pick:
    """Lowers a read of `x` at indices; operands are `x` and the indices."""

    picking: Picking

    def __call__(self, sig: Signature, traits: DeviceTraits, tail: Epilogue | None) -> Lowered:
        p, x = self.picking, sig.reads[0]
        indices, offsets = p.operands(x, sig.reads[1:], sig)
        size = sig.dtypes[0].itemsize
        return lower_gather(
            p.space, p.walked(x), indices, offsets, size, p.wrap, p.checked, traits
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Lowers a write of a source, of the space's shape, at indices; then come the indices.

    Attributes:
        target: layout of the tensor that is written, in its storage.
        combine: `set`, `add`, `mul`, `max` or `min`.
    """

    picking: Picking
    target: Layout
    combine: str

    def __call__(self, sig: Signature, traits: DeviceTraits, tail: Epilogue | None) -> Lowered:
        p = self.picking
        indices, offsets = p.operands(self.target, sig.reads[1:], sig)
        return lower_scatter(
            p.space, p.walked(self.target), sig.reads[0], indices, offsets, sig.dtypes[0],
            self.combine, p.wrap, p.checked, traits,
        )  # fmt: skip


def _pick_signature(
    op: Op, operands: tuple[Meta, ...], static: dict[str, Any], device: Any
) -> Signature:
    picking: Picking = static["picking"]
    x = operands[0]
    return Signature(
        op, "kernel", lower=Pick(picking), flagged=picking.checked, space=picking.space,
        reads=tuple([m.layout for m in operands]), dtypes=tuple([m.dtype for m in operands]),
        meta=fresh_meta(x.dtype, picking.space, device),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def place_signature(
    op: Op, target: Meta, numel: int, operands: tuple[Meta, ...], picking: Picking, combine: str
) -> Signature:
    """Return the signature that writes at indices into a storage of `numel` elements.

    Args:
        target: of the tensor that is written.
        operands: of the source, which has the shape of the space and the target's dtype, and of
            the indices.
    """
    return Signature(
        op, "kernel", lower=Place(picking, target.layout, combine), flagged=picking.checked,
        space=picking.space, reads=tuple([m.layout for m in operands]),
        dtypes=tuple([m.dtype for m in operands]),
        meta=fresh_meta(target.dtype, (numel,), target.device), target=target.layout,
    )  # fmt: skip


def _pick_back(ctx: Any, g: Any) -> tuple[Any, ...]:
    indices = [ctx.saved(name) for name in ctx.inputs()[1:]]
    picking: Picking = ctx.param("picking")
    return (g._zeros(ctx.shape("x"))._place(g, indices, picking, "add"),)


@lru_cache(maxsize=256)
def pick_op(name: str, count: int, node_name: str = "") -> Op:
    """Return the op that reads at `count` index tensors.

    Args:
        name: what errors call it. `node_name`: what `grad_fn` is called.
    """
    indices = [f"i{k}" for k in range(count)]
    return Op(
        name=name, kind="primitive", inputs=("x", *indices), params=(("picking", REQUIRED),),
        shape=_pick_signature, backward=_pick_back, saves={"x": tuple(indices)},
        node_name=node_name or f"{camel(name)}Backward0",
    )  # fmt: skip


def _place(*arguments: Any) -> Any:
    base, source, *rest, picking, combine = arguments
    out = base.contiguous().clone()
    out._write_at(source, tuple(rest), picking, combine)
    return out


def _place_back(ctx: Any, g: Any) -> tuple[Any, ...]:
    """Gradients of `set` and `add`; what combines otherwise is no op of its own."""
    picking, combine = ctx.param("picking"), ctx.param("combine")
    base = g if ctx.needs("base") else None
    if combine == "add" and not ctx.needs("source"):
        return base, None
    indices = [ctx.saved(name) for name in ctx.inputs()[2:]]
    if base is not None and combine != "add":
        base = g._place(0, indices, picking, "set")
    return base, g._pick(indices, picking) if ctx.needs("source") else None


def _fill_back(ctx: Any, g: Any) -> tuple[Any, ...]:
    at, picking = [ctx.saved("i0")], ctx.param("picking")
    base = g._place(0, at, picking, "set") if ctx.needs("base") else None
    if not ctx.needs("source"):
        return (base,)
    return base, (g * g._zeros(g.shape)._place(1, at, picking, "set")).sum()


@lru_cache(maxsize=4)
def fill_op(name: str, node_name: str) -> Op:
    """Return the op that writes one value at an index tensor into a copy of a tensor.

    Each element counts once in the value's gradient, however often it is named.
    """
    return Op(
        name=name, kind="composite", inputs=("base", "source", "i0"),
        params=(("picking", REQUIRED), ("combine", REQUIRED)), forward=_place,
        backward=_fill_back, saves={"base": ("i0",), "source": ("i0",)}, node_name=node_name,
    )  # fmt: skip


_ONLY_ADD = ("index_add", "scatter_add")
"""What leaves the base's gradient as it is, and so keeps no index for it."""


@lru_cache(maxsize=256)
def place_op(name: str, count: int, node_name: str = "") -> Op:
    """Return the op that writes a source at `count` index tensors into a copy of a tensor.

    The source may be a number. Its shape is that of the space. Of `set`, where points meet, the
    last one counts; each of them still gets the gradient, as in PyTorch.
    """
    indices = tuple([f"i{k}" for k in range(count)])
    return Op(
        name=name, kind="composite", inputs=("base", "source", *indices),
        params=(("picking", REQUIRED), ("combine", REQUIRED)), forward=_place,
        backward=_place_back,
        saves={"base": () if name in _ONLY_ADD else indices, "source": indices},
        node_name=node_name or f"{camel(name)}Backward0",
    )  # fmt: skip
