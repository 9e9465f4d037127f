"""What happens inside of a backward pass: passes in passes, callbacks, errors and versions."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

import clgrad
from clgrad.autograd import running
from clgrad.testing.interpreter import Interpreter, interpreted

CASES, case = cases()


def x3(m: Any) -> Any:
    return m.tensor([0.5, -1.0, 2.0], requires_grad=True)


def edge(m: Any, x: Any) -> Any:
    return m.autograd.graph.get_gradient_edge(x)


# ---- inside of a pass --------------------------------------------------------------------------


@case()
def several_gradients_at_once(m: Any) -> Any:
    seen: list[Any] = []
    a, b, c = x3(m), x3(m), x3(m)
    d, e = a * b, b * 2
    handle = m.autograd.graph.register_multi_grad_hook(
        (a, d, e, c), lambda gs: seen.append([g is not None for g in gs])
    )
    loss = (d + e).sum()
    loss.backward(retain_graph=True)
    loss.backward(inputs=[b], retain_graph=True)
    m.autograd.grad(loss, d, retain_graph=True)
    handle.remove()
    loss.backward()
    return seen


@case()
def the_first_of_several_gradients(m: Any) -> Any:
    seen: list[Any] = []
    a = x3(m)
    b, c = a * 2, a * 3
    m.autograd.graph.register_multi_grad_hook((b, c), seen.append, mode="any")
    loss = (b + c).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    return seen


@case("Expects mode to be one of ('all', 'any') but got some")
def no_other_mode(m: Any) -> Any:
    m.autograd.graph.register_multi_grad_hook((x3(m),), print, mode="some")


@case()
def callbacks_run_at_the_end(m: Any) -> Any:
    seen: list[str] = []
    queue = m.autograd.Variable._execution_engine.queue_callback
    x = x3(m)

    def last() -> None:
        seen.append(f"last {x.grad is None}")
        if len(seen) < 3:
            queue(last)

    def hook(grad: Any) -> None:
        queue(last)
        seen.append("hook")

    y = x * 2
    y.register_hook(hook)
    y.sum().backward()
    return seen


@case("Final callbacks can only be installed during backward pass")
def no_callback_outside(m: Any) -> Any:
    m.autograd.Variable._execution_engine.queue_callback(print)


@case()
def passes_inside_of_passes(m: Any) -> Any:
    class Inner(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.x = x.detach()
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            with m.enable_grad():
                x = ctx.x.requires_grad_()
                (x * x * g).sum().backward()
            return x.grad

    x = x3(m)
    Inner.apply(x * 2).sum().backward()
    return x.grad


def test_what_a_pass_says_of_itself(host: Interpreter) -> None:
    x = x3(clgrad)
    unused = x.exp()
    y = x * 2
    z = y.tanh()
    asked: list[Any] = []

    def hook(grad: Any) -> None:
        will = running.will_engine_execute_node
        asked.append(
            (
                running.current_graph_task_id(), running.current_graph_task_keep_graph(),
                type(running.current_autograd_node()).__name__,
                [will(t.grad_fn) for t in (y, z, unused)],
            )
        )  # fmt: skip
        with clgrad.autograd.set_multithreading_enabled(False):
            order = running.current_graph_task_execution_order()
        asked.append([node.name() for node in order])

    z.register_hook(hook)
    z.sum().backward(retain_graph=True)
    z.sum().backward(inputs=[y])
    (number, keep, node, will), order, (later, dropped, _, _), short = asked
    assert (keep, node, will) == (True, "TanhBackward0", [True, True, False])
    assert (later, dropped) == (number + 1, False)
    assert order == [
        "SumBackward0", "TanhBackward0", "MulBackward0", "torch::autograd::AccumulateGrad",
    ]  # fmt: skip
    assert short == order[:3]
    assert running.current_graph_task_id() == -1 and running.current_autograd_node() is None
    with pytest.raises(RuntimeError, match="during the backward pass"):
        running.will_engine_execute_node(y.grad_fn)
    with pytest.raises(RuntimeError, match="expects an grad_fn"):
        running.will_engine_execute_node(y)


def test_passes_may_nest_as_deep_as_memory_allows(host: Interpreter) -> None:
    class Nested(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, depth: int) -> Any:
            ctx.depth = depth
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            if ctx.depth:
                with clgrad.enable_grad():
                    x = clgrad.ones((), requires_grad=True)
                    Nested.apply(x, ctx.depth - 1).backward()
                return g + x.grad, None
            threads.add(threading.get_ident())
            return g, None

    threads: set[int] = set()
    x = clgrad.ones((), requires_grad=True)
    Nested.apply(x, 400).backward()
    assert x.grad.item() == 401.0
    assert threading.get_ident() not in threads


def test_an_error_deep_inside_comes_out_as_it_is(host: Interpreter) -> None:
    class DeepError(Exception):
        pass

    class Nested(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, depth: int) -> Any:
            ctx.depth = depth
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            if not ctx.depth:
                raise DeepError("deep")
            with clgrad.enable_grad():
                Nested.apply(clgrad.ones((), requires_grad=True), ctx.depth - 1).backward()
            return g, None

    for depth in (0, 60):
        with pytest.raises(DeepError, match="deep"):
            Nested.apply(clgrad.ones((), requires_grad=True), depth).backward()
    assert running.current_graph_task_id() == -1 and clgrad.is_grad_enabled()


def test_freed_graphs_name_the_node_and_its_line(host: Interpreter) -> None:
    x = x3(clgrad)
    y = (x * x).sum()  # this line
    line = test_freed_graphs_name_the_node_and_its_line.__code__.co_firstlineno + 2
    y.backward()
    with pytest.raises(clgrad.GraphFreedError) as caught:
        y.backward()
    text = str(caught.value)
    assert "Trying to backward through the graph a second time" in text
    assert f"MulBackward0, made at {__file__}:{line}" in text
    assert "Specify retain_graph=True" in text


def test_an_optimizer_that_wrote_is_named(host: Interpreter) -> None:
    w, x = clgrad.ones(3, requires_grad=True), x3(clgrad)
    loss = (w * x).sum()
    w.grad = clgrad.ones(3)
    clgrad.optim.SGD([w], lr=0.1).step()
    with pytest.raises(clgrad.VersionError, match=r"written by an optimizer's step \(\w+_\)"):
        loss.backward()


def test_versions_are_counted_and_kept(host: Interpreter) -> None:
    x, y = clgrad.ones(2), clgrad.ones(2)
    clgrad.autograd.graph.increment_version(x)
    clgrad.autograd.graph.increment_version([x, y])
    with clgrad.inference_mode():
        clgrad.autograd.graph.increment_version(clgrad.ones(2))
    assert (x._version, y._version) == (2, 1)
    with clgrad.autograd._unsafe_preserve_version_counter((x, y)):
        x.add_(1)
        y.mul_(2)
    assert (x._version, y._version) == (2, 1)


def test_tensors_are_swapped_whole(host: Interpreter) -> None:
    a, b = clgrad.ones(2, requires_grad=True), clgrad.zeros(3)
    a.note = "mine"
    before = (a * 2).sum()
    clgrad.utils.swap_tensors(a, b)
    assert (tuple(a.shape), a.requires_grad, hasattr(a, "note")) == ((3,), False, False)
    assert (tuple(b.shape), b.requires_grad, b.note) == ((2,), True, "mine")
    (b * 3).sum().backward()
    assert b.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="poisoned by swap_tensors"):
        before.backward()


@pytest.fixture
def host() -> Any:
    with interpreted() as made:
        yield made


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)
