"""In-place writes to views and to their bases, each as a program that PyTorch runs too."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

CASES, case = cases()


def leaf(m: Any) -> Any:
    return m.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -2.0]], requires_grad=True)


def state(x: Any) -> Any:
    return [x.detach(), x.grad_fn, x._version, x.requires_grad, x.is_leaf]


@case()
def writing_a_view_rebases_the_base(m: Any) -> Any:
    x = leaf(m)
    y = x * 2
    v = y[0]
    v.mul_(3)
    (y * y).sum().backward()
    return [*state(y), *state(v), x.grad]


@case()
def writing_the_base_renews_a_view(m: Any) -> Any:
    x = leaf(m)
    y = x * 2
    v = y[0]
    y.mul_(3)
    (v * v).sum().backward()
    return [*state(v), x.grad]


@case()
def a_view_of_a_constant_that_comes_to_require_grad(m: Any) -> Any:
    x, w = leaf(m), m.zeros(2, 3)
    v = w[1]
    w.add_(x)
    (v * v).sum().backward()
    return [*state(v), x.grad]


@case()
def view_of_view(m: Any) -> Any:
    x = leaf(m)
    y = x * 1
    v = y[:, 1:][1]
    v.exp_()
    (y * y).sum().backward()
    return [*state(y), *state(v), v._base is y, x.grad]


@case()
def transposed_view(m: Any) -> Any:
    x = leaf(m)
    y = x * 1
    y.t()[0].mul_(m.tensor([2.0, 3.0]))
    (y * y).sum().backward()
    return [y, x.grad]


@case()
def two_views_written_in_turn(m: Any) -> Any:
    x = leaf(m)
    y = x * 1
    a, b = y[0], y[:, 0]
    a.mul_(2)
    b.mul_(4)
    a.add_(b[1])
    (y * y).sum().backward()
    return [y, a, b, x.grad]


@case()
def saved_result_of_a_write_to_a_view_in_double_backward(m: Any) -> Any:
    x = leaf(m)
    y = x * 2
    y[0].sigmoid_()
    (g,) = m.autograd.grad((y * y).sum(), x, create_graph=True)
    (h,) = m.autograd.grad((g * g).sum(), x)
    return [g.detach(), h]


@case("Trying to backward through the graph a second time")
def a_released_copy_slices_always_raises(m: Any) -> Any:
    y = leaf(m) * 2
    y[0].add_(1)
    z = y.sum()
    z.backward()
    z.backward()


@case()
def the_gradient_of_what_was_overwritten_is_zero(m: Any) -> Any:
    x = leaf(m)
    y = x * 2
    y[0] = 7.0
    y.sum().backward()
    return [y, x.grad]


@case()
def assignment_of_a_tensor(m: Any) -> Any:
    x, w = leaf(m), m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y[:, 1] = w * 3
    (y * y).sum().backward()
    return [*state(y), x.grad, w.grad]


@case()
def assignment_broadcasts(m: Any) -> Any:
    x = m.zeros(2, 3)
    x[:, 1:] = m.tensor([[5.0], [6.0]])
    x[0, 0] = m.tensor([[9.0]])
    return x


@case()
def fill_with_a_tensor(m: Any) -> Any:
    x, w = leaf(m), m.tensor(3.0, requires_grad=True)
    y = x * 2
    y[1].fill_(w)
    (y * y).sum().backward()
    return [*state(y), x.grad, w.grad]


@case()
def zero_and_fill_give_zero_gradients(m: Any) -> Any:
    x, w = leaf(m), leaf(m)
    (x * 2).zero_().sum().backward()
    (w * 2).fill_(3).sum().backward()
    return [x.grad, w.grad]


@case()
def copy_casts_and_broadcasts(m: Any) -> Any:
    x = leaf(m)
    w = m.tensor([1.0, 2.0, 3.0], dtype=m.float64, requires_grad=True)
    y = x * 1
    y.copy_(w)
    (y * y).sum().backward()
    return [*state(y), x.grad, w.grad]


@case()
def overwritten_base_of_a_flat_view(m: Any) -> Any:
    x = leaf(m)
    y = x * 1
    y.view(6)[2:4].mul_(10)
    (y * y).sum().backward()
    return [y, x.grad]


@case()
def write_through_a_diagonal_and_an_unfold(m: Any) -> Any:
    x = leaf(m)
    y = x * 1
    y.diagonal().mul_(3)
    y[0].unfold(0, 1, 2).add_(1)
    (y * y).sum().backward()
    return [y, x.grad]


@case()
def view_of_a_detached_strided_base(m: Any) -> Any:
    x = leaf(m)
    d = m.zeros(3, 2).t().detach()
    d[0].add_(x[1])
    (d * d).sum().backward()
    return [d.detach().contiguous(), d.grad_fn, x.grad]


@case("is a view and is being modified inplace. This view is the output of a function that returns")
def writing_one_of_several_views(m: Any) -> Any:
    (leaf(m) * 2).unbind()[0].add_(1)


@case("This view is the output of a function that returns multiple views.")
def writing_the_base_of_several_views(m: Any) -> Any:
    y = leaf(m) * 2
    part = y.split(1)[1]
    y.add_(1)
    return part.grad_fn


@case()
def several_views_of_a_constant_may_be_written(m: Any) -> Any:
    x = m.ones(2, 3)
    x.unbind()[0].add_(1)
    x.chunk(3, 1)[2].zero_()
    return x


@case("A view was created in no_grad mode and is being modified inplace with grad mode enabled.")
def writing_a_no_grad_view(m: Any) -> Any:
    y = leaf(m) * 2
    with m.no_grad():
        v = y[0]
    v.mul_(2)


@case("A view was created in no_grad mode and its base or another view of its base has been")
def a_no_grad_view_whose_base_was_written(m: Any) -> Any:
    y = leaf(m) * 2
    with m.no_grad():
        v = y[0]
    y.mul_(2)
    return v.grad_fn


@case("A view was created in no_grad mode and its base or another view of its base has been")
def a_saved_no_grad_view_is_told_before_its_version(m: Any) -> Any:
    x = leaf(m)
    y = x * 2
    with m.no_grad():
        v = y[0]
    z = v * x
    y.mul_(2)
    z.sum().backward()


@case()
def a_no_grad_view_requires_grad_with_its_base(m: Any) -> Any:
    y = leaf(m) * 2
    with m.no_grad():
        v = y[0]
    part = v.unbind()[0]
    return [v.requires_grad, v.grad_fn, v.is_leaf, (v * 2).requires_grad, part.grad_fn]


@case()
def results_of_layers_are_written_in_place(m: Any) -> Any:
    x = m.arange(24.0).reshape(2, 4, 3).sin().requires_grad_()
    layers = m.nn.GroupNorm(2, 4), m.nn.LayerNorm(3), m.nn.BatchNorm1d(4), m.nn.RMSNorm(3)
    y = x
    for layer in layers:
        z = layer(y)
        y = m.nn.functional.relu(z, inplace=True) + layer(x.detach()).mul_(2)
    (y * y).sum().backward()
    return [y.detach(), x.grad, z._is_view(), m.nn.functional.group_norm(x, 2)._is_view()]


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)
