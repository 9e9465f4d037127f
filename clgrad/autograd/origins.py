"""Where values come from: what `explain_grad` and the drawings of graphs are made of.

Inside `with explaining():` every recorded op leaves an `Origin` on the value that it makes: the
line that called it, what it read, and whether gradients flow on. Nothing is kept of the values
themselves. Outside of such a block nothing of this costs anything.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from clgrad.graph import watch
from clgrad.graph.position import Position, caller, is_own
from clgrad.tape import anomaly, noting
from clgrad.tape.grad_mode import mode
from clgrad.tape.node import Node, OverwriteNode
from clgrad.tape.record import OpNode

KEY = "clgrad origins"
"""Under which a node's metadata has its origins."""


class Inside:
    """Ops that are part of one node.

    Attributes:
        grad: whether grad mode was on around them.
        read: origins of the operands to which gradients flow from it; None if it has no node.
    """

    __slots__ = ("grad", "read")

    def __init__(self) -> None:
        self.grad = mode.grad
        self.read: set[Origin] | None = None


class Event:
    """History of a value that ended: what was called, and where."""

    __slots__ = ("kind", "place")

    def __init__(self, kind: str, place: Position | None) -> None:
        self.kind = kind
        self.place = place


class Kernel:
    """A kernel that computed something: its name and text."""

    __slots__ = ("name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text


class Origin:
    """What made a value.

    Attributes:
        op: name of the op; None for a value that was there before.
        formula: what it computes; `meta`: dtype and shape of its result.
        place: the line that called it.
        grad: whether grad mode was on.
        sources: origins of what it read, and for each whether gradients flow to it (`edges`).
        inside: the node that it is a part of with others.
        events: how the value went on without history.
        kernels: what computed it; several if it was computed again for its readers.
        backward: whether it is part of the derivative of some node.
        host: what was read on the host while it was explained.
    """

    __slots__ = (
        "backward", "edges", "events", "formula", "grad", "host", "inside", "kernels", "meta", "op",
        "place", "sources",
    )  # fmt: skip

    def __init__(
        self, host: list[Origin], op: str | None = None, meta: Any = None,
        place: Position | None = None, sources: Sequence[Origin] = (),
    ) -> None:  # fmt: skip
        self.host = host
        self.op = op
        self.formula = ""
        self.meta = meta
        self.place = place
        self.grad = mode.grad
        self.sources = tuple(sources)
        self.edges: tuple[bool, ...] = (False,) * len(sources)
        self.inside: Inside | None = None
        self.events: list[Event] = []
        self.kernels: list[Kernel] = []
        self.backward = False

    def reads(self, k: int) -> bool:
        """Whether gradients flow from here to source number `k`."""
        if self.edges[k]:
            return True
        inside = self.inside
        if inside is None or inside.read is None:
            return False
        source = self.sources[k]
        return source in inside.read or source.inside is inside


def known_origin(value: Any) -> Origin | None:
    """Return the origin of a value if anything is known of it."""
    found: Origin | None = getattr(value, "origin", None)
    return found


def origins_of(node: Node) -> list[Origin]:
    """Return the origins of what a node computed forward, and of its derivatives."""
    return list(node._hooks.metadata.get(KEY, ())) if node._hooks is not None else []


class explaining:  # noqa: N801  # as `detect_anomaly`
    """Inside the block, this thread's ops and nodes remember where they come from.

    Run one step of a program in it: what is remembered lives as long as the values do.

    Example:
        >>> with clgrad.autograd.explaining():
        ...     x = clgrad.ones(3, requires_grad=True)
        ...     loss = (x.detach() * 2).sum()
        >>> print(clgrad.autograd.explain_grad(loss, x))  # doctest: +ELLIPSIS
        no gradient flows ...
    """

    def __enter__(self) -> explaining:  # noqa: PYI034  # Self needs Python 3.11
        from clgrad.graph import trace  # which loads code generation

        self._trace = trace
        self._thread = threading.get_ident()
        self._entries: weakref.WeakKeyDictionary[Any, dict[int, Origin]] = (
            weakref.WeakKeyDictionary()
        )
        self._host: list[Origin] = []
        self._last: Origin | None = None
        self._expecting: Any = None
        self._inside: list[Inside] = []
        self._left: Inside | None = None
        self._stops: list[Callable[[], None]] = [
            noting.listen(self._node, self._event),
            watch.listen(self._recorded, self._flushed),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stop in self._stops:
            stop()

    def _origin(self, value: Any) -> Origin:
        """Return the origin of a value; one without an op if it was there before."""
        found = known_origin(value)
        if found is None or (found.op is None and found.host is not self._host):
            found = value.origin = Origin(self._host)
        return found

    # ---- ops -----------------------------------------------------------------------------------

    def _recorded(self, batch: Any, sig: Any, values: Sequence[Any], result: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        sources = [self._origin(v) for v in values]
        made = Origin(self._host, sig.op.name, sig.meta, caller(), sources)
        made.formula = self._trace.formula(sig.op, sig)
        result.origin = made
        if self._inside:
            made.inside = self._inside[0]
            made.grad = made.inside.grad
        running = anomaly.mode.running
        if running is not None:
            made.backward = True
            _add(running, made)
        elif _makes(self._expecting, sig):
            self._link(made, self._expecting)
        self._expecting = None
        self._last = made
        self._entries.setdefault(batch, {})[result.index] = made

    def _flushed(self, plan: Any, device: Any, batch: Any) -> None:
        known = self._entries.pop(batch, {})
        for step in plan.steps:
            sources = self._trace.texts(step, device.traits)
            kernels = [Kernel(source.name, source.source) for source in sources]
            for e in self._trace.members(step, plan.entries):
                if e in known:
                    known[e].kernels += kernels

    # ---- nodes ---------------------------------------------------------------------------------

    def _node(self, node: Node) -> None:
        last = self._last
        if isinstance(node, OverwriteNode):
            self._expecting = node
        elif isinstance(node, OpNode) and node.plan.signature is not None:
            op = node.plan.op.name
            if last is not None and last.op == op and not any(last.edges) and last.grad:
                self._link(last, node)
                self._last = None
            else:  # an op in place is recorded after its node
                self._expecting = node

    def _link(self, origin: Origin, node: Node) -> None:
        """Note that `node` is the history of what `origin` made."""
        _add(node, origin)
        if isinstance(node, OverwriteNode):
            flows = [edge is not None for edge in node._edges]
            edges = [*flows[1:], flows[0]] if len(flows) > 1 else flows
        else:
            assert isinstance(node, OpNode)
            kinds = node.plan.kinds[: len(node._edges)]
            pairs = zip(kinds, node._edges, strict=False)
            edges = [edge is not None for kind, edge in pairs if not isinstance(kind, type)]
        # a write into a part reads the old value of the whole, after its operands
        edges += [True] * (len(origin.sources) - len(edges))
        origin.edges = tuple(edges[: len(origin.sources)])

    def _event(self, kind: str, thing: Any) -> None:
        if kind == "enter":
            self._inside.append(Inside())
        elif kind == "leave":
            self._left = self._inside.pop()
            self._last = None
        elif kind == "inside":
            self._one_node(*thing)
        elif kind == "detach" and is_own(sys._getframe(3)):
            return  # the library's own, such as that of the largest element of a softmax
        else:
            origin = self._origin(thing._storage.value)
            origin.events.append(Event(kind, caller()))
            if kind == "host":
                self._host.append(origin)

    def _one_node(self, node: Node, operands: Sequence[Any], edges: Sequence[Any]) -> None:
        """Note that what was just computed is part of one node."""
        inside = self._left
        assert inside is not None
        inside.read = {
            self._origin(o._storage.value)
            for o, edge in zip(operands, edges, strict=False)
            if edge is not None and hasattr(o, "_storage")
        }
        for known in self._entries.values():
            for origin in known.values():
                if origin.inside is inside:
                    _add(node, origin)


def _makes(node: Any, sig: Any) -> bool:
    """Whether a node that was made before its op was recorded is that of this op."""
    return node is not None and (not isinstance(node, OpNode) or node.plan.op is sig.op)


def _add(node: Node, origin: Origin) -> None:
    if node._leaf is None:  # a leaf would keep it
        node._own_hooks().metadata.setdefault(KEY, []).append(origin)
