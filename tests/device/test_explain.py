"""Why gradients do not flow, with the line; and the graph as text, for Graphviz and as a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import clgrad
from clgrad import nn
from clgrad.autograd import Function, explain_grad, explaining, graph
from clgrad.graph import watch
from clgrad.nn import functional as F
from clgrad.tape import noting

Model = Callable[[Any, Any], Any]


class Triple(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone() * 3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 3


def detached(w: Any, b: Any) -> Any:
    h = (w * 2).tanh()
    h = h.detach()  # cut
    return ((h + b) ** 2).mean()


def detached_in_place(w: Any, b: Any) -> Any:
    h = (w * 2).softmax(1)
    h.detach_()  # cut
    return (h * b).sum()


def of_data(w: Any, b: Any) -> Any:
    h = F.layer_norm(Triple.apply(w) + 1, (4,))
    return (h.data * b).sum()  # cut


def in_no_grad(w: Any, b: Any) -> Any:
    with clgrad.no_grad():
        h = w @ w  # cut
    return (h * b).sum()


def view_in_no_grad(w: Any, b: Any) -> Any:
    v = w * 2
    with clgrad.no_grad():
        row = v[0]  # cut
    return (row.clone() * b).sum()


def by_index(w: Any, b: Any) -> Any:
    h = (w @ w).argmax(1).float()  # cut
    return (h * b).sum()


def by_comparison(w: Any, b: Any) -> Any:
    mask = w.exp() > 1  # cut
    return clgrad.where(mask, b, b * 2).sum()


def on_the_host(w: Any, b: Any) -> Any:
    scale = (w * w).sum().item()  # cut
    return (b * scale).sum()


def written_after_detach(w: Any, b: Any) -> Any:
    y = w * 1
    y[1:].mul_(2)
    z = y.exp().detach()  # cut
    z.add_(1)
    return (z * b).sum()


def not_used(w: Any, b: Any) -> Any:
    return (b * b).sum()


CUTS: list[tuple[Model, str]] = [
    (detached, "detached"), (detached_in_place, "detached"), (of_data, "detached"),
    (in_no_grad, "no_grad"), (view_in_no_grad, "no_grad"), (by_index, "integer"),
    (by_comparison, "integer"), (on_the_host, "read on the host"),
    (written_after_detach, "detached"), (not_used, "unknown"),
]  # fmt: skip


def line_of(model: Model) -> int | None:
    """Return the line of a model that is marked as the cut."""
    first = model.__code__.co_firstlineno
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    for k, line in enumerate(lines[first - 1 :], first):
        if line.endswith("# cut"):
            return k
        if k > first and line and not line.startswith(" "):
            return None
    return None


def operands(device: Any) -> tuple[Any, Any]:
    w = clgrad.tensor([[0.1 * (i - j) for j in range(4)] for i in range(4)], device=device)
    return w.requires_grad_(), clgrad.ones(4, device=device, requires_grad=True)


@pytest.mark.parametrize(("model", "kind"), CUTS, ids=lambda v: getattr(v, "__name__", v))
def test_the_cut_is_named_with_its_line(model: Model, kind: str, device: Any) -> None:
    w, b = operands(device)
    with explaining():
        loss = model(w, b)
    found = explain_grad(loss, w)
    assert not found.reachable
    assert [cut.kind for cut in found.cuts] == [kind], str(found)
    line = line_of(model)
    assert found.cuts[0].place == (None if line is None else (__file__, line)), str(found)
    assert str(found).startswith("no gradient flows from float32[] to float32[4, 4]:")
    assert explain_grad(loss, b).reachable
    loss.backward()
    assert w.grad is None and b.grad is not None


def whole(w: Any, b: Any) -> Any:
    h = Triple.apply(w).exp()
    h[1:].mul_(2)
    return (F.softmax(h, 1) * b).sum()


def test_a_way_is_shown_with_its_lines(device: Any) -> None:
    w, b = operands(device)
    with explaining():
        loss = whole(w, b)
    found = explain_grad(loss, w)
    assert found.reachable and not found.cuts
    names = [step.what for step in found.path]
    first = whole.__code__.co_firstlineno
    assert names == [
        "SumBackward0", "MulBackward0", "SoftmaxBackward0", "CopySlices", "ExpBackward0",
        "TripleBackward", "AccumulateGrad",
    ]  # fmt: skip
    assert [step.place[1] - first for step in found.path if step.place] == [3, 3, 3, 2, 1, 1]
    assert "h = Triple.apply(w).exp()" in str(found)
    assert "SumBackward0, MulBackward0, SoftmaxBackward0  at " in str(found)


def test_both_ways_have_to_be_cut(device: Any) -> None:
    w, b = operands(device)
    with explaining():
        h = w * 2
        loss = (h.detach() * b).sum() + (h > 0).to(h.dtype).sum()
    found = explain_grad(loss, w)
    assert sorted(cut.kind for cut in found.cuts) == ["detached", "integer"], str(found)


def test_what_is_not_known_is_said(device: Any) -> None:
    w, b = operands(device)
    assert "inside `with clgrad.autograd.explaining():`" in str(explain_grad(detached(w, b), w))
    assert "does not require grad" in str(explain_grad((b * 2).sum(), w.detach()))
    assert explain_grad(whole(w, b), w).reachable
    with pytest.raises(TypeError, match="Expected two tensors"):
        explain_grad(b, 1)  # type: ignore[arg-type]


def test_nothing_is_noted_outside(device: Any) -> None:
    w, b = operands(device)
    with explaining():
        pass
    assert noting.Switch.open == 0 and not watch.active
    loss = whole(w, b)
    assert loss.grad_fn._hooks is None
    assert not hasattr(loss._storage.value, "origin")


# ---- drawings ---------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Collects what a page is made of, and checks that elements are closed in order."""

    VOID = ("meta", "rect", "path")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def drawn(device: Any) -> Any:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(device)
    x = clgrad.ones(3, 4, device=device)
    y = model(x)  # the model's line
    return (y * y).mean() + y.sum()


def test_the_graph_as_text(device: Any) -> None:
    with explaining():
        loss = drawn(device)
    lines = graph.show(loss).splitlines()
    assert re.match(r"#0 +AddBackward0 +float32\[\] +→ #\d+ #\d+ ", lines[0])
    assert all("test_explain.py:" in line for line in lines if "AccumulateGrad" not in line)
    squares = next(line for line in lines if "MulBackward0" in line)
    assert squares.endswith("saved a, b")
    assert len(lines) == len(set(re.findall(r"#\d+", "\n".join(lines))))
    loss.backward()
    assert "drawn" in graph.show(loss)
    with pytest.raises(RuntimeError, match="explain_grad"):
        graph.show(clgrad.ones(2, device=device))
    with pytest.raises(ValueError, match="Expected one of html, dot, text"):
        graph.show(loss, format="png")


def test_the_graph_for_graphviz(device: Any, tmp_path: Path) -> None:
    loss = drawn(device)
    text = graph.show(loss, file=tmp_path / "g.dot")
    assert (tmp_path / "g.dot").read_text(encoding="utf-8") == text
    nodes = re.findall(r'^  n(\d+) \[label="(\w+)', text, re.MULTILINE)
    edges = re.findall(r"^  n(\d+) -> n(\d+)", text, re.MULTILINE)
    assert text.startswith("digraph backward {") and text.endswith("}\n")
    assert {n for pair in edges for n in pair} == {n for n, _ in nodes}
    assert [name for _, name in nodes].count("AccumulateGrad") == 4


def test_the_graph_as_a_page_with_kernels(device: Any, tmp_path: Path) -> None:
    with explaining():
        loss = drawn(device)
        loss.backward(retain_graph=True)
        clgrad.synchronize(device)
    page = graph.show([loss, loss], file=tmp_path / "g.html")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    assert tags.seen.count("rect") == len(data["nodes"])
    by_name = {node["name"]: node for node in data["nodes"]}
    product = next(node for name, node in by_name.items() if "mm" in name)
    assert "y = model(x)  # the model's line" in product["source"]
    forward, derivatives = (dict(map(tuple, part[1])) for part in product["parts"])  # type: ignore[arg-type]
    assert "mm: mm" in [formula.partition("(")[0] for formula in forward]
    for formulas in (forward, derivatives):
        for names in formulas.values():
            assert names and all("__kernel" in data["kernels"][name] for name in names)
    tanh = dict(map(tuple, by_name["TanhBackward0"]["parts"][1][1]))
    assert any(formula.startswith("tanh.dx: ") for formula in tanh)
    # a box lies on no other
    boxes = [
        tuple(map(float, box))
        for box in re.findall(r'<rect x="(\d+)" y="([\d.]+)" width="(\d+)"', page)
    ]
    for k, (x, y, w) in enumerate(boxes):
        for x1, y1, w1 in boxes[k + 1 :]:
            assert y != y1 or x + w < x1 or x1 + w1 < x
