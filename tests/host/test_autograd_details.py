"""Rules of custom functions, saved tensors and late hooks that few programs meet; with PyTorch."""

from __future__ import annotations

import gc
import importlib
import weakref
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from twin import Case, cases, same

import clgrad
from clgrad.testing.interpreter import interpreted

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


def function(m: Any, forward: Any, backward: Any = lambda ctx, *g: g, **named: Any) -> Any:
    """Return a custom function, made of plain ones."""
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward), **named}
    return type("Made", (m.autograd.Function,), members)


def written(m: Any, **named: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        x.add_(1)
        ctx.mark_dirty(x)
        return x

    return function(m, forward, **named)


# ---- dirty and pure views ------------------------------------------------------------------------


@case("received a tensor that was not an input")
def a_dirty_view_that_is_no_input(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        out = x.clone().view_as(x)
        ctx.mark_dirty(out)
        return out

    return function(m, forward).apply(m.ones(1, requires_grad=True).clone())


@case("output of a function that returns multiple view")
def a_dirty_part_of_a_split(m: Any) -> Any:
    first, _ = m.ones(2, requires_grad=True).clone().split_with_sizes([1, 1])
    return written(m).apply(first)


@case("a view of a leaf Variable that requires grad")
def a_dirty_view_of_a_leaf(m: Any) -> Any:
    x = m.ones(2, requires_grad=True)
    return written(m).apply(x.view_as(x))


def narrowed(m: Any, pure: bool, calls: list[int]) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx._is_pure_view = pure
        return x.narrow(0, 0, 2)

    def backward(ctx: Any, g: Any) -> Any:
        calls.append(1)
        return m.cat([g, m.zeros(1)])

    return function(m, forward, backward)


@case()
def a_pure_view_may_be_written(m: Any) -> Any:
    calls: list[int] = []
    x = m.ones(3, requires_grad=True)
    base = x * 2
    y = narrowed(m, True, calls).apply(base)
    y.mul_(5)
    base.sum().backward()
    return [x.grad, calls, base.grad_fn, y.grad_fn]


@case()
def a_pure_view_that_is_not_written_runs_its_backward(m: Any) -> Any:
    calls: list[int] = []
    x = m.ones(3, requires_grad=True)
    narrowed(m, True, calls).apply(x * 2).sum().backward()
    return [x.grad, calls]


@case("This view was created inside a custom Function")
def any_other_view_may_not(m: Any) -> Any:
    narrowed(m, False, []).apply(m.ones(3, requires_grad=True) * 2).mul_(5)


@case("can only have one input Tensor and one output Tensor")
def a_pure_view_with_two_outputs(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx._is_pure_view = True
        return x.narrow(0, 0, 2), x + 1

    function(m, forward).apply(m.ones(3, requires_grad=True))


@case("a view of a leaf Variable that requires grad is being used in an in-place operation")
def a_pure_view_of_something_else(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx._is_pure_view = True
        return x.clone().select(0, 0)

    function(m, forward).apply(m.ones(3, requires_grad=True) * 2).add_(1)


def test_custom_functions_under_vmap() -> None:
    made = function(clgrad, lambda ctx, x: x * x, lambda ctx, g: g)
    assert hasattr(made, "vmap") and made.generate_vmap_rule is False
    with interpreted():
        assert clgrad.vmap(made.apply)(clgrad.tensor([1.0, 2.0])).tolist() == [1.0, 4.0]


# ---- saved tensors -------------------------------------------------------------------------------


@case()
def what_a_saved_tensor_shows(m: Any) -> Any:
    def unpack(x: Any) -> Any:
        return x

    a = m.tensor(2.0, requires_grad=True)
    with m.autograd.graph.saved_tensors_hooks(lambda x: [x, "packed"], unpack):
        kept = a * a
    b = a**2
    c = b.exp()
    d = c**2
    hooked, operand = kept.grad_fn._raw_saved_self, d.grad_fn._raw_saved_self
    result = c.grad_fn._raw_saved_result
    return [
        hooked.data[0] is a, hooked.data[1], hooked.unpack_hook is unpack,
        result.data, result.data is c, result.unpack_hook,
        operand.data is c, b.grad_fn._raw_saved_self.data is a,
    ]  # fmt: skip


@case()
def a_saved_tensor_of_the_users(m: Any) -> Any:
    calls: list[str] = []

    def pack(x: Any) -> Any:
        calls.append("pack")
        return x

    def unpack(x: Any) -> Any:
        calls.append("unpack")
        return x

    make = (m._C._autograd if m is torch else m.autograd)._make_saved_tensor
    a = m.tensor([1.0, 2.0], requires_grad=True)
    with m.autograd.graph.saved_tensors_hooks(pack, unpack):
        saved = make(a, is_output=False)
        return [saved.unpack(), saved.unpack(), calls]


@case("after it has been freed")
def hooks_on_a_saved_tensor_of_a_node_that_was_released(m: Any) -> Any:
    y = m.ones(2, requires_grad=True).exp()
    y.sum().backward()
    y.grad_fn._raw_saved_result.register_hooks(lambda x: x, lambda x: x)


@case("None is forbidden")
def hooks_on_an_index_that_there_is_not(m: Any) -> Any:
    y = m.ones(2, 2, requires_grad=True)[:, m.tensor([0, 1])]
    y.grad_fn._raw_saved_indices[0].register_hooks(lambda x: x, lambda x: x)


@case("can only be accessed once")
def saved_tensors_that_are_cleared_on_access(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.clone()

    def backward(ctx: Any, g: Any) -> Any:
        return (ctx.saved_tensors, ctx.saved_tensors) and g

    made = function(m, forward, backward, clear_saved_tensors_on_access=True)
    made.apply(m.ones(2, requires_grad=True)).sum().backward()


@case()
def hooks_of_a_leaf_that_nothing_reaches(m: Any) -> Any:
    seen: list[Any] = []
    x = m.ones(2, requires_grad=True)
    made = function(m, lambda ctx, t: t * 2, lambda ctx, g: None)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad))
    x.register_hook(lambda g: seen.append(["tensor", g]))
    made.apply(x).sum().backward()
    y = m.ones(2, requires_grad=True)
    z = y * 2
    z.grad_fn.next_functions[0][0].register_prehook(lambda grads: (None,))
    y.register_post_accumulate_grad_hook(lambda t: seen.append(["post", t.grad]))
    z.sum().backward()
    return [seen, x.grad, y.grad]


@pytest.mark.parametrize("inputs", [False, True])
def test_what_a_leaf_hook_writes_is_what_a_post_hook_sees(inputs: bool) -> None:
    def program(m: Any) -> Any:
        seen: list[Any] = []
        x = m.ones(2, requires_grad=True)
        y = x * 3
        y.grad_fn.next_functions[0][0].register_hook(lambda gi, go: seen.append(go[0].tolist()))

        def double(t: Any) -> None:
            t.grad.mul_(2)

        x.register_post_accumulate_grad_hook(double)
        y.sum().backward(inputs=[x] if inputs else None)
        return [seen, x.grad]

    same(program)


@case()
def inputs_before_a_wrong_one_retain_their_gradient(m: Any) -> Any:
    y = m.ones(2, requires_grad=True) * 2
    try:
        y.sum().backward(inputs=[y, m.ones(2)])
    except RuntimeError:
        y.sum().backward()
    return y.grad


# ---- hooks that come late ------------------------------------------------------------------------


def current_node(m: Any) -> Any:
    if m is torch:
        return m._C._current_autograd_node
    return importlib.import_module("clgrad.autograd.running").current_autograd_node


@pytest.mark.parametrize("retain", [False, True])
def test_a_post_hook_that_an_unpack_hook_registers(retain: bool) -> None:
    def program(m: Any) -> Any:
        seen: list[Any] = []

        def halve(outputs: Any, inputs: Any) -> Any:
            seen.append([one is None for one in inputs])
            return tuple(None if o is None else o / 2 for o in outputs)

        def unpack(x: Any) -> Any:
            current_node(m)().register_hook(halve)
            return x

        a = m.tensor([1.0, 2.0], requires_grad=True)
        with m.autograd.graph.saved_tensors_hooks(lambda x: x, unpack):
            y = a.exp()
        y.sum().backward(retain_graph=retain)
        first = a.grad.clone()
        if retain:
            y.sum().backward()
        return [first, a.grad, seen]

    same(program)


@case("Double backward is unsupported for src when >1 zeros in src are scattered to the same")
def a_product_over_two_zeros_twice(m: Any) -> Any:
    x, source = (m.tensor([2.0, 0.0, 0.0], requires_grad=True) for _ in range(2))
    y = x.scatter_reduce(0, m.tensor([0, 1, 1]), source, "prod")
    (g,) = m.autograd.grad(y.sum(), source, create_graph=True)
    g.sum().backward()


@case()
def a_product_over_one_zero_twice(m: Any) -> Any:
    x = m.tensor([2.0, 3.0, 4.0], requires_grad=True)
    source = m.tensor([5.0, 0.0, 7.0], requires_grad=True)
    y = x.scatter_reduce(0, m.tensor([0, 1, 1]), source, "prod")
    (g,) = m.autograd.grad((y * y).sum(), source, create_graph=True)
    return [g, m.autograd.grad(g.sum(), (x, source))]


@case("non-complex dtypes")
def imag(m: Any) -> Any:
    return m.ones(2).imag


# ---- the dtype and the layout of gradients -------------------------------------------------------


@case()
def gradients_of_another_dtype(m: Any) -> Any:
    seen: list[Any] = []
    x = x3(m)
    for dtype in (m.float64, None, m.float16):
        x.grad_dtype = dtype
        x.register_hook(lambda g: seen.append(str(g.dtype)[-7:]))
        for _ in range(2):
            (x * x.double() * x).sum().backward()
        seen.extend([x.grad, m.autograd.grad((x * x).sum(), x), x.grad_dtype is dtype])
        x.grad = None
    x.grad_dtype = x.dtype
    (x * x).sum().backward()
    return [*seen, x.grad]


@case("grad_dtype can only be accessed on leaf tensors")
def grad_dtype_of_a_result(m: Any) -> Any:
    return (x3(m) * 2).grad_dtype


@case("grad_dtype can only be set on leaf tensors")
def grad_dtype_set_on_a_result(m: Any) -> Any:
    (x3(m) * 2).grad_dtype = None


@case("because there is already a gradient with dtype")
def grad_dtype_unlike_the_gradient(m: Any) -> Any:
    x = x3(m)
    x.grad = m.ones(3)
    x.grad_dtype = None
    x.grad_dtype = m.float64


@case("to a tensor with grad_dtype")
def a_gradient_unlike_grad_dtype(m: Any) -> Any:
    x = x3(m)
    x.grad_dtype = None
    x.grad = m.ones(3, dtype=m.int64)
    x.grad = None
    x.grad_dtype = m.float64
    x.grad = m.ones(3, dtype=m.float64)
    x.grad = m.ones(3)


@case("or None, but got")
def grad_dtype_of_a_wrong_kind(m: Any) -> Any:
    x3(m).grad_dtype = 3


@case()
def the_layout_policy(m: Any) -> Any:
    strides = []
    for enforced in (True, False):
        x = m.ones(2, 3).t().requires_grad_()
        with m.autograd.enforce_grad_layout_policy(enforced):
            (x * m.ones(3, 2)).sum().backward()
        strides.append(x.grad.stride())
        y = m.ones(2, 3, requires_grad=True)
        with m.autograd.enforce_grad_layout_policy(enforced):
            (y.t() * m.ones(3, 2)).sum().backward()
        strides.append(y.grad.stride())
    return strides


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)


def test_a_saved_view_that_was_written_leaks_nothing() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    def scope() -> Any:
        x = clgrad.tensor(1.0, requires_grad=True).clone()
        x = x.view_as(x)
        function(clgrad, forward).apply(x)
        return weakref.ref(x)

    with interpreted():
        gc.disable()
        try:
            assert scope()() is None
        finally:
            gc.enable()
