"""Operands that a kernel family makes where it reads them: the prologue of a product.

A cast, a scale, another short formula of one array that lies in memory as the operand would, and of
numbers and vectors along rows or columns. Whether that pays where the family has to make elements
more than once is for the family to say (`Signature.prologue`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clgrad.dtypes import bool_
from clgrad.graph.group import Group, Ref
from clgrad.graph.inlining import cut, take_inlined
from clgrad.layout import Layout
from clgrad.windowed import Windowed

if TYPE_CHECKING:
    from clgrad.graph.fusion import Fusion

MOST = 8
"""Operations per element of such an operand."""


def feed(fusion: Fusion, group: Group, e: Ref, k: int) -> bool:
    """Let the kernel of entry `e` make its operand `k` itself, if that pays.

    It does for what nobody else reads, and what is not made by a kernel that runs anyway.
    """
    entry = fusion.entries[e]
    sig, ref = entry.sig, entry.sources[k]
    home = fusion.home.get(ref)
    if sig.prologue is None or home is None or fusion.traced or fusion.runs(home):
        return False
    if fusion.readers[ref] > 1 or fusion.stored[ref] or ref in fusion.bases:
        return False
    over = sig.reads[k]
    found = cut(fusion, group, ref, over, False)
    if found is None or found.cost > MOST:
        return False
    parts = {part: got for part, got in found.parts.items() if got.how != "number"}
    if any(part.dtype is bool_ for part in found.parts) or any(
        got.ref is None or isinstance(got.layout, Windowed) for got in parts.values()
    ):
        return False
    layouts = [got.layout for got in parts.values() if got.layout is not None]
    vectors = [x for x in layouts if x.strides != over.strides]
    if len(layouts) != len(vectors) + 1 or not all(map(_is_vector, vectors)):
        return False
    if not sig.prologue(sig, k, fusion.traits):
        return False
    group.fed[k] = take_inlined(fusion, group, ref, over, False)
    return True


def _is_vector(layout: Layout) -> bool:
    """Whether a layout over (batch…, rows, columns) has at most one value per row or per column.

    One per row goes on through the batch, so that matrices can be merged to one.
    """
    *outer, last = layout.strides
    if last or not any(outer):
        return not any(outer)
    merged = Layout.contiguous(layout.shape[:-1]).strides
    return len(outer) == 1 or tuple(outer) == merged
