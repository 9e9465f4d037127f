"""Jacobians, Hessians and their products, compared with PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from twin import same


def inputs(m: Any) -> tuple[Any, Any]:
    return m.tensor([0.5, -1.0, 2.0]), m.tensor([[1.5, 0.25, -2.0], [0.1, 0.2, 0.3]])


def vector(x: Any, w: Any) -> Any:
    return (w * x).tanh().sum(1) * x.sum()


def pair(x: Any, w: Any) -> Any:
    return vector(x, w), (x * x).sum()


def scalar(x: Any, w: Any) -> Any:
    return (w.exp() * x * x * x).sum()


@pytest.mark.parametrize("function", [vector, pair, scalar])
def test_jacobian(function: Any) -> None:
    same(lambda m: m.autograd.functional.jacobian(function, inputs(m)))


def test_jacobian_of_one_input() -> None:
    same(lambda m: m.autograd.functional.jacobian(lambda x: x * x.sum(), inputs(m)[0]))


def test_jacobian_of_what_does_not_depend() -> None:
    same(lambda m: m.autograd.functional.jacobian(lambda x, w: x * 2, inputs(m)))


def test_strict_jacobian() -> None:
    same(
        lambda m: m.autograd.functional.jacobian(lambda x, w: x * 2, inputs(m), strict=True),
        "This is not allowed in strict mode",
    )


def test_hessian() -> None:
    same(lambda m: m.autograd.functional.hessian(scalar, inputs(m)))
    same(lambda m: m.autograd.functional.hessian(lambda x: (x**3).sum(), inputs(m)[0]))


def test_differentiable_hessian() -> None:
    def program(m: Any) -> Any:
        x = inputs(m)[0].requires_grad_()
        h = m.autograd.functional.hessian(lambda t: (t**4).sum(), x, create_graph=True)
        (g,) = m.autograd.grad(h.sum(), x)
        return [h.detach(), h.requires_grad, g]

    same(program)


@pytest.mark.parametrize("function", [vector, pair])
def test_vjp(function: Any) -> None:
    def program(m: Any) -> Any:
        v = m.tensor([2.0, -1.0])
        given = (v, m.tensor(3.0)) if function is pair else v
        return m.autograd.functional.vjp(function, inputs(m), given)

    same(program)


@pytest.mark.parametrize("function", [vector, pair, scalar])
def test_jvp(function: Any) -> None:
    def program(m: Any) -> Any:
        x, w = inputs(m)
        return m.autograd.functional.jvp(function, (x, w), (x * 2, w + 1))

    same(program)


@pytest.mark.parametrize("name", ["hvp", "vhp"])
def test_products_with_a_hessian(name: str) -> None:
    def program(m: Any) -> Any:
        x, w = inputs(m)
        return getattr(m.autograd.functional, name)(scalar, (x, w), (x * 2, w + 1))

    same(program)


def test_a_vector_of_a_wrong_shape() -> None:
    def program(m: Any) -> Any:
        return m.autograd.functional.vjp(vector, inputs(m), m.ones(3))

    import clgrad
    from clgrad.testing.interpreter import interpreted

    with (
        interpreted(),
        pytest.raises(clgrad.ShapeError, match=r"should be .*\[2\]\) but got .*\[3\]"),
    ):
        program(clgrad)
