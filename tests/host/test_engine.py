"""The engine: deep and wide graphs, lifetimes, threads, nested passes, what errors leave behind."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import clgrad
from clgrad.tape.version import Pin
from clgrad.testing.interpreter import Interpreter, interpreted


@pytest.fixture
def host() -> Iterator[Interpreter]:
    with interpreted() as made:
        yield made


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Nothing may wait for the collector of cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(*values: float) -> Any:
    return clgrad.tensor(list(values), requires_grad=True)


def test_a_deep_chain_neither_recurses_nor_overflows_when_it_goes(host: Interpreter) -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    host.recorded.clear()
    y.backward()
    assert x.grad.tolist() == [1.0]
    assert host.recorded == ["full"]  # the gradient of an addition is no work
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None


def test_a_chain_that_saves_is_released_at_any_depth(host: Interpreter) -> None:
    x = leaf(0.5)
    y = x
    for _ in range(20_000):
        y = y * 0.999
    (g,) = clgrad.autograd.grad(y, x)
    assert g.item() == pytest.approx(0.999**20_000, rel=1e-2)


def test_time_grows_with_the_number_of_nodes_and_not_faster(host: Interpreter) -> None:
    def passes(count: int) -> float:
        x = leaf(1.0)
        parts = [x * 2.0 for _ in range(count)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        start = time.process_time()
        total.backward()
        return time.process_time() - start

    passes(500)
    small, large = min(passes(1000) for _ in range(3)), min(passes(8000) for _ in range(3))
    assert large < 8 * small * 4  # quadratic would be 64 times


def test_only_what_leads_to_the_inputs_is_run(host: Interpreter) -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x.exp() * w.sigmoid()).sum()
    host.recorded.clear()
    clgrad.autograd.grad(y, x)
    assert "sigmoid.dx" not in host.recorded
    assert "mul.db" not in host.recorded
    assert "exp.dx" in host.recorded


def test_nothing_is_kept_where_nothing_requires_grad(host: Interpreter) -> None:
    x = clgrad.ones(3)
    y = (x * x).tanh()
    assert y.grad_fn is None
    assert x._counter is None  # no save, no view: not even a version counter


def test_a_frozen_operand_is_saved_and_its_gradient_not_computed(host: Interpreter) -> None:
    x, w = leaf(1.0, 2.0), clgrad.ones(2)
    y = x * w
    assert y.grad_fn.next_functions[1] == (None, 0)
    assert [one.meta.shape for one in y.grad_fn.saved] == [(2,)]
    host.recorded.clear()
    y.sum().backward()
    assert host.recorded.count("mul.da") == 1
    assert "mul.db" not in host.recorded


def test_backward_releases_what_was_saved(host: Interpreter, no_gc: None) -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = y.tanh().sum()
    value = weakref.ref(y._storage.value)
    del y
    assert value() is not None
    z.backward()
    assert value() is None


def test_a_graph_goes_without_the_collector(host: Interpreter, no_gc: None) -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    v = y[0:1]
    v.sigmoid_()
    z = (y * y).tanh().sum()
    alive = [weakref.ref(t._storage) for t in (y, z)]
    nodes = [weakref.ref(t.grad_fn) for t in (y, z, v)]
    del y, z, v
    assert [r() for r in (*alive, *nodes)] == [None] * 5


def test_an_accumulator_lives_with_the_graph_and_not_with_the_leaf(
    host: Interpreter, no_gc: None
) -> None:
    x = leaf(1.0)
    y = x * 2
    node = y.grad_fn.next_functions[0][0]
    assert node is (x * 3).grad_fn.next_functions[0][0]
    again = weakref.ref(node)
    del y, node
    assert again() is None


def test_a_doomed_save_lets_go_of_its_value(host: Interpreter, no_gc: None) -> None:
    x = leaf(1.0, 2.0)
    w = clgrad.ones(2)
    y = x * w
    old = weakref.ref(w._storage.value)
    w.add_(1)
    assert old() is None  # the save can only raise now
    with pytest.raises(clgrad.VersionError):
        y.sum().backward()


def test_saves_of_one_version_share_a_pin(host: Interpreter) -> None:
    x, w = leaf(1.0, 2.0), clgrad.ones(2)
    a, b = (x * w).grad_fn, (x * w).grad_fn
    assert a.saved[0].pin is b.saved[0].pin
    w.add_(1)
    c = (x * w).grad_fn
    assert c.saved[0].pin is not a.saved[0].pin


def test_setting_an_attribute_of_a_tensor_runs_no_python(host: Interpreter) -> None:
    """Either method in the class, in Python, would make a new tensor take twice as long."""
    assert clgrad.Tensor.__setattr__ is object.__setattr__
    assert clgrad.Tensor.__delattr__ is object.__delattr__


def test_saved_tensors_are_made_when_somebody_asks(host: Interpreter) -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * w
    z = (y * w).tanh()
    product, tangent = z.grad_fn.next_functions[0][0], z.grad_fn
    assert [type(one) for one in (*product.kept, *tangent.kept)] == [Pin] * 3
    assert product.kept[1] is y.grad_fn.kept[1]
    raw = product._raw_saved_self
    assert raw.unpack() is y
    assert product._raw_saved_self is raw
    assert product._saved_other is w
    shown = tangent._saved_result
    assert shown is not z
    assert shown.grad_fn is tangent
    view = y[:1]
    family = (view * 2.0 * view).grad_fn
    assert family._saved_other is view
    z.sum().backward()
    assert x.grad.tolist() == pytest.approx([(w * w * (1 - z * z)).tolist()[k] for k in (0, 1)])
    with pytest.raises(clgrad.GraphFreedError):
        raw.unpack(product)


def test_an_op_that_overwrites_its_operand_pins_the_old_value(
    host: Interpreter, no_gc: None
) -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * 1
    old = weakref.ref(y._storage.value)
    y.mul_(w)
    assert old() is not None
    y.sum().backward()
    assert old() is None
    assert w.grad.tolist() == [1.0, 2.0]


def test_clones_of_one_value_do_not_pile_up(host: Interpreter) -> None:
    x = clgrad.ones(2)
    for _ in range(5):
        x.clone()
    kept = x.clone()
    kept.add_(1)
    again = x.clone()
    holders = x._storage.value.holder
    assert [h() for h in holders] == [x._storage, again._storage]
    assert x._storage.value.held


def test_the_first_gradient_is_not_copied(host: Interpreter) -> None:
    x = leaf(1.0, 2.0)
    seed = clgrad.ones(2)
    host.recorded.clear()
    (x + 0.0).backward(seed)
    assert x.grad._storage.value is seed._storage.value
    assert x.grad._storage is not seed._storage
    x.grad.add_(1)
    assert seed.tolist() == [1.0, 1.0]


def test_a_pass_ends_with_a_flush(host: Interpreter) -> None:
    x = leaf(1.0)
    (x * 2).backward()
    assert host.flushes == 1


def test_data_written_after_a_save_does_not_change_the_gradient(host: Interpreter) -> None:
    """PyTorch would use the overwritten memory; here what was computed is differentiated."""
    x = leaf(3.0)
    y = x * x
    x.data.fill_(100.0)
    y.backward()
    assert x.grad.tolist() == [6.0]


def test_an_error_names_saver_writer_and_line(host: Interpreter) -> None:
    x, w = leaf(1.0, 2.0), clgrad.ones(2)
    y = x * w
    w.mul_(3.0)  # this line
    with pytest.raises(clgrad.VersionError) as caught:
        y.sum().backward()
    text = str(caught.value)
    line = test_an_error_names_saver_writer_and_line.__code__.co_firstlineno + 3
    assert "MulBackward0 had saved it as its input 'b'" in text
    assert f"written by mul_ at {__file__}:{line}," in text
    assert "Hint" in text


def test_after_an_error_the_mode_is_as_before(host: Interpreter) -> None:
    def fail(grad: Any) -> None:
        raise ValueError("mine")

    x = leaf(1.0)
    x.register_hook(fail)
    with pytest.raises(ValueError, match="mine"):
        (x * 2).backward()
    assert clgrad.is_grad_enabled()
    assert x.grad is None


def test_nested_passes(host: Interpreter) -> None:
    class Outer(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, depth: int) -> Any:
            ctx.save_for_backward(x)
            ctx.depth = depth
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            if ctx.depth == 0:
                return g * 2, None
            with clgrad.enable_grad():
                y = Outer.apply(x.detach().requires_grad_(), ctx.depth - 1)
            (inner,) = clgrad.autograd.grad(y, y.grad_fn.next_functions[0][0].variable, g)
            return inner, None

    x = leaf(1.0)
    Outer.apply(x, 30).backward()
    assert x.grad.tolist() == [2.0]


def test_two_threads_share_a_graph(host: Interpreter) -> None:
    x = leaf(*[1.0] * 4)
    shared = (x * 3.0).exp()
    errors: list[BaseException] = []
    backend, device = clgrad.dispatch.backend, clgrad.get_default_device()

    def work() -> None:
        try:
            from clgrad import creation

            creation.current.device = device
            assert clgrad.dispatch.backend is backend
            for _ in range(20):
                (shared * 1.0).sum().backward(retain_graph=True)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    (expected,) = clgrad.autograd.grad(shared.sum(), x)
    assert x.grad.tolist() == pytest.approx([80 * v for v in expected.tolist()], rel=1e-4)


def test_gradients_of_a_wrong_shape_or_device_are_refused(host: Interpreter) -> None:
    class Bad(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return clgrad.ones(5)

    with pytest.raises(RuntimeError, match=r"invalid gradient.*got \[5\]"):
        Bad.apply(leaf(1.0, 2.0) * 1).sum().backward()


def test_an_op_without_derivative_raises_in_backward(host: Interpreter) -> None:
    from clgrad.calls import function
    from clgrad.ops.registry import pointwise

    half = function(pointwise("half_of_a_test", "x", "x / 2", add=False))
    y = half(leaf(1.0))
    with pytest.raises(clgrad.AutogradError, match="derivative for x is not implemented"):
        y.backward()


def test_out_writes_into_a_given_tensor(host: Interpreter) -> None:
    out = clgrad.empty(2)
    made = clgrad.add(clgrad.ones(2), 2, out=out)
    assert made is out
    assert out.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        clgrad.add(leaf(1.0, 2.0), 2, out=out)
    with pytest.warns(clgrad.ClgradWarning, match="was resized"):
        clgrad.add(clgrad.ones(3), 2, out=out)
    assert out.tolist() == [3.0, 3.0, 3.0]
    part = clgrad.zeros(3)
    row = part[1:1]
    clgrad.add(clgrad.ones(2, 2), 2, out=row)
    assert row.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert part.tolist() == [0.0, 3.0, 3.0]
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        clgrad.add(clgrad.ones(3), 2, out=[0.0] * 3)


def test_printing(host: Interpreter) -> None:
    x = leaf(1.0, 2.5)
    assert repr(x) == "tensor([1.0000, 2.5000], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 5.], grad_fn=<MulBackward0>)"
    assert repr(clgrad.arange(3)) == "tensor([0, 1, 2])"
    assert repr(clgrad.ones(2, dtype=clgrad.float64)) == ("tensor([1., 1.], dtype=clgrad.float64)")
    assert "..." in repr(clgrad.zeros(2000))
    assert repr(clgrad.zeros(0, 3)).startswith("tensor([], size=(0, 3)")


def test_indexing_by_tensors_and_what_is_no_index(host: Interpreter) -> None:
    x = clgrad.tensor([1.0, 2.0, 3.0])
    for index in (clgrad.tensor([0, 1]), x < 3, [0, 1]):
        assert x[index].tolist() == [1.0, 2.0]
    assert x[True].shape == (1, 3)
    with pytest.raises(IndexError, match="too many indices"):
        x[0, 0]
    with pytest.raises(IndexError, match="out of bounds"):
        x[[3]]
    with pytest.raises(TypeError, match="valid indices"):
        x["a"]
