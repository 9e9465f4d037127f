"""One backward pass: run nodes, youngest first, once all that flows into them has arrived.

Iterative throughout, so that depth costs nothing. Gradients are summed to the shape of their edge
and cast to its dtype here and nowhere else. What a node computes is in `tape.record`; this only
decides the order, adds up, calls hooks, and lets go of what was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from clgrad import dispatch
from clgrad.errors import AutogradError, DeviceError, ShapeError
from clgrad.ops import creation as _creation  # noqa: F401  # enters the table
from clgrad.ops.registry import OPS
from clgrad.tape import anomaly
from clgrad.tape.hooks import NodeHooks
from clgrad.tape.node import LAST, Edge, Node
from clgrad.tensor import Tensor

Root = tuple[Node, int, Tensor | None]
"""Where a pass starts: node, output number, and its gradient or None for ones."""


class Task:
    """One backward pass.

    Attributes:
        pending: for each node not yet run, how many gradients it still waits for.
        buffers: for each node that something reached, the gradients of its outputs so far.
        ready: heap of nodes that wait for nothing more.
        captures: node -> {output number: places in `captured`} for `grad(inputs=...)`.
        needed: nodes that lead to a capture, or None if all nodes run.
        accumulate: whether leaves that are reached add to their `.grad`.
    """

    __slots__ = (
        "accumulate", "buffers", "captured", "captures", "keep_graph", "needed", "pending",
        "pushed", "ready",
    )  # fmt: skip

    def __init__(
        self,
        keep_graph: bool,
        captures: dict[Node, dict[int, list[int]]],
        count: int,
        accumulate: bool,
    ) -> None:
        self.pending: dict[Node, int] = {}
        self.buffers: dict[Node, list[Any]] = {}
        self.ready: list[tuple[int, int, Node]] = []
        self.pushed = 0
        self.captures = captures
        self.captured: list[Any] = [None] * count
        self.needed: set[Node] | None = None
        self.keep_graph = keep_graph
        self.accumulate = accumulate

    def count_dependencies(self, roots: Sequence[Node]) -> None:
        """Walk the graph once and count, for each node, the edges that lead to it."""
        pending = self.pending
        stack = list(dict.fromkeys(roots))
        for node in stack:
            pending[node] = 0
        while stack:
            for edge in stack.pop().edges:
                if edge is not None:
                    node = edge[0]
                    if node in pending:
                        pending[node] += 1
                    else:
                        pending[node] = 1
                        stack.append(node)

    def find_needed(self, roots: Sequence[Node]) -> None:
        """Find the nodes from which a capture is reached; no others need to run."""
        reaches: dict[Node, bool] = {}
        for root in roots:
            stack = [root]
            while stack:
                node = stack[-1]
                if node in reaches:
                    stack.pop()
                    continue
                later = [e[0] for e in node.edges if e is not None and e[0] not in reaches]
                if later:
                    stack.extend(later)
                    continue
                stack.pop()
                reaches[node] = node in self.captures or any(
                    e is not None and reaches[e[0]] for e in node.edges
                )
        self.needed = {node for node, yes in reaches.items() if yes}

    def start(self, roots: Sequence[Node]) -> None:
        """Enter the nodes that wait for nothing more."""
        for node in dict.fromkeys(roots):
            if self.pending[node] == 0 and (self.needed is None or node in self.needed):
                self.pushed += 1
                heappush(self.ready, (-node.seq, self.pushed, node))

    def add(self, edge: Edge, grad: Any) -> None:
        """Add a gradient to the buffer of the node and output that `edge` names."""
        node, number = edge
        buffer = self.buffers.get(node)
        metas = node.metas
        if buffer is None:
            buffer = self.buffers[node] = [None] * len(metas)
        if grad._meta is not metas[number]:
            grad = fit(grad, metas[number], node, number)
        old = buffer[number]
        buffer[number] = grad if old is None else old + grad

    def run(self) -> None:
        """Run nodes until none is ready."""
        ready, buffers, keep = self.ready, self.buffers, self.keep_graph
        plain = not self.captures and self.needed is None and not anomaly.mode.on
        while ready:
            node = heappop(ready)[2]
            grads = buffers.pop(node, None)
            if grads is None:
                grads = [None] * len(node.metas)
            edges = node.edges
            if plain and node.hooks is None:  # nothing of `evaluate` applies but the node itself
                results = node.apply(grads, None)
                if not keep:
                    node.release()
                if len(results) != len(edges):
                    raise _miscounted(node, results)
            else:
                results = self.evaluate(node, grads)
            del grads
            self.pass_on(edges, results)
            del results

    def pass_on(self, edges: Sequence[Edge | None], results: Sequence[Any]) -> None:
        """Add the gradients that a node made to where its edges go."""
        pending, buffers, needed = self.pending, self.buffers, self.needed
        for edge, grad in zip(edges, results, strict=True):
            if edge is None:
                continue
            target, number = edge
            if grad is not None:
                metas = target.metas
                if grad._meta is not metas[number]:
                    grad = fit(grad, metas[number], target, number)
                buffer = buffers.get(target)
                if buffer is None:
                    buffer = buffers[target] = [None] * len(metas)
                old = buffer[number]
                buffer[number] = grad if old is None else old + grad
            left = pending[target] = pending[target] - 1
            if left == 0 and (needed is None or target in needed):
                self.pushed += 1
                heappush(self.ready, (-target.seq, self.pushed, target))

    def evaluate(self, node: Node, grads: list[Any]) -> Sequence[Any]:
        """Run one node with its hooks; returns a gradient for each edge."""
        hooks = node.hooks
        wanted: list[bool] | None = None
        last = False
        if self.needed is not None:
            needed = self.needed
            wanted = [e is not None and e[0] in needed for e in node.edges]
            last = (not self.accumulate) if node.seq == LAST else True not in wanted
        captures = self.captures.get(node)
        if captures is not None and not last:  # what passes on is captured before its hooks
            self.capture(captures, grads)
        if hooks is not None:
            _tensor_hooks(hooks, grads)
        if last:
            if captures is not None:
                self.capture(captures, grads)
            return [None] * len(node.edges)
        if hooks is not None and hooks.pre:
            for hook in list(hooks.pre.values()):
                given = hook(tuple(grads))
                if given is not None:
                    grads[:] = _as_grads(given, len(grads), node, "prehook")
        results = _watched(node, grads, wanted) if anomaly.mode.on else node.apply(grads, wanted)
        if not self.keep_graph:
            node.release()
        if len(results) != len(node.edges):
            raise _miscounted(node, results)
        if hooks is not None and hooks.post:
            for hook in list(hooks.post.values()):
                given = hook(tuple(results), tuple(grads))
                if given is not None:
                    results = _as_grads(given, len(results), node, "hook")
        return results

    def capture(self, captures: dict[int, list[int]], grads: list[Any]) -> None:
        """Keep the gradients of a node's outputs that were asked for."""
        for number, places in captures.items():
            for place in places:
                self.captured[place] = grads[number]


def _miscounted(node: Node, results: Sequence[Any]) -> AutogradError:
    return AutogradError(
        f"{node.name()} returned an invalid gradient: {len(results)} gradients for "
        f"{len(node.edges)} inputs. Expected one, or None, for each."
    )


def _watched(node: Node, grads: list[Any], wanted: list[bool] | None) -> Sequence[Any]:
    """Run a node in anomaly mode: say where it was made if it fails, and look for NaN."""
    before, anomaly.mode.running = anomaly.mode.running, node
    try:
        results = node.apply(grads, wanted)
        anomaly.inspect(node, results)
    except Exception:
        anomaly.explain(node)
        raise
    finally:
        anomaly.mode.running = before
    return results


def _tensor_hooks(hooks: NodeHooks, grads: list[Any]) -> None:
    for number, table in list(hooks.tensor.items()):
        for hook in list(table.values()):
            grad = grads[number]
            if grad is None:
                continue
            given = hook(grad)
            if given is not None:
                if not isinstance(given, Tensor):
                    raise TypeError(
                        f"hook: returned {type(given).__name__}. Expected a tensor or None."
                    )
                if given._meta.shape != grad._meta.shape:
                    raise ShapeError(
                        f"hook: returned a gradient of shape {list(given._meta.shape)}. Expected "
                        f"{list(grad._meta.shape)}, as it was given. hook has changed the size of "
                        "value."
                    )
                grads[number] = given
    for number, retain in list(hooks.retain.items()):
        if grads[number] is not None:
            retain(grads[number])


def _as_grads(given: Any, count: int, node: Node, kind: str) -> list[Any]:
    made = list(given) if isinstance(given, tuple | list) else [given]
    if len(made) != count:
        raise AutogradError(
            f"{node.name()}: a {kind} returned {len(made)} gradients. Expected {count}."
        )
    return made


def fit(grad: Any, meta: Any, node: Node, number: int) -> Any:
    """Return `grad` summed to the shape of `meta` and cast to its dtype.

    Raises:
        ShapeError: it does not broadcast from that shape.
        DeviceError: it is on another device.
    """
    have, want = grad._meta.shape, meta.shape
    if grad._meta.device != meta.device:
        raise DeviceError(
            f"{node.name()}: expected a gradient on {meta.device} for output {number} but got one "
            f"on {grad._meta.device}."
        )
    if have != want:
        grad = sum_to(grad, want, node, number)
    if grad._meta.dtype is not meta.dtype:
        grad = grad.to(meta.dtype)
    return grad


def sum_to(grad: Any, shape: tuple[int, ...], node: Node, number: int) -> Any:
    """Return `grad` summed over the dimensions along which `shape` was broadcast."""
    have = grad._meta.shape
    extra = len(have) - len(shape)
    if extra < 0 or any(w not in (h, 1) for h, w in zip(have[extra:], shape, strict=True)):
        raise ShapeError(
            f"{node.name()}: got an invalid gradient for output {number}: shape {list(have)}. "
            f"Expected {list(shape)}, or a shape to which that broadcasts."
        )
    dims = [d for d, h in enumerate(have) if d < extra or (shape[d - extra] == 1 != h)]
    if dims:
        grad = grad.sum(dim=dims)
    return grad.reshape(shape)


def seed(node: Node, number: int) -> Tensor:
    """Return the gradient from which a pass starts if none is given: ones."""
    meta = node.metas[number]
    made: Tensor = dispatch.apply(OPS["full"], (1,), (meta.shape, meta.dtype), meta.device)
    return made
