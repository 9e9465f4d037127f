"""Signatures of ops on samples, as signatures of the same ops on all samples at once.

The samples of a value lie one after the other, for one level of `vmap` or for several. There is one
rule for pointwise ops, one for reductions, one for writes, and one for each kernel family; what has
no rule is recorded sample by sample (`clgrad/batching.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from clgrad.expr import free_names
from clgrad.layout import Layout, wrap_dim
from clgrad.ops.contraction import lower_product
from clgrad.ops.indexing import Pick, Picking, Place, picking
from clgrad.ops.joining import Join, join_signature
from clgrad.ops.meta import Meta, fresh_meta, meta_of
from clgrad.ops.scan import Scan
from clgrad.ops.signature import INDEX, Signature, fresh_numel
from clgrad.ops.sorting import PositionsInOrder, SortedPositions
from clgrad.windowed import Windowed

Over = tuple[Signature, tuple[bool, ...], bool]
"""A signature over all samples, which operands it wants dense, with samples of all levels, and
whether it has them in reverse order."""


def prefixed(layout: Layout, sizes: tuple[int, ...], lying: tuple[bool, ...], numel: int) -> Layout:
    """Return the layout that shows in all samples what `layout` shows of one.

    Args:
        lying: for each level, whether the value has samples of it; `numel` are those of one.
    """
    strides = []
    step = numel
    for size, has in zip(reversed(sizes), reversed(lying), strict=True):
        strides.append(step if has else 0)
        step *= size if has else 1
    shape = (*sizes, *layout.shape)
    made = (*reversed(strides), *layout.strides)
    if isinstance(layout, Windowed):
        none = len(sizes)
        return Windowed(
            shape, made, layout.offset, ((None,) * none + layout.windows),
            (0,) * none + layout.shift,
        )  # fmt: skip
    return Layout(shape, made, layout.offset)


@lru_cache(maxsize=4096)
def batched_signature(
    sig: Signature, sizes: tuple[int, ...], lying: tuple[tuple[bool, ...], ...],
    numels: tuple[int, ...],
) -> Over | None:  # fmt: skip
    """Return the signature of an op on all samples, or None if there is no rule for it.

    Args:
        sizes: of the levels. `lying`: for each operand, of which it has samples; `numels`: the
            elements of one.
    """
    reads = tuple([
        prefixed(layout, sizes, has, n)
        for layout, has, n in zip(sig.reads, lying, numels, strict=True)
    ])  # fmt: skip
    lead = len(sizes)
    meta = fresh_meta(sig.meta.dtype, (*sizes, *sig.meta.shape), sig.meta.device)
    as_they_are = (False,) * len(reads)
    if sig.kind in ("map", "write"):
        assert sig.expr is not None
        if reads and INDEX in free_names(sig.expr):
            return None
        target = None
        if sig.target is not None:
            target = prefixed(sig.target, sizes, (True,) * lead, sig.meta.numel)
            meta = fresh_meta(sig.meta.dtype, (meta.numel,), sig.meta.device)
        return Signature(
            sig.op, sig.kind, space=(*sizes, *sig.space), reads=reads, dtypes=sig.dtypes,
            expr=sig.expr, scalars=sig.scalars, meta=meta, target=target, covers=sig.covers,
        ), as_they_are, False  # fmt: skip
    if sig.kind == "reduce":
        order = (*range(lead), *(lead + d for d in sig.order))
        return Signature(
            sig.op, "reduce", space=(*sizes, *sig.space), reduced=sig.reduced, order=order,
            reads=reads, dtypes=sig.dtypes, fold=sig.fold, meta=meta,
        ), as_they_are, False  # fmt: skip
    lower = sig.lower
    if lower is lower_product:
        return _product(sig, sizes, lying, reads, meta, numels)
    if isinstance(lower, Join):
        parts = tuple([fresh_meta(sig.dtypes[0], r.shape, sig.meta.device) for r in reads])
        return join_signature(sig.op, parts, lower.dim + lead, meta), (True,) * len(reads), False
    if isinstance(lower, Pick | Place):
        return _indexed(sig, lower, sizes, lying, reads, meta), as_they_are, False
    return _derived(sig, sizes, lying, reads)


def _product(
    sig: Signature, sizes: tuple[int, ...], lying: tuple[tuple[bool, ...], ...],
    reads: tuple[Layout, ...], meta: Meta, numels: tuple[int, ...],
) -> Over:  # fmt: skip
    """Return the signature of matrix products.

    Where one matrix meets many vectors, these are the rows of one product, whose operands change
    places.
    """
    space = (*sizes, *sig.space)
    turned = len(sig.space) == 2 and sig.space[1] == 1 and all(lying[1]) and not any(lying[0])
    if turned:
        a, b = sig.reads
        rows = (fresh_numel(sizes), b.shape[0])
        reads = (Layout(rows, (numels[1], b.strides[0]), b.offset), a.transpose(0, 1))
        space = (rows[0], a.shape[0])
        meta = fresh_meta(meta.dtype, space, meta.device)
    made = Signature(
        sig.op, "kernel", lower=sig.lower, epilogue=True, prologue=sig.prologue, space=space,
        reads=reads, dtypes=sig.dtypes, meta=meta, work=sig.work * fresh_numel(sizes),
    )  # fmt: skip
    return made, (False, False), turned


def _indexed(
    sig: Signature, lower: Pick | Place, sizes: tuple[int, ...],
    lying: tuple[tuple[bool, ...], ...], reads: tuple[Layout, ...], meta: Meta,
) -> Signature:  # fmt: skip
    """Return the signature of a read or a write at indices: samples are dims of the space."""
    old: Picking = lower.picking
    lead = len(sizes)
    whole = isinstance(lower, Place) or any(lying[0])
    first = lead if whole else 0
    axes = tuple([
        (*(range(lead) if any(has) else ()), *(lead + d for d in dims))
        for has, dims in zip(lying[1:], old.axes, strict=True)
    ])  # fmt: skip
    new = picking(
        (*sizes, *old.space),
        (*(range(lead) if whole else (-1,) * lead), *(d + first if d >= 0 else -1
                                                     for d in old.walk)),
        tuple([d + first for d in old.dims]), axes, old.wrap, old.checked, old.op,
    )  # fmt: skip
    # index tensors without samples run along dims of the space of their own alone
    shown = [r if any(has) else o for r, o, has in zip(reads, sig.reads, lying, strict=True)]
    made: Pick | Place
    if isinstance(lower, Place):
        assert sig.target is not None
        shown[0] = reads[0]
        target = prefixed(_entry(lower.target), sizes, (True,) * lead, sig.meta.numel)
        made = replace(lower, picking=new, target=target)
        return Signature(
            sig.op, "kernel", lower=made, flagged=sig.flagged, space=new.space, reads=tuple(shown),
            dtypes=sig.dtypes, target=target,
            meta=fresh_meta(sig.meta.dtype, (meta.numel,), sig.meta.device),
        )  # fmt: skip
    if whole:
        shown[0] = Layout(
            (*sizes, *_entry(sig.reads[0]).shape),
            (*reads[0].strides[:lead], *_entry(sig.reads[0]).strides), sig.reads[0].offset,
        )  # fmt: skip
    return Signature(
        sig.op, "kernel", lower=replace(lower, picking=new), flagged=sig.flagged, space=new.space,
        reads=tuple(shown), dtypes=sig.dtypes, meta=meta,
    )  # fmt: skip


def _entry(layout: Layout) -> Layout:
    """Return a layout with a dim at least: indices count a 0-d tensor as one of a single entry."""
    return layout if layout.ndim else Layout((1,), (1,), layout.offset)


def _derived(
    sig: Signature, sizes: tuple[int, ...], lying: tuple[tuple[bool, ...], ...],
    reads: tuple[Layout, ...],
) -> Over | None:  # fmt: skip
    """Return what an op's own shape rule makes of operands with more dims, or a larger batch."""
    op, static, lower = sig.op, dict(sig.static), sig.lower
    device, lead = sig.meta.device, len(sizes)
    many = fresh_numel(sizes)
    if op.shape is None:
        return None

    def metas(layouts: Sequence[Layout]) -> tuple[Meta, ...]:
        return tuple([meta_of(d, x, device) for d, x in zip(sig.dtypes, layouts, strict=True)])

    if isinstance(lower, Scan | SortedPositions):
        ndim = sig.reads[0].ndim
        if not ndim:
            return None
        static["dim"] = lead + wrap_dim(static["dim"], ndim, op.name)
        return op.shape(op, metas(reads), static, device), (False,), False
    if isinstance(lower, PositionsInOrder):
        apart = sig.reads[0].ndim == 1 and not any(lying[0])
        given = (sig.reads[0], reads[1]) if apart else reads
        return op.shape(op, metas(given), static, device), (False, False), False
    folded = [Layout.contiguous((many * r.shape[0], *r.shape[1:])) for r in sig.reads if r.ndim]
    if "windows" in static:
        rank = len(static["windows"].size)
        if op.name != "_fold_columns" and sig.reads[0].ndim == rank + 1:
            folded = [Layout.contiguous((many, *r.shape)) for r in sig.reads]
        elif sig.reads[0].ndim < 3:
            return None
        return op.shape(op, metas(folded), static, device), (True,) * len(reads), False
    if op.name.startswith("_matrix_"):
        wide = [Layout.contiguous(r.shape) for r in reads]
        return op.shape(op, metas(wide), static, device), (True,) * len(reads), False
    if op.name in ("_conv", "_conv_image") and not any(lying[1]):
        return op.shape(op, metas((folded[0], sig.reads[1])), static, device), (True, False), False
    return None
