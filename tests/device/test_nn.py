"""Networks on every device: losses, gradients and updated weights as PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.runtime.profile import counters


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(None)


def network(m: Any) -> Any:
    return m.nn.Sequential(
        m.nn.Flatten(), m.nn.Linear(16, 32), m.nn.ReLU(), m.nn.Linear(32, 24), m.nn.Tanh(),
        m.nn.Linear(24, 5),
    )  # fmt: skip


def pair() -> tuple[Any, Any]:
    """Return the same network in both libraries."""
    torch.manual_seed(5)
    theirs, ours = network(torch), network(clgrad)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def batch(size: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((size, 4, 4)).astype(np.float32)
    return images, rng.integers(0, 5, size)


def step(m: Any, model: Any, optimizer: Any, size: int, seed: int) -> float:
    images, digits = batch(size, seed)
    optimizer.zero_grad()
    loss = m.nn.functional.cross_entropy(model(m.tensor(images)), m.tensor(digits))
    loss.backward()
    optimizer.step()
    return float(loss.item())


def test_losses_and_gradients() -> None:
    ours, theirs = pair()
    images, digits = batch(12)
    losses = []
    for m, model in ((clgrad, ours), (torch, theirs)):
        loss = m.nn.CrossEntropyLoss()(model(m.tensor(images)), m.tensor(digits))
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.device is clgrad.get_default_device()
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-4, atol=1e-7)


SETTINGS: list[tuple[dict[str, Any], int]] = [
    ({}, 20),
    ({"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}, 100),
    ({"momentum": 0.8, "dampening": 0.2}, 20),
]


@pytest.mark.parametrize(("settings", "steps"), SETTINGS, ids=["plain", "nesterov", "dampening"])
def test_many_steps(settings: dict[str, Any], steps: int) -> None:
    ours, theirs = pair()
    mine = clgrad.optim.SGD(ours.parameters(), lr=0.05, **settings)
    other = torch.optim.SGD(theirs.parameters(), lr=0.05, **settings)
    for k in range(steps):
        for optimizer in (mine, other):
            optimizer.param_groups[0]["lr"] = 0.05 / (1 + k / 50)
        a = step(clgrad, ours, mine, 10, k)
        b = step(torch, theirs, other, 10, k)
        assert a == pytest.approx(b, rel=1e-4)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(
            p.detach().numpy(), q.detach().numpy(), rtol=1e-3, atol=2e-5
        )  # rounding differs in the order of sums; a hundred steps amplify it


def test_another_rate_or_batch_size_compiles_nothing() -> None:
    model, _ = pair()
    optimizer = clgrad.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for k in range(3):
        step(clgrad, model, optimizer, 24, k)
    built, hits = counters.kernels_built, counters.disk_hits
    for k, lr in enumerate((0.05, 0.01, 1e-3)):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.param_groups[0]["momentum"] = 0.9 + lr
        step(clgrad, model, optimizer, 24, k)
    for k, size in enumerate((25, 28, 31)):  # of one class of sizes: 24 to 31
        step(clgrad, model, optimizer, size, k)
    assert (counters.kernels_built, counters.disk_hits) == (built, hits)


def test_the_default_start_is_uniform_within_its_bound() -> None:
    clgrad.manual_seed(11)
    weight = clgrad.nn.Linear(100, 400).weight.detach().numpy()
    assert np.abs(weight).max() <= 0.1
    assert weight.mean() == pytest.approx(0, abs=2e-3)
    assert weight.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


def test_cross_entropy_holds_no_mask_in_memory(device: Any) -> None:
    logits = clgrad.randn(256, 512, requires_grad=True)
    target = clgrad.arange(256).numpy()
    clgrad.nn.functional.cross_entropy(logits, clgrad.tensor(target)).backward()
    logits.grad = None
    clgrad.synchronize()
    device.pool.reset_peak()
    before = device.pool.stats()["allocated.current"]
    clgrad.nn.functional.cross_entropy(logits, clgrad.tensor(target)).backward()
    peak = device.pool.stats()["allocated.peak"] - before
    assert peak < 2.5 * logits.nbytes  # its gradient, and at most the shifted logits


def test_modules_move_between_devices(device: Any) -> None:
    model, _ = pair()
    parameters = list(model.parameters())
    images, _ = batch(3)
    here = model(clgrad.tensor(images)).detach().numpy()
    for other in clgrad.devices():
        assert model.to(other) is model
        assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
        there = model(clgrad.tensor(images, device=other))
        assert there.device is other
        np.testing.assert_allclose(there.detach().numpy(), here, rtol=1e-5, atol=1e-6)
