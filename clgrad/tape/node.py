"""Nodes of the graph of derivatives, and the one that ends in a leaf's `.grad`.

A node turns the gradients of its outputs into gradients of its inputs; where these go, its edges
say: one (node, output number) per input, or None where no gradient is needed. What an op's node
computes is in `record`, the order in which nodes run in `autograd.engine`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from clgrad.graph.storage import Storage
from clgrad.tape import noting
from clgrad.tape.grad_mode import mode
from clgrad.tape.handed import handed
from clgrad.tape.hooks import NodeHooks, RemovableHandle, Table

Edge = tuple["Node", int]
Grads = Sequence[Any]

next_sequence = itertools.count().__next__
LAST = 1 << 62
"""Sequence number of nodes that must run as soon as they are ready."""


class Node:
    """One step of backward; `grad_fn` of the tensors that it made.

    Attributes:
        edges: for each input, where its gradient goes, or None.
        metas: of the outputs; what gradients are reduced and cast to on their way in.
        seq: larger for younger nodes, which run first.
        hooks: what users registered, or None.
    """

    __slots__ = ("__weakref__", "edges", "hooks", "metas", "seq")

    edges: tuple[Edge | None, ...]
    metas: tuple[Any, ...]
    seq: int
    hooks: NodeHooks | None
    variable: Any = None  # only AccumulateGrad has one

    def __init__(self, edges: Sequence[Edge | None], metas: Sequence[Any]) -> None:
        self.edges = tuple(edges)
        self.metas = tuple(metas)
        self.seq = next_sequence()
        self.hooks = None
        if noting.Switch.open:
            noting.note(self)

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        """Return a gradient (or None) for each edge.

        Args:
            grads: of the outputs; None where nothing flowed.
            wanted: which edges lead to something that is asked for; None means all.

        Raises:
            GraphFreedError: `release` was called before.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Let go of saved tensors."""

    def name(self) -> str:
        """Return the name of the node's class, as PyTorch would call it."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each input the (node, output number) to which its gradient goes."""
        return tuple([(None, 0) if edge is None else edge for edge in self.edges])

    def _hooks(self) -> NodeHooks:
        if self.hooks is None:
            self.hooks = NodeHooks()
        return self.hooks

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user."""
        return self._hooks().metadata

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after this node ran.

        It may return a tuple that replaces `grad_inputs`.
        """
        return RemovableHandle(self._hooks().post, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_outputs)` before this node runs.

        It may return a tuple that replaces `grad_outputs`.
        """
        return RemovableHandle(self._hooks().pre, hook)

    def register_tensor_hook(self, output: int, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad)` when the gradient of output number `output` is complete."""
        return RemovableHandle(self._hooks().tensor.setdefault(output, Table()), hook)

    def _sequence_nr(self) -> int:
        return self.seq

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


_accumulating = threading.Lock()  # two backward passes may end in one leaf


class AccumulateGrad(Node):
    """Adds what arrives to `variable.grad`; it holds the leaf, which refers to it weakly."""

    __slots__ = ("variable",)

    def __init__(self, variable: Any) -> None:
        self.variable = variable
        self.edges = ()
        self.seq = LAST

    @property
    def metas(self) -> tuple[Any, ...]:  # type: ignore[override]  # `.data =` may change it
        return (self.variable._meta,)

    @property
    def hooks(self) -> NodeHooks | None:  # of the leaf: they outlive this node
        hooks: NodeHooks | None = self.variable._hooks
        return hooks

    @hooks.setter
    def hooks(self, hooks: NodeHooks | None) -> None:
        self.variable._hooks = hooks

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        (grad,) = grads
        if grad is None:
            return ()
        variable = self.variable
        with _accumulating:
            old = variable._grad
            if old is None:
                variable._grad = first_gradient(grad)
            elif mode.grad:
                variable._grad = old + grad
            else:
                old.add_(grad)
        hooks = self.hooks
        if hooks is not None and hooks.accumulated:
            for hook in list(hooks.accumulated.values()):
                hook(variable)
        return ()


def first_gradient(grad: Any) -> Any:
    """Return what `.grad` becomes when it was None: a new storage over the same value, no copy.

    With `create_graph` the result stays in the graph.
    """
    if mode.grad and grad.requires_grad:
        return grad.clone()
    meta = grad._meta
    value = grad._storage.value
    if meta.contiguous and value.numel == meta.numel and not value.shared:
        return handed.wrap(Storage(value), meta)
    return grad.detach().contiguous() if not meta.contiguous else grad.detach().clone()
