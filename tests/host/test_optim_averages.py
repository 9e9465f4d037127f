"""Optimizers of matrices, and averages of models, against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from twin import same

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("Adafactor", {"lr": 0.05}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "beta2_decay": -0.5, "d": 2.0}),
    ("Adafactor", {"eps": (1e-8, 1e-2), "maximize": True}),
    ("Muon", {"lr": 0.02}),
    ("Muon", {"momentum": 0.5, "nesterov": False, "weight_decay": 0.0, "ns_steps": 3}),
    ("Muon", {"adjust_lr_fn": "match_rms_adamw", "lr": 0.01}),
]


def _params(m: Any, matrices: bool) -> list[Any]:
    rng = np.random.default_rng(0)
    shapes = [(4, 3), (2, 6), (3, 3)] if matrices else [(4, 3), (5,), (2, 3, 4), ()]
    return [m.tensor(rng.normal(size=s).astype("f"), requires_grad=True) for s in shapes]


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=lambda v: str(v)[:40])
def test_steps_and_states(name: str, settings: dict[str, Any]) -> None:
    def program(m: Any) -> Any:
        params = _params(m, name == "Muon")
        optimizer = getattr(m.optim, name)(params, **settings)
        steps = 3 if name == "Muon" else 30  # bfloat16 rounds as the order of sums has it
        for k in range(steps):
            optimizer.zero_grad()
            sum(((p.tanh() - 0.3) ** 2).sum() for p in params[: 2 + k % 2]).backward()
            optimizer.step()
        values = [p.detach() for p in params]
        if name == "Muon":
            values = [(p * 20).round() for p in values]
        states = optimizer.state_dict()["state"]
        return [values, [sorted(s) for s in states.values()],
                [[list(v.shape) for v in s.values()] for s in states.values()]]  # fmt: skip

    same(program)


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_settings_that_make_no_sense(name: str) -> None:
    wrong: dict[str, Any] = {
        "lr": -1.0, "weight_decay": -1.0, "momentum": -1.0, "beta2_decay": 1.0, "d": 0.5,
        "eps": (None, -1.0), "adjust_lr_fn": "other",
    }  # fmt: skip
    known = {"Muon": ("lr", "weight_decay", "momentum", "adjust_lr_fn")}
    for key in known.get(name, ("lr", "weight_decay", "beta2_decay", "d", "eps")):

        def program(m: Any, key: str = key) -> Any:
            with pytest.raises(ValueError, match=r"."):
                getattr(m.optim, name)(_params(m, True), **{key: wrong[key]})

        same(program)
    if name == "Muon":

        def vectors(m: Any) -> Any:
            with pytest.raises(ValueError, match=r"."):
                m.optim.Muon([m.ones(3, requires_grad=True)])

        same(vectors)


@pytest.mark.parametrize("average", ["plain", "ema", "swa", "multi"])
@pytest.mark.parametrize("buffers", [False, True])
def test_averages_of_a_model(average: str, buffers: bool) -> None:
    def program(m: Any) -> Any:
        swa = m.optim.swa_utils
        model = m.nn.Sequential(m.nn.Linear(3, 4), m.nn.BatchNorm1d(4)).double()
        with m.no_grad():
            for k, p in enumerate(model.parameters()):
                p.copy_(m.arange(p.numel(), dtype=p.dtype).reshape(p.shape) * 0.1 + k)
        options = {"plain": {}, "ema": {"avg_fn": swa.get_ema_avg_fn(0.9)},
                   "swa": {"avg_fn": swa.get_swa_avg_fn()},
                   "multi": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.5)}}[average]  # fmt: skip
        averaged = swa.AveragedModel(model, use_buffers=buffers, **options)
        data = [m.arange(12, dtype=m.float64).reshape(4, 3) * (k + 1) * 0.1 for k in range(3)]
        optimizer = m.optim.SGD(model.parameters(), lr=0.5)
        schedule = swa.SWALR(optimizer, 0.05, anneal_epochs=2, anneal_strategy="linear")
        rates = []
        for x in data:
            optimizer.zero_grad()
            model(x).cos().sum().backward()
            optimizer.step()
            averaged.update_parameters(model)
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
        before = [p.detach().clone() for p in averaged.parameters()]
        swa.update_bn(data, averaged)
        return [before, list(averaged.state_dict()), averaged.n_averaged, rates,
                [b.float() for b in averaged.buffers()], averaged(data[0]).detach()]  # fmt: skip

    same(program)


@pytest.mark.parametrize(
    "settings",
    [{}, {"anneal_epochs": 0}, {"anneal_strategy": "linear", "anneal_epochs": 4}],
    ids=str,
)
def test_rates_go_to_a_fixed_one(settings: dict[str, Any]) -> None:
    def program(m: Any) -> Any:
        optimizer = m.optim.SGD(_params(m, True), lr=0.8)
        schedule = m.optim.swa_utils.SWALR(optimizer, 0.1, **settings)
        rates = []
        for _ in range(12):
            optimizer.step()
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    same(program)
