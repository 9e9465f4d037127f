"""Edges instead of tensors, what `grad` and `backward` take, and what flows."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

import clgrad
from clgrad.testing.interpreter import Interpreter, interpreted

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


def edge(m: Any, x: Any) -> Any:
    return m.autograd.graph.get_gradient_edge(x)


# ---- edges instead of tensors ------------------------------------------------------------------


@case()
def edges_as_inputs(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    z = (y.exp() * x).sum()
    return m.autograd.grad(z, (edge(m, y), edge(m, x)))


@case()
def an_edge_outlives_a_write(m: Any) -> Any:
    x = x3(m).clone()
    old = edge(m, x)
    x *= 3
    return m.autograd.grad(x.sum(), (old, x))


@case()
def an_edge_as_output(m: Any) -> Any:
    x = x3(m)
    y = x.exp()
    at = edge(m, y)
    (first,) = m.autograd.grad((y * y).sum(), (at,), retain_graph=True)
    return m.autograd.grad(at, (x,), first)


@case()
def a_scalar_edge_needs_no_gradient(m: Any) -> Any:
    x = x3(m)
    y = x.exp().sum()
    m.autograd.backward(edge(m, y))
    return x.grad


@case("grad can be implicitly created only for scalar outputs")
def an_edge_of_many_elements_needs_one(m: Any) -> Any:
    x = x3(m)
    return m.autograd.grad(edge(m, x * 2), (x,))


@case("materialize_grads cannot be used when the given input is a GradientEdge")
def no_zeros_for_an_edge(m: Any) -> Any:
    x, other = x3(m), x3(m)
    return m.autograd.grad((x * 2).sum(), (x, edge(m, other * 2)), materialize_grads=True)


@case("It is not possible to get the gradient edge")
def no_edge_without_a_gradient(m: Any) -> Any:
    return edge(m, m.ones(2))


@case()
def backward_to_edges(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    y.sum().backward(inputs=[edge(m, y), x])
    return x.grad


# ---- arguments ---------------------------------------------------------------------------------


@case()
def inputs_as_a_dict(m: Any) -> Any:
    named = {"a": x3(m), "b": x3(m)}
    loss = (named["a"] * named["b"].exp()).sum()
    found = m.autograd.grad(loss, named, retain_graph=True)
    loss.backward(inputs={"a": named["a"]})
    return found, named["a"].grad, named["b"].grad


@case("Expected allow_unused to be True or not passed")
def zeros_and_errors_exclude_each_other(m: Any) -> Any:
    x = x3(m)
    return m.autograd.grad(x.sum(), x, allow_unused=False, materialize_grads=True)


@case()
def zeros_for_what_is_unused(m: Any) -> Any:
    x, y = x3(m), x3(m)
    plain = m.autograd.grad((x * 2).sum(), (x, y), materialize_grads=True)
    kept = m.autograd.grad((x * x).sum(), (x, y), materialize_grads=True, create_graph=True)
    return plain, kept


@case("Set allow_unused=True")
def unused_inputs_are_an_error(m: Any) -> Any:
    x, y = x3(m), x3(m)
    return m.autograd.grad(x.sum(), (x, y))


@case("`inputs` argument to `grad()` cannot be empty")
def no_inputs(m: Any) -> Any:
    return m.autograd.grad(x3(m).sum(), [])


@case("got 2 tensors and 1 gradients")
def too_few_gradients(m: Any) -> Any:
    x = x3(m)
    return m.autograd.backward([x * 2, x * 3], [m.ones(3)])


@case()
def a_gradient_is_cast(m: Any) -> Any:
    x = x3(m)
    (x * 2).backward(m.tensor([1, 2, 3]))
    return x.grad


@case("If `is_grads_batched=True`, we interpret the first dimension")
def a_batch_of_wrong_gradients(m: Any) -> Any:
    x = x3(m)
    return m.autograd.grad(x * 2, x, m.ones(2, 4), is_grads_batched=True)


def test_the_words_of_a_mismatch_are_exact() -> None:
    with interpreted():
        x = x3(clgrad)
        with pytest.raises(RuntimeError) as caught:
            (x * 2).backward(clgrad.ones(2))
    assert str(caught.value) == (
        "Mismatch in shape: grad_output[0] has a shape of clgrad.Size([2]) and output[0] has a "
        "shape of clgrad.Size([3])."
    )


def test_what_is_deprecated_warns(host: Interpreter) -> None:
    x = x3(clgrad)
    with pytest.warns(FutureWarning, match="only_inputs"):
        clgrad.autograd.grad(x.sum(), x, only_inputs=False)
    with pytest.warns(FutureWarning, match="grad_variables"):
        clgrad.autograd.backward((x * 2), grad_variables=clgrad.ones(3))
    with pytest.raises(RuntimeError, match="both passed"), pytest.warns(FutureWarning):
        clgrad.autograd.backward(x * 2, clgrad.ones(3), grad_variables=clgrad.ones(3))


def test_a_cycle_is_warned_of_at_the_line_of_the_user(host: Interpreter) -> None:
    x = x3(clgrad)
    for call in ((x * x).sum().backward, lambda **k: clgrad.autograd.backward((x * x).sum(), **k)):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            call(create_graph=True)
        assert ["reference cycle" in str(w.message) for w in seen] == [True]
        assert seen[0].filename == __file__


# ---- what flows --------------------------------------------------------------------------------


@case()
def hooks_are_told_of_nothing(m: Any) -> Any:
    seen: list[Any] = []
    parts = x3(m).clone().unbind()
    parts[0].register_hook(lambda g: seen.append(g is None))
    parts[0].backward(retain_graph=True)
    parts[1].backward()
    return seen


@case("can't replace a None gradient with a non-None value")
def nothing_stays_nothing(m: Any) -> Any:
    parts = x3(m).clone().unbind()
    parts[0].register_hook(lambda g: m.ones(()))
    parts[1].backward()


@case("has changed the size of value")
def a_hook_keeps_the_shape(m: Any) -> Any:
    y = x3(m) * 2
    y.register_hook(lambda g: m.ones(2))
    y.sum().backward()


@case("has changed the type of value")
def a_hook_keeps_the_dtype(m: Any) -> Any:
    y = x3(m) * 2
    y.register_hook(lambda g: g.double())
    y.sum().backward()


@case("has returned an incorrect number of values")
def a_hook_of_a_node_keeps_the_number(m: Any) -> Any:
    y = x3(m) * 2
    y.grad_fn.register_prehook(lambda gs: ())
    y.sum().backward()


@case("expected tuple, but hook returned")
def a_hook_of_a_node_returns_a_tuple(m: Any) -> Any:
    y = x3(m) * 2
    y.grad_fn.register_prehook(lambda gs: gs[0])
    y.sum().backward()


@case("post accumulate grad hooks should return None")
def a_hook_after_accumulation_returns_nothing(m: Any) -> Any:
    x = x3(m)
    x.register_post_accumulate_grad_hook(lambda t: t.grad)
    (x * 2).sum().backward()


def half_more(leaf: Any) -> None:
    leaf.grad.add_(0.5)


@case()
def a_post_hook_sees_the_gradient_that_is_kept(m: Any) -> Any:
    x = x3(m)
    node = x.view_as(x).grad_fn.next_functions[0][0]
    x.register_post_accumulate_grad_hook(half_more)
    kept: list[Any] = []
    node.register_hook(lambda gi, go: kept.append(go[0].clone()))
    (x * 2).sum().backward()
    return kept, x.grad


@case()
def a_gradient_that_others_hold_is_not_taken_over(m: Any) -> Any:
    x = x3(m)
    kept: list[Any] = []
    x.register_hook(kept.append)
    x.register_post_accumulate_grad_hook(half_more)
    (x * 2).sum().backward()
    return kept, x.grad


@case()
def backward_to_an_inner_tensor_runs_its_node(m: Any) -> Any:
    seen: list[Any] = []
    x = x3(m)
    y = x * 2
    y.grad_fn.register_prehook(lambda gs: seen.append("pre"))
    y.register_hook(lambda g: seen.append("tensor"))
    y.sum().backward(inputs=[y])
    return seen, y.grad, x.grad


@case()
def first_gradients_with_a_graph_are_copies(m: Any) -> Any:
    x = x3(m)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (x * x).sum().backward(create_graph=True)
    node = x.grad.grad_fn
    return node, node.next_functions[0][0], x.grad


@case()
def a_gradient_lies_as_its_leaf(m: Any) -> Any:
    x = m.ones(2, 3).t().requires_grad_()
    y = m.ones(3, 2)
    (x * y).sum().backward()
    wide = m.ones(4, 4)[:, ::2].detach().requires_grad_()
    (wide * 2).sum().backward()
    return list(x.grad.stride()), list(wide.grad.stride())


@case()
def calling_a_node(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    one = x.exp()
    return y.grad_fn(m.ones(3)), one.grad_fn(m.ones(3))


@case("expected 1 arguments, got 2 instead")
def calling_a_node_with_too_much(m: Any) -> Any:
    return (x3(m) * 2).grad_fn(m.ones(3), m.ones(3))


@case()
def a_retained_gradient_follows_a_stale_view(m: Any) -> Any:
    base = x3(m).clone()
    view, other = base[:], base[:]
    view.retain_grad()
    other.retain_grad()
    view.mul_(2)
    (view + other).sum().backward()
    return view.grad, other.grad


@case("Trying to use a saved tensor that has been detached in-place")
def a_saved_tensor_keeps_its_history(m: Any) -> Any:
    y = x3(m).clone()
    z = y * y
    y.detach_()
    z.sum().backward()


@case()
def a_saved_result_needs_none(m: Any) -> Any:
    x = x3(m)
    y = x.exp()
    z = y.sum()
    y.detach_()
    z.backward()
    return x.grad


@case("to not have been used in the graph")
def set_makes_another_leaf(m: Any) -> Any:
    x = x3(m)
    y = x.clone()
    with m.no_grad():
        x.set_(m.ones(3))
    return m.autograd.grad(y.sum(), x)


@pytest.fixture
def host() -> Any:
    with interpreted() as made:
        yield made


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)
