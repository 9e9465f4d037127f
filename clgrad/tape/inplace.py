"""Views and in-place writes: who is a view of whom, what may be written, and history after it.

An in-place op on a tensor makes its node the tensor's history. On a view it makes `CopySlices` the
history of the base, and the view's own history is made anew from that. Which values are written,
and how, is in `dispatch`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from clgrad.errors import AutogradError
from clgrad.layout import Layout
from clgrad.tape.complaints import freed, op_of
from clgrad.tape.grad_mode import mode
from clgrad.tape.handed import handed
from clgrad.tape.node import NAMESPACE, AccumulateGrad, Edge, Grads, Node

DEFAULT, NO_GRAD, MULTI_OUTPUT, INFERENCE, CUSTOM = (
    "default", "no_grad", "multi_output", "inference", "custom",
)  # fmt: skip


_INFERENCE = ("inference", "inference_mode", "in normal mode")
_NO_GRAD = ("no_grad", "no_grad", "with grad mode enabled")


class ViewInfo:
    """What a view knows of where it came from.

    Attributes:
        base: the tensor that is no view, at the root.
        creation: how it was made, which decides whether it may be written in place.
        version: of the family, when the view's grad_fn was made.
        chain: the ops (with their static parameters) that make it of the base, if that is known.
    """

    __slots__ = ("base", "chain", "creation", "version")

    chain: tuple[tuple[Any, tuple[Any, ...]], ...] | None

    def __init__(self, base: Any, creation: str, version: int) -> None:
        self.base = base
        self.creation = creation
        self.version = version
        self.chain = None


def remember(view: Any, source: Any, op: Any, static: tuple[Any, ...]) -> None:
    """Note that `op` made `view` of `source`."""
    above = source._view
    before: Any = () if above is None else above.chain
    if before is not None and view._view is not None:
        view._view.chain = (*before, (op, static))


def replayed(tensor: Any, base: Any) -> Any:
    """Make of another base what a view is of its own, by the ops that made it, if known."""
    if tensor._view.chain is None:
        return None
    for op, static in tensor._view.chain:
        base = handed.view(op, base, static)
    return base


def _view_node(tensor: Any) -> Node:
    """Return a new history of a view: the ops that made it again, or the part of its base."""
    base = tensor._view.base
    before, mode.grad = mode.grad, True
    try:
        again = replayed(tensor, base)
    finally:
        mode.grad = before
    if again is not None and again._node is not None:
        node: Node = again._node
        return node
    return AsStridedBackward0(base, tensor._meta)


def requires_grad_of(tensor: Any) -> bool:
    """Return whether gradients flow to `tensor`, its base's history included."""
    if tensor._requires_grad:
        return True
    view = tensor._view
    return view is not None and view.base._requires_grad


def grad_fn_of(tensor: Any) -> Node | None:
    """Return the node that made `tensor`; that of a view is renewed if the family was written.

    Raises:
        AutogradError: it must be renewed, but the view was made in a way that forbids it.
    """
    node: Node | None = tensor._node
    view = tensor._view
    if view is None or (node is None and not view.base._requires_grad):
        return node
    if view.version != tensor._counter.version:
        check_view(tensor, "its base or another view of its base has been")
        retained = take_retained(tensor)
        node = tensor._node = _view_node(tensor)
        tensor._output_nr = 0
        if retained is not None:
            node._own_hooks().retain[0] = retained
        tensor._requires_grad = True
        view.version = tensor._counter.version
    return node


def edge_of(tensor: Any) -> Edge | None:
    """Return where a gradient of `tensor` goes, or None if it requires none."""
    node = tensor._node if tensor._view is None else grad_fn_of(tensor)
    if node is not None:
        return node, tensor._output_nr
    return (accumulator(tensor), 0) if tensor._requires_grad else None


def accumulator(leaf: Any) -> AccumulateGrad:
    """Return the one `AccumulateGrad` of a leaf, made when first needed."""
    known = leaf._accumulate
    found: AccumulateGrad | None = None if known is None else known()
    if found is None:
        found = AccumulateGrad(leaf)
        leaf._accumulate = weakref.ref(found)
    return found


# ---- may it be written? ------------------------------------------------------------------------


def check_view(tensor: Any, verb: str = "is being") -> None:
    """Raise `AutogradError` for a view whose way of creation forbids writing to its family."""
    view = tensor._view
    how = view.creation
    if how == DEFAULT:
        return
    node = tensor._node
    hint = ""
    if how in (INFERENCE, NO_GRAD) or node is None:
        made, block, normal = _INFERENCE if how == INFERENCE else _NO_GRAD
        who = (
            "A view was"
            if node is None
            else f"{_output(tensor, node)} is a view of a view which was"
        )
        text = f"{who} created in {made} mode and {verb} modified inplace {normal}."
        if how in (INFERENCE, NO_GRAD):
            hint = (
                " Given that this use case is ambiguous and error-prone, it is forbidden. Hint: "
                f"move the view and the write either both inside the {block} block or both out."
            )
    else:
        text = f"{_output(tensor, node)} is a view and {verb} modified inplace."
    if how == MULTI_OUTPUT:
        hint = (
            " This view is the output of a function that returns multiple views. Such functions do "
            "not allow the output views to be modified inplace. Hint: write out of place, or take "
            "the view by indexing or narrow()."
        )
    elif how == CUSTOM:
        hint = (
            " This view was created inside a custom Function (or because an input was returned "
            "as-is) and the autograd logic to handle view+inplace would override the custom "
            "backward associated with the custom Function. Hint: clone() the output of the "
            "Function."
        )
    raise AutogradError(text + hint)


def _output(tensor: Any, node: Node) -> str:
    return f"Output {tensor._output_nr} of {op_of(node)}"


def check_inference(tensor: Any) -> None:
    """Raise `AutogradError` for an inference tensor that is to be written outside of that mode."""
    if tensor._inference and not mode.inference:
        raise AutogradError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. Expected a "
            "normal tensor. Hint: clone() it first."
        )


def check_inplace(tensor: Any) -> None:
    """Raise `AutogradError` if `tensor` may not be written by an op that is recorded."""
    view = tensor._view
    if view is not None:
        check_view(tensor)
        base = view.base
        if base._node is None and requires_grad_of(tensor):
            raise AutogradError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation. Expected a leaf to keep its value. Hint: write under no_grad(), or "
                "into a clone() of the leaf."
            )
    elif tensor._requires_grad and tensor._node is None:
        raise AutogradError(
            "a leaf Variable that requires grad is being used in an in-place operation. Expected "
            "a leaf to keep its value. Hint: write under no_grad(), or into a clone() of the leaf."
        )


# ---- history after a write ---------------------------------------------------------------------


def rebase(tensor: Any, node: Node, number: int = 0) -> Any:
    """Make `node`, which has just written `tensor`, its output `number`, part of its history.

    Returns:
        None, or for a view a function that makes the edge of the node's saved result: the
        history of the view's new value does not end in the node itself but goes through the base.
    """
    view = tensor._view
    if view is None:
        move_retained(tensor, node, number)
        tensor._node = node
        tensor._output_nr = number
        tensor._requires_grad = True
        return None
    base, meta = view.base, tensor._meta
    slices = CopySlices(base, meta.layout, node)
    move_retained(base, slices)
    base._node = slices
    base._output_nr = 0
    base._requires_grad = True
    retained = take_retained(tensor)
    tensor._node = _view_node(tensor)
    tensor._output_nr = 0
    tensor._requires_grad = True
    view.version = tensor._counter.version
    if retained is not None:
        tensor._node._own_hooks().retain[0] = retained
    weak, base_meta = weakref.ref(slices), base._meta

    def edge() -> Edge | None:
        alive = weak()
        return None if alive is None else (AsStridedBackward0.over((alive, 0), base_meta, meta), 0)

    return edge


def take_retained(tensor: Any) -> Any:
    """Take the `retain_grad` function off the node of `tensor`: it goes where the tensor goes."""
    old = tensor._node
    if old is not None and old._hooks is not None:
        return old._hooks.retain.pop(tensor._output_nr, None)
    return None


def move_retained(tensor: Any, node: Node, number: int = 0) -> None:
    """Make the node that is to be `tensor`'s retain the gradient that its old one retained."""
    retained = take_retained(tensor)
    if retained is not None:
        node._own_hooks().retain[number] = retained


class AsStridedBackward0(Node):
    """History of a view after its family was written: the part of the base that it shows."""

    __slots__ = ("source",)

    source: Any

    def __init__(self, base: Any, meta: Any) -> None:
        super().__init__((edge_of(base),), (meta,))
        self.source = base._meta

    @classmethod
    def over(cls, edge: Edge, source: Any, meta: Any) -> AsStridedBackward0:
        """Return such a node for a base that is known by its edge and meta alone."""
        made = cls.__new__(cls)
        Node.__init__(made, (edge,), (meta,))
        made.source = source
        return made

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        (grad,) = grads
        if grad is None:
            return (None,)
        return (grad._embed(self._metas[0].layout, self.source.layout),)


class CopySlices(Node):
    """History of a base after one of its views was written by `node`.

    The gradient of the part that was written goes through the node, that of the rest passes by.
    """

    __slots__ = ("layout", "node")

    _namespace = NAMESPACE
    node: Node | None

    def __init__(self, base: Any, layout: Layout, node: Node) -> None:
        super().__init__((edge_of(base), *node._edges[1:]), (base._meta,))
        self.layout = layout
        self.node = node

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        node = self.node
        if node is None:
            raise freed(self)
        (grad,) = grads
        if grad is None:
            return (None,) * len(self._edges)
        base = self._metas[0].layout
        written = grad._part(self.layout, base)
        inner = node.apply((written,), wanted)
        first = None
        if self._edges[0] is not None and (wanted is None or wanted[0]):
            first = grad._scatter(inner[0], self.layout, base)
        return (first, *inner[1:])

    def _release(self) -> None:
        if self.node is not None:
            self.node._release()
            self.node = None

    def _saved_items(self) -> Iterable[tuple[str, Any]]:
        return () if self.node is None else self.node._saved_items()


def make_view(tensor: Any, meta: Any, creation: str) -> Any:
    """Return a tensor over `tensor`'s storage under another layout, in its family.

    Its grad_fn is the caller's to set.
    """
    made = handed.wrap(tensor._storage, meta)
    if tensor._inference:  # which has no history that a view could have a part in
        made._inference = True
        return made
    made._counter = counter = tensor._family()
    above = tensor._view
    if above is None:
        made._view = ViewInfo(tensor, creation, counter.version)
    else:
        if creation == DEFAULT:
            creation = above.creation
        made._view = ViewInfo(above.base, creation, counter.version)
    return made
