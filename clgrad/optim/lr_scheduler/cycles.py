"""Schedules that raise rates and lower them again, and momentum the other way round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.optim.lr_scheduler.base import (
    LRScheduler,
    Number,
    check_optimizer,
    per_group,
    put,
)
from clgrad.optim.lr_scheduler.functions import state_of
from clgrad.optim.optimizer import Group, Optimizer


class _WithMomentum(LRScheduler):
    """What both schedules here do to momentum, which is the first beta of some optimizers."""

    cycle_momentum: bool
    use_beta1: bool

    def _start_momentum(self, low: Any, high: Any, last_epoch: int) -> tuple[list[Any], list[Any]]:
        optimizer = self.optimizer
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ClgradValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled. "
                "Hint: pass cycle_momentum=False."
            )
        self.use_beta1 = "betas" in optimizer.defaults
        lows = per_group("base_momentum", optimizer, low)
        highs = per_group("max_momentum", optimizer, high)
        if last_epoch == -1:
            for group, least, most in zip(optimizer.param_groups, lows, highs, strict=True):
                self._put_momentum(group, most)
                group["max_momentum"], group["base_momentum"] = most, least
        return lows, highs

    def _put_momentum(self, group: Group, value: Number) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_WithMomentum):
    """Lets rates go up and down between two values, on straight lines.

    Args:
        optimizer: whose groups are changed.
        base_lr: least rate, of all groups or of each.
        max_lr: largest rate of the first cycle, of all groups or of each.
        step_size_up, step_size_down: steps of the two halves; the second as the first if None.
        mode: how the height changes: `triangular` not at all, `triangular2` halves it each cycle,
            `exp_range` multiplies it by `gamma` each step.
        scale_fn: the height as a function, instead of `mode`.
        scale_mode: whether `scale_fn` is given the number of the cycle (`cycle`) or of the step.
        cycle_momentum: move momentum between `max_momentum` and `base_momentum` inversely.
        last_epoch: number of the last step, to resume from.

    Raises:
        ClgradValueError: an unknown mode, or an optimizer without momentum.

    Source: Smith 2017.
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: Any, max_lr: Any, step_size_up: int = 2000,
        step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
        cycle_momentum: bool = True, base_momentum: Any = 0.8, max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        check_optimizer(optimizer)
        self.optimizer = optimizer
        lows = per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, lows, strict=True):
                put(group, "lr", lr)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ClgradValueError(
                f"mode is invalid and scale_fn is None: got {mode!r}. Expected triangular, "
                "triangular2 or exp_range."
            )
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        if scale_fn is None:
            scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.scale_mode = scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.base_momentums, self.max_momentums = self._start_momentum(
                base_momentum, max_momentum, last_epoch
            )
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def scale_fn(self, x: float) -> float:
        """Return the height of the cycle, or at the step, `x`."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return float(self.gamma**x if self.mode == "exp_range" else 0.5 ** (x - 1))

    def get_lr(self) -> list[Number]:
        """Return the rate of each group at `last_epoch`, and set its momentum; called by `step`."""
        self._warn_outside()
        done = self.last_epoch / self.total_size
        cycle = math.floor(1 + done)
        place = 1.0 + done - cycle
        ratio = self.step_ratio
        height = place / ratio if place <= ratio else (place - 1) / (ratio - 1)
        height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            momenta = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, momenta, strict=True):
                self._put_momentum(group, high - (high - low) * height)
        return [
            low + (high - low) * height
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer; of `scale_fn`, what a callable object holds."""
        state = super().state_dict()
        custom = self._scale_fn_custom
        state["_scale_fn_custom"] = None if custom is None else state_of(custom)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; a plain `scale_fn` stays as it is."""
        state = dict(state_dict)
        held = state.pop("_scale_fn_custom", None)
        super().load_state_dict(state)
        if held is not None:
            vars(self._scale_fn_custom).update(held)


class OneCycleLR(_WithMomentum):
    """Raises rates to `max_lr` and lowers them far below where they began, in one cycle.

    Args:
        optimizer: whose groups are changed.
        max_lr: largest rate, of all groups or of each.
        total_steps: length of the cycle; or else `epochs * steps_per_epoch`.
        pct_start: which part of it is the rise.
        anneal_strategy: `cos` or `linear`.
        cycle_momentum: move momentum between `max_momentum` and `base_momentum` inversely.
        div_factor: `max_lr` divided by the first rate.
        final_div_factor: the first rate divided by the last.
        three_phase: fall as the rise was, and only then to the last rate.
        last_epoch: number of the last step, to resume from.

    Raises:
        ClgradValueError: no length, a setting out of range, an optimizer without momentum; at a
            step after the last one.

    Source: Smith and Topin 2019.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: Any, total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: Any = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: Any = 0.85,
        max_momentum: Any = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ClgradValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ClgradValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        top, last = pct_start * self.total_steps, self.total_steps - 1
        self._schedule_phases = [_phase(top - 1, "initial_lr", "max_lr", "max", "base")]
        if three_phase:
            self._schedule_phases.append(_phase(2 * top - 2, "max_lr", "initial_lr", "base", "max"))
            self._schedule_phases.append(_phase(last, "initial_lr", "min_lr", "max", "max"))
        else:
            self._schedule_phases.append(_phase(last, "max_lr", "min_lr", "base", "max"))
        highs = per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, high in zip(optimizer.param_groups, highs, strict=True):
                group["initial_lr"] = high / div_factor
                group["max_lr"] = high
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._start_momentum(base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def _anneal(self, start: Number, end: Number, done: float) -> Number:
        if self._anneal_func_type == "linear":
            return (end - start) * done + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * done) + 1)

    def get_lr(self) -> list[Number]:
        """Return the rate of each group at `last_epoch`, and set its momentum; called by `step`."""
        self._warn_outside()
        step = self.last_epoch
        if step > self.total_steps:
            raise ClgradValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        start, phase = 0.0, self._schedule_phases[0]
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        done = (step - start) / (phase["end_step"] - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._anneal(group[phase["start_lr"]], group[phase["end_lr"]], done))
            if self.cycle_momentum:
                first, second = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._put_momentum(group, self._anneal(first, second, done))
        return rates


def _phase(end: float, lr: str, to_lr: str, momentum: str, to_momentum: str) -> dict[str, Any]:
    """Return one part of the cycle: until which step, and between which settings of the groups."""
    return {
        "end_step": float(end), "start_lr": lr, "end_lr": to_lr,
        "start_momentum": f"{momentum}_momentum", "end_momentum": f"{to_momentum}_momentum",
    }  # fmt: skip


def _steps(total: Any, epochs: Any, per_epoch: Any) -> int:
    if total is not None:
        return _positive("total_steps", total)
    if epochs is None or per_epoch is None:
        raise ClgradValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    return _positive("epochs", epochs) * _positive("steps_per_epoch", per_epoch)


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ClgradValueError(f"Expected positive integer {name}, but got {value}")
    return value
