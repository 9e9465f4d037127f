"""What training costs in memory, launches and kernels, and that deep graphs are only deep.

Counts, not times: bytes of the device's pool, Python objects, launches, kernels built.
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.creation import current
from clgrad.graph import pending, recorder
from clgrad.optim import pace
from clgrad.runtime.profile import counters


@pytest.fixture(autouse=True)
def _device(device: Any) -> Iterator[None]:
    former, current.device = current.device, device
    yield
    recorder.flush()
    current.device = former


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Run without the garbage collector: memory must not wait for it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def made(*shape: int, grad: bool = False, seed: int = 0) -> Any:
    values = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
    return clgrad.tensor(values.astype("float32"), requires_grad=grad)


def in_use(device: Any) -> int:
    recorder.flush()
    return int(device.pool.stats()["allocated.current"])


def step(params: list[Any], x: Any, y: Any) -> Any:
    hidden = (x @ params[0] + params[1]).tanh()
    error = hidden @ params[2] - y
    loss = (error * error).mean()
    loss.backward()
    with clgrad.no_grad():
        for p in params:
            p.sub_(p.grad * 0.05)
            p.grad = None
    return loss


def test_training_is_flat(device: Any, uncollected: None) -> None:
    """1,000 steps without the garbage collector leave no byte and no object behind."""
    params = [made(8, 16, grad=True), made(16, grad=True), made(16, 1, grad=True)]
    x, y = made(32, 8, seed=1), made(32, 1, seed=2)

    def train(steps: int) -> float:
        for k in range(steps):
            loss = step(params, x, y)
            if k % 100 == 0:  # steps that are read have other plans than those that are not
                last = loss.item()
        return last

    first = train(10)
    clgrad.synchronize()  # as before what is measured: a tape that starts empty has other plans
    train(110)
    bytes_before, objects_before = in_use(device), len(gc.get_objects())
    built, blocks = counters.kernels_built, sys.getallocatedblocks()
    device.pool.reset_peak()
    last = train(1000)
    assert in_use(device) == bytes_before
    # a handful for what tests and drivers keep themselves, 1,000 steps would be thousands
    assert len(gc.get_objects()) - objects_before < 50
    assert sys.getallocatedblocks() - blocks < 2000
    assert counters.kernels_built == built
    peak = int(device.pool.stats()["allocated.peak"])
    assert peak <= bytes_before + 3 * 32 * 16 * 4 + 16 * 1024
    assert last < first


def test_double_backward_is_flat(device: Any, uncollected: None) -> None:
    w, x = made(16, grad=True), made(16, seed=1)

    def penalty() -> None:
        y = (w * x).tanh().sum()
        (g,) = clgrad.autograd.grad(y, [w], create_graph=True)
        (g * g).sum().backward()
        w.grad = None

    for _ in range(5):
        penalty()
    before, objects = in_use(device), len(gc.get_objects())
    for _ in range(50):
        penalty()
    assert in_use(device) == before
    assert len(gc.get_objects()) - objects < 20


def test_dropping_a_graph_frees_it_at_once(device: Any, uncollected: None) -> None:
    x = made(256, 256, grad=True)
    before = in_use(device)
    y = (x @ x).tanh() @ x
    loss = y.sum()
    assert in_use(device) > before
    del y, loss
    assert in_use(device) == before


def test_backward_frees_what_was_saved(device: Any, uncollected: None) -> None:
    x = made(256, 256, grad=True)
    z = (x @ x) @ x
    loss = z.sum()
    held = in_use(device)
    assert loss.grad_fn is not None
    loss.backward()
    del z
    size = 256 * 256 * 4
    # x @ x went, the gradient came, and z itself is gone
    assert in_use(device) <= held - size + 64
    assert loss.grad_fn is not None


def test_frozen_part_saves_and_launches_nothing(device: Any) -> None:
    """Gradients of a frozen part are neither kept for nor computed."""
    x = made(64, 64)
    frozen, free = made(64, 64, seed=1), made(64, 1, grad=True, seed=2)

    def forward(weights: Any) -> Any:
        return ((x @ weights).relu() @ weights).relu() @ free

    def measure(weights: Any) -> tuple[int, int, int]:
        out, ones = forward(weights), clgrad.tensor(np.ones((64, 1), "float32"))
        bytes_held = in_use(device)
        before = counters.launches
        out.backward(ones)
        recorder.flush()
        launches = counters.launches - before
        free.grad = weights.grad = None
        del out, ones
        return bytes_held, launches, in_use(device)

    base = in_use(device)
    frozen_bytes, frozen_launches, _ = measure(frozen)
    trained_bytes, trained_launches, _ = measure(made(64, 64, grad=True, seed=1))
    # the output, ones, and the input of the last product for `free`'s gradient
    size = 64 * 64 * 4
    assert frozen_bytes - base <= size + 2 * 64 * 4
    assert frozen_launches == 1
    assert trained_bytes > frozen_bytes
    assert trained_launches > frozen_launches


def test_no_grad_keeps_nothing(device: Any) -> None:
    x = made(128, 128, grad=True)
    before = in_use(device)
    with clgrad.no_grad():
        y = ((x @ x).tanh() @ x).sum()
    assert in_use(device) - before <= 64
    assert y.grad_fn is None


def test_wide_graph(device: Any) -> None:
    """One leaf read 3,000 times: its gradient is summed without keeping 3,000 of them."""
    x = made(64, grad=True)
    total = sum((x * k for k in range(3000)), clgrad.zeros(64))
    total.sum().backward()
    assert np.allclose(x.grad.numpy(), 2999 * 1500)


def test_new_batch_size_compiles_nothing(device: Any) -> None:
    """Sizes of the outermost dimension are arguments of kernels."""
    params = [made(8, 16, grad=True), made(16, grad=True), made(16, 1, grad=True)]
    for n in (64, 96, 128):
        step(params, made(n, 8, seed=1), made(n, 1, seed=2))
    recorder.flush()
    built, found = counters.kernels_built, counters.disk_hits
    for n in (80, 100, 112):
        step(params, made(n, 8, seed=1), made(n, 1, seed=2))
    recorder.flush()
    assert (counters.kernels_built, counters.disk_hits) == (built, found)


def test_steady_loop_makes_few_plans(device: Any) -> None:
    """A loop that never reads is cut where its ops say, and so always into the same pieces."""
    x = made(16, 16)

    def plans() -> int:
        return sum(len(known) for known in pending.plans_of.values())

    def loop(count: int) -> Any:
        y = x
        for _ in range(count):
            y = (y @ x).tanh() * 0.5 + 0.25
        recorder.flush()
        return y

    loop(400)
    before = plans()
    loop(2000)
    assert plans() - before <= 4


@pytest.mark.parametrize("rule", ["SGD", "AdamW"])
def test_gradients_that_are_dropped_after_each_step(
    device: Any, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not all in memory at once; what is computed is the same as where they are read."""
    monkeypatch.setattr(pace, "AT_ONCE", math.inf)
    x = made(16, 96, seed=1)

    def train(read: bool) -> tuple[list[Any], int, int]:
        params = [made(96, 96, grad=True, seed=k) for k in range(6)]
        settings = {"momentum": 0.9} if rule == "SGD" else {}
        optimizer = getattr(clgrad.optim, rule)(params, lr=0.05, **settings)
        for _ in range(5):
            clgrad.synchronize()
            device.pool.reset_peak()
            before = in_use(device)
            hidden = x
            for p in params:
                hidden = (hidden @ p).tanh()
            hidden.square().mean().backward()
            optimizer.step()
            if read:
                assert params[0].grad.abs().sum().item() > 0
            optimizer.zero_grad()
        recorder.flush()
        peak = int(device.pool.stats()["allocated.peak"]) - before
        return [p.detach().numpy() for p in params], peak, sum(p.nbytes for p in params)

    kept, most, gradients = train(read=True)
    dropped, least, _ = train(read=False)
    for a, b in zip(kept, dropped, strict=True):
        np.testing.assert_array_equal(a, b)
    assert most >= gradients
    # layer by layer: activations, and what one step reads and makes
    assert least <= gradients // 2 + 8 * x.nbytes
