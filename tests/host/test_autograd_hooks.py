"""Hooks: which run, in which order, with what, and what they may change."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, plain, same

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


@case()
def order_of_all_kinds(m: Any) -> Any:
    seen: list[str] = []
    x = x3(m)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: seen.append(f"tensor {y.grad is None}"))
    y.grad_fn.register_prehook(lambda gs: seen.append(f"pre {y.grad is None}"))
    y.grad_fn.register_hook(lambda gi, go: seen.append(f"post {x.grad is None}"))
    x.register_hook(lambda g: seen.append(f"leaf {x.grad is None}"))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(f"after {t is x} {t.grad is None}"))
    (y * y).sum().backward()
    return seen


@case()
def a_tensor_hook_replaces_the_gradient(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: g + 1)
    y.sum().backward()
    return x.grad


@case()
def a_leaf_hook_replaces_the_gradient(m: Any) -> Any:
    x = x3(m)
    x.register_hook(lambda g: -g)
    (x * x).sum().backward()
    return x.grad


@case()
def a_hook_sees_the_sum_of_all_gradients(m: Any) -> Any:
    seen: list[Any] = []
    x = x3(m)
    y = x * 1
    y.register_hook(lambda g: seen.append(plain(g)))
    (y + y * 3).sum().backward()
    return seen


@case()
def hooks_before_and_after_an_inplace_op(m: Any) -> Any:
    seen: list[Any] = []
    x = x3(m)
    y = x * 1
    y.register_hook(lambda g: seen.append(["before", plain(g)]))
    y.mul_(3)
    y.register_hook(lambda g: seen.append(["after", plain(g)]))
    y.sum().backward()
    return seen


@case()
def handles_remove(m: Any) -> Any:
    seen: list[str] = []
    x = x3(m)
    handle = x.register_hook(lambda g: seen.append("removed"))
    x.register_hook(lambda g: seen.append("kept"))
    handle.remove()
    handle.remove()
    x.sum().backward()
    return seen


@case()
def handles_are_context_managers(m: Any) -> Any:
    seen: list[str] = []
    x = x3(m)
    with x.register_hook(lambda g: seen.append("inside")):
        x.sum().backward()
    x.sum().backward()
    return [seen, x.grad]


@case()
def a_node_hook_replaces_gradients(m: Any) -> Any:
    x, w = x3(m), x3(m)
    y = x * w
    y.grad_fn.register_hook(lambda gi, go: (gi[0] * 100, None))
    y.sum().backward()
    return [x.grad, w.grad]


@case()
def a_node_prehook_replaces_gradients(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    y.grad_fn.register_prehook(lambda go: (go[0] * 100,))
    y.sum().backward()
    return x.grad


@case("cannot register a hook on a tensor that doesn't require gradient")
def hook_on_a_constant(m: Any) -> Any:
    m.ones(2).register_hook(print)


@case("hooks should return None")
def a_post_accumulate_hook_that_returns_a_tensor(m: Any) -> Any:
    x = x3(m)
    x.register_post_accumulate_grad_hook(lambda t: t.grad * 2)
    x.sum().backward()


@case("expected Variable, but hook returned")
def a_post_accumulate_hook_that_returns_a_number(m: Any) -> Any:
    x = x3(m)
    x.register_post_accumulate_grad_hook(lambda t: 3)
    x.sum().backward()


@case()
def a_post_accumulate_hook_that_returns_its_leaf(m: Any) -> Any:
    x = x3(m)
    x.register_post_accumulate_grad_hook(lambda t: t)
    x.sum().backward()
    return x.grad


@case("Expected gradient function to be set")
def a_multi_grad_hook_of_a_tensor_without_grad(m: Any) -> Any:
    m.autograd.graph.register_multi_grad_hook((x3(m), m.ones(2)), print)


@case("abstract class Node")
def nodes_are_not_made_by_hand(m: Any) -> Any:
    m.autograd.graph.Node()


@case("post accumulate grad hooks cannot be registered on non-leaf tensors")
def post_accumulate_on_a_result(m: Any) -> Any:
    (x3(m) * 2).register_post_accumulate_grad_hook(print)


@case("changed the size of value")
def a_hook_that_changes_the_shape(m: Any) -> Any:
    x = x3(m)
    x.register_hook(lambda g: g.sum())
    x.sum().backward()


@case()
def grad_with_inputs_takes_the_hooked_gradient(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    y.register_hook(lambda g: g * 5)
    return m.autograd.grad((y * y).sum(), [y, x])


@case()
def leaf_hooks_run_for_grad_and_post_accumulate_does_not(m: Any) -> Any:
    seen: list[str] = []
    x = x3(m)
    x.register_hook(lambda g: seen.append("hook") or g * 2)
    x.register_post_accumulate_grad_hook(lambda t: seen.append("after"))
    (g,) = m.autograd.grad((x * x).sum(), x)
    return [seen, g]


@case()
def an_optimizer_in_a_post_accumulate_hook(m: Any) -> Any:
    x = x3(m)

    def update(t: Any) -> None:
        with m.no_grad():
            t.sub_(t.grad * 0.1)
        t.grad = None

    x.register_post_accumulate_grad_hook(update)
    (x * x).sum().backward()
    (x * x).sum().backward()
    return [x.detach(), x.grad]


@case("stop here")
def errors_of_hooks_pass_through(m: Any) -> Any:
    def fail(g: Any) -> None:
        raise ValueError("stop here")

    x = x3(m)
    x.register_hook(fail)
    x.sum().backward()


@case()
def a_hook_may_run_backward(m: Any) -> Any:
    x, w = x3(m), x3(m)
    y = x * 2

    def inner(g: Any) -> None:
        with m.enable_grad():
            (w * w).sum().backward()

    y.register_hook(inner)
    (y * y).sum().backward()
    return [x.grad, w.grad]


@case()
def hooks_with_create_graph_are_differentiated(m: Any) -> Any:
    x = x3(m)
    y = x * 2
    y.register_hook(lambda g: g * g)
    (g,) = m.autograd.grad((y * y).sum(), x, create_graph=True)
    (h,) = m.autograd.grad(g.sum(), x)
    return [g.detach(), h]


@case()
def multi_grad_hook_all(m: Any) -> Any:
    seen: list[Any] = []
    x, w = x3(m), x3(m)
    handle = m.autograd.graph.register_multi_grad_hook([x, w], lambda gs: seen.append(plain(gs)))
    (x * w).sum().backward()
    (x * w * 2).sum().backward()
    handle.remove()
    (x * w).sum().backward()
    return seen


@case()
def multi_grad_hook_any(m: Any) -> Any:
    seen: list[Any] = []
    x, w = x3(m), x3(m)
    m.autograd.graph.register_multi_grad_hook([x, w], lambda g: seen.append(1), mode="any")
    (x * w).sum().backward()
    return seen


@case()
def node_metadata(m: Any) -> Any:
    y = x3(m) * 2
    y.grad_fn.metadata["note"] = 5
    return [y.grad_fn.metadata["note"], y.grad_fn.name()]


@case()
def saved_tensor_hooks(m: Any) -> Any:
    seen: list[Any] = []

    def pack(t: Any) -> Any:
        seen.append(plain(t.detach()))
        return t.detach().numpy()

    x = x3(m)
    with m.autograd.graph.saved_tensors_hooks(pack, lambda a: m.tensor(a) * 10):
        y = x * x
    y.sum().backward()
    return [seen, x.grad]


@case()
def saved_tensors_under_hooks_may_be_overwritten(m: Any) -> Any:
    x = x3(m)
    with m.autograd.graph.save_on_cpu():
        y = x.tanh()
    y.sum().backward()
    return x.grad


@case("not allowed now")
def forbidden_saved_tensor_hooks(m: Any) -> Any:
    with (
        m.autograd.graph.disable_saved_tensors_hooks("not allowed now"),
        m.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t),
    ):
        return True


@case()
def gradient_edge(m: Any) -> Any:
    y = x3(m) * 2
    edge = m.autograd.graph.get_gradient_edge(y)
    return [edge.node is y.grad_fn, edge.output_nr]


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)
