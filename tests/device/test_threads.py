"""Threads that record, share tensors and run backward at once.

Nothing here depends on timing: results are the same in every order, or are checked for what every
order guarantees.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.creation import current
from clgrad.graph import recorder
from clgrad.graph.pending import Recorder

THREADS = 4


@pytest.fixture(autouse=True)
def _device(device: Any) -> Iterator[None]:
    former, current.device = current.device, device
    yield
    recorder.flush()
    current.device = former


def together(device: Any, work: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """Run `work(k)` in threads that start at once; return what they return."""
    start = threading.Barrier(count)
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def run(k: int) -> None:
        current.device = device
        try:
            start.wait(30)
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,), daemon=True) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return results


def made(*shape: int, grad: bool = False, seed: int = 0) -> Any:
    values = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
    return clgrad.tensor(values.astype("float32"), requires_grad=grad)


def model(w: Any, x: Any) -> Any:
    return ((x @ w).tanh() * 2 + 1).mean()


def test_threads_of_their_own(device: Any) -> None:
    """Each trains its own weights: the same bits as alone."""

    def train(k: int) -> Any:
        w, x = made(8, 8, grad=True, seed=k), made(16, 8, seed=100 + k)
        for _ in range(10):
            model(w, x).backward()
            with clgrad.no_grad():
                w.sub_(w.grad * 0.1)
                w.grad = None
        return w.detach().numpy()

    alone = [train(k) for k in range(THREADS)]
    for a, b in zip(alone, together(device, train), strict=True):
        assert np.array_equal(a, b)


def test_pending_values_of_another_thread(device: Any) -> None:
    """What is pending on one thread's tape is flushed when another reads it."""
    x = made(64)
    pending = [x * k for k in range(THREADS)]
    results = together(device, lambda k: (pending[k] + pending[k - 1]).numpy())
    for k, got in enumerate(results):
        previous = (k - 1) % THREADS
        assert np.allclose(got, x.numpy() * (k + previous), atol=1e-6)


def test_what_is_being_recorded_is_read_elsewhere(device: Any) -> None:
    """One thread adds to its tape while another one flushes it, again and again."""
    made: list[clgrad.Tensor] = []
    done = threading.Event()

    def work(k: int) -> int:
        read = 0
        if k == 0:
            y = clgrad.zeros(4)
            for _ in range(2000):
                y = y + 1
                made.append(y)
            done.set()
            return len(made)
        while not done.is_set():
            number = len(made)
            if number:
                assert made[number - 1].tolist() == [number] * 4
                read += 1
        return read

    recorded, _ = together(device, work, 2)
    assert recorded == 2000
    assert [made[k].tolist()[0] for k in range(0, 2000, 97)] == list(range(1, 2001, 97))


def test_an_operand_is_entered_while_another_thread_flushes(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, enter = made(3), Recorder._leaf
    recorder.flush()
    others: list[threading.Thread] = []

    def interrupted(self: Any, batch: Any, value: Any) -> int:
        ref = enter(self, batch, value)
        if not others:  # the first leaf of an empty tape, whose entry comes after it
            others.append(threading.Thread(target=self.flush))
            others[0].start()
            while not self.closing:
                time.sleep(0)
        return ref

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "_leaf", interrupted)
        y = x + 1
    others[0].join()
    assert np.array_equal(y.numpy(), x.numpy() + 1)


def test_many_read_one_pending_value(device: Any) -> None:
    x = made(256)
    y = ((x * 2).sigmoid() + 1) * x
    results = together(device, lambda k: (y + k).sum().item())
    total = float(y.numpy().astype("d").sum())
    assert np.allclose(results, [total + 256 * k for k in range(THREADS)], rtol=1e-5)


def test_forward_here_backward_there(device: Any) -> None:
    """A graph made by one thread runs backward in others, each through its own part."""
    leaves = [made(32, grad=True, seed=k) for k in range(THREADS)]
    losses = [(w * w).tanh().sum() for w in leaves]

    def work(k: int) -> Any:
        losses[k].backward()
        return leaves[k].grad.numpy()

    for w, g in zip(leaves, together(device, work), strict=True):
        a = w.detach().numpy().astype("d")
        np.testing.assert_allclose(g, (1 - np.tanh(a * a) ** 2) * 2 * a, rtol=1e-4, atol=1e-6)


def test_backward_at_once_into_one_leaf(device: Any) -> None:
    """Gradients of several threads add up in one `.grad`; none is lost."""
    w = made(64, grad=True)
    xs = [made(64, seed=k + 1) for k in range(THREADS)]

    def work(k: int) -> None:
        for _ in range(20):
            (w * xs[k]).sum().backward()

    together(device, work)
    want = 20 * sum(x.numpy().astype("d") for x in xs)
    np.testing.assert_allclose(w.grad.numpy(), want, rtol=1e-4, atol=1e-5)


def test_retained_graph_at_once(device: Any) -> None:
    """Several threads take gradients of one graph that is kept."""
    w = made(64, grad=True)
    y = ((w * 3).tanh() * w).sum()

    def work(k: int) -> Any:
        (g,) = clgrad.autograd.grad(y, [w], retain_graph=True)
        return g.numpy()

    first, *others = together(device, work)
    for other in others:
        assert np.array_equal(first, other)


def test_hogwild(device: Any) -> None:
    """Threads update shared weights without locks: updates may be lost, nothing else may."""
    w = made(8, grad=True)
    x, target = made(32, 8, seed=1), made(8, seed=2)
    y = (x @ target).detach()

    def loss_of(weights: Any) -> Any:
        error = x @ weights - y
        return (error * error).mean()

    before = loss_of(w).item()

    def work(k: int) -> None:
        mine = w.detach().clone().requires_grad_()
        for _ in range(30):
            with clgrad.no_grad():
                mine.copy_(w.detach())
            (g,) = clgrad.autograd.grad(loss_of(mine), [mine])
            with clgrad.no_grad():
                w.sub_(g * 0.1)

    together(device, work)
    assert np.isfinite(w.detach().numpy()).all()
    assert loss_of(w).item() < 0.5 * before


def test_grad_mode_is_each_threads_own(device: Any) -> None:
    inside, outside = threading.Event(), threading.Event()
    x = made(4, grad=True)

    def work(k: int) -> bool:
        if k == 0:
            with clgrad.no_grad():
                inside.set()
                outside.wait(30)
                return bool((x * 2).requires_grad)
        inside.wait(30)
        result = bool((x * 2).requires_grad)
        outside.set()
        return result

    assert together(device, work, 2) == [False, True]


def test_generator_is_shared(device: Any) -> None:
    """Threads that draw at once never draw the same numbers."""
    clgrad.manual_seed(3)
    drawn = together(device, lambda k: [clgrad.rand(16).numpy() for _ in range(10)])
    rows = np.concatenate([np.stack(d) for d in drawn])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_threads_that_end_leave_their_results(device: Any) -> None:
    """What a thread left pending when it ended can still be read."""
    x = made(32)
    results = together(device, lambda k: (x + k) * 2)
    for k, y in enumerate(results):
        assert np.allclose(y.numpy(), (x.numpy() + k) * 2)


def test_views_of_one_base_are_written_at_once(device: Any) -> None:
    """Each thread writes its own row by an op of its own; written one after the other in truth."""
    base = clgrad.zeros(THREADS, 64)
    lock = threading.Lock()

    def work(k: int) -> None:
        for _ in range(10):
            with lock:  # in-place ops on one storage are the user's to order, as in PyTorch
                base[k].add_(k + 1)

    together(device, work)
    assert np.array_equal(base.numpy(), np.repeat(10.0 * np.arange(1, THREADS + 1)[:, None], 64, 1))


def test_a_hook_is_called_once_by_each_pass(device: Any) -> None:
    x = clgrad.ones(64, requires_grad=True)
    h = x * 2
    calls: list[int] = []

    def doubled(g: Any) -> Any:
        calls.append(1)
        return g * 2

    h.register_hook(doubled)
    total = (h * h).sum()
    grads = together(device, lambda k: clgrad.autograd.grad(total, x, retain_graph=True)[0])
    assert len(calls) == THREADS
    assert all(g.tolist() == [16.0] * 64 for g in grads)


def test_a_graph_that_is_not_retained_is_run_or_refused(device: Any) -> None:
    for _ in range(10):
        x = clgrad.ones(8, requires_grad=True)
        total = (x.exp() * x).sum()

        def backward(k: int, total: Any = total) -> bool:
            try:
                total.backward()
            except clgrad.GraphFreedError:
                return False
            return True

        assert any(together(device, backward))
        assert np.isfinite(x.grad.tolist()).all()
