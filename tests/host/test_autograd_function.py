"""Custom functions and gradient checks."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, plain, same

import clgrad
from clgrad.testing.interpreter import interpreted

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


def square(m: Any) -> Any:
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * g

    return Square


@case()
def simple(m: Any) -> Any:
    x = x3(m)
    y = square(m).apply(x)
    y.sum().backward()
    return [y, y.grad_fn, x.grad, y.is_leaf]


@case()
def double_backward_through_saved_inputs(m: Any) -> Any:
    x = x3(m)
    (g,) = m.autograd.grad(square(m).apply(x).sum(), x, create_graph=True)
    return [g.requires_grad, m.autograd.grad((g * g).sum(), x)]


@case()
def saved_output(m: Any) -> Any:
    class Exp(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.saved_tensors[0]

    x = x3(m)
    y = Exp.apply(x)
    (g,) = m.autograd.grad(y.sum(), x, create_graph=True)
    return [g.detach(), m.autograd.grad(g.sum(), x)]


@case("modified by an inplace operation")
def a_saved_input_that_is_overwritten(m: Any) -> Any:
    x = x3(m) * 1
    y = square(m).apply(x)
    x.add_(1)
    y.sum().backward()


@case("Trying to backward through the graph a second time")
def backward_twice(m: Any) -> Any:
    y = square(m).apply(x3(m)).sum()
    y.backward()
    y.backward()


@case()
def forward_does_not_record(m: Any) -> Any:
    class Probe(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x + (1.0 if (x * 2).requires_grad else 2.0)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    return Probe.apply(x3(m))


@case()
def other_arguments_and_needs_input_grad(m: Any) -> Any:
    class Scale(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, k: float, w: Any, name: str) -> Any:
            ctx.k = k
            ctx.seen = list(ctx.needs_input_grad)
            return x * k + w

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.k, None, None, None

    x = x3(m)
    y = Scale.apply(x, 3.0, m.ones(3), "text")
    y.sum().backward()
    return [x.grad, y.grad_fn.seen]


@case()
def setup_context(m: Any) -> Any:
    class Cube(m.autograd.Function):
        @staticmethod
        def forward(x: Any, k: int) -> Any:
            return x**3 * k

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            x, ctx.k = inputs
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 3 * ctx.k * x**2 * g, None

    x = x3(m)
    Cube.apply(x, 2).sum().backward()
    return x.grad


def two_outputs(m: Any, materialize: bool = True) -> Any:
    class Two(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(materialize)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            if b is None:
                return a * 100
            return a * 2 + b * 3

    return Two


@case()
def several_outputs(m: Any) -> Any:
    x = x3(m)
    a, b = two_outputs(m).apply(x)
    (a * a + b).sum().backward()
    return [x.grad, a.grad_fn is b.grad_fn, b.output_nr]


@case()
def missing_gradients_are_zeros(m: Any) -> Any:
    x = x3(m)
    a, _ = two_outputs(m).apply(x)
    a.sum().backward()
    return x.grad


@case()
def missing_gradients_may_be_none(m: Any) -> Any:
    x = x3(m)
    a, _ = two_outputs(m, False).apply(x)
    a.sum().backward()
    return x.grad


@case()
def non_differentiable_outputs(m: Any) -> Any:
    class Sorted(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            sign = x * 0 + 1
            ctx.mark_non_differentiable(sign)
            return x * 2, sign, (x > 0)

        @staticmethod
        def backward(ctx: Any, g: Any, s: Any, k: Any) -> Any:
            return g * 2

    x = x3(m)
    y, sign, mask = Sorted.apply(x)
    y.sum().backward()
    return [y.requires_grad, sign.requires_grad, mask.requires_grad, sign.grad_fn, x.grad]


def doubling(m: Any) -> Any:
    class Double(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    return Double


@case()
def dirty_input(m: Any) -> Any:
    x = x3(m)
    y = x * 1
    z = doubling(m).apply(y)
    (z * z).sum().backward()
    return [z is y, z.grad_fn, y._version, x.grad]


@case("a leaf Variable that requires grad")
def dirty_leaf(m: Any) -> Any:
    doubling(m).apply(x3(m))


@case()
def dirty_view(m: Any) -> Any:
    x = x3(m)
    y = x * 1
    doubling(m).apply(y[1:])
    (y * y).sum().backward()
    return [y, x.grad]


def identity(m: Any) -> Any:
    class Identity(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 7

    return Identity


@case()
def an_input_returned_as_is(m: Any) -> Any:
    x = x3(m)
    y = identity(m).apply(x)
    y.sum().backward()
    return [y is x, y.grad_fn, x.grad, y._is_view()]


@case("This view was created inside a custom Function (or because an input was returned as-is)")
def writing_an_input_returned_as_is(m: Any) -> Any:
    y = identity(m).apply(x3(m) * 1)
    y.add_(1)


@case("This view was created inside a custom Function")
def writing_a_view_returned_by_a_function(m: Any) -> Any:
    class First(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x[:1]

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return m.cat([g, g, g])

    y = First.apply(x3(m) * 1)
    y.mul_(2)


@case("returned an incorrect number of gradients (expected 1, got 2)")
def too_many_gradients(m: Any) -> Any:
    class Bad(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, g

    Bad.apply(x3(m)).sum().backward()


@case("returned a gradient different than None at position 2")
def a_gradient_for_a_number(m: Any) -> Any:
    class Bad(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, k: Any) -> Any:
            return x * k

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, g

    Bad.apply(x3(m), 2.0).sum().backward()


@case("save_for_backward can only save variables")
def saving_a_number(m: Any) -> Any:
    class Bad(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(3)
            return x * 2

    return Bad.apply(x3(m))


@case()
def errors_in_backward_pass_through(m: Any) -> Any:
    class Bad(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise KeyError("mine")

    try:
        Bad.apply(x3(m)).sum().backward()
    except KeyError as error:
        return str(error)


def once(m: Any) -> Any:
    mark = (
        m.autograd.once_differentiable if m is clgrad else m.autograd.function.once_differentiable
    )

    class Once(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @mark
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2 * ctx.saved_tensors[0]

    return Once


@case()
def once_differentiable(m: Any) -> Any:
    x = x3(m)
    once(m).apply(x).sum().backward()
    return x.grad


@case("trying to differentiate twice a function that was marked with @once_differentiable")
def once_differentiable_twice(m: Any) -> Any:
    x = x3(m)
    y = once(m).apply(x)
    (g,) = m.autograd.grad((y * y).sum(), x, create_graph=True)
    g.sum().backward()


@case()
def backward_inside_a_function(m: Any) -> Any:
    class Checkpointed(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x.tanh() * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            with m.enable_grad():
                x = ctx.saved_tensors[0].detach().requires_grad_()
                y = x.tanh() * x
            y.backward(g)
            return x.grad

    x = x3(m)
    (Checkpointed.apply(Checkpointed.apply(x)) ** 2).sum().backward()
    return x.grad


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)


def test_a_function_is_not_to_be_instantiated() -> None:
    with pytest.warns(DeprecationWarning, match="should not be instantiated"):
        made = square(clgrad)()
    with pytest.raises(RuntimeError, match="Legacy autograd function"):
        made(clgrad.ones(1))


# ---- gradcheck ---------------------------------------------------------------------------------

FUNCTIONS = {
    "mul": lambda x, w: x * w,
    "div": lambda x, w: x / w,
    "pow": lambda x, w: w**x,
    "matmul": lambda x, w: x @ w.t(),
    "views": lambda x, w: x.t()[1:, 0] * w[:, ::2].unsqueeze(0).sum(),
    "as_strided": lambda x, w: x.as_strided((2, 2), (1, 2), 1) * 2,
    "overlapping": lambda x, w: x.as_strided((3, 3), (1, 1)) * x.reshape(-1).unfold(0, 3, 1)[:3],
    "split": lambda x, w: x.split([1, 2], 1)[1] * w.chunk(3, 1)[0],
    "unbind": lambda x, w: x.unbind(1)[2] * w.unbind(1)[0] + x.unbind(1)[0],
    "joined": lambda x, w: clgrad.cat([x, w], 1) * clgrad.stack([x, w, x], 2).sum(2).amax(),
    "norm": lambda x, w: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 0.1).sqrt() * w,
    "softmax": lambda x, w: (x - x.amax(1, keepdim=True)).exp() / w.exp().sum(),
    "written": lambda x, w: written(x, w),
    "several": lambda x, w: (x * w, x.sum(), w.tanh()),
}


def written(x: Any, w: Any) -> Any:
    y = x * 1
    y[:, 1:].mul_(w[:, 1:])
    y.t()[1].copy_(w[:, 0])
    y[0].sigmoid_()
    return y * y


def doubles() -> tuple[Any, Any]:
    x = clgrad.tensor([[0.5, -1.2, 2.1], [1.4, 0.3, -0.7]], dtype=clgrad.float64)
    w = clgrad.tensor([[1.5, 0.8, 1.1], [0.4, 1.3, 0.9]], dtype=clgrad.float64)
    return x.requires_grad_(), w.requires_grad_()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradcheck(name: str) -> None:
    with interpreted():
        assert clgrad.autograd.gradcheck(FUNCTIONS[name], doubles())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradgradcheck(name: str) -> None:
    with interpreted():
        assert clgrad.autograd.gradgradcheck(FUNCTIONS[name], doubles())


def test_gradcheck_says_where_and_by_how_much() -> None:
    class Wrong(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * clgrad.tensor([2.0, 2.0, 3.0], dtype=clgrad.float64)

    with interpreted():
        x = clgrad.tensor([1.0, 2.0, 3.0], dtype=clgrad.float64, requires_grad=True)
        with pytest.raises(clgrad.autograd.GradcheckError, match=r"input element 2.*off by 1"):
            clgrad.autograd.gradcheck(Wrong.apply, x)
        assert not clgrad.autograd.gradcheck(Wrong.apply, x, raise_exception=False)


def test_gradcheck_wants_doubles_that_require_grad() -> None:
    with interpreted():
        with pytest.warns(UserWarning, match="Input #0 .* is not a double precision"):
            assert clgrad.autograd.gradcheck(clgrad.exp, x3(clgrad), eps=1e-2, atol=1e-2)
        with pytest.raises(ValueError, match="at least one input"):
            clgrad.autograd.gradcheck(clgrad.exp, clgrad.ones(2, dtype=clgrad.float64))


def test_a_declared_op_of_the_user() -> None:
    swish = clgrad.pointwise(
        "swish_of_a_test", "x, *, beta=1.0", "x / (1 + exp(-beta * x))",
        dx="g * (y * beta + (1 - y * beta / x * x) * 0 + (1 / (1 + exp(-beta * x)))"
        " * (1 - beta * y))",
    )  # fmt: skip
    with interpreted():
        x, _ = doubles()
        assert clgrad.autograd.gradcheck(lambda t: swish(t, beta=1.5), x)
        assert plain(swish(clgrad.zeros(2)))[2] == [0.0, 0.0]
