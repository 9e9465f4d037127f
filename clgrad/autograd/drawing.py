"""The graph of derivatives as text, for Graphviz, and as a page: `graph.show`.

Lines and kernels of a node are known if it was made inside `with explaining():`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clgrad.autograd.origins import Kernel, origins_of
from clgrad.errors import AutogradError, ClgradValueError
from clgrad.graph.position import describe, line_of, source_of
from clgrad.tape.inplace import edge_of
from clgrad.tape.node import Node
from clgrad.tape.saved import Packed
from clgrad.tensor import Tensor


@dataclass(slots=True)
class Drawn:
    """A node as it is shown.

    Attributes:
        number: 0, 1, … in an order in which each comes before those that it leads to.
        outputs: dtype and shape of each output.
        saved: (name, what) of each saved tensor.
        place, source: the line that made it.
        forward, backward: formulas of the ops that it is, and of its derivatives, with the kernels
            that computed them.
        edges: (number of the node, number of its output) for each input, or None.
    """

    number: int
    name: str
    outputs: list[str]
    saved: list[tuple[str, str]]
    place: str
    source: str
    forward: list[tuple[str, list[Kernel]]] = field(default_factory=list)
    backward: list[tuple[str, list[Kernel]]] = field(default_factory=list)
    edges: list[tuple[int, int] | None] = field(default_factory=list)


def collect(roots: Sequence[Tensor]) -> list[Drawn]:
    """Return the nodes that lead from some tensors to leaves.

    Raises:
        AutogradError: none of them requires grad.
    """
    nodes = []
    for root in roots:
        edge = edge_of(root)
        if edge is None:
            raise AutogradError(
                "graph.show: the tensor does not require grad and has no graph. Hint: "
                "explain_grad(loss, parameter) says why."
            )
        nodes.append(edge[0])
    order = _ordered(list(dict.fromkeys(nodes)))
    number = {node: k for k, node in enumerate(order)}
    drawn = []
    for k, node in enumerate(order):
        position = node._place
        made = Drawn(
            k, type(node).__name__, [_meta(m) for m in node._metas], _saved(node),
            "" if position is None else describe(position).removeprefix(f"{Path.cwd()}{os.sep}"),
            "" if position is None else source_of(*line_of(position)),
        )  # fmt: skip
        for origin in origins_of(node):
            entry = (f"{origin.op}: {origin.formula} → {_meta(origin.meta)}", origin.kernels)
            (made.backward if origin.backward else made.forward).append(entry)
        made.edges = [None if e is None else (number[e[0]], e[1]) for e in node._edges]
        drawn.append(made)
    return drawn


def _ordered(roots: Sequence[Node]) -> list[Node]:
    """Return all nodes below some roots, each before those that it leads to."""
    order: list[Node] = []
    done: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack += [(e[0], False) for e in node._edges if e is not None and e[0] not in done]
    return order[::-1]


def _meta(meta: Any) -> str:
    return f"{meta.dtype.name}{list(meta.shape)}"


def _saved(node: Node) -> list[tuple[str, str]]:
    return [(name, _one_saved(saved)) for name, saved in node._saved_items()]


def _one_saved(saved: Any) -> str:
    if isinstance(saved, Tensor):
        return f"{_meta(saved._meta)}, kept by the node"
    what = _meta(saved.meta)
    if isinstance(saved.pin, Packed):
        return f"{what}, taken by pack hooks"
    value = saved.pin.value
    if value is None:
        return f"{what}, overwritten in place"
    if value.recipe is not None:
        return f"{what}, computed again when read"
    return f"{what}, {value.nbytes} bytes{'' if value.buffer is not None else ' when computed'}"


# ---- text --------------------------------------------------------------------------------------


def text(nodes: Sequence[Drawn]) -> str:
    """Return a line per node: what it is, where its gradients go, its line, what it saved."""
    rows = []
    for node in nodes:
        targets = [f"#{e[0]}" + f".{e[1]}" * bool(e[1]) for e in node.edges if e is not None]
        rows.append(
            (
                f"#{node.number}", node.name, " ".join(node.outputs),
                f"→ {' '.join(targets)}" if targets else "", node.place,
                f"saved {', '.join(name for name, _ in node.saved)}" if node.saved else "",
            )
        )  # fmt: skip
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, ""])


# ---- Graphviz ----------------------------------------------------------------------------------


def dot(nodes: Sequence[Drawn]) -> str:
    """Return the graph in Graphviz's language; lines and formulas are tooltips."""
    lines = [
        "digraph backward {",
        '  node [shape=box, style=rounded, fontname="monospace", fontsize=10];',
    ]
    for node in nodes:
        label = [node.name, *node.outputs, node.place]
        tip = [node.source, *(formula for formula, _ in node.forward)]
        style = ', style=filled, fillcolor="#dde8f8"' if node.name == "AccumulateGrad" else ""
        lines.append(
            f"  n{node.number} [label={_quoted(label)}, tooltip={_quoted(tip or [''])}{style}];"
        )
    for node in nodes:
        for edge in node.edges:
            if edge is not None:
                mark = f" [label={edge[1]}]" if edge[1] else ""
                lines.append(f"  n{node.number} -> n{edge[0]}{mark};")
    return "\n".join([*lines, "}", ""])


def _quoted(parts: Sequence[str]) -> str:
    kept = [p.replace("\\", "\\\\").replace('"', '\\"') for p in parts if p]
    return '"' + "\\n".join(kept) + '"'


# ---- what users call ---------------------------------------------------------------------------


def show(tensors: Tensor | Sequence[Tensor], file: Any = None, format: str | None = None) -> str:
    """Return the graph of derivatives of `tensors` as text, and write it to `file`.

    Args:
        file: a path; `.html` gives a page that needs nothing else, `.dot` Graphviz's language, any
            other ending plain text.
        format: `html`, `dot` or `text`, whatever the file is called.

    Returns:
        What was written.

    Raises:
        AutogradError: a tensor has no graph. ClgradValueError: another format.
    """
    from clgrad.autograd.page import page

    formats = {"html": page, "dot": dot, "text": text}
    kind = format
    if kind is None:
        kind = {".html": "html", ".htm": "html", ".dot": "dot", ".gv": "dot"}.get(
            Path(file).suffix if file is not None else "", "text"
        )
    if kind not in formats:
        raise ClgradValueError(
            f"graph.show: format {kind!r}. Expected one of {', '.join(formats)}."
        )
    nodes = collect([tensors] if isinstance(tensors, Tensor) else list(tensors))
    made = formats[kind](nodes)
    if file is not None:
        Path(file).write_text(made, encoding="utf-8")
    return made
