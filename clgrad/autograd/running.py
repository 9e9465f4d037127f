"""Which backward passes are running in this thread, innermost last; what user code may ask of them.

Hooks and custom functions run inside of a pass. Here they find out which pass that is, whether it
will come to a node, and have something called at its end.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from clgrad import dispatch
from clgrad.errors import AutogradError
from clgrad.tape.grad_mode import is_multithreading_enabled
from clgrad.tape.node import AccumulateGrad, Node

if TYPE_CHECKING:
    from clgrad.autograd.task import Task


_numbers = itertools.count().__next__


class Pass:
    """One backward pass, or what stands for one where none is running.

    Attributes:
        number: 0, 1, … in the order in which passes began.
    """

    __slots__ = ("__weakref__", "number")

    def __init__(self) -> None:
        self.number = _numbers()


class _Running(threading.local):
    """This thread's passes.

    Attributes:
        composing: whether they are steps of something that is still being recorded.
        unread: somebody will use the gradients of the next pass and drop them at once.
        held_back: the tapes on which that pass was left pending, or None.
    """

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.composing = 0
        self.unread = False
        self.held_back: object = None


running = _Running()


def hold_back() -> bool:
    """Whether a pass that ends here may stay pending: one, until its gradients are used."""
    if running.composing:
        return True
    unread, running.unread = running.unread, False
    running.held_back = dispatch.backend.mark()[0] if unread else None
    return unread


def current() -> Task | None:
    """Return the innermost pass that this thread is in."""
    return running.tasks[-1] if running.tasks else None


def _present(asked: str) -> Task:
    tasks = running.tasks
    if not tasks:
        raise AutogradError(
            f"{asked} should only be called during the backward pass. "
            "Hint: call it in a hook or in the backward of a custom function."
        )
    return tasks[-1]


def queue_callback(callback: Callable[[], Any]) -> None:
    """Call `callback()` when the pass that is running has run all of its nodes."""
    if not running.tasks:
        raise AutogradError(
            "Final callbacks can only be installed during backward pass. "
            "Hint: queue it in a hook or in the backward of a custom function."
        )
    running.tasks[-1].callbacks.append(callback)


def current_graph_task_id() -> int:
    """Return the number of the pass that is running, or -1 if none is."""
    return running.tasks[-1].number if running.tasks else -1


def current_autograd_node() -> Node | None:
    """Return the node that is being run, or None outside of passes."""
    return running.tasks[-1].node if running.tasks else None


def current_graph_task_keep_graph() -> bool:
    """Return whether the pass that is running was asked to retain the graph; True outside."""
    return running.tasks[-1].keep_graph if running.tasks else True


def will_engine_execute_node(node: Node) -> bool:
    """Return whether the pass that is running runs `node`, or has run it.

    Raises:
        AutogradError: that is no node, no pass is running, or it is one of `grad` and the node
            that of a leaf.
    """
    if not isinstance(node, Node):
        raise AutogradError(
            f"will_engine_execute_node: expects an grad_fn, but got {type(node).__name__}. "
            "Hint: tensor.grad_fn, or get_gradient_edge(leaf).node."
        )
    task = _present("will_engine_execute_node")
    if task.needed is None:
        return node in task.pending
    if node not in task.needed:
        return False
    if isinstance(node, AccumulateGrad) and not task.accumulate:
        raise AutogradError(
            "will_engine_execute_node: a leaf node was passed, but we are currently running "
            "autograd.grad(), which does not come to leaves. Hint: ask for the node before it."
        )
    return True


def current_graph_task_execution_order() -> list[Node]:
    """Return the nodes of the pass that is running in the order in which it runs them.

    Raises:
        AutogradError: no pass is running, or `set_multithreading_enabled(False)` was not called:
            PyTorch knows the order only then.
    """
    task = _present("current_graph_task_execution_order")
    if is_multithreading_enabled():
        raise AutogradError(
            "current_graph_task_execution_order: expects the current backward to be executed with "
            "multithreading disabled. Hint: run it under set_multithreading_enabled(False)."
        )
    needed = task.needed
    pending = dict.fromkeys(task.pending, 0)
    for node in task.pending:
        for edge in node._edges:
            if edge is not None:
                pending[edge[0]] += 1
    ready: list[tuple[int, int, Node]] = []
    for node in dict.fromkeys(task.roots):
        if not pending[node]:
            heappush(ready, (-node._seq, len(ready), node))
    order, pushed = [], len(ready)
    while ready:
        node = heappop(ready)[2]
        order.append(node)
        for edge in node._edges:
            if edge is None:
                continue
            target = edge[0]
            pending[target] -= 1
            if not pending[target] and (needed is None or target in needed):
                pushed += 1
                heappush(ready, (-target._seq, pushed, target))
    return order
