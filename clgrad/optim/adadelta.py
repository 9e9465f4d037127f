"""Adadelta: steps in the units of the parameters, scaled by the last steps and gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import zeros_like
from clgrad.errors import ClgradValueError
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_least, check_rate, count, rate


class Adadelta(Optimizer):
    """Multiplies gradients by the ratio of the running sizes of steps and gradients.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`),
    v ← `rho` v + (1 - `rho`) g², Δ = √(u + `eps`) / √(v + `eps`) · g,
    u ← `rho` u + (1 - `rho`) Δ², p ← p - `lr` Δ.

    Args:
        params: parameters, or groups of them.
        lr: factor of the step.
        rho: how much of the running means is kept.
        eps: added under the roots; what the first steps are made of.
        weight_decay: factor of the parameter that is added to its gradient.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        foreach, capturable: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a setting out of range.

    Source: Zeiler 2012.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Number = 1.0, rho: float = 0.9, eps: float = 1e-6,
        weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ClgradValueError(f"Invalid rho value: {rho}. Expected 0 to 1.")
        check_least("epsilon value", eps)
        check_least("weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        lr, eps, decay, rho = rate(group["lr"]), group["eps"], group["weight_decay"], group["rho"]
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["square_avg"] = zeros_like(param)
                state["acc_delta"] = zeros_like(param)
            count(state)
            if decay:
                grad = grad + param * decay
            square = state["square_avg"] * rho + grad * grad * (1 - rho)
            state["square_avg"].copy_(square)
            delta = (state["acc_delta"] + eps).sqrt() / (square + eps).sqrt() * grad
            state["acc_delta"].copy_(state["acc_delta"] * rho + delta * delta * (1 - rho))
            param.sub_(delta * lr)
