"""RMSprop: steps scaled by the running mean of squared gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import zeros_like
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_least, check_rate, count, lerp, rate


class RMSprop(Optimizer):
    """Divides gradients by the root of the running mean of their squares.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`),
    v ← `alpha` v + (1 - `alpha`) g² and d = √v + `eps`; if `centered`, a ← lerp(a, g, 1 - `alpha`)
    and d = √(v - a²) + `eps`. With momentum b ← `momentum` b + g / d and p ← p - `lr` b, else
    p ← p - `lr` g / d.

    Args:
        params: parameters, or groups of them.
        lr: step size.
        alpha: how much of the means is kept.
        eps: added to the root, against division by zero.
        weight_decay: factor of the parameter that is added to its gradient.
        momentum: how much of the last step is kept.
        centered: subtract the square of the mean.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        capturable, foreach: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a negative setting.

    Source: Tieleman and Hinton 2012; Graves 2013 (centered).
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0, momentum: float = 0, centered: bool = False,
        capturable: bool = False, foreach: bool | None = None, maximize: bool = False,
        differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_least("epsilon value", eps)
        check_least("momentum value", momentum)
        check_least("weight_decay value", weight_decay)
        check_least("alpha value", alpha)
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        lr, eps, decay = rate(group["lr"]), group["eps"], group["weight_decay"]
        alpha, momentum = group["alpha"], group["momentum"]
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["square_avg"] = zeros_like(param)
                if momentum > 0:
                    state["momentum_buffer"] = zeros_like(param)
                if group["centered"]:
                    state["grad_avg"] = zeros_like(param)
            count(state)
            if decay:
                grad = grad + param * decay
            square = state["square_avg"] * alpha + grad * grad * (1 - alpha)
            state["square_avg"].copy_(square)
            if group["centered"]:
                mean = lerp(state["grad_avg"], grad, 1 - alpha)
                state["grad_avg"].copy_(mean)
                square = square - mean * mean
            step = grad / (square.sqrt() + eps)
            if momentum > 0:
                step = state["momentum_buffer"] * momentum + step
                state["momentum_buffer"].copy_(step)
            param.sub_(step * lr)
