"""Histograms, slopes, orthogonal polynomials, fractional pooling, adaptive softmax: as PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from twin import same


def _values(m: Any, *shape: int) -> Any:
    return m.tensor(np.random.default_rng(sum(shape)).normal(size=shape).astype("f"))


def test_histograms() -> None:
    def program(m: Any) -> Any:
        x, w = _values(m, 30), _values(m, 30).abs()
        edges = m.tensor([-2.0, -0.5, 0.25, 3.0])
        points = _values(m, 20, 2)
        found = [
            m.histogram(x, 5), m.histogram(x, 4, range=(-1.0, 2.0), weight=w),
            m.histogram(x, edges, density=True), x.histogram(3, weight=w, density=True),
            m.histogram(m.ones(3), 2), m.histogram(x[:0], 2),
        ]  # fmt: skip
        more = [
            m.histogramdd(points, [3, 2]), m.histogramdd(points, 2, range=(-1.0, 1.0, -2.0, 2.0)),
            m.histogramdd(points, [edges, edges * 2], density=True, weight=w[:20]),
        ]  # fmt: skip
        return [list(f) for f in found], [[h, list(e)] for h, e in more]

    same(program)


@pytest.mark.parametrize("order", [1, 2])
def test_slopes(order: int) -> None:
    def program(m: Any) -> Any:
        x = _values(m, 5, 4).requires_grad_()
        places = [m.tensor([0.0, 1.0, 1.5, 3.0, 7.0]), m.tensor([1.0, 2.0, 4.0, 8.0])]
        calls: list[dict[str, Any]] = [
            {}, {"spacing": 0.5}, {"dim": 1}, {"spacing": [2.0, 3.0]}, {"spacing": places},
            {"spacing": [places[1]], "dim": -1},
        ]  # fmt: skip
        found = [m.gradient(x, edge_order=order, **named) for named in calls]
        total = sum((g * g).sum() for made in found for g in made)
        return [[g.detach() for g in made] for made in found], m.autograd.grad(total, x)[0]

    same(program)


def test_polynomials() -> None:
    names = [n for n in dir(torch.special) if "_polynomial_" in n]
    assert len(names) == 12

    def program(m: Any) -> Any:
        x, n = m.tensor([-1.5, -0.5, 0.0, 0.25, 0.9]), m.tensor([0, 1, 2, 4, 5])
        return [(getattr(m.special, name)(x, n), getattr(m.special, name)(x, 3)) for name in names]

    same(program)


def test_parts_of_the_gamma_function() -> None:
    def program(m: Any) -> Any:
        inf, nan = float("inf"), float("nan")
        a = m.tensor([0.0, 0.0, 1.0, 2.0, inf, inf, 3.0, nan, -1.0, 0.5, 60.0, 500.0, 21.0])
        x = m.tensor([0.0, 1.0, 0.0, inf, 1.0, inf, -1.0, 1.0, 1.0, 1e-20, 58.0, 530.0, 40.0])
        inside = m.tensor([0.3, 2.0, 30.0], requires_grad=True)
        total = (m.igamma(a[-3:], inside) - m.special.gammaincc(a[-3:], inside) ** 2).sum()
        (grad,) = m.autograd.grad(total, inside, create_graph=True)
        (again,) = m.autograd.grad(grad.sum(), inside)
        found = [m.igamma(a, x), a.igammac(x), m.special.gammainc(a, x), a.clone().igamma_(x)]
        return [*found, grad.detach(), again]

    same(program)


@pytest.mark.parametrize("dims", [2, 3])
def test_fractional_pooling(dims: int) -> None:
    def program(m: Any) -> Any:
        x = _values(m, 2, 3, *(7, 9, 6)[:dims]).requires_grad_()
        samples = m.tensor(np.random.default_rng(1).uniform(size=(2, 3, dims)).astype("f"))
        pool = getattr(m.nn, f"FractionalMaxPool{dims}d")
        made, index = pool(2, (3, 5, 2)[:dims], return_indices=True, _random_samples=samples)(x)
        half = pool(3, output_ratio=0.5, _random_samples=samples)(x)
        (grad,) = m.autograd.grad((made * made).sum() + half.sum(), x)
        one = pool(3, output_ratio=0.5, _random_samples=samples)(x[0])
        return made.detach(), index, half.detach(), grad, one.detach()

    same(program)


@pytest.mark.parametrize("bias", [False, True])
def test_adaptive_softmax(bias: bool) -> None:
    def program(m: Any) -> Any:
        layer = m.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0, head_bias=bias)
        with m.no_grad():
            for k, p in enumerate(layer.parameters()):
                p.copy_((m.arange(p.numel()) * (k + 1.0)).reshape(p.shape).sin())
        x = _values(m, 6, 8).requires_grad_()
        output, loss = layer(x, m.tensor([0, 2, 3, 11, 7, 1]))
        loss.backward()
        one = layer(x[0], m.tensor(9))
        grads = [p.grad for p in layer.parameters()]
        return [output.detach(), loss.detach(), x.grad, grads, list(layer.state_dict()),
                layer.log_prob(x).detach(), layer.predict(x), one.output.detach()]  # fmt: skip

    same(program)


@pytest.mark.parametrize("cutoffs", [[], [5, 3], [0, 4], [4, 4], [12]])
def test_cutoffs_that_cannot_be(cutoffs: list[int]) -> None:
    for m in (torch, __import__("clgrad")):
        with pytest.raises(ValueError, match="cutoffs"):
            m.nn.AdaptiveLogSoftmaxWithLoss(4, 12, cutoffs)


def test_norms_with_older_arguments() -> None:
    def program(m: Any) -> Any:
        x, w = _values(m, 4, 3, 5), _values(m, 3)
        means, spreads = m.zeros(3), m.ones(3)
        given = (x, w, w, means, spreads, True, 0.1, 1e-5, False)
        return [m.batch_norm(*given), m.instance_norm(*given), means, spreads]

    same(program)


@pytest.mark.parametrize("text", [
    "t.logspace(2, 1.2, 2, dtype=t.int64)", "t.arange(0.0, -8.1, -4.0, dtype=t.int32)",
    "t.arange(0, 3.1, dtype=t.int64)", "t.ones(3, dtype=t.int32).sum(dtype=t.int16)",
    "t.ones(3, dtype=t.uint8).dot(t.ones(3, dtype=t.uint8))", "t.cov(t.ones(1, 4))",
    "t.diff(t.ones(3), 0, prepend=t.ones(2))",
    "t.tensor(1.0).index_add(0, t.tensor([0]), t.tensor(2.0))",
    "t.isin(t.arange(4), t.tensor([2]), invert=True)", "t.ones(2, dtype=t.int64).sum_to_size([])",
    "t.nn.functional.pad(t.arange(4.0).reshape(1, 4), (-4, 5), mode='replicate')",
    "t.narrow(t.arange(4), 0, t.tensor(1), 2)",
    "t.nn.functional.multi_margin_loss(t.tensor(1.0), t.tensor(0))",
    "t.linalg.matrix_power(t.ones(2, 2), 0)",
])  # fmt: skip
def test_edges(text: str) -> None:
    """What differed once."""

    def program(m: Any) -> Any:
        made = eval(text, {"t": m})
        return made, made.dtype.name if hasattr(made.dtype, "name") else str(made.dtype)[6:]

    same(program)
