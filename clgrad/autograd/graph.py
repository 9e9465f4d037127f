"""Looking at and interfering with the graph: edges, hooks of several tensors, versions.

What it saves can be changed by `saving` and shown by `holding`, it is drawn by `drawing`; all are
reached from here.
"""

from __future__ import annotations

import abc
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from clgrad.autograd.drawing import show
from clgrad.autograd.holding import SavedRecord, memory_report, saved_tensors
from clgrad.autograd.running import running, will_engine_execute_node
from clgrad.autograd.saving import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)
from clgrad.errors import AutogradError, ClgradValueError
from clgrad.tape import node as nodes
from clgrad.tape.hooks import RemovableHandle
from clgrad.tape.inplace import accumulator, edge_of
from clgrad.tensor import Tensor

__all__ = [
    "GradientEdge",
    "Node",
    "SavedRecord",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "memory_report",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors",
    "saved_tensors_hooks",
    "show",
]


class Node(abc.ABC):
    """What every node of a graph is an instance of; `nodes.Node` is what they are made of."""

    @abc.abstractmethod
    def name(self) -> str:
        """Return the name of the node."""

    @property
    @abc.abstractmethod
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """For each input the (node, output number) to which its gradient goes."""

    @abc.abstractmethod
    def metadata(self) -> dict[Any, Any]:
        """Return what users noted of the node."""

    @abc.abstractmethod
    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call `fn(grad_inputs, grad_outputs)` after the node."""

    @abc.abstractmethod
    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call `fn(grad_outputs)` before the node."""


Node.register(nodes.Node)


class UndifferentiatedError(AutogradError, AssertionError):
    """A tensor whose gradient is to be waited for requires none."""


class GradientEdge(NamedTuple):
    """Where a tensor's gradient goes; stands for the tensor in `grad` and `backward`."""

    node: nodes.Node
    output_nr: int
    ownership_token: nodes.Node | None = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Return where the gradient of `tensor` goes; raises `AutogradError` if it requires none."""
    edge = edge_of(tensor)
    if edge is None:
        raise AutogradError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients."
        )
    return GradientEdge(*edge)


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a write that was made by other means than ops; inference tensors are passed over."""
    tensors: Any = (tensor,) if isinstance(tensor, Tensor) else tensor
    for one in tensors:
        if not one._inference:
            one._family().bump("increment_version")


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[[Any], None], *, mode: str = "all"
) -> RemovableHandle:
    """Call `fn` in each pass when the gradients of all of `tensors` are there, or of the first.

    Args:
        tensors: those to which the pass does not come are not waited for.
        fn: with `all` it gets a list of gradients, None for those that were not computed; with
            `any` one gradient.

    Returns:
        A handle that removes all of it.
    """
    if mode not in ("all", "any"):
        raise ClgradValueError(f"Expects mode to be one of ('all', 'any') but got {mode}.")
    key = object()
    if mode == "any":

        def first(grad: Tensor) -> None:
            notes = running.tasks[-1].notes
            if key not in notes:
                notes[key] = True
                fn(grad)

        return _MultiHandle([t.register_hook(first) for t in tensors if t.requires_grad])
    for k, tensor in enumerate(tensors):
        if not tensor.requires_grad:
            raise UndifferentiatedError(
                "Expected gradient function to be set: cannot register a hook on a tensor that "
                f"doesn't require gradient, which is tensor {k}. Hint: requires_grad_() first."
            )
    places = [_place(t) for t in tensors]

    def collect(number: int) -> Callable[[Tensor], None]:
        def inner(grad: Tensor) -> None:
            notes = running.tasks[-1].notes
            if key not in notes:
                alive = [node for place in places if (node := place())]
                notes[key] = sum(map(will_engine_execute_node, alive)), [None] * len(places)
            left, buffer = notes[key]
            buffer[number] = grad
            notes[key] = left - 1, buffer
            if left == 1:
                del notes[key]
                fn(buffer)

        return inner

    return _MultiHandle([t.register_hook(collect(k)) for k, t in enumerate(tensors)])


def _place(tensor: Tensor) -> Callable[[], nodes.Node | None]:
    """Return a function for the node to which a tensor's gradient goes; it keeps nothing alive."""
    node = tensor.grad_fn
    if node is not None:
        return weakref.ref(node)
    leaf = weakref.ref(tensor)

    def found() -> nodes.Node | None:
        alive = leaf()
        return None if alive is None or not alive.requires_grad else accumulator(alive)

    return found


class _MultiHandle(RemovableHandle):
    """One handle for several hooks."""

    __slots__ = ("_handles",)

    def __init__(self, handles: list[RemovableHandle]) -> None:
        self.id = handles[0].id if handles else -1
        self._handles = handles

    def remove(self) -> None:
        """Remove all of them."""
        for handle in self._handles:
            handle.remove()
