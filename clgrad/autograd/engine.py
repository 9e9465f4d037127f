"""The engine: how a backward pass is run, by a trace of an earlier one or node by node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from clgrad import dispatch
from clgrad.autograd import traces
from clgrad.autograd.running import hold_back, running
from clgrad.autograd.task import Root, Task, seed
from clgrad.creation import current
from clgrad.tape import anomaly
from clgrad.tape.grad_mode import mode
from clgrad.tape.node import Edge, Node
from clgrad.tape.noting import listeners
from clgrad.tape.saved import pack_hooks

DEEPEST = 24
"""Passes inside of one another in one thread; those further in get a thread and its stack."""


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
    if len(running.tasks) >= DEEPEST:
        return _elsewhere(lambda: run(roots, keep_graph, create_graph, captures, accumulate))
    before = mode.grad
    mode.grad = create_graph and not mode.inference
    try:
        if captures is None and not create_graph and traces.run(roots, keep_graph):
            return []
        return _run_nodes(roots, keep_graph, captures, accumulate)
    finally:
        mode.grad = before
        if not hold_back():
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
    hooks = pack_hooks.stack[:]
    running.tasks.append(task)
    try:
        for node, number, grad in roots:
            task.add((node, number), seed(node, number) if grad is None else grad)
        # what nobody holds when the pass is flushed is not stored
        del grad
        roots.clear()
        task.start(nodes)
        task.run()
        task.node = None
        while task.callbacks:
            task.callbacks.pop(0)()
    finally:
        running.tasks.pop()
        task.buffers.clear()
        pack_hooks.stack[:] = hooks  # whatever user code has done inside
    return task.captured


def _elsewhere(function: Callable[[], list[Any]]) -> list[Any]:
    """Return what `function()` gives in another thread, whose stack is empty, in our modes."""
    modes = (mode, anomaly.mode, pack_hooks, listeners, current)
    ours = [dict(vars(one)) for one in modes]
    made: list[Any] = []

    def call() -> None:
        for one, state in zip(modes, ours, strict=True):
            vars(one).update(state)
        try:
            made.append(function())
        except BaseException as error:
            made.append(error)
            made.append(None)

    thread = threading.Thread(target=call, name="clgrad-reentrant")
    thread.start()
    thread.join()
    if len(made) > 1:
        raise made[0]
    found: list[Any] = made[0]
    return found
