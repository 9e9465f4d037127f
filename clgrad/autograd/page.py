"""A graph of derivatives as one HTML page that needs nothing else: no network, no library.

The page is a drawing, in which gradients flow downwards, and what is known of the node that was
clicked: its line, what it saved, and the kernels that computed it and its derivatives.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clgrad.autograd.drawing import Drawn

_ROW, _GAP, _LETTER, _PAD, _HEIGHT = 64, 24, 7.2, 12, 38
"""Pixels: between layers, between boxes, per letter, around a drawing and a text, of a box."""


def page(nodes: Sequence[Drawn]) -> str:
    """Return the page."""
    boxes, width, height = _layout(nodes)
    kernels: dict[str, str] = {}
    data = []
    for node in nodes:
        parts = []
        for title, ops in (("forward", node.forward), ("derivatives", node.backward)):
            listed = []
            for formula, used in ops:
                for kernel in used:
                    kernels.setdefault(kernel.name, kernel.text)
                listed.append([formula, list(dict.fromkeys(k.name for k in used))])
            parts.append([title, listed])
        data.append(
            {
                "name": node.name, "outputs": node.outputs, "place": node.place,
                "source": node.source, "saved": node.saved, "parts": parts,
            }
        )  # fmt: skip
    content = json.dumps({"nodes": data, "kernels": kernels}).replace("</", "<\\/")
    drawing = "\n".join([*_edges(nodes, boxes), *_boxes(nodes, boxes)])
    return (
        _PAGE.replace("@WIDTH", str(width)).replace("@HEIGHT", str(height))
        .replace("@DRAWING", drawing).replace("@COUNT", str(len(nodes)))
        .replace("@DATA", content)
    )  # fmt: skip


Box = tuple[float, float, float]
"""Left, top and width."""


def _layout(nodes: Sequence[Drawn]) -> tuple[list[Box], int, int]:
    """Place each node one row below the lowest of those that lead to it, near their middle."""
    layer = [0] * len(nodes)
    above: list[list[int]] = [[] for _ in nodes]
    for node in nodes:  # each comes before those that it leads to
        for edge in node.edges:
            if edge is not None:
                layer[edge[0]] = max(layer[edge[0]], layer[node.number] + 1)
                above[edge[0]].append(node.number)
    rows: list[list[int]] = [[] for _ in range(max(layer, default=0) + 1)]
    for k, row in enumerate(layer):
        rows[row].append(k)
    boxes: list[Box] = [(0.0, 0.0, 0.0)] * len(nodes)
    widest = 0.0

    def middle(k: int) -> float:
        over = [boxes[n][0] + boxes[n][2] / 2 for n in above[k]]
        return sum(over) / len(over) if over else 0.0

    for y, members in enumerate(rows):
        left = float(_PAD)
        for k in sorted(members, key=middle):
            wide = max(len(t) for t in _lines(nodes[k])) * _LETTER + 2 * _PAD
            left = max(left, middle(k) - wide / 2)
            boxes[k] = (left, float(_PAD + y * _ROW), wide)
            left += wide + _GAP
        widest = max(widest, left)
    return boxes, int(widest + _PAD), int(2 * _PAD + len(rows) * _ROW)


def _lines(node: Drawn) -> tuple[str, str]:
    return node.name, " ".join(node.outputs)


def _boxes(nodes: Sequence[Drawn], boxes: Sequence[Box]) -> list[str]:
    made = []
    for node, (x, y, w) in zip(nodes, boxes, strict=True):
        kind = "leaf" if node.name == "AccumulateGrad" else "node"
        first, second = (escape(t) for t in _lines(node))
        made.append(
            f'<g class="{kind}" data-n="{node.number}"><rect x="{x:.0f}" y="{y}" width="{w:.0f}" '
            f'height="{_HEIGHT}" rx="5"/><text x="{x + _PAD:.0f}" y="{y + 16}">{first}</text>'
            f'<text class="small" x="{x + _PAD:.0f}" y="{y + 31}">{second}</text></g>'
        )
    return made


def _edges(nodes: Sequence[Drawn], boxes: Sequence[Box]) -> list[str]:
    made = []
    for node in nodes:
        x0 = boxes[node.number][0] + boxes[node.number][2] / 2
        y0 = boxes[node.number][1] + _HEIGHT
        for edge in node.edges:
            if edge is None:
                continue
            x1, y1 = boxes[edge[0]][0] + boxes[edge[0]][2] / 2, boxes[edge[0]][1]
            bend = (y1 - y0) / 2
            made.append(
                f'<path data-a="{node.number}" data-b="{edge[0]}" d="M{x0:.0f} {y0}'
                f'C{x0:.0f} {y0 + bend:.0f} {x1:.0f} {y1 - bend:.0f} {x1:.0f} {y1}"/>'
            )
    return made


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Graph of derivatives: @COUNT nodes</title>
<style>
body { margin: 0; display: flex; height: 100vh; font: 13px ui-monospace, monospace; color: #222; }
#graph { flex: 3; overflow: auto; background: #fafafa; }
#about { flex: 2; overflow: auto; border-left: 1px solid #ccc; padding: 12px; min-width: 320px; }
rect { fill: #fff; stroke: #888; }
.leaf rect { fill: #dde8f8; }
.chosen rect { stroke: #c40; stroke-width: 2; }
g { cursor: pointer; }
text { font: 12px ui-monospace, monospace; }
.small { fill: #666; font-size: 11px; }
path { fill: none; stroke: #aaa; }
path.near { stroke: #c40; stroke-width: 2; }
h1 { font-size: 15px; margin: 0 0 8px; }
h2 { font-size: 13px; margin: 14px 0 4px; }
pre { background: #f4f4f4; padding: 8px; overflow: auto; margin: 4px 0; }
summary { cursor: pointer; color: #06c; }
</style>
</head>
<body>
<div id="graph"><svg width="@WIDTH" height="@HEIGHT">
@DRAWING
</svg></div>
<div id="about"><h1>Graph of derivatives: @COUNT nodes</h1>
<p>Gradients flow downwards. Click a node.</p></div>
<script type="application/json" id="data">@DATA</script>
<script>
const data = JSON.parse(document.getElementById("data").textContent);
const about = document.getElementById("about");
function add(parent, tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}
function choose(n) {
  const node = data.nodes[n];
  document.querySelectorAll("g").forEach(g => g.classList.toggle("chosen", g.dataset.n == n));
  document.querySelectorAll("path").forEach(
    p => p.classList.toggle("near", p.dataset.a == n || p.dataset.b == n));
  about.replaceChildren();
  add(about, "h1", "#" + n + " " + node.name);
  add(about, "div", "outputs " + node.outputs.join(", "));
  if (node.place) { add(about, "h2", node.place); add(about, "pre", node.source); }
  if (node.saved.length) {
    add(about, "h2", "saved");
    node.saved.forEach(one => add(about, "div", one[0] + ": " + one[1]));
  }
  node.parts.forEach(([title, ops]) => {
    if (!ops.length) return;
    add(about, "h2", title);
    ops.forEach(([formula, names]) => {
      add(about, "div", formula);
      names.forEach(name => {
        const details = add(about, "details");
        add(details, "summary", name);
        add(details, "pre", data.kernels[name]);
      });
    });
  });
}
document.querySelectorAll("g").forEach(g => g.addEventListener("click", () => choose(g.dataset.n)));
</script>
</body>
</html>
"""
