"""Tensors in the order of channels_last, against PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

CASES, case = cases()


def image(m: Any, **options: Any) -> Any:
    return m.arange(24.0, **options).reshape(1, 2, 3, 4)


def seen(x: Any) -> Any:
    return [x, list(x.stride()), x.grad_fn]


@case()
def copies_in_that_order(m: Any) -> Any:
    x, last = image(m).requires_grad_(), m.channels_last
    made = [x.to(memory_format=last), x.contiguous(memory_format=last), x.clone(memory_format=last)]
    there = made[0].detach()
    made += [
        x.to(m.float64, memory_format=last), there.clone(), there.to(memory_format=last),
        there.to(memory_format=m.contiguous_format), there.clone(memory_format=m.contiguous_format),
        m.arange(24.0).reshape(1, 2, 3, 2, 2).to(memory_format=m.channels_last_3d),
    ]  # fmt: skip
    return [seen(y) for y in made]


@case()
def which_order_a_tensor_has(m: Any) -> Any:
    x, last = image(m), m.channels_last
    y = x.to(memory_format=last)
    return [
        [t.is_contiguous(memory_format=f) for f in (last, m.contiguous_format, m.channels_last_3d)]
        for t in (x, y, y[:, :1], m.ones(1, 1, 4, 4), m.ones(2, 3))
    ] + [y.contiguous(memory_format=last) is y, y.to(memory_format=last) is y]


@case()
def gradients_pass_through(m: Any) -> Any:
    x = image(m).requires_grad_()
    y = x.to(memory_format=m.channels_last)
    (y * y).sum().backward()
    z = x.contiguous(memory_format=m.channels_last)
    (g,) = m.autograd.grad((z**3).sum(), x, create_graph=True)
    return [x.grad, m.autograd.grad(g.sum(), x)]


@case()
def the_gradient_of_a_leaf_has_its_order(m: Any) -> Any:
    strides = []
    for formats in [(a, b) for a in range(2) for b in range(2)]:
        chosen = [(m.contiguous_format, m.channels_last)[k] for k in formats]
        a, b = (image(m).to(memory_format=f).requires_grad_() for f in chosen)
        a.sum().backward()
        (a * b).sum().backward()
        strides += [list(a.grad.stride()), list(b.grad.stride())]
    return strides


@case("required rank 4 tensor to use channels_last format")
def a_matrix_has_no_channels(m: Any) -> Any:
    return m.ones(2, 3).to(memory_format=m.channels_last)


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)
