"""Backward passes that were made before: recorded again at once, without running their nodes.

A loop makes the same graph again and again. What its backward pass records depends on the graph's
structure alone: rules, edges, the order of the nodes, which saved values are one. That is the key
of a trace. The first pass over a structure runs node by node and is taken down; a later one checks
what must be checked (saved versions, freed nodes, hooks) and appends the same entries to the tape,
on its own saved values and numbers. Whatever is not plainly of this kind is left to the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop
from typing import Any

from clgrad import batching, dispatch
from clgrad.autograd.known import Found, Writer
from clgrad.autograd.task import Root, Task, seed
from clgrad.graph.storage import Storage, Value
from clgrad.tape import anomaly
from clgrad.tape.node import AccumulateGrad, Node
from clgrad.tape.record import OpNode, Rule, Step
from clgrad.tape.saved import Switch
from clgrad.tape.tangents import forward
from clgrad.tape.version import Pin
from clgrad.tensor import wrap

LIMIT = 256
"""Traces kept; a program with more structures than this gains nothing from them."""
CONSTANTS = 8
"""Sets of numbers for which a structure is traced; where they change all the time it is not."""
LONGEST = 2048
"""Nodes of a pass that is traced: its entries become one plan."""
_OFTEN = 3
"""Uses from which on a trace is looked for first; before, writing out its code is too dear."""


class _Trace:
    """What a pass records, and where its results go.

    Attributes:
        segment: the recorded work on [saved values and seeds], or None if it must not be used.
        deliveries: (which leaf, which output, or ~which operand, meta of the gradient).
        used: how often it was found by a walk.
        confirm: what makes walks needless from then on (see `known`), or None.
    """

    __slots__ = ("confirm", "deliveries", "segment", "used")

    def __init__(self, segment: Any, deliveries: Sequence[tuple[int, int, Any]]) -> None:
        self.segment = segment
        self.deliveries = tuple(deliveries)
        self.used = 0
        self.confirm: Any = None


_traces: dict[Any, dict[tuple[Any, ...], _Trace]] = {}
"""By structure, and then by the numbers on which they depend."""
_expected: dict[Rule, _Trace] = {}
"""By what the root does, the trace that was last used from there and can be confirmed."""


class _Walk:
    """The graph below some roots, as far as a backward pass depends on it.

    Attributes:
        key: its structure; None if a pass over it must run node by node.
        nodes, leaves: its nodes, those that end in a leaf apart; `order` has them all.
        values: what the pass reads: gradients to start from, and saved values.
        numbers: the Python numbers of nodes with formulas, one after the other.
        constants: those of other nodes, on which a trace depends.
    """

    __slots__ = ("constants", "key", "leaves", "nodes", "numbers", "order", "values")

    def __init__(self, roots: Sequence[Root]) -> None:
        self.key: tuple[Any, ...] | None = None
        self.order: list[Any] = []
        self.nodes: list[Any] = []
        self.leaves: list[AccumulateGrad] = []
        self.values: list[Value] = []
        self.numbers: list[Any] = []
        self.constants: tuple[Any, ...] = ()
        parts = self._parts(roots)
        if parts is not None:
            self.key = tuple(parts)

    def _parts(self, roots: Sequence[Root]) -> list[Any] | None:
        nodes, leaves, values, numbers = self.nodes, self.leaves, self.values, self.numbers
        parts: list[Any] = []
        place: dict[Node, int] = {}
        known: dict[Value, int] = {}
        order = self.order
        for node, number, grad in roots:
            if node not in place:
                place[node] = len(order)
                order.append(node)
            parts += (place[node], number)
            if grad is None:
                parts.append(None)
            else:
                parts += (grad._meta, known.setdefault(grad._storage.value, len(known)))
                if len(known) > len(values):
                    values.append(grad._storage.value)
        first = roots[0][0]._seq
        add, detached = parts.append, Switch.detached
        for node in order:  # which grows
            if node._hooks is not None or len(order) > LONGEST:
                return None
            if not isinstance(node, OpNode):
                if node._leaf is None:
                    return None
                add(node._leaf._meta)
                leaves.append(node)
                continue
            kept: Any = node.saved if detached else node.kept
            if kept is None:
                return None
            rule = node.rule
            add(rule)
            add(first - node._seq)
            if node._metas is not node.plan.metas:
                add(node._metas)
            for one in kept:
                if one.__class__ is Pin:
                    if one.counter.version != one.version:
                        return None
                    value = one.value
                else:
                    value = _unchanged(one)
                if value is None:
                    return None
                k = known.get(value)
                if k is None:
                    k = known[value] = len(values)
                    values.append(value)
                add(k)
            if rule.result and one.__class__ is not Pin:
                add(one.meta)
            if node.numbers:
                if node.plan.op.backward is None:
                    numbers += node.numbers
                else:  # what it makes of them is unknown
                    self.constants += tuple([repr(n) for n in node.numbers])  # -0.0 is not 0.0
            for edge in node._edges:
                if edge is None:
                    add(None)
                    continue
                target, number = edge
                k = place.get(target)
                if k is None:
                    k = place[target] = len(order)
                    order.append(target)
                add((k, number) if number else k)
            nodes.append(node)
        return parts


def _unchanged(saved: Any) -> Value | None:
    """Return the value of a saved tensor; None where it must be read by the node, or raises."""
    pin, counter = saved.pin, saved.counter
    if pin is None or (counter is not None and counter.version != saved.version):
        return None
    if saved.leaf:
        leaf = saved.tensor()
        if leaf is not None and leaf._view is not None:
            return None
    elif Switch.detached and saved.is_detached():
        return None
    value: Value | None = pin.value  # None where pack hooks took it
    return value


def run(roots: list[Root], keep_graph: bool) -> bool:
    """Run a backward pass by its trace, or take one down.

    Args:
        roots: nodes and output numbers to start from, with the gradients of these outputs or None
            for ones; emptied if the pass is run.
        keep_graph: leave saved tensors in place.

    Returns:
        Whether the pass was run; if not, nothing has been done.
    """
    backend = dispatch.backend
    if anomaly.mode.on or forward.open or batching.active.levels:
        return False
    if not hasattr(backend, "splice") or backend.watched():
        return False
    root = roots[0][0]
    trace = _expected.get(root.rule) if isinstance(root, OpNode) else None
    if trace is not None and len(roots) == 1 and not Switch.detached:
        found = _confirmed(trace, *roots[0])
        if found is not None:
            _repeat(trace, roots, keep_graph, *found)
            return True
    walk = _Walk(roots)
    key = walk.key
    if key is None:
        return False
    known = _traces.get(key)
    trace = None if known is None else known.get(walk.constants)
    if trace is None:
        if known is not None and len(known) >= CONSTANTS:
            return False
        _take_down(roots, keep_graph, walk)
        return True
    if trace.segment is None:
        return False
    if len(roots) == 1 and isinstance(root, OpNode) and not Switch.detached:
        _expect(trace, walk, root.rule, *roots[0])
    _repeat(trace, roots, keep_graph, walk.values, walk.leaves, walk.nodes, walk.numbers)
    return True


def _repeat(
    trace: _Trace, roots: list[Root], keep_graph: bool, values: list[Value],
    leaves: Sequence[AccumulateGrad], nodes: Sequence[OpNode], numbers: Sequence[Any],
) -> None:  # fmt: skip
    """Record what a trace says, release the nodes, and deliver."""
    device = roots[0][0]._metas[0].device
    roots.clear()
    outputs = dispatch.backend.splice(device, trace.segment, values, numbers)
    if not keep_graph:
        for node in nodes:
            node._release()
    for leaf, place, meta in trace.deliveries:
        _deliver(leaves[leaf], outputs[place] if place >= 0 else values[~place], meta)


def _expect(trace: _Trace, walk: _Walk, rule: Rule, root: Node, number: int, grad: Any) -> None:
    """Look for this structure first where a pass starts like this one, if it is used often."""
    trace.used += 1
    if trace.used == _OFTEN:
        trace.confirm = Writer(walk.order, number, grad, _unchanged).made()
    if trace.used >= _OFTEN:
        if len(_expected) >= LIMIT:
            _expected.clear()
        _expected[rule] = trace


def _confirmed(trace: _Trace, root: Node, number: int, grad: Any) -> Found | None:
    """Return what is in the graph of a trace, or None where this is another graph."""
    try:
        found: Found | None = trace.confirm(root, number, grad)
    except (AttributeError, TypeError, ValueError):  # other nodes, a released one, other edges
        return None
    return found


def _deliver(leaf: AccumulateGrad, value: Value, meta: Any) -> None:
    variable = leaf._leaf
    grad = wrap(Storage(value), meta)
    whole = meta.contiguous and value.numel == meta.numel and not value.shared
    if variable._grad is None and whole and variable._requires_grad and variable._node is None:
        variable._grad = grad
    else:
        leaf.apply((grad,), None)


class _Observed(Task):
    """A pass that notes which numbers its entries got from nodes, and keeps leaves for the end."""

    __slots__ = ("capture_", "delivered", "varying")

    def __init__(self, keep_graph: bool, capture: Any, walk: _Walk) -> None:
        super().__init__(keep_graph, {}, 0, accumulate=True)
        self.capture_ = capture
        self.delivered: list[tuple[AccumulateGrad, Any]] = []
        self.varying: dict[int, list[tuple[int, int]]] | None = {}

    def observe(self, first_number: dict[Node, int]) -> None:
        """Run nodes until none is ready."""
        while self.ready:
            node: Any = heappop(self.ready)[2]
            grads = self.take(node)
            if isinstance(node, AccumulateGrad):
                if grads[0] is not None:
                    self.delivered.append((node, grads[0]))
                continue
            start = self.capture_.length()
            kind = None
            if isinstance(node, OpNode) and node.numbers and node.plan.op.backward is None:
                kind = None if grads[0] is None else node.steps_key(grads[0])
            results = self.evaluate(node, grads)
            if kind is not None:
                self._trace_numbers(node.rule.steps[kind], start, first_number[node])
            del grads
            self.pass_on(node._edges, results)
            del results

    def _trace_numbers(self, steps: Sequence[Step], start: int, first: int) -> None:
        """Note which numbers of the entries recorded since `start` are numbers of the node."""
        made = [step for step in steps if step[1] is not None]
        if self.varying is None or self.capture_.length() - start != len(made):
            self.varying = None
            return
        for e, step in enumerate(made, start):
            places = [(k, first + n) for k, n in enumerate(step[3]) if n >= 0]
            if places:
                self.varying[e] = places


def _take_down(roots: list[Root], keep_graph: bool, walk: _Walk) -> None:
    device = roots[0][0]._metas[0].device
    capture = dispatch.backend.Capture(device, walk.values)
    task = _Observed(keep_graph, capture, walk)
    first, count = {}, 0
    for node in walk.nodes:
        first[node] = count
        if node.plan.op.backward is None:
            count += len(node.numbers)
    nodes = [node for node, _, _ in roots]
    task.count_dependencies(nodes)
    trace = None
    try:
        for node, number, grad in roots:
            task.add((node, number), seed(node, number) if grad is None else grad)
            del grad
        roots.clear()
        task.start(nodes)
        task.observe(first)
        trace = _trace(task, capture, walk)
    finally:
        capture.close()
        task.buffers.clear()
        if len(_traces) >= LIMIT:
            _traces.clear()
            _expected.clear()
        if trace is not None:
            _traces.setdefault(walk.key, {})[walk.constants] = trace
        for leaf, grad in task.delivered:
            leaf.apply((grad,), None)


def _trace(task: _Observed, capture: Any, walk: _Walk) -> _Trace:
    """Return the trace of a pass that was observed; an unusable one where it had secrets."""
    outputs: dict[Value, int] = {}
    known = {value: k for k, value in enumerate(walk.values)}
    places = {leaf: k for k, leaf in enumerate(walk.leaves)}
    deliveries = []
    for leaf, grad in task.delivered:
        value = grad._storage.value
        if value in known:
            place = ~known[value]
        else:
            place = outputs.setdefault(value, len(outputs))
        deliveries.append((places[leaf], place, grad._meta))
    one_device = all(m.device is capture.recorder.device for n in walk.nodes for m in n._metas)
    if task.varying is None or not one_device:
        return _Trace(None, ())
    return _Trace(capture.segment(task.varying, list(outputs)), deliveries)
