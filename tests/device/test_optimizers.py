"""Optimizers on devices: one kernel per parameter, in place, and nothing compiled by a schedule."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.creation import current
from clgrad.graph import recorder, watch
from clgrad.runtime.profile import counters

SETTINGS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"weight_decay": 0.01, "amsgrad": True},
    "AdamW": {},
    "NAdam": {},
    "RAdam": {},
    "RMSprop": {"centered": True, "momentum": 0.5},
    "Adagrad": {"lr_decay": 0.1},
    "Adadelta": {},
    "Adamax": {},
    "ASGD": {"t0": 5},
    "Rprop": {},
}


@pytest.fixture(autouse=True)
def _device(device: Any) -> Iterator[None]:
    former, current.device = current.device, device
    yield
    recorder.flush()
    current.device = former


@pytest.mark.parametrize("name", SETTINGS)
def test_twenty_steps_of_a_schedule(name: str) -> None:
    start = np.random.default_rng(5).normal(size=(16, 16)).astype("float32")
    ends, built, counts = [], [], []
    for m in (clgrad, torch):
        param = m.tensor(start, requires_grad=True)
        optimizer = getattr(m.optim, name)([param], lr=0.05, **SETTINGS[name])
        for k in range(20):
            optimizer.zero_grad()
            ((param.tanh() - 0.3) ** 2).sum().backward()
            optimizer.param_groups[0]["lr"] = 0.05 / (1 + k)
            recorder.flush()
            watch.reset()
            optimizer.step()
            if m is clgrad:
                counts.append(watch.reset())
                built.append(counters.kernels_built + counters.disk_hits)
        ends.append(param.detach().numpy())
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-4, atol=1e-5)
    assert [c.launches for c in counts[2:]] == [1] * 18
    assert {c.copies for c in counts[2:]} == {0}
    states = sum(isinstance(v, clgrad.Tensor) for v in _state_of(name))
    written = states if name == "ASGD" else states + 1  # its average is a copy at first
    assert min(c.donations for c in counts[2:]) >= written
    changes = [b - a for a, b in itertools.pairwise(built[1:])]
    # RAdam adapts its steps from the sixth on, ASGD averages: another formula from then on
    assert sum(bool(c) for c in changes) == (name in ("RAdam", "ASGD"))


def _state_of(name: str) -> list[Any]:
    param = clgrad.ones(2, requires_grad=True)
    param.grad = clgrad.ones(2)
    optimizer = getattr(clgrad.optim, name)([param], lr=0.1, **SETTINGS[name])
    optimizer.step()
    return list(optimizer.state[param].values())


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_optimizers_of_whole_matrices(name: str) -> None:
    start = np.random.default_rng(6).normal(size=(16, 12)).astype("float32")
    ends = []
    for m in (clgrad, torch):
        param = m.tensor(start, requires_grad=True)
        optimizer = getattr(m.optim, name)([param], lr=0.05, weight_decay=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            ((param.tanh() - 0.3) ** 2).sum().backward()
            optimizer.step()
        ends.append(param.detach().numpy())
    # Muon multiplies in bfloat16
    np.testing.assert_allclose(*ends, rtol=0, atol=2e-2 if name == "Muon" else 1e-5)
    assert np.abs(ends[1] - start).max() > 0.05


def _averaged(m: Any) -> list[Any]:
    """Return a model's moving average with its statistics, as arrays, and the rates."""
    rng = np.random.default_rng(7)
    model = m.nn.Sequential(m.nn.Linear(6, 5), m.nn.BatchNorm1d(5), m.nn.Tanh(), m.nn.Linear(5, 2))
    with m.no_grad():
        for p in model.parameters():
            p.copy_(m.tensor(rng.normal(size=tuple(p.shape)).astype("f")))
    data = [m.tensor(rng.normal(size=(8, 6)).astype("f")) for _ in range(4)]
    kinds = {"avg_fn": None}, {"multi_avg_fn": m.optim.swa_utils.get_ema_multi_avg_fn(0.8)}
    averages = [m.optim.swa_utils.AveragedModel(model, **kind) for kind in kinds]
    optimizer = m.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = m.optim.swa_utils.SWALR(optimizer, swa_lr=0.02, anneal_epochs=3)
    rates = []
    for x in data:
        optimizer.zero_grad()
        model(x).cos().sum().backward()
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
        for average in averages:
            average.update_parameters(model)
    found = []
    for average in averages:
        m.optim.swa_utils.update_bn(data, average)
        found += [t.detach().float().numpy().copy() for t in average.state_dict().values()]
    return [*found, averages[0](data[0]).detach().numpy(), np.array(rates)]


def test_averages_of_models() -> None:
    for ours, theirs in zip(_averaged(clgrad), _averaged(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
