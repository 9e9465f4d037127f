"""Graphs that were met before, looked at by straight-line code.

A walk over a graph of unknown structure takes 0.9 µs a node: it must find out which nodes and which
values are one. Where a structure is expected, it is enough to confirm it, edge by edge and pin by
pin, in code written out for just that structure, at 0.4 µs a node. What that code does not confirm
is walked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clgrad.tape.node import AccumulateGrad
from clgrad.tape.version import Pin

Found = tuple[list[Any], list[Any], list[Any], list[Any]]
"""Values that the pass reads, leaves, other nodes, and numbers of nodes with formulas."""

_CHAIN = 16  # comparisons in one line


class Writer:
    """Writes the code that confirms the graph below one root.

    Args:
        order: the nodes of the graph in the order of the walk, root first.
        given: meta of the gradient to start from, or None for ones.
        number: which output of the root it is of.
        unchanged: returns the value of a saved tensor that is no bare pin, or None.
    """

    def __init__(
        self, order: Sequence[Any], number: int, given: Any, unchanged: Callable[[Any], Any]
    ) -> None:
        self.place = {node: k for k, node in enumerate(order)}
        self.scope: dict[str, Any] = {"Pin": Pin, "unchanged": unchanged}
        self.lines: list[str] = []
        self.values: dict[Any, int] = {}
        self.pins: dict[int, str] = {}
        self.seen = {order[0]}
        self.bare = True
        if given is None:
            self.refuse(f"number != {number} or grad is not None")
        else:
            self.refuse(f"number != {number} or grad._meta is not {self.name('m', 0, given._meta)}")
            self.values[given._storage.value] = 0
            self.lines.append("v0 = grad._storage.value")
        nodes = [node for node in order if not isinstance(node, AccumulateGrad)]
        leaves = [node for node in order if isinstance(node, AccumulateGrad)]
        for node in order:
            if isinstance(node, AccumulateGrad):
                self.leaf(node)
            else:
                self.node(node)
        aged = sorted(nodes, key=lambda node: -node._seq)
        for k in range(0, len(aged) - 1, _CHAIN):  # nodes run in this order; so they are distinct
            ages = " > ".join([f"n{self.place[n]}._seq" for n in aged[k : k + _CHAIN + 1]])
            self.refuse(f"not {ages}")
        if len(leaves) > 1:
            self.refuse(f"len({{{self.names(leaves)}}}) != {len(leaves)}")
        formulas = [n for n in nodes if n.numbers and n.plan.op.backward is None]
        numbers = ", ".join([f"*n{self.place[n]}.numbers" for n in formulas])
        values = ", ".join([f"v{k}" for k in range(len(self.values))])
        self.lines.append(
            f"return [{values}], [{self.names(leaves)}], [{self.names(nodes)}], [{numbers}]"
        )

    def made(self) -> Callable[[Any, int, Any], Found | None]:
        """Return the function `(root, number, grad)`; None is returned for another structure."""
        text = "\n ".join(["def confirm(n0, number, grad):", *self.lines])
        exec(text, self.scope)
        confirm: Callable[[Any, int, Any], Found | None] = self.scope["confirm"]
        return confirm

    def names(self, nodes: Sequence[Any]) -> str:
        return ", ".join([f"n{self.place[node]}" for node in nodes])

    def name(self, letter: str, k: int, constant: Any) -> str:
        """Enter a constant; return what the code calls it."""
        self.scope[f"{letter}_{k}"] = constant
        return f"{letter}_{k}"

    def refuse(self, condition: str) -> None:
        self.lines.append(f"if {condition}: return None")

    def leaf(self, node: Any) -> None:
        k = self.place[node]
        meta = self.name("m", k + 1, node._leaf._meta)
        self.lines.append(f"x = n{k}._leaf")
        self.refuse(f"x._meta is not {meta} or x._hooks is not None")

    def node(self, node: Any) -> None:
        k = self.place[node]
        own = node._metas is node.plan.metas
        metas = f"n{k}._metas {'is not' if own else '!='} {self.name('m', k + 1, node._metas)}"
        rule = self.name("r", k, node.rule)
        self.refuse(f"n{k}.rule is not {rule} or n{k}._hooks is not None or {metas}")
        if node.numbers and node.plan.op.backward is not None:
            self.refuse(f"repr(n{k}.numbers) != {self.name('c', k, repr(node.numbers))}")
        if node.kept:
            pins = [f"p{k}_{j}" for j in range(len(node.kept))]
            self.lines.append(f"{', '.join(pins)}, = n{k}.kept")
            for name, one in zip(pins, node.kept, strict=True):
                self.saved(name, one)
            if node.rule.result and node.kept[-1].__class__ is not Pin:
                meta = self.name("s", k, node.kept[-1].meta)
                self.refuse(f"{pins[-1]}.meta is not {meta}")
        if node._edges:
            edges = [f"e{j}" for j in range(len(node._edges))]
            self.lines.append(f"{', '.join(edges)}, = n{k}._edges")
            for name, edge in zip(edges, node._edges, strict=True):
                self.edge(name, edge)

    def saved(self, name: str, one: Any) -> None:
        if one.__class__ is not Pin:
            self.bare = False
            self.read(f"unchanged({name})", one.pin.value)
            return
        known = self.pins.get(id(one))
        if known is not None:
            self.refuse(f"{name} is not {known}")
            return
        self.pins[id(one)] = name
        self.refuse(f"{name}.__class__ is not Pin or {name}.counter.version != {name}.version")
        self.read(f"{name}.value", one.value)

    def read(self, source: str, value: Any) -> None:
        v = self.values.get(value)
        if v is not None:
            self.refuse(f"{source} is not v{v}")
            return
        v = self.values[value] = len(self.values)
        self.lines.append(f"v{v} = {source}")
        self.refuse(f"v{v} is None")

    def edge(self, name: str, edge: Any) -> None:
        if edge is None:
            self.refuse(f"{name} is not None")
            return
        target, number = edge
        k = self.place[target]
        other = f"o != {number}" if number else "o"
        if target in self.seen:
            self.lines.append(f"t, o = {name}")
            self.refuse(f"t is not n{k} or {other}")
            return
        self.seen.add(target)
        self.lines.append(f"n{k}, o = {name}")
        self.refuse(other)
