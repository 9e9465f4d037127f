"""Gradients of parts of a tensor, kept apart until the node that made the tensor has its turn.

A tensor of which ten thousand rows are read gets ten thousand gradients, each of one row: embedded
one by one and added they would be ten thousand tensors of its size. So a pass collects them (`Sum`)
and joins them once. The other way round, rows of a tensor that were written one after the other
each take their part out of one gradient: a `Holed` is that gradient with a note of what was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from clgrad.creation import tensor
from clgrad.layout import Layout
from clgrad.ops.slabs import slabs
from clgrad.ops.view import embedded
from clgrad.tape.inplace import CopySlices
from clgrad.tape.node import Node, OverwriteNode
from clgrad.tape.record import OpNode
from clgrad.tensor import Tensor

WIDE = 16
"""Gradients of one node from which on those of parts are collected."""
LARGEST = 1 << 26
"""Elements of the largest tensor of which it is noted, element by element, what was written."""


class Part:
    """The gradient of a tensor of `shape` that is `grad` at `layout` and zero elsewhere."""

    __slots__ = ("grad", "layout", "shape")

    def __init__(self, grad: Any, layout: Layout, shape: tuple[int, ...]) -> None:
        self.grad = grad
        self.layout = layout
        self.shape = shape


class Sum:
    """Gradients of one tensor, some of parts of it: to be added up."""

    __slots__ = ("parts", "whole")

    def __init__(self, first: Any) -> None:
        self.parts: list[Part] = []
        self.whole = first  # None where there is none

    def add(self, grad: Any) -> None:
        """Take one more gradient."""
        if grad.__class__ is Part:
            self.parts.append(grad)
        else:
            grad = settled(grad)
            self.whole = grad if self.whole is None else self.whole + grad

    def total(self) -> Tensor:
        """Return the sum."""
        parts = self.parts
        made: Any = self.whole
        if parts:
            first = parts[0]
            base = Layout.contiguous(first.shape)
            if slabs(tuple([p.layout for p in parts]), first.shape) is not None:
                given = [(p.grad, p.layout) for p in parts]
                joined = first.grad._embed_all(given, base)
                made = joined if made is None else made + joined
            else:
                for p in parts:
                    one = p.grad._embed(p.layout, base)
                    made = one if made is None else made + one
        return made  # type: ignore[no-any-return]  # a tensor


class Holed:
    """The gradient `grad` of a contiguous tensor without the parts that were taken out of it.

    Attributes:
        layouts: of these parts, which are disjoint.
        taken: of each element whether it was.
    """

    __slots__ = ("grad", "layouts", "taken")

    def __init__(self, grad: Any) -> None:
        self.grad = grad.contiguous()
        self.layouts: list[Layout] = []
        self.taken = np.zeros(grad._meta.numel, np.bool_)

    def take(self, layout: Layout) -> bool:
        """Take a part out; returns False, and does nothing, if some of it was taken before."""
        places = self.taken[layout.offset :]
        part = as_strided(places, layout.shape, layout.strides)  # of bytes
        if part.any():
            return False
        part[...] = True
        self.layouts.append(layout)
        return True

    def total(self) -> Tensor:
        """Return the gradient with zeros where parts were taken out."""
        made: Tensor = self.grad
        base = Layout.contiguous(made._meta.shape)
        if len(self.layouts) < WIDE:
            for layout in self.layouts:
                made = made._scatter(None, layout, base)
            return made
        taken = tensor(self.taken.reshape(made._meta.shape), device=made._meta.device)
        return made.masked_fill(taken, 0)  # type: ignore[no-any-return]  # a tensor


def settled(grad: Any) -> Any:
    """Return a gradient as a tensor."""
    return grad.total() if grad.__class__ in (Sum, Holed) else grad


def part_of(node: Node, grads: Sequence[Any]) -> Part | None:
    """Return what a view's node makes of its gradient, or None if it is no such node."""
    if not isinstance(node, OpNode) or node.plan.op.backward is not embedded or node.kept is None:
        return None
    g, op = grads[0], node.plan.op
    if g is None or op.layout is None:
        return None
    shape = node.plan.kinds[0].shape
    layout = op.layout(Layout.contiguous(shape), *node.plan.static)
    return None if layout is None else Part(g, layout, shape)


def _overwritten(node: Node) -> bool:
    """Whether a node is the history of a part that was overwritten, in a plain tensor."""
    if node.__class__ is not CopySlices or node._hooks is not None:
        return False
    assert isinstance(node, CopySlices)
    base = node._metas[0].layout
    return (
        isinstance(node.node, OverwriteNode) and not node.layout.has_overlap
        and base.offset == 0 and base.is_contiguous and base.numel <= LARGEST
    )  # fmt: skip


def rest_of(node: Node, grads: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return what the history of an overwritten part makes of its gradient, or None.

    What goes on to the tensor as it was before the write is a `Holed` where that is again such a
    history; only then the gradient is ever one.
    """
    edge = node._edges[0] if node._edges else None
    further = edge is not None and _overwritten(edge[0])
    given = grads[0]
    if given is None or not (further or given.__class__ is Holed) or not _overwritten(node):
        return None
    assert isinstance(node, CopySlices)
    holed = given if given.__class__ is Holed else Holed(given)
    if not holed.take(node.layout):
        holed = Holed(holed.total())
        holed.take(node.layout)
    written = holed.grad._part(node.layout, node._metas[0].layout)
    rest = None if edge is None else holed if further else holed.total()
    return (rest, *([written] if len(node._edges) > 1 else []))
