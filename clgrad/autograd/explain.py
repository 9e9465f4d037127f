"""Why a gradient flows, or where it was cut: `explain_grad`.

Whether it flows is read from the graph alone. Where it was cut takes the origins of values (see
`origins`), which are there if the forward pass ran inside `with explaining():`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import groupby

from clgrad.autograd.origins import Event, Origin, known_origin
from clgrad.errors import ClgradTypeError
from clgrad.graph.position import Position, describe, line_of, source_of
from clgrad.tape.inplace import accumulator, edge_of
from clgrad.tape.node import Node
from clgrad.tensor import Tensor

_EVENTS = {
    "detach": "detached",
    "data": "read through .data, which has no history",
    "view": "seen through a view that was made under no_grad",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A line on the way from a tensor to another one.

    Attributes:
        what: name of the node or op.
        place: file and line of the user's program, if that is known.
        where: the same with the name of the function.
    """

    what: str
    place: tuple[str, int] | None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """One place at which gradients end.

    Attributes:
        kind: `detached`, `no_grad`, `integer`, `no derivative`, `read on the host` or `unknown`.
        text: the same in words, with the line.
        place: file and line, if known.
    """

    kind: str
    text: str
    place: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `explain_grad` found; `str` of it is meant to be read.

    Attributes:
        reachable: whether gradients flow.
        path: the nodes from the result to the tensor if they do; else the ops that lead from the
            tensor to the result, as far as that is known.
        cuts: where gradients end, if they do not flow.
    """

    reachable: bool
    path: tuple[Step, ...]
    cuts: tuple[Cut, ...]
    title: str

    def __str__(self) -> str:
        lines = [self.title]
        lines += [f"  {cut.text}" for cut in self.cuts]
        if self.path:
            lines.append("  through" if self.reachable else "  on the way")
            for place, steps in groupby(self.path, key=lambda step: (step.where, step.place)):
                names = ", ".join(step.what for step in steps)
                lines.append(
                    f"    {names}" + f"  at {place[0]}" * bool(place[0]) + _source(place[1])
                )
        return "\n".join(lines)


def explain_grad(loss: Tensor, tensor: Tensor) -> Explanation:
    """Return whether the gradient of `loss` reaches `tensor`, and how, or where it was cut.

    Args:
        loss: what `backward` would be called on; it is not run.
        tensor: a parameter, or anything computed on the way.

    Returns:
        An explanation that can be printed. To name the line at which gradients end it takes a
        forward pass that ran inside `with clgrad.autograd.explaining():`.

    Raises:
        ClgradTypeError: one of them is no tensor.
    """
    for given in (loss, tensor):
        if not isinstance(given, Tensor):
            raise ClgradTypeError(
                f"explain_grad: got {type(given).__name__}. Expected two tensors."
            )
    names = f"from {_named(loss)} to {_named(tensor)}"
    if not tensor.requires_grad:
        text = "it does not require grad. Hint: requires_grad_() before the forward pass."
        return Explanation(False, (), (Cut("unknown", text, None),), f"no gradient flows {names}:")
    target = edge_of(tensor) or (accumulator(tensor), 0)
    root = edge_of(loss)
    nodes = None if root is None else _way(root[0], target[0])
    if nodes is not None:
        steps = tuple(_step(type(node).__name__, node._place) for node in nodes)
        return Explanation(True, steps, (), f"gradients flow {names},")
    path, cuts = _data_path(loss, tensor)
    return Explanation(False, path, cuts, f"no gradient flows {names}:")


def _named(tensor: Tensor) -> str:
    return f"{tensor.dtype.name}{list(tensor.shape)}"


def _step(what: str, position: Position | None) -> Step:
    if position is None:
        return Step(what, None)
    return Step(what, line_of(position), describe(position))


def _way(root: Node, target: Node) -> list[Node] | None:
    """Return the nodes on a shortest way from `root` to `target`, both included."""
    came: dict[Node, Node | None] = {root: None}
    queue = deque([root])
    while queue:
        node = queue.popleft()
        if node is target:
            way: list[Node] = []
            at: Node | None = node
            while at is not None:
                way.append(at)
                at = came[at]
            return way[::-1]
        for edge in node._edges:
            if edge is not None and edge[0] not in came:
                came[edge[0]] = node
                queue.append(edge[0])
    return None


# ---- where values went -------------------------------------------------------------------------


def _data_path(loss: Tensor, tensor: Tensor) -> tuple[tuple[Step, ...], tuple[Cut, ...]]:
    """Return how values came from `tensor` to `loss`, and where gradients end on the way."""
    end, start = known_origin(loss._storage.value), known_origin(tensor._storage.value)
    if end is None:
        text = (
            "nothing is known of how it was computed. Hint: run the forward pass inside "
            "`with clgrad.autograd.explaining():`."
        )
        return (), (Cut("unknown", text, None),)
    readers = _readers(end)
    if start is None or (start is not end and start not in readers):
        return (), _never_read(start)
    live, found = _flow(start, readers)
    cuts = tuple(dict.fromkeys(_cut(a, b) for a, b in found))
    if end in live:  # its value has history, the tensor has none
        cuts = tuple(_event(event) for event in end.events if event.kind in _EVENTS)
    return tuple(_shortest(start, end, readers)), cuts


def _readers(end: Origin) -> dict[Origin, list[Origin]]:
    """Return for each value on which `end` depends who reads it, as far as `end` depends on it."""
    readers: dict[Origin, list[Origin]] = {}
    seen = {end}
    stack = [end]
    while stack:
        origin = stack.pop()
        for source in origin.sources:
            readers.setdefault(source, []).append(origin)
            if source not in seen:
                seen.add(source)
                stack.append(source)
    return readers


def _flow(
    start: Origin, readers: dict[Origin, list[Origin]]
) -> tuple[set[Origin], list[tuple[Origin, Origin]]]:
    """Return what gradients of `start` flow from, and the readers from which none does."""
    live = {start}
    stack = [start]
    ends: list[tuple[Origin, Origin]] = []
    while stack:
        origin = stack.pop()
        for reader in readers.get(origin, ()):
            if any(reader.reads(k) for k, s in enumerate(reader.sources) if s is origin):
                if reader not in live:
                    live.add(reader)
                    stack.append(reader)
            else:
                ends.append((origin, reader))
    return live, ends


def _cut(source: Origin, reader: Origin) -> Cut:
    """Return why no gradient flows from what `reader` made to what it read."""
    place = describe(reader.place)
    where = None if reader.place is None else line_of(reader.place)
    ended = [event for event in source.events if event.kind in _EVENTS]
    if reader.meta is not None and not reader.meta.dtype.is_floating_point:
        kind = "integer"
        text = f"{reader.op} at {place} makes {reader.meta.dtype.name}, which has no gradient."
    elif reader.grad and ended:
        return _event(ended[0])
    elif not reader.grad:
        kind, text = "no_grad", f"{reader.op} at {place} ran under no_grad."
    else:
        kind = "no derivative"
        text = (
            f"{reader.op} at {place} has no derivative, or read it through a tensor that does not "
            "require grad."
        )
    return Cut(kind, text + _source(where), where)


def _event(event: Event) -> Cut:
    where = None if event.place is None else line_of(event.place)
    text = f"it was {_EVENTS[event.kind]}, at {describe(event.place)}."
    kind = "no_grad" if event.kind == "view" else "detached"
    return Cut(kind, text + _source(where), where)


def _never_read(start: Origin | None) -> tuple[Cut, ...]:
    """Return why a result does not depend on a tensor, if something of it left for the host."""
    for origin in start.host if start is not None else ():
        if origin is start or start in _readers(origin):
            event = next(e for e in origin.events if e.kind == "host")
            where = None if event.place is None else line_of(event.place)
            text = (
                f"what was computed of it was read on the host at {describe(event.place)}; what "
                "is made of it there has no history."
            )
            return (Cut("read on the host", text + _source(where), where),)
    text = "it was not computed from it, or from an older value of it."
    return (Cut("unknown", text, None),)


def _source(where: tuple[str, int] | None) -> str:
    source = "" if where is None else source_of(*where)
    return f"\n      {source}" if source else ""


def _shortest(start: Origin, end: Origin, readers: dict[Origin, list[Origin]]) -> list[Step]:
    """Return the ops of a shortest way along which values flowed."""
    came: dict[Origin, Origin | None] = {start: None}
    queue = deque([start])
    while queue:
        origin = queue.popleft()
        if origin is end:
            break
        for reader in readers.get(origin, ()):
            if reader not in came:
                came[reader] = origin
                queue.append(reader)
    steps: list[Step] = []
    at: Origin | None = end
    while at is not None and at.op is not None:
        steps.append(_step(at.op, at.place))
        at = came[at]
    return steps[::-1]
