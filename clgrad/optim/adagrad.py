"""Adagrad: steps scaled by all squared gradients so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import full_like
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_least, check_modes, check_rate, count, rate


class Adagrad(Optimizer):
    """Divides gradients by the root of the sum of their squares.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`) and
    t the number of the step, s ← s + g²,
    p ← p - `lr` / (1 + (t - 1) `lr_decay`) · g / (√s + `eps`).

    Args:
        params: parameters, or groups of them.
        lr: step size.
        lr_decay: how fast the step size falls.
        weight_decay: factor of the parameter that is added to its gradient.
        initial_accumulator_value: what the sum of squares starts from.
        eps: added to the root, against division by zero.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        foreach, fused: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a negative setting.

    Source: Duchi et al. 2011.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-2, lr_decay: float = 0,
        weight_decay: float = 0, initial_accumulator_value: float = 0, eps: float = 1e-10,
        foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_modes(foreach, fused)
        check_least("lr_decay value", lr_decay)
        check_least("weight_decay value", weight_decay)
        check_least("initial_accumulator_value value", initial_accumulator_value)
        check_least("epsilon value", eps)
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                self._start(param, group)

    def _start(self, param: Any, group: Group) -> None:
        first = group["initial_accumulator_value"]
        self.state[param].update(step=0.0, sum=full_like(param, first))

    def _update(self, group: Group) -> None:
        lr, eps, decay = rate(group["lr"]), group["eps"], group["weight_decay"]
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                self._start(param, group)
            step = count(state)
            if decay:
                grad = grad + param * decay
            total = state["sum"] + grad * grad
            state["sum"].copy_(total)
            size = lr / (1 + (step - 1) * group["lr_decay"])
            param.sub_(grad / (total.sqrt() + eps) * size)
