"""The engine: how a backward pass is run, by a trace of an earlier one or node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad import dispatch
from clgrad.autograd import traces
from clgrad.autograd.running import Pass, passes
from clgrad.autograd.task import Root, Task, seed
from clgrad.tape.grad_mode import mode
from clgrad.tape.node import Edge, Node


def run(
    roots: list[Root],
    keep_graph: bool,
    create_graph: bool,
    captures: Sequence[Edge] | None,
    accumulate: bool,
) -> list[Any]:
    """Run a backward pass.

    Args:
        roots: nodes and output numbers to start from, with the gradients of these outputs; emptied.
        keep_graph: leave saved tensors in place.
        create_graph: record the backward pass itself.
        captures: edges whose gradients are asked for; None runs everything.
        accumulate: whether captured leaves have their `.grad` added to instead.

    Returns:
        For each of `captures` its gradient, or None where none flowed or leaves accumulate.
    """
    before = mode.grad
    mode.grad = create_graph
    try:
        if captures is None and not create_graph and traces.run(roots, keep_graph):
            return []
        return _run_nodes(roots, keep_graph, captures, accumulate)
    finally:
        mode.grad = before
        dispatch.backend.flush()


def _run_nodes(
    roots: list[Root], keep_graph: bool, captures: Sequence[Edge] | None, accumulate: bool
) -> list[Any]:
    wanted: dict[Node, dict[int, list[int]]] = {}
    for place, (node, number) in enumerate(captures or ()):
        wanted.setdefault(node, {}).setdefault(number, []).append(place)
    task = Task(keep_graph, wanted, len(captures or ()), accumulate)
    nodes = [node for node, _, _ in roots]
    task.count_dependencies(nodes)
    if captures is not None:
        task.find_needed(nodes)
    passes.stack.append(Pass(limited=captures is not None))
    try:
        for node, number, grad in roots:
            task.add((node, number), seed(node, number) if grad is None else grad)
        # what nobody holds when the pass is flushed is not stored
        del grad
        roots.clear()
        task.start(nodes)
        task.run()
    finally:
        passes.stack.pop()
        task.buffers.clear()
    return task.captured
