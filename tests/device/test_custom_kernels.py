"""Ops with kernels of the user's own: values, gradients, dtypes, layouts, mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clgrad

BOX = """
    __kernel void {{ name }}({{ parameters }})
    {
        const {{ index }} i = get_global_id(0);
        const {{ index }} column = i % x_n1, row = i - column;
        {{ x.register }} sum = 0;
        for (int k = -radius; k <= radius; ++k) {
            if (column + k >= 0 && column + k < x_n1) {
                sum += {{ x.load("row + column + k") }};
            }
        }
        {{ y.store("i", "sum * scale") }}
    }
"""

OUTER = """
    {# x y^T, a group of 4 by 4 work-items at a time #}
    __kernel void {{ name }}({{ parameters }})
    {
        const {{ index }} c = get_global_id(0), r = get_global_id(1);
        if (r < y_n0 && c < y_n1) {
            {% if sign == "minus" %}
            {{ y.store("r * y_n1 + c", "-" ~ a.load("r") ~ " * " ~ b.load("c")) }}
            {% else %}
            {{ y.store("r * y_n1 + c", a.load("r") ~ " * " ~ b.load("c")) }}
            {% endif %}
        }
    }
"""


def _outer_gradients(ctx: Any, g: Any) -> tuple[Any, Any]:
    sign = -1.0 if ctx.param("sign") == "minus" else 1.0
    da = (g @ ctx.saved("b")) * sign if ctx.needs("a") else None
    db = (g.t() @ ctx.saved("a")) * sign if ctx.needs("b") else None
    return da, db


box = clgrad.primitive(
    "box_of_a_test", "x, *, radius=1, scale=1.0", BOX, saves=(),
    backward=lambda ctx, g: (box(g, radius=ctx.param("radius"), scale=ctx.param("scale")),),
    doc="Sum of neighbours.",
)  # fmt: skip
outer = clgrad.primitive(
    "outer_of_a_test", "a, b, *, sign='plus'", OUTER, backward=_outer_gradients,
    shape=lambda a, b, sign: (*a, *b), saves={"a": ("b",), "b": ("a",)},
    size=lambda y, a, b, sign: (y[1], y[0]), local=(4, 4),
)  # fmt: skip


def expected(x: np.ndarray, radius: int) -> np.ndarray:
    out = np.zeros_like(x)
    for k in range(-radius, radius + 1):
        low, high = max(0, -k), min(x.shape[1], x.shape[1] - k)
        out[:, low:high] += x[:, low + k : high + k]
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32"])
def test_values_in_every_dtype_and_layout(device: Any, dtype: str) -> None:
    x = np.arange(15.0).reshape(3, 5)
    kind = getattr(clgrad, dtype)
    t = clgrad.tensor(x, dtype=kind, device=device)
    assert box(t, radius=2).dtype is kind
    for made, want in (
        (box(t), expected(x, 1)),
        (box(t, radius=2), expected(x, 2)),
        (box(t, scale=2.0), 2 * expected(x, 1)),
        (box(t.t()), expected(x.T.copy(), 1)),
        (box(t[1:]), expected(x[1:], 1)),
        (box(t[:0]), x[:0]),
    ):
        assert np.array_equal(made.double().numpy(), want)


def test_gradients_of_any_order(device: Any) -> None:
    clgrad.manual_seed(0)
    x = clgrad.randn(3, 5, dtype=clgrad.float64, device=device, requires_grad=True)
    a = clgrad.randn(3, dtype=clgrad.float64, device=device, requires_grad=True)
    b = clgrad.randn(2, dtype=clgrad.float64, device=device, requires_grad=True)
    for function, inputs in (
        (lambda t: box(t, radius=2, scale=0.5), (x,)),
        (lambda t: box(t.t()).sin(), (x,)),
        (outer, (a, b)),
        (lambda s, t: outer(s, t, sign="minus"), (a, b)),
    ):
        assert clgrad.autograd.gradcheck(function, inputs)
        assert clgrad.autograd.gradgradcheck(function, inputs)
    assert type(box(x).grad_fn).__name__ == "BoxOfATestBackward0"
    frozen = outer(a, b.detach())
    assert [name for name, _ in frozen.grad_fn._saved_items()] == ["b"]


def test_a_loop_gives_the_same_gradient_every_time(device: Any) -> None:
    x = clgrad.ones(2, 4, device=device, requires_grad=True)
    seen = []
    for _ in range(3):
        x.grad = None
        (box(x * 2) * x).sum().backward()
        seen.append(x.grad.tolist())
    assert seen[0] == seen[1] == seen[2] == [[8.0, 12.0, 12.0, 8.0]] * 2


def test_a_template_in_a_file(device: Any, tmp_path: Path) -> None:
    path = tmp_path / "twice.cl.j2"
    path.write_text(
        "__kernel void {{ name }}({{ parameters }})\n"
        "{\n    const int i = get_global_id(0);\n    {{ y.store('i', x.load('i') ~ ' * 2') }}\n}\n"
    )
    twice = clgrad.primitive(f"twice_{device.index}", "x", path)
    x = clgrad.tensor([1.0, 2.0], device=device)
    assert twice(x).tolist() == [2.0, 4.0]
    with pytest.raises(clgrad.AutogradError, match="derivative"):
        twice(x.requires_grad_()).sum().backward()


def test_mistakes_are_found_where_they_are_made(device: Any) -> None:
    x = clgrad.ones(3, device=device)
    kernel = "__kernel void {{ name }}({{ parameters }}) { %s }"
    unknown = clgrad.primitive(f"unknown_{device.index}", "x", kernel % "{{ z }}")
    with pytest.raises(clgrad.FormulaError, match="'z' is undefined"):
        unknown(x)
    broken = clgrad.primitive(f"broken_{device.index}", "x", kernel % "oops;")
    with pytest.raises(clgrad.CompileError, match="oops"):
        broken(x).tolist()
    nameless = clgrad.primitive(f"nameless_{device.index}", "x", "__kernel void f() {}")
    with pytest.raises(clgrad.FormulaError, match="does not use `name`"):
        nameless(x)
    with pytest.raises(ValueError, match="an op of this name exists"):
        clgrad.primitive("box_of_a_test", "x", kernel % "")
    with pytest.raises(ValueError, match="none of the names"):
        clgrad.primitive(f"reserved_{device.index}", "x, *, index=1", kernel % "")
    shapeless = clgrad.primitive(f"shapeless_{device.index}", "x", kernel % "", shape=lambda x: 3)
    with pytest.raises(clgrad.ShapeError, match="Expected a tuple of sizes"):
        shapeless(x)
    with pytest.raises(TypeError, match=r"must be Tensor|is a number"):
        outer(x, 2.0)
