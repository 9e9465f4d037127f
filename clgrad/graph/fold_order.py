"""The order in which a reduction folds its elements: a function of the op and the device alone.

Were it to depend on what the reduction is fused with, fused and unfused results would differ in
their last bits. So the dims of the space, the vector lanes and the cut into chunks are decided
here, from the operand's layout, and a group takes a reduction in only if it keeps that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clgrad.ops.signature import Signature, fresh_numel
from clgrad.traits import DeviceTraits

SPLIT_POINTS = 16384
"""Points of one chunk when a reduction has too few rows to occupy the device."""
LONG, MANY = 512, 64
"""A folded dim of `LONG` elements under one of `MANY` is not merged into it: the loop is long
enough, and operands that are broadcast over the outer dim can be fused with the reduction."""


@dataclass(frozen=True, slots=True)
class FoldOrder:
    """See the module.

    Attributes:
        shape: the operand's, without dims of size 1, short neighbouring folded dims merged.
        reduced: which of them are folded.
        lanes: `inner`, `kept` or `group` (see `codegen.loops`); width of the lanes.
        parts: number of chunks of the first folded dim; 0 if it is not cut.
        group: work-items that share a row; `across` of them go along the last folded dim.
    """

    shape: tuple[int, ...]
    reduced: tuple[int, ...]
    lanes: str
    width: int
    parts: int
    group: int = 0
    across: int = 0


_orders: dict[tuple[Signature, DeviceTraits], FoldOrder] = {}


def fold_order(sig: Signature, traits: DeviceTraits) -> FoldOrder:
    """Return the order for a signature of kind `reduce`."""
    key = (sig, traits)
    found = _orders.get(key)
    if found is None:
        if len(_orders) > 1 << 14:
            _orders.clear()
        found = _orders.setdefault(key, _decide(sig, traits))
    return found


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """Return the inverse of a permutation of dims."""
    out = [0] * len(order)
    for position, dim in enumerate(order):
        out[dim] = position
    return tuple(out)


def _decide(sig: Signature, traits: DeviceTraits) -> FoldOrder:
    shape, strides, reduced = _space(sig)
    kept = [d for d in range(len(shape)) if d not in reduced]
    assert sig.fold is not None
    sizes = [d.itemsize for d in (*sig.fold.dtypes, *sig.dtypes)]
    width = traits.vector_width(max(sizes))
    rows = fresh_numel([shape[d] for d in kept])
    count = fresh_numel([shape[d] for d in reduced])
    unit_inner = strides[reduced[-1]] <= 1
    unit_kept = bool(kept) and strides[kept[-1]] <= 1
    lanes = "inner" if unit_inner or not unit_kept else "kept"
    group = 0
    if not traits.is_cpu:
        if lanes == "inner" and count >= 32 and traits.max_work_group >= 64:
            group = 64
            while group * 2 <= min(traits.preferred_work_group, traits.max_work_group, count):
                group *= 2
        lanes = "group" if group else "kept" if kept else "inner"
    if lanes != "inner" or shape[reduced[-1]] < width or not traits.is_cpu:
        width = 1
    across = group
    while across > 1 and len(reduced) > 1 and across // 2 >= shape[reduced[-1]]:
        across //= 2
    parts = _parts(shape, reduced, rows, lanes, traits)
    return FoldOrder(shape, reduced, lanes, width, parts, group, across)


def _space(sig: Signature) -> tuple[tuple[int, ...], list[int], tuple[int, ...]]:
    """Return shape and strides of the operand, merged, and which dims are folded.

    Dims of size 1 are dropped; one is kept at the end where nothing longer is folded.
    """
    moved = sig.reads[0]
    first_folded = len(sig.space) - sig.reduced
    shape: list[int] = []
    strides: list[int] = []
    folded: list[bool] = []
    for dim in inverse(sig.order):
        n, stride, fold = moved.shape[dim], moved.strides[dim], dim >= first_folded
        if n == 1:
            continue
        long = n >= LONG and shape and shape[-1] >= MANY
        if fold and folded and folded[-1] and strides[-1] == stride * n and not long:
            shape[-1] *= n
            strides[-1] = stride
            continue
        shape.append(n)
        strides.append(stride)
        folded.append(fold)
    if not any(folded):
        shape.append(1)
        strides.append(1)
        folded.append(True)
    return tuple(shape), strides, tuple(d for d, f in enumerate(folded) if f)


def _parts(
    shape: tuple[int, ...], reduced: tuple[int, ...], rows: int, lanes: str, traits: DeviceTraits
) -> int:
    """Return into how many chunks the first folded dim is cut; 0 where rows are enough."""
    points = fresh_numel(shape)
    if not points:
        return 0
    if traits.is_cpu:
        few = rows >= 64 or points < 4 * SPLIT_POINTS
        wanted = 1 if few else min(64, points // SPLIT_POINTS) // max(rows, 1)
    elif lanes == "kept":  # an item for each row
        length = points // rows
        wanted = 1 if length < 256 else min(512 * traits.compute_units // rows, length // 32)
    elif lanes == "group":  # a work-group for each row; one cut row is not fused with what reads it
        least = 4096 if rows < traits.compute_units else 4 * 4096
        wanted = min(8 * traits.compute_units // rows, points // rows // least)
    else:
        wanted = 1
    first = shape[reduced[0]]
    parts = min(first, wanted)
    if parts < 2:
        return 0
    return -(-first // chunk_length(first, parts))


def order_of_chunks(shape: tuple[int, ...], traits: DeviceTraits) -> FoldOrder:
    """Return the order in which partial results are folded, which lie as (chunks, rows…).

    Args:
        shape: (rows…, chunks).
    """
    *kept, parts = shape
    group = 0
    if not traits.is_cpu and traits.max_work_group >= 64 and fresh_numel(kept) < 64 <= parts:
        group = 64
    lanes = "group" if group else "kept" if kept else "inner"
    return FoldOrder(shape, (len(kept),), lanes, 1, 0, group, group)


def chunk_length(extent: int, parts: int) -> int:
    """Return the length of a chunk: whole vectors where chunks are long."""
    chunk = -(-extent // parts)
    return -(-chunk // 64) * 64 if chunk > 256 else chunk
