"""Schedules of learning rates against PyTorch's: plain numbers, so they must agree exactly."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from twin import same

import clgrad
from clgrad.testing.interpreter import interpreted

Maker = Callable[[Any, Any], Any]


class Halving:
    """A function with something to save."""

    def __init__(self, period: int) -> None:
        self.period = period

    def __call__(self, step: int) -> float:
        return float(0.5 ** (step // self.period))


SCHEDULES: dict[str, Maker] = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + t)),
    "lambdas": lambda s, o: s.LambdaLR(o, [Halving(3), lambda t: 0.9**t]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda t: 0.9 + 0.01 * t),
    "step": lambda s, o: s.StepLR(o, 4, gamma=0.5),
    "steps": lambda s, o: s.MultiStepLR(o, [3, 8, 8, 20], gamma=0.3),
    "constant": lambda s, o: s.ConstantLR(o, 0.25, 6),
    "linear": lambda s, o: s.LinearLR(o, 0.2, 0.7, 9),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.9),
    "polynomial": lambda s, o: s.PolynomialLR(o, 12, 2.0),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 7, eta_min=1e-3),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4),
    "longer restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.01),
    "triangles": lambda s, o: s.CyclicLR(o, 0.01, 0.2, 4),
    "smaller triangles": lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.2, 3, 5, "triangular2"),
    "fading": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 4, mode="exp_range", gamma=0.9),
    "by a function": lambda s, o: s.CyclicLR(
        o, 0.1, 0.3, 4, scale_fn=lambda x: 1 / (5**x), scale_mode="iterations"
    ),
    "one cycle": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=30),
    "one cycle in epochs": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.2], epochs=3, steps_per_epoch=10, pct_start=0.4, anneal_strategy="linear",
        three_phase=True, div_factor=10.0,
    ),
    "one after the other": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.8), s.StepLR(o, 2)], [5, 12]
    ),
    "all at once": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.8), s.CosineAnnealingLR(o, 9)]
    ),
    "warm up": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingLR(o, 20)], [5]
    ),
}  # fmt: skip


def optimizer_of(m: Any, name: str = "SGD") -> Any:
    params = [m.ones(2, requires_grad=True), m.ones(3, requires_grad=True)]
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.3}]
    options = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(m.optim, name)(groups, lr=0.1, **options)


def settings(optimizer: Any) -> list[float]:
    found = []
    for group in optimizer.param_groups:
        found += [group["lr"], group["betas"][0] if "betas" in group else group["momentum"]]
    return found


def run(scheduler: Any, optimizer: Any, steps: int) -> list[Any]:
    seen = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        seen.append([*settings(optimizer), scheduler.get_last_lr(), scheduler.last_epoch]
                    if hasattr(scheduler, "last_epoch") else settings(optimizer))  # fmt: skip
    return seen


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_thirty_steps(name: str, kind: str) -> None:
    def program(m: Any) -> Any:
        optimizer = optimizer_of(m, kind)
        scheduler = SCHEDULES[name](m.optim.lr_scheduler, optimizer)
        first = settings(optimizer)
        return [first, run(scheduler, optimizer, 30)]

    same(program)


@pytest.mark.parametrize("name", SCHEDULES)
def test_states_go_both_ways(name: str) -> None:
    there = optimizer_of(torch)
    theirs = SCHEDULES[name](torch.optim.lr_scheduler, there)
    run(theirs, there, 5)
    with interpreted():
        here = optimizer_of(clgrad)
        ours = SCHEDULES[name](clgrad.optim.lr_scheduler, here)
        ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
        here.load_state_dict(copy.deepcopy(there.state_dict()))
        back = optimizer_of(torch)
        again = SCHEDULES[name](torch.optim.lr_scheduler, back)
        again.load_state_dict(copy.deepcopy(ours.state_dict()))
        back.load_state_dict(copy.deepcopy(here.state_dict()))
        went = [run(theirs, there, 12), run(ours, here, 12), run(again, back, 12)]
    assert went[0] == went[1] == went[2]


CLOSED = ["step", "steps", "constant", "linear", "exponential", "polynomial", "cosine", "restarts"]


@pytest.mark.parametrize("name", [*CLOSED, "longer restarts"])
def test_jumps(name: str) -> None:
    def program(m: Any) -> Any:
        optimizer = optimizer_of(m)
        scheduler = SCHEDULES[name](m.optim.lr_scheduler, optimizer)
        optimizer.step()
        seen = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for epoch in (3, 9, 2, 21):
                scheduler.step(epoch)
                seen.append([settings(optimizer), scheduler.last_epoch])
        return seen

    same(program)


@pytest.mark.parametrize("options", [
    {}, {"mode": "max"}, {"threshold_mode": "abs", "threshold": 0.3}, {"cooldown": 2},
    {"min_lr": [0.05, 0.1]}, {"mode": "max", "threshold_mode": "abs"}, {"eps": 0.1},
])  # fmt: skip
def test_plateaus(options: dict[str, Any]) -> None:
    metrics = [3.0, 2.0, 2.0, 1.9, 1.9, 1.9, 1.9, 2.5, 2.6, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5.0]

    def program(m: Any) -> Any:
        optimizer = optimizer_of(m)
        scheduler = m.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=1, **options
        )
        seen = []
        for metric in metrics:
            scheduler.step(m.tensor(metric))
            seen.append([settings(optimizer), scheduler.get_last_lr(), scheduler.num_bad_epochs])
        other = m.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        other.load_state_dict(scheduler.state_dict())
        return [seen, other.best, other.mode, other.patience]

    same(program)


def test_order_of_steps_and_warnings() -> None:
    def program(m: Any) -> Any:
        optimizer = optimizer_of(m)
        scheduler = m.optim.lr_scheduler.StepLR(optimizer, 2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scheduler.step()
            scheduler.get_lr()
            optimizer.step()
            scheduler.step()
        return [str(w.message)[:40] for w in caught]

    same(program)


def test_rates_that_are_tensors() -> None:
    def program(m: Any) -> Any:
        param = m.ones(2, requires_grad=True)
        rate = m.tensor(0.5, dtype=m.float64)
        optimizer = m.optim.SGD([param], lr=rate)
        scheduler = m.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.step()
        scheduler.step()
        scheduler.step()
        return [rate, optimizer.param_groups[0]["lr"] is rate, scheduler.get_last_lr()]

    same(program)


def test_resuming() -> None:
    def program(m: Any) -> Any:
        optimizer = optimizer_of(m)
        for group in optimizer.param_groups:
            group["initial_lr"] = 0.4
        return [
            run(make(m.optim.lr_scheduler, optimizer), optimizer, 3)
            for make in (
                lambda s, o: s.CosineAnnealingLR(o, 10, last_epoch=4),
                lambda s, o: s.StepLR(o, 3, last_epoch=1),
                lambda s, o: s.LinearLR(o, last_epoch=2),
            )
        ]

    same(program)
    with interpreted(), pytest.raises(KeyError, match="is not specified in param_groups"):
        clgrad.optim.lr_scheduler.StepLR(optimizer_of(clgrad), 3, last_epoch=1)


MISTAKES: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("is not an Optimizer", lambda s, o: s.StepLR(3, 4)),
    ("is not an Optimizer", lambda s, o: s.OneCycleLR(3, 4)),
    ("lr_lambdas, but got 3", lambda s, o: s.LambdaLR(o, [abs] * 3)),
    ("lr_lambda should be a function", lambda s, o: s.MultiplicativeLR(o, [3, 4])),
    ("expected to be between 0 and 1", lambda s, o: s.ConstantLR(o, 2.0)),
    ("Starting multiplicative factor", lambda s, o: s.LinearLR(o, 0.0)),
    ("Ending multiplicative factor", lambda s, o: s.LinearLR(o, 0.5, 1.5)),
    ("Expected positive integer T_0", lambda s, o: s.CosineAnnealingWarmRestarts(o, 0)),
    ("Expected integer T_mult", lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 0)),
    ("must have the same length", lambda s, o: s.CyclicLR(o, [0.1], 0.2)),
    ("mode is invalid", lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="wild")),
    ("You must define either total_steps", lambda s, o: s.OneCycleLR(o, 0.1)),
    ("Expected positive integer total_steps", lambda s, o: s.OneCycleLR(o, 0.1, total_steps=0)),
    ("pct_start", lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=2.0)),
    ("anneal_strategy must be", lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="x")),
    ("Tried to step 5 times", lambda s, o: [s.OneCycleLR(o, 0.1, 4)] and run(
        s.OneCycleLR(o, 0.1, 4), o, 9)),
    ("expects at least one scheduler", lambda s, o: s.SequentialLR(o, [], [])),
    ("one more than the number", lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3])),
    ("does not support `ReduceLROnPlateau`",
     lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)])),
    ("expects at least one scheduler to be chained", lambda s, o: s.ChainedScheduler([])),
    ("Factor should be < 1.0", lambda s, o: s.ReduceLROnPlateau(o, factor=1.0)),
    ("expected 2 min_lrs, got 1", lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1])),
    ("is unknown!", lambda s, o: s.ReduceLROnPlateau(o, mode="x")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "make"), MISTAKES)
def test_mistakes(words: str, make: Callable[[Any, Any], Any]) -> None:
    same(lambda m: make(m.optim.lr_scheduler, optimizer_of(m)), words)


def test_momentum_is_needed_to_cycle_it() -> None:
    def program(m: Any) -> Any:
        optimizer = m.optim.Adagrad([m.ones(1)])
        return m.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2)

    same(program, "optimizer must support momentum or beta1")
