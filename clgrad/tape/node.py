"""Nodes of the graph of derivatives, and the one that ends in a leaf's `.grad`.

A node turns the gradients of its outputs into gradients of its inputs; where these go, its edges
say: one (node, output number) per input, or None where no gradient is needed. What an op's node
computes is in `record`, the order in which nodes run in `autograd.engine`.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any

from clgrad.errors import AutogradError, ClgradTypeError
from clgrad.graph.position import Position, caller
from clgrad.graph.storage import Storage
from clgrad.ops.meta import meta_of
from clgrad.tape import noting
from clgrad.tape.grad_mode import mode
from clgrad.tape.handed import handed
from clgrad.tape.hooks import OWN, NodeHooks, RemovableHandle, Table, hook_name

Edge = tuple["Node", int]
Grads = Sequence[Any]

next_sequence = itertools.count().__next__
NAMESPACE = "torch::autograd::"
"""What PyTorch puts before the names of the nodes that it does not generate."""
LAST = 1 << 62
"""Sequence number of nodes that must run as soon as they are ready."""


class Node:
    """One step of backward; `grad_fn` of the tensors that it made.

    Attributes:
        _edges: for each input, where its gradient goes, or None.
        _metas: of the outputs; what gradients are reduced and cast to on their way in.
        _seq: larger for younger nodes, which run first.
        _code, _at: where in the program it was made; not there for `AccumulateGrad`.
        _hooks: what users registered, or None.

    The names of these leave others to users: the context of a custom function is a node.
    """

    __slots__ = ("__weakref__", "_at", "_code", "_edges", "_hooks", "_metas", "_seq")

    _code: CodeType
    _at: int
    _edges: tuple[Edge | None, ...]
    _metas: tuple[Any, ...]
    _seq: int
    _hooks: NodeHooks | None
    _leaf: Any = None  # only AccumulateGrad has one
    _namespace = ""

    def __init__(self, edges: Sequence[Edge | None], metas: Sequence[Any]) -> None:
        self._edges = tuple(edges)
        self._metas = tuple(metas)
        self._seq = next_sequence()
        self._hooks = None
        place = caller()
        if place is not None:
            self._code, self._at = place
        if noting.Switch.open:
            noting.note(self)

    def __call__(self, *grads: Any) -> Any:
        """Return the gradients of the inputs, given those of the outputs; runs no hooks.

        Raises:
            ClgradTypeError: another number of gradients, or something that is neither a tensor nor
                None.
        """
        if len(grads) != len(self._metas):
            raise ClgradTypeError(
                f"{self.name()}: expected {len(self._metas)} arguments, got {len(grads)} instead."
            )
        for k, grad in enumerate(grads):
            if grad is not None and not isinstance(grad, handed.tensor):
                raise ClgradTypeError(
                    f"{self.name()}: argument {k} is not a Variable but {type(grad).__name__}. "
                    "Expected a tensor or None."
                )
        results = tuple(self.apply(grads, None))
        return results[0] if len(results) == 1 else results

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        """Return a gradient (or None) for each edge.

        Args:
            grads: of the outputs; None where nothing flowed.
            wanted: which edges lead to something that is asked for; None means all.

        Raises:
            GraphFreedError: `_release` was called before.
        """
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of saved tensors."""

    def _saved_items(self) -> Iterable[tuple[str, Any]]:
        """Return what is saved, by name; nothing once it is released."""
        return ()

    def name(self) -> str:
        """Return the name of the node's class, with PyTorch's namespace where that has one."""
        return self._namespace + type(self).__name__

    @property
    def _place(self) -> Position | None:
        """Where in the program this was made, if that is known."""
        try:
            return self._code, self._at
        except AttributeError:
            return None

    @property
    def requires_grad(self) -> bool:
        """Whether gradients go on from here to anything."""
        return any(edge is not None for edge in self._edges)

    @property
    def _input_metadata(self) -> tuple[Any, ...]:
        """What is known of each gradient that arrives here: `shape`, `dtype`, `device`."""
        return tuple(self._metas)

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each input the (node, output number) to which its gradient goes."""
        return tuple([(None, 0) if edge is None else edge for edge in self._edges])

    def _own_hooks(self) -> NodeHooks:
        if self._hooks is None:
            self._hooks = NodeHooks()
        return self._hooks

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user."""
        return self._own_hooks().metadata

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after this node ran.

        It may return a tuple that replaces `grad_inputs`.
        """
        return RemovableHandle(self._own_hooks().post, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_outputs)` before this node runs.

        It may return a tuple that replaces `grad_outputs`.
        """
        return RemovableHandle(self._own_hooks().pre, hook)

    def _register_tensor_hook(self, output: int, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad)` when the gradient of output number `output` is complete."""
        return RemovableHandle(self._own_hooks().tensor.setdefault(output, Table()), hook)

    def _sequence_nr(self) -> int:
        return self._seq

    def _set_sequence_nr(self, number: int) -> None:
        self._seq = number

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"


_accumulating = threading.Lock()  # two backward passes may end in one leaf


class AccumulateGrad(Node):
    """Adds what arrives to `variable.grad`; it holds the leaf, which refers to it weakly."""

    __slots__ = ("_leaf",)

    _namespace = NAMESPACE

    def __init__(self, variable: Any) -> None:
        self._leaf = variable
        self._edges = ()
        self._seq = LAST

    @property
    def variable(self) -> Any:
        """The leaf."""
        return self._leaf

    @property
    def _metas(self) -> tuple[Any, ...]:  # type: ignore[override]  # `.data =` may change it
        meta, hooks = self._leaf._meta, self._leaf._hooks
        if hooks is not None and hooks.dtype is not OWN:
            meta = meta_of(hooks.dtype, meta.layout, meta.device)
        return (meta,)

    @property
    def _hooks(self) -> NodeHooks | None:  # of the leaf: they outlive this node
        hooks: NodeHooks | None = self._leaf._hooks
        return hooks

    @_hooks.setter
    def _hooks(self, hooks: NodeHooks | None) -> None:
        self._leaf._hooks = hooks

    @property
    def requires_grad(self) -> bool:
        return True

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        (grad,) = grads
        variable = self._leaf
        hooks = self._hooks
        if grad is not None and variable._node is not None:
            raise AutogradError(
                "leaf variable has been moved into the graph interior: it was written in place "
                "after requires_grad was set to False. Expected a leaf. Hint: write into a clone()."
            )
        if grad is not None and variable._requires_grad:  # it may have been switched off since
            with _accumulating:
                old = variable._grad
                if old is None:
                    ours = sys.getrefcount(grad) <= _ours
                    variable._grad = (stolen if ours else first_gradient)(grad, variable)
                elif mode.grad:
                    variable._grad = old + grad
                else:
                    old.add_(grad)
        if hooks is not None and hooks.accumulated:
            for hook in list(hooks.accumulated.values()):
                given = hook(variable)
                if given is not None and given is not variable:
                    raise _returned(hook, given)
        return ()


def _returned(hook: Any, given: Any) -> Exception:
    """Return the error for what a hook after accumulation returned."""
    name, hint = hook_name(hook), "Hint: write to tensor.grad instead."
    if isinstance(given, handed.tensor):
        return AutogradError(
            f"hook {name!r}: Tensor post accumulate grad hooks should return None. {hint}"
        )
    return ClgradTypeError(f"hook {name!r}: expected Variable, but hook returned {given!r}. {hint}")


def _references(grads: Grads) -> int:
    (grad,) = grads
    return sys.getrefcount(grad)


_ours = _references([object()])
"""References to a gradient that only a pass holds, as `AccumulateGrad.apply` counts them."""


class OverwriteNode(Node):
    """Node of an op that replaces every element: no gradient for the old ones."""

    __slots__ = ()

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        (g,) = grads
        if g is None:
            return (None,) * len(self._edges)
        return (
            None if self._edges[0] is None else g._zeros(self._metas[0].shape),
            *([g] if len(self._edges) > 1 else []),
        )


class CopyBackwards(OverwriteNode):
    """Node of `copy_`, and of a gradient that was put into a leaf's `.grad`."""

    __slots__ = ()

    _namespace = NAMESPACE


def first_gradient(grad: Any, variable: Any) -> Any:
    """Return what `.grad` becomes when it was None: a new storage over the same value, no copy.

    It is laid out as the leaf if that is dense, else row-major. With `create_graph` the result
    stays in the graph.
    """
    if mode.grad and grad.requires_grad:
        made = first_gradient(grad.detach(), variable)
        node = grad.grad_fn
        edge = (grad._grad_accumulator(), 0) if node is None else (node, grad._output_nr)
        made._node = CopyBackwards((None, edge), (made._meta,))
        made._requires_grad = True
        return made
    meta, value = grad._meta, grad._storage.value
    if not variable._meta.contiguous:
        order = _order(variable._meta.layout)
        if order is not None:
            back = sorted(range(len(order)), key=order.__getitem__)
            grad = grad.detach().permute(order)
            if grad._meta.contiguous:
                grad = grad.clone()
            return grad.contiguous().permute(back).detach()
    if meta.contiguous and value.numel == meta.numel and not value.shared:
        return handed.wrap(Storage(value), meta)
    return grad.detach().contiguous() if not meta.contiguous else grad.detach().clone()


def _order(layout: Any) -> list[int] | None:
    """Return the dims from the outermost to the innermost in memory, or None for one with gaps."""
    order = sorted(range(layout.ndim), key=lambda d: -layout.strides[d])
    if order == list(range(layout.ndim)):
        return None
    expected = 1
    for d in reversed(order):
        if layout.shape[d] != 1 and layout.strides[d] != expected:
            return None
        expected *= layout.shape[d]
    return order


def stolen(grad: Any, variable: Any) -> Any:
    """Return what `.grad` becomes if nobody else has the gradient: its memory.

    What a post hook gets as the gradient is then what it finds in `.grad`, as in PyTorch.
    """
    meta, value = grad._meta, grad._storage.value
    plain = variable._meta.contiguous and meta.contiguous and value.numel == meta.numel
    if not (plain or mode.layouts or value.numel != meta.numel):
        plain = meta.contiguous or _order(meta.layout) is not None
    if mode.grad or not plain or value.shared:
        return first_gradient(grad, variable)
    return grad.detach() if grad._requires_grad else handed.wrap(grad._storage, meta)
