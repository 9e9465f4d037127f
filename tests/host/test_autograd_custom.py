"""Custom functions beyond the plain case: forms of `forward`, outputs of all kinds, mistakes."""

from __future__ import annotations

import gc
import warnings
import weakref
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

import clgrad
from clgrad.testing.interpreter import interpreted

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


def function(m: Any, name: str = "Mine", **methods: Any) -> Any:
    """Return a custom function with these static methods and attributes."""
    made = {n: staticmethod(f) if callable(f) else f for n, f in methods.items()}
    return type(name, (m.autograd.Function,), made)


def double(ctx: Any, x: Any) -> Any:
    return x * 2


def doubled(ctx: Any, g: Any) -> Any:
    return g * 2


# ---- forms -------------------------------------------------------------------------------------


@case()
def defaults_and_keywords(m: Any) -> Any:
    seen: list[Any] = []

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        seen.append(inputs[1])
        ctx.by = inputs[1]

    f = function(
        m, forward=lambda x, by=3: x * by, setup_context=setup,
        backward=lambda ctx, g: (g * ctx.by, None),
    )  # fmt: skip
    x = x3(m)
    (f.apply(x) + f.apply(x, by=5) + f.apply(x, 7)).sum().backward()
    plain = function(m, forward=lambda ctx, x, by=1: x * by, backward=doubled)
    return x.grad, seen, plain.apply(m.ones(2), by=4)


@case()
def class_methods(m: Any) -> Any:
    class Scaled(m.autograd.Function):
        by = 3

        @classmethod
        def forward(cls, ctx: Any, x: Any) -> Any:
            return x * cls.by

        @classmethod
        def backward(cls, ctx: Any, g: Any) -> Any:
            return g * cls.by

    x = x3(m)
    Scaled.apply(x).sum().backward()
    return x.grad


@case()
def vjp_stands_for_backward(m: Any) -> Any:
    x = x3(m)
    function(m, forward=double, vjp=doubled).apply(x).sum().backward()
    return x.grad


@case("Implementing both 'backward' and 'vjp'")
def not_both(m: Any) -> Any:
    function(m, forward=double, vjp=doubled, backward=doubled).apply(x3(m)).sum().backward()


@case("You must implement either the backward or vjp method")
def neither(m: Any) -> Any:
    function(m, forward=double).apply(x3(m)).sum().backward()


@case("You must implement the forward function")
def no_forward(m: Any) -> Any:
    function(m, backward=doubled).apply(x3(m))


@case("Legacy autograd function with non-static forward method is deprecated")
def instances_are_not_called(m: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = function(m, forward=double)()
    made(x3(m))


@case()
def gradients_in_a_box(m: Any) -> Any:
    f = function(
        m, forward=lambda ctx, x: (x * 2, x * 3), boxed_grads_call=True,
        backward=lambda ctx, gs: gs.pop() * 3 + gs.pop() * 2,
    )  # fmt: skip
    x = x3(m)
    f.apply(x)[0].sum().backward()
    return x.grad


@case("saved_tensors can only be accessed once")
def saved_tensors_that_are_dropped(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2

    def backward(ctx: Any, g: Any) -> Any:
        return g * 2 + 0 * ctx.saved_tensors[0] * ctx.saved_tensors[0]

    f = function(m, forward=forward, backward=backward, clear_saved_tensors_on_access=True)
    f.apply(x3(m)).sum().backward()


# ---- what comes out ----------------------------------------------------------------------------


@case()
def outputs_that_are_no_tensors(m: Any) -> Any:
    got: list[Any] = []

    def backward(ctx: Any, *grads: Any) -> Any:
        got.extend(grads)
        return grads[1] * 2

    f = function(m, forward=lambda ctx, x: (3, x * 2, None, "text", x.long()), backward=backward)
    x = x3(m)
    made = f.apply(x)
    made[1].sum().backward()
    return made, got, x.grad, f.apply(5.0 * m.ones(1))[0]


@case()
def missing_gradients_are_zeros_or_none(m: Any) -> Any:
    seen: list[Any] = []

    def forward(ctx: Any, x: Any, how: str) -> Any:
        a, b = x * 2, x * 3
        if how == "none":
            ctx.set_materialize_grads(False)
        if how == "plain":
            ctx.mark_non_differentiable(b)
        if how == "neither":
            ctx.mark_non_differentiable(b)
            ctx._materialize_non_diff_grads = False
        return a, b

    def backward(ctx: Any, g: Any, h: Any) -> Any:
        seen.append(h)
        return g, None

    f = function(m, forward=forward, backward=backward)
    for how in ("zeros", "none", "plain", "neither"):
        f.apply(x3(m), how)[0].sum().backward()
    return seen


@case()
def a_gradient_of_none(m: Any) -> Any:
    x = x3(m)
    f = function(m, forward=double, backward=lambda ctx, g: None)
    f.apply(x).sum().backward()
    return x.grad, m.autograd.grad(f.apply(x).sum(), x, allow_unused=True)


@case()
def an_input_as_it_is(m: Any) -> Any:
    f = function(m, forward=lambda ctx, x: x, backward=doubled)
    x = x3(m)
    y, z = f.apply(x), f.apply(m.ones(2))
    y.sum().backward()
    return y is x, y._is_view(), y.grad_fn, x.grad, z.requires_grad, z._is_view()


@case("This view was created inside a custom Function")
def an_input_as_it_is_may_not_be_written(m: Any) -> Any:
    f = function(m, forward=lambda ctx, x: x, backward=doubled)
    f.apply(x3(m).clone()).add_(1)


@case("This view was created inside a custom Function")
def nor_a_view_of_what_needs_no_gradient(m: Any) -> Any:
    f = function(m, forward=lambda ctx, x: x.view_as(x), backward=doubled)
    f.apply(m.ones(3)).add_(x3(m))


@case("This view is the output of a function that returns multiple views")
def nor_one_of_several_views(m: Any) -> Any:
    f = function(m, forward=lambda ctx, x: (x[:1], x[1:]), backward=lambda ctx, g, h: None)
    f.apply(x3(m).clone())[0].add_(1)


@case()
def the_same_output_twice(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        return y, y

    f = function(m, forward=forward, backward=lambda ctx, g, h: g * 2 + h * 2)
    x = x3(m)
    a, b = f.apply(x)
    (a + b).sum().backward()
    return a is b, x.grad


@case()
def an_input_that_was_written(m: Any) -> Any:
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(y), x.sum()

    f = function(m, forward=forward, backward=lambda ctx, g, h: (g, g * h))
    x, y = x3(m), x3(m)
    base = x.clone()
    version = base._version
    a, b = f.apply(base, y)
    (a * 2).sum().backward(retain_graph=True)
    return a is base, base._version > version, a.output_nr, b.output_nr, x.grad, y.grad


@case("a leaf Variable that requires grad has been used in an in-place operation")
def no_leaf_is_written(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(2)

    function(m, forward=forward, backward=doubled).apply(x3(m))


@case("your Function modifies inplace an input that is a view of another Tensor")
def no_view_is_written_beside_other_outputs(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(2), x.sum()

    function(m, forward=forward, backward=doubled).apply(x3(m).clone()[:2])


@case("Some elements marked as dirty during the forward method were not returned as output")
def what_was_written_comes_back(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(2).clone()

    function(m, forward=forward, backward=doubled).apply(x3(m).clone())


@case("An input that has been returned as-is as output is being saved for backward")
def setup_context_saves_no_returned_input(m: Any) -> Any:
    f = function(
        m, forward=lambda x: x, backward=doubled,
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
    )  # fmt: skip
    f.apply(x3(m))


@case()
def a_view_under_no_grad(m: Any) -> Any:
    f = function(m, forward=lambda ctx, x: x[1:], backward=doubled)
    x = x3(m)
    with m.no_grad():
        made, plain = f.apply(x), x[1:]
    return made.requires_grad, plain.requires_grad, made.is_leaf


# ---- mistakes ----------------------------------------------------------------------------------


@case("returned an incorrect number of gradients (expected 2, got 1)")
def too_few_gradients(m: Any) -> Any:
    f = function(m, forward=lambda ctx, x, y: x * y, backward=doubled)
    f.apply(x3(m), x3(m)).sum().backward()


@case()
def more_gradients_if_they_are_none(m: Any) -> Any:
    f = function(m, forward=double, backward=lambda ctx, g: (g * 2, None, None))
    x = x3(m)
    f.apply(x).sum().backward()
    return x.grad


@case("returned a gradient different than None at position 2")
def a_gradient_of_a_number(m: Any) -> Any:
    f = function(m, forward=lambda ctx, x, k: x * k, backward=lambda ctx, g: (g, g))
    f.apply(x3(m), 2).sum().backward()


@case("expected Variable or None (got float)")
def a_gradient_that_is_a_number(m: Any) -> Any:
    function(m, forward=double, backward=lambda ctx, g: 2.0).apply(x3(m)).sum().backward()


@case("expected shape compatible with")
def a_gradient_of_another_shape(m: Any) -> Any:
    f = function(m, forward=double, backward=lambda ctx, g: m.ones(5))
    f.apply(x3(m)).sum().backward()


@case()
def a_gradient_that_is_summed_and_cast(m: Any) -> Any:
    x = x3(m)
    f = function(m, forward=double, backward=lambda ctx, g: m.ones(2, 3, dtype=m.float64))
    f.apply(x).sum().backward()
    return x.grad


@case("save_for_backward can only save variables, but argument 1 is of type int")
def saving_a_number(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x, 3)
        return x * 2

    function(m, forward=forward, backward=doubled).apply(x3(m))


@case("trying to differentiate twice a function that was marked with @once_differentiable")
def differentiated_once(m: Any) -> Any:
    once = m.autograd.function.once_differentiable(doubled)
    x = x3(m)
    f = function(m, forward=double, backward=once)
    (g,) = m.autograd.grad((f.apply(x) * x).sum(), x, create_graph=True)
    g.sum().backward()


@case()
def what_the_error_node_looks_like(m: Any) -> Any:
    once = m.autograd.function.once_differentiable(lambda ctx, g: (g * 2, None))
    x = x3(m)
    f = function(m, forward=lambda ctx, x, k: x * k, backward=once)
    go = m.ones(3, requires_grad=True)
    (g,) = m.autograd.grad(f.apply(x, 2), x, go, create_graph=True)
    return [n for n, _ in g.grad_fn.next_functions], g


# ---- ctx ---------------------------------------------------------------------------------------


@case()
def ctx_takes_any_attribute(m: Any) -> Any:
    names = ("edges", "metas", "seq", "hooks", "code", "at", "variable", "place", "shape", "node",
             "release", "saved", "plan", "rule", "numbers", "function")  # fmt: skip

    def forward(ctx: Any, x: Any) -> Any:
        for k, name in enumerate(names):
            setattr(ctx, name, k)
        return x * 2

    def backward(ctx: Any, g: Any) -> Any:
        return g * sum(getattr(ctx, name) for name in names)

    x = x3(m)
    y = function(m, forward=forward, backward=backward).apply(x)
    y.register_hook(lambda g: g * 1)
    y.sum().backward()
    return x.grad, y.grad_fn.seq


@case()
def saved_tensors_of_a_node(m: Any) -> Any:
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, None, y, x.exp())
        return x * 2

    x, y = x3(m), m.ones(3)
    f = function(m, forward=forward, backward=lambda ctx, g: (g, None))
    node = f.apply(x, y).grad_fn
    saved = node.saved_tensors
    same_objects = saved[0] is x, saved[2] is y, saved[1] is None
    return same_objects, saved[3], len(node._raw_saved_tensors), node.needs_input_grad


@case("Trying to backward through the graph a second time")
def saved_tensors_after_they_are_freed(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2

    y = function(m, forward=forward, backward=doubled).apply(x3(m))
    y.sum().backward()
    return y.grad_fn.saved_tensors


@case()
def what_is_not_read_may_be_freed(m: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x + 1

    x = x3(m)
    y = function(m, forward=forward, backward=lambda ctx, g: g).apply(x)
    y.backward(m.ones(3))
    y.backward(m.ones(3))
    return x.grad


def test_old_names_warn() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2

    f = function(clgrad, forward=forward, backward=doubled)
    with interpreted():
        node = f.apply(x3(clgrad)).grad_fn
        with pytest.warns(DeprecationWarning, match="saved_variables"):
            assert len(node.saved_variables) == 1
        with pytest.warns(FutureWarning, match="mark_shared_storage"):
            node.mark_shared_storage()


def test_marking_what_is_no_input_warns() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        ctx.mark_dirty(y)
        return y

    f = function(clgrad, forward=forward, backward=doubled)
    with interpreted():
        x = x3(clgrad)
        with pytest.warns(UserWarning, match="was not an input"):
            y = f.apply(x)
        y.sum().backward()
        assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_nothing_waits_for_the_garbage_collector() -> None:
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        z = x * y
        ctx.save_for_backward(x, y, z)
        return z

    def backward(ctx: Any, g: Any) -> Any:
        x, y, _ = ctx.saved_tensors
        return g * y, g * x

    f = function(clgrad, forward=forward, backward=backward)
    on = gc.isenabled()
    gc.disable()
    try:
        with interpreted():
            for run in (False, True):
                x, y = x3(clgrad), x3(clgrad)
                z = f.apply(x, y)
                seen = [weakref.ref(o) for o in (x, y, z, z.grad_fn)]
                if run:
                    z.sum().backward()
                del x, y, z
                assert [r() for r in seen] == [None] * 4
    finally:
        if on:
            gc.enable()


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)
