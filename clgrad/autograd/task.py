"""One backward pass: run nodes, youngest first, once all that flows into them has arrived.

Iterative throughout, so that depth costs nothing. Gradients are summed to the shape of their edge
and cast to its dtype here and nowhere else. What a node computes is in `tape.record`; this only
decides the order, adds up, calls hooks, and lets go of what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from clgrad import batching, dispatch
from clgrad.autograd.parts import WIDE, Holed, Part, Sum, part_of, rest_of, settled
from clgrad.autograd.running import Pass
from clgrad.errors import AutogradError, ClgradTypeError, DeviceError, DTypeError, ShapeError
from clgrad.ops import creation as _creation  # noqa: F401  # enters the table
from clgrad.ops.registry import OPS
from clgrad.tape import anomaly, noting
from clgrad.tape.hooks import NodeHooks, hook_name
from clgrad.tape.inplace import CopySlices
from clgrad.tape.node import LAST, Edge, Node
from clgrad.tensor import Tensor

_NOTHING: list[Any] = []
Root = tuple[Node, int, Tensor | None]
"""Where a pass starts: node, output number, and its gradient or None for ones."""


class Task(Pass):
    """One backward pass.

    Attributes:
        pending: for each node not yet run, how many gradients it still waits for.
        buffers: for each node that something reached, the gradients of its outputs so far.
        ready: heap of nodes that wait for nothing more.
        captures: node -> {output number: places in `captured`} for `grad(inputs=...)`.
        needed: nodes that lead to a capture, or None if all nodes run.
        accumulate: whether leaves that are reached add to their `.grad`.
        roots: where it starts.
        node: what is being run.
        callbacks: what is to be called at its end.
        wide: nodes for which gradients of parts are collected; `apart`: those that may have some.
        notes: what hooks that wait for one another have seen of it.
    """

    __slots__ = (
        "accumulate", "apart", "buffers", "callbacks", "captured", "captures", "keep_graph",
        "needed", "node", "notes", "pending", "pushed", "ready", "roots", "wide",
    )  # fmt: skip

    def __init__(
        self,
        keep_graph: bool,
        captures: dict[Node, dict[int, list[int]]],
        count: int,
        accumulate: bool,
    ) -> None:
        super().__init__()
        self.pending: dict[Node, int] = {}
        self.buffers: dict[Node, list[Any]] = {}
        self.ready: list[tuple[int, int, Node]] = []
        self.pushed = 0
        self.captures = captures
        self.captured: list[Any] = [None] * count
        self.needed: set[Node] | None = None
        self.keep_graph = keep_graph
        self.accumulate = accumulate
        self.roots: Sequence[Node] = ()
        self.node: Node | None = None
        self.callbacks: list[Callable[[], Any]] = []
        self.notes: dict[Any, Any] = {}
        self.wide: set[Node] = set()
        self.apart: set[Node] = set()

    @property
    def limited(self) -> bool:
        """Whether gradients of some inputs alone are computed."""
        return self.needed is not None

    def count_dependencies(self, roots: Sequence[Node]) -> None:
        """Walk the graph once and count, for each node, the edges that lead to it."""
        pending = self.pending
        self.roots = roots
        stack = list(dict.fromkeys(roots))
        for node in stack:
            pending[node] = 0
        while stack:
            for edge in stack.pop()._edges:
                if edge is not None:
                    node = edge[0]
                    if node in pending:
                        pending[node] += 1
                    else:
                        pending[node] = 1
                        stack.append(node)
        self.wide = {node for node, count in pending.items() if count >= WIDE}
        self.apart = self.wide | {node for node in pending if node.__class__ is CopySlices}

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
                later = [e[0] for e in node._edges if e is not None and e[0] not in reaches]
                if later:
                    stack.extend(later)
                    continue
                stack.pop()
                reaches[node] = node in self.captures or any(
                    e is not None and reaches[e[0]] for e in node._edges
                )
        self.needed = {node for node, yes in reaches.items() if yes}

    def start(self, roots: Sequence[Node]) -> None:
        """Enter the nodes that wait for nothing more."""
        for node in dict.fromkeys(roots):
            if self.pending[node] == 0 and (self.needed is None or node in self.needed):
                self.pushed += 1
                heappush(self.ready, (-node._seq, self.pushed, node))

    def add(self, edge: Edge, grad: Any) -> None:
        """Add a gradient to the buffer of the node and output that `edge` names."""
        node, number = edge
        buffer = self.buffers.get(node)
        metas = node._metas
        if buffer is None:
            buffer = self.buffers[node] = [None] * len(metas)
        if grad._meta is not metas[number]:
            grad = fit(grad, metas[number], None, ())
        old = buffer[number]
        buffer[number] = grad if old is None else settled(old) + grad

    def take(self, node: Node) -> list[Any]:
        """Return what flowed into a node whose turn it is."""
        grads = self.buffers.pop(node, _NOTHING)
        if not grads:
            return [None] * len(node._metas)
        if node in self.wide:
            settling = [(settled(grad), m) for grad, m in zip(grads, node._metas, strict=True)]
            return [g if g is None or g._meta is m else fit(g, m, None, ()) for g, m in settling]
        if node._hooks is not None or self.captures or noting.Switch.open:
            return [settled(grad) for grad in grads]
        return grads

    def gather(self, target: Node, number: int, grad: Any) -> None:
        """Add a gradient, perhaps one of a part, to a buffer whose parts are kept apart."""
        buffer = self.buffers.get(target)
        if buffer is None:
            buffer = self.buffers[target] = [None] * len(target._metas)
        old = buffer[number]
        if target in self.wide:
            if old.__class__ is not Sum:
                old = buffer[number] = Sum(old)
            old.add(grad)
        else:
            buffer[number] = grad if old is None else settled(old) + settled(grad)

    def run(self) -> None:
        """Run nodes until none is ready."""
        ready, buffers, keep = self.ready, self.buffers, self.keep_graph
        plain = not self.captures and self.needed is None and not noting.Switch.open
        apart = bool(self.apart)
        while ready:
            self.node = node = heappop(ready)[2]
            if apart:
                grads = self.take(node)
            else:
                grads = buffers.pop(node, _NOTHING) or [None] * len(node._metas)
            edges = node._edges
            if plain and node._hooks is None:  # nothing of `evaluate` applies but the node itself
                results = self.parted(node, grads) if apart else None
                if results is None:
                    results = node.apply(grads, None)
                if not keep:
                    node._release()
                if node._hooks is not None:
                    results = _post_hooks(node, results, ())  # type: ignore[unreachable]  # see there
                if len(results) != len(edges):
                    raise _miscounted(node, results)
            else:
                results = self.evaluate(node, grads)
            del grads
            self.pass_on(edges, results)
            del results

    def pass_on(self, edges: Sequence[Edge | None], results: Sequence[Any]) -> None:
        """Add the gradients that a node made to where its edges go."""
        pending, buffers, needed, apart = self.pending, self.buffers, self.needed, self.apart
        if batching.Used.yet:
            results = _without_samples(edges, results)
        for edge, grad in zip(edges, results, strict=True):
            if edge is None:
                continue
            target, number = edge
            if grad is not None and apart and target in apart:
                if grad.__class__ not in (Part, Holed) and grad._meta is not target._metas[number]:
                    grad = fit(grad, target._metas[number], self.node, results)
                self.gather(target, number, grad)
            elif grad is not None:
                metas = target._metas
                if grad._meta is not metas[number]:
                    grad = fit(grad, metas[number], self.node, results)
                buffer = buffers.get(target)
                if buffer is None:
                    buffer = buffers[target] = [None] * len(metas)
                old = buffer[number]
                buffer[number] = grad if old is None else old + grad
            left = pending[target] = pending[target] - 1
            if left == 0 and (needed is None or target in needed):
                self.pushed += 1
                heappush(self.ready, (-target._seq, self.pushed, target))

    def parted(self, node: Node, grads: Sequence[Any]) -> Sequence[Any] | None:
        """Return what a node without hooks makes of gradients if that is one of a part, or None."""
        edge = node._edges[0] if node._edges else None
        if edge is not None and edge[0] in self.wide:
            part = part_of(node, grads)
            if part is not None:
                return (part,)
        return rest_of(node, grads) if node in self.apart else None

    def evaluate(self, node: Node, grads: list[Any]) -> Sequence[Any]:
        """Run one node with its hooks; returns a gradient for each edge."""
        hooks = node._hooks
        late = hooks is None or not hooks.post
        wanted: list[bool] | None = None
        last = False
        if self.needed is not None:
            needed = self.needed
            wanted = [e is not None and e[0] in needed for e in node._edges]
            last = not self.accumulate and (node._seq == LAST or True not in wanted)
        captures = None if self.accumulate else self.captures.get(node)
        if captures is not None and not last:  # what passes on is captured before its hooks
            self.capture(captures, grads)
        if hooks is not None:
            _tensor_hooks(hooks, grads)
        if last:
            if captures is not None:
                self.capture(captures, grads)
            return [None] * len(node._edges)
        if hooks is not None and hooks.pre:
            for hook in list(hooks.pre.values()):
                given = hook(tuple(grads))
                if given is not None:
                    grads[:] = _checked(hook, given, grads)
                    del given  # or `.grad` could not take over its memory
        if noting.Switch.open:
            results = _watched(node, grads, wanted)
        else:
            made = self.parted(node, grads) if hooks is None and self.apart else None
            results = node.apply(grads, wanted) if made is None else made
        if not self.keep_graph:
            node._release()
        if len(results) != len(node._edges):
            raise _miscounted(node, results)
        return _post_hooks(node, results, () if late else grads)

    def capture(self, captures: dict[int, list[int]], grads: list[Any]) -> None:
        """Keep the gradients of a node's outputs that were asked for."""
        for number, places in captures.items():
            for place in places:
                self.captured[place] = grads[number]


def _without_samples(edges: Sequence[Edge | None], results: Sequence[Any]) -> Sequence[Any]:
    """Return gradients summed over the samples of a `vmap`, where they leave it."""
    made: list[Any] = []
    for edge, grad in zip(edges, results, strict=True):
        if edge is None or grad is None:
            made.append(None)
        elif grad.__class__ is Part:
            made.append(Part(batching.narrowed(grad.grad, edge[0]), grad.layout, grad.shape))
        elif grad.__class__ is Holed:
            samples = batching.own_of(grad.grad._storage.value)
            made.append(batching.narrowed(settled(grad), edge[0]) if samples else grad)
        else:
            made.append(batching.narrowed(grad, edge[0]))
    return made


def _miscounted(node: Node, results: Sequence[Any]) -> AutogradError:
    return AutogradError(
        f"{type(node).__name__} returned an invalid gradient: {len(results)} gradients for "
        f"{len(node._edges)} inputs. Expected one, or None, for each."
    )


def _watched(node: Node, grads: list[Any], wanted: list[bool] | None) -> Sequence[Any]:
    """Run a node while somebody listens: say which one runs, and in anomaly mode what fails."""
    before, anomaly.mode.running = anomaly.mode.running, node
    try:
        results = node.apply(grads, wanted)
        anomaly.inspect(node, results)
    except Exception:
        if anomaly.mode.on:
            anomaly.explain(node)
        raise
    finally:
        anomaly.mode.running = before
    return results


def _post_hooks(node: Node, results: Sequence[Any], grads: Sequence[Any]) -> Sequence[Any]:
    """Run the post hooks of a node, also those that its unpack hooks have just entered.

    Args:
        grads: what the node was given; nothing where no hook was there when it ran.
    """
    hooks = node._hooks
    if hooks is not None and hooks.post:
        for hook in list(hooks.post.values()):
            given = hook(tuple(results), tuple(grads))
            if given is not None:
                results = _checked(hook, given, results)
    return results


def _tensor_hooks(hooks: NodeHooks, grads: list[Any]) -> None:
    for number, table in list(hooks.tensor.items()):
        for hook in list(table.values()):
            grad = grads[number]
            given = hook(grad)
            if given is not None:
                _check_one(hook, given, grad)
                grads[number] = given
    for number, retain in list(hooks.retain.items()):
        if grads[number] is not None:
            retain(grads[number])


def _checked(hook: Any, given: Any, grads: Sequence[Any]) -> Sequence[Any]:
    """Return what a hook of a node gave in the place of `grads`."""
    if not isinstance(given, tuple):
        raise ClgradTypeError(
            f"hook {hook_name(hook)!r}: expected tuple, but hook returned "
            f"{type(given).__name__!r}. Hint: return one gradient, or None, for each that it got."
        )
    if len(given) != len(grads):
        raise AutogradError(
            f"hook {hook_name(hook)!r} has returned an incorrect number of values (got "
            f"{len(given)}, but expected {len(grads)}). Hint: one for each that it got."
        )
    for one, grad in zip(given, grads, strict=True):
        if one is not None:
            _check_one(hook, one, grad)
    return given


def _check_one(hook: Any, given: Any, grad: Any) -> None:
    """Raise if a hook gave something that cannot stand for `grad`."""
    name = hook_name(hook)
    if not isinstance(given, Tensor):
        raise ClgradTypeError(
            f"hook {name!r}: expected Variable, but hook returned {type(given).__name__!r}. "
            "Hint: return a tensor, or None to leave the gradient as it is."
        )
    if grad is None:
        raise AutogradError(
            f"hook {name!r}: can't replace a None gradient with a non-None value. Hint: a hook "
            "is called with None where nothing flowed; return None then."
        )
    new, old = given._meta, grad._meta
    if new.dtype is not old.dtype:
        raise DTypeError(
            f"hook {name!r} has changed the type of value (was {old.dtype!r} got {new.dtype!r}). "
            "Hint: cast back what it returns."
        )
    if new.device != old.device:
        raise DeviceError(
            f"hook {name!r} has changed the device of value (was {old.device} got {new.device}). "
            "Hint: move back what it returns."
        )
    if new.shape != old.shape:
        raise ShapeError(
            f"hook {name!r} has changed the size of value: {list(old.shape)} became "
            f"{list(new.shape)}. Hint: return a gradient of the shape that it got."
        )


def fit(grad: Any, meta: Any, maker: Node | None, made: Sequence[Any]) -> Any:
    """Return `grad` summed to the shape of `meta` and cast to its dtype if it has one.

    Args:
        maker: the node that made it, for error texts; None for one that the user gave.
        made: all that it made.

    Raises:
        ShapeError: it does not broadcast from that shape.
        DeviceError: it is on another device.
    """
    if grad._meta.device != meta.device:
        raise DeviceError(
            f"{_invalid(grad, maker, made)} expected device {meta.device} but got "
            f"{grad._meta.device}. Hint: move it with .to(device)."
        )
    if grad._meta.shape != meta.shape:
        grad = sum_to(grad, meta.shape, maker, made)
    if grad._meta.dtype is not meta.dtype is not None:
        grad = grad.to(meta.dtype)
    return grad


def sum_to(grad: Any, shape: tuple[int, ...], maker: Node | None, made: Sequence[Any]) -> Any:
    """Return `grad` summed over the dimensions along which `shape` was broadcast."""
    have = grad._meta.shape
    extra = len(have) - len(shape)
    if extra < 0 or any(w not in (h, 1) for h, w in zip(have[extra:], shape, strict=True)):
        raise ShapeError(
            f"{_invalid(grad, maker, made)} got {list(have)} but expected shape compatible with "
            f"{list(shape)}. Hint: that shape, or one to which it broadcasts."
        )
    dims = [d for d, h in enumerate(have) if d < extra or (shape[d - extra] == 1 != h)]
    if dims:
        grad = grad.sum(dim=dims)
    return grad if grad._meta.shape == shape else grad.reshape(shape)


def _invalid(grad: Any, maker: Node | None, made: Sequence[Any]) -> str:
    """Return the beginning of an error about a gradient: who made it, and which one it is."""
    if maker is None:
        return "backward was given an invalid gradient -"
    index = next((k for k, one in enumerate(made) if one is grad), 0)
    return f"Function {type(maker).__name__} returned an invalid gradient at index {index} -"


def seed(node: Node, number: int) -> Tensor:
    """Return the gradient from which a pass starts if none is given: ones."""
    meta = node._metas[number]
    made: Tensor = dispatch.apply(OPS["full"], (1,), (meta.shape, meta.dtype), meta.device)
    return made
