"""Checkpoints without a device: the same gradients, what runs again and when, and errors."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import nn
from clgrad.testing.interpreter import interpreted
from clgrad.utils.checkpoint import (
    CheckpointError,
    GraphExecGroup,
    checkpoint,
    checkpoint_sequential,
    set_checkpoint_early_stop,
)


@pytest.fixture(autouse=True)
def _host() -> Iterator[None]:
    with interpreted():
        yield


def sealed(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: checkpoint(function, *args, use_reentrant=False, **named)


def slope(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        with clgrad.enable_grad():
            (found,) = clgrad.autograd.grad(function(x).sum(), x, create_graph=True)
        return found

    return call


def alternating(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is `first` when it is called first, then `second`."""
    calls = []

    def call(x: Any) -> Any:
        calls.append(None)
        return (first if len(calls) == 1 else second)(x)

    return call


def f(x: Any) -> Any:
    return x.tanh().exp().tanh()


def with_inner_backward(x: Any) -> Any:
    clgrad.autograd.grad(x.tanh().exp().tanh().sum(), x)
    clgrad.autograd.grad(x.tanh().exp().tanh().sum(), x)
    return x.tanh()


# ---- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("function", [f, with_inner_backward])
def test_nested_checkpoints_and_derivatives_are_exact(function: Any, early_stop: bool) -> None:
    c, g = sealed, slope
    families = [
        (function, [c(function), c(c(function))]),
        (g(function), [g(c(function)), g(c(c(function)))]),
        (g(g(function)), [g(c(g(function))), c(g(g(c(function)))), g(c(g(c(function))))]),
        (g(g(g(function))), [g(c(g(g(c(function))))), g(c(g(c(g(c(function))))))]),
    ]
    x = clgrad.tensor([0.3, -0.7], requires_grad=True)
    with set_checkpoint_early_stop(early_stop):
        for plain, others in families:
            expected = plain(x).detach().numpy()
            for other in others:
                np.testing.assert_array_equal(other(x).detach().numpy(), expected)


@pytest.mark.parametrize("early_stop", [True, False])
def test_checkpoints_beside_each_other_in_one(early_stop: bool) -> None:
    def second(x: Any) -> Any:
        return x.sigmoid().tanh().exp()

    def both(x: Any) -> Any:
        return second(f(x))

    def both_sealed(x: Any) -> Any:
        return sealed(second)(sealed(f)(x))

    x = clgrad.randn(3, 3, requires_grad=True)
    expected = slope(slope(both))(x).detach().numpy()
    with set_checkpoint_early_stop(early_stop):
        for other in (
            slope(slope(sealed(both_sealed))), slope(sealed(slope(sealed(both_sealed)))),
        ):  # fmt: skip
            np.testing.assert_array_equal(other(x).detach().numpy(), expected)


def test_other_arguments_and_results_pass_through() -> None:
    def function(k: int, a: Any, inner: Any, *, scale: Any = None, table: Any = None) -> Any:
        return inner(k * a * scale) + table["shift"], 1, "text"

    a, b, c = (clgrad.tensor(v, requires_grad=True) for v in (2.0, 3.0, 4.0))
    grads = []
    for call in (function, sealed(function)):
        out, one, text = call(3, a, lambda x: x.tanh().exp(), scale=b, table={"shift": c * c})
        assert (one, text) == (1, "text")
        grads.append([g.item() for g in clgrad.autograd.grad(out, (a, b, c))])
    assert grads[0] == grads[1]


def test_a_parameter_inside_and_outside_has_its_hook_called_once() -> None:
    w = clgrad.randn(3, 3, requires_grad=True)
    calls = []
    w.register_hook(calls.append)
    h = w * clgrad.randn(3, 3)
    checkpoint(lambda x: (w * x).exp(), h, use_reentrant=False).sum().backward()
    assert len(calls) == 1


def test_the_graph_is_the_original_one() -> None:
    x = clgrad.tensor(1.0, requires_grad=True)
    y = sealed(lambda a: a.tanh().sigmoid().tanh())(x)
    calls = []
    y.grad_fn.next_functions[0][0].register_hook(lambda *grads: calls.append(grads))
    y.backward()
    assert len(calls) == 1


def test_backward_within_a_hook() -> None:
    def function(a: Any) -> Any:
        x = a.tanh().sigmoid()
        return x, x.tanh()

    a = clgrad.tensor(1.0, requires_grad=True)
    x, y = sealed(function)(a)
    y.grad_fn.register_hook(lambda *grads: x.backward(retain_graph=True))
    y.backward(retain_graph=True)
    expected = clgrad.tensor(1.0, requires_grad=True)
    x, y = function(expected)
    x.backward(retain_graph=True)
    y.backward()
    assert a.grad is not None and expected.grad is not None
    assert a.grad.item() == expected.grad.item()


def test_a_graph_that_is_dropped_is_gone_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        x = clgrad.randn(3, requires_grad=True)
        y = slope(sealed(slope(sealed(f))))(x)
        alive = [weakref.ref(y.grad_fn), *(weakref.ref(n) for n, _ in y.grad_fn.next_functions)]
        del y
        assert not any(node() is not None for node in alive)
    finally:
        gc.enable()


# ---- what runs again ---------------------------------------------------------------------------


def counted() -> tuple[Callable[[Any], Any], list[int]]:
    count: list[int] = []

    def clone(x: Any) -> Any:
        count.append(1)
        return x.clone()

    return lambda x: clone(x.tanh().sigmoid()), count


@pytest.mark.parametrize(
    ("outer", "inner", "own", "runs"),
    [
        (None, None, None, 1), (None, None, False, 2), (None, None, True, 1),
        (None, False, None, 2), (None, True, None, 1), (False, True, False, 1),
        (None, False, True, 2), (None, True, False, 1),
    ],
)  # fmt: skip
def test_where_it_stops(outer: Any, inner: Any, own: Any, runs: int) -> None:
    function, count = counted()
    x = clgrad.tensor(1.0, requires_grad=True)
    named = {} if own is None else {"early_stop": own}
    with contextlib.ExitStack() as stack:
        for value in (outer, inner):
            if value is not None:
                stack.enter_context(set_checkpoint_early_stop(value))
        y = sealed(function)(x, **named)
    y.backward()
    assert len(count) == runs


def test_nothing_is_repeated_where_nothing_was_saved() -> None:
    count = []

    def function(x: Any) -> Any:
        count.append(1)
        return x.clone()

    x = clgrad.tensor(1.0, requires_grad=True)
    sealed(function)(x).backward()
    assert len(count) == 1
    with clgrad.no_grad():
        assert not sealed(function)(x).requires_grad


def test_each_reading_outside_of_backward_runs_it_again() -> None:
    count = []

    def function(a: Any) -> Any:
        count.append(1)
        return (a * a).exp()

    a = clgrad.randn(5, requires_grad=True)
    y = sealed(function)(a)
    for runs in (2, 3):
        assert y.grad_fn._saved_result is not None
        assert len(count) == runs
    y.sum().backward()
    assert len(count) == 4
    with pytest.raises(RuntimeError, match="after they have already been freed"):
        _ = y.grad_fn._saved_result


def test_passes_in_a_group_share_what_was_repeated() -> None:
    for group, runs in ((GraphExecGroup(), 2), (contextlib.nullcontext(), 3)):
        count = []

        def function(x: Any, count: list[int] = count) -> Any:
            count.append(1)
            y = x.tanh().sigmoid()
            return y, y.tanh().sigmoid()

        x = clgrad.randn(3, requires_grad=True)
        y, z = sealed(function)(x)
        with group:
            (grad,) = clgrad.autograd.grad(z, y, clgrad.ones(3))
            clgrad.autograd.grad(y, x, grad)
        assert len(count) == runs
    x = clgrad.randn(3, requires_grad=True)
    y = sealed(lambda x: x.tanh().sigmoid())(x)
    with GraphExecGroup():
        y.sum().backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="Performing two backward calls that overlap"):
            y.sum().backward()
        with pytest.raises(RuntimeError, match="cannot be nested"), GraphExecGroup():
            pass


def test_what_a_custom_function_saves_is_read_once() -> None:
    class Product(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            w = x * y
            ctx.save_for_backward(x, y, w)
            return w + w

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, y, w = ctx.saved_tensors
            assert w.item() == (x * y).item()
            with pytest.raises(RuntimeError, match="already unpacked once"):
                _ = ctx.saved_tensors
            return 2 * g * y, 2 * g * x

    x, y = (clgrad.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    sealed(lambda x, y: Product.apply(x * x, y * y))(x, y).sum().backward()
    assert x.grad is not None and y.grad is not None
    assert (x.grad.item(), y.grad.item()) == (2 * 9 * 2 * 2, 2 * 4 * 2 * 3)


# ---- state ------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_random_numbers_are_those_of_the_first_run(use_reentrant: bool) -> None:
    def function(x: Any) -> Any:
        mask = (clgrad.rand_like(x) > 0.5).to(x.dtype)
        return (x * mask).exp() * mask

    grads = []
    for call in (function, lambda x: checkpoint(function, x, use_reentrant=use_reentrant)):
        clgrad.manual_seed(3)
        x = clgrad.ones(64, requires_grad=True)
        y = call(x)
        clgrad.rand(5)
        before = clgrad.default_generator.get_state()
        y.sum().backward()
        assert clgrad.default_generator.get_state() == before
        assert x.grad is not None
        grads.append(x.grad.numpy())
    np.testing.assert_array_equal(grads[0], grads[1])


def test_random_state_may_be_left_alone() -> None:
    x = clgrad.ones(4, requires_grad=True)
    y = sealed(lambda x: (x * clgrad.rand_like(x)).exp())(x, preserve_rng_state=False)
    before = clgrad.default_generator.get_state()
    y.sum().backward()
    assert clgrad.default_generator.get_state() != before


def test_each_run_has_its_context() -> None:
    log: list[str] = []

    @contextlib.contextmanager
    def noting(name: str) -> Iterator[None]:
        log.append(name)
        yield

    x = clgrad.tensor(1.0, requires_grad=True)
    y = sealed(lambda x: x.exp())(x, context_fn=lambda: (noting("first"), noting("again")))
    assert log == ["first"]
    y.backward()
    assert log == ["first", "again"]
    with pytest.raises(ValueError, match="only supported when use_reentrant=False"):
        checkpoint(f, x, use_reentrant=True, context_fn=lambda: (noting("a"), noting("b")))
    with pytest.raises(ValueError, match="incompatible with non-default context_fn"):
        sealed(f)(x, debug=True, context_fn=lambda: (noting("a"), noting("b")))


def test_a_context_that_swallows_the_error_is_an_error() -> None:
    x = clgrad.tensor(1.0, requires_grad=True)

    def failing(x: Any) -> Any:
        raise KeyError("lost")

    with pytest.raises(RuntimeError, match="suppressed an exception"):
        sealed(failing)(
            x, context_fn=lambda: (contextlib.suppress(KeyError), contextlib.nullcontext())
        )
    with pytest.raises(KeyError):
        sealed(failing)(x)
    assert (x * 2).grad_fn is not None  # hooks are gone
    assert clgrad.autograd.grad((x * x), x)[0].item() == 2


# ---- what it finds ----------------------------------------------------------------------------


def save_three(x: Any) -> Any:
    return x.tanh().exp().tanh()


def save_two(x: Any) -> Any:
    return x.tanh().exp()


def save_two_others(x: Any) -> Any:
    return x.tanh() * clgrad.tensor([1.0, 2.0])


def test_fewer_saved_tensors_are_an_error_that_names_the_first() -> None:
    x = clgrad.randn(1, requires_grad=True)
    y = sealed(alternating(save_three, save_two))(x)
    with pytest.raises(CheckpointError, match="A different number of tensors was saved") as caught:
        y.backward()
    text = str(caught.value)
    line = save_three.__code__.co_firstlineno + 1
    assert "Number of tensors saved during forward: 3" in text
    assert "Number of tensors saved during recomputation: 2" in text
    assert f"saved by TanhBackward0 at {__file__}:{line}, in save_three" in text


def test_more_saved_tensors_are_an_error_unless_it_stops_before() -> None:
    x = clgrad.randn(1, requires_grad=True)
    with set_checkpoint_early_stop(False):
        y = sealed(alternating(save_two, save_three))(x)
    with pytest.raises(RuntimeError, match="trying to save more tensors during recomputation"):
        y.backward()
    sealed(alternating(save_two, save_three))(x).backward()


def test_other_shapes_are_an_error_that_names_op_and_line() -> None:
    x = clgrad.randn(1, requires_grad=True)
    y = sealed(alternating(save_two, save_two_others))(x)
    with pytest.raises(CheckpointError, match="have different metadata") as caught:
        y.backward()
    text = str(caught.value)
    assert "tensor at position 1" in text
    assert "first differ at tensor 1" in text
    assert "shape: [1], dtype: float32" in text and "shape: [2], dtype: float32" in text
    assert "ExpBackward0" in text and "MulBackward0" in text
    assert f"{__file__}:{save_two_others.__code__.co_firstlineno + 1}," in text


def test_without_the_check_shapes_are_not_compared() -> None:
    x = clgrad.randn(1, requires_grad=True)
    y = sealed(alternating(save_two, save_two_others))(x, determinism_check="none")
    with contextlib.suppress(clgrad.ShapeError):
        y.backward()
    with pytest.raises(ValueError, match="determinism_check should be one of"):
        sealed(f)(x, determinism_check="values")


def test_an_input_that_was_overwritten_is_an_error() -> None:
    a = clgrad.randn(3, requires_grad=True)
    for named in (False, True):
        x = a * 2
        y = sealed(lambda x: x.tanh())(x=x) if named else sealed(lambda x: x.tanh())(x)
        x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


# ---- sequences, and the older kind ------------------------------------------------------------


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_sequence_in_segments(use_reentrant: bool) -> None:
    layers = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(5)))
    x = clgrad.randn(3, 4, requires_grad=True)
    layers(x).sum().backward()
    assert x.grad is not None
    expected = [x.grad.numpy(), *(p.grad.numpy() for p in layers.parameters())]
    for functions in (layers, list(layers)):
        for segments in (1, 2, 5):
            for p in (x, *layers.parameters()):
                p.grad = None
            y = checkpoint_sequential(functions, segments, x, use_reentrant=use_reentrant)
            y.sum().backward()
            found = [p.grad.numpy() for p in (x, *layers.parameters())]
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="Expected 1 to 5"):
        checkpoint_sequential(layers, 6, x, use_reentrant=use_reentrant)


def test_the_older_kind_has_its_limits() -> None:
    x = clgrad.randn(2, 2, requires_grad=True)
    y = checkpoint(clgrad.exp, x, use_reentrant=True).sum()
    with pytest.raises(RuntimeError, match=r"utils\.checkpoint is incompatible"):
        clgrad.autograd.grad(y, (x,))
    checkpoint(clgrad.exp, x, use_reentrant=True).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), x.detach().exp().numpy())

    def detached(x: Any) -> Any:
        with clgrad.no_grad():
            return x * 2

    with pytest.raises(RuntimeError, match="none of output has requires_grad=True"):
        (checkpoint(detached, x, use_reentrant=True) + x).sum().backward()
    (sealed(detached)(x) + x).sum().backward()
    with pytest.raises(ValueError, match="Unexpected keyword arguments: scale"):
        checkpoint(clgrad.exp, x, use_reentrant=True, scale=2)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(clgrad.exp, x.detach(), use_reentrant=True)


def test_not_choosing_a_kind_warns() -> None:
    x = clgrad.ones(1, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint(clgrad.exp, x)
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint_sequential([clgrad.exp], 1, x)
