"""Adamax: Adam by the largest instead of the mean magnitude of gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import zeros_like
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_betas, check_least, check_rate, count, lerp, rate


class Adamax(Optimizer):
    """Moves parameters by the running mean of the gradient over its decaying largest magnitude.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`) and
    t the number of the step, m ← lerp(m, g, 1 - β₁), u ← max(β₂ u, |g| + `eps`), then
    p ← p - `lr` / (1 - β₁ᵗ) · m / u.

    Args:
        params: parameters, or groups of them.
        lr: step size.
        betas: (β₁, β₂), how much of mean and largest magnitude is kept.
        eps: added to magnitudes, against division by zero.
        weight_decay: factor of the parameter that is added to its gradient.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        foreach, capturable: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a setting out of range.

    Source: Kingma and Ba 2015, section 7.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Number = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, capturable: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_least("epsilon value", eps)
        check_betas(betas)
        check_least("weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        lr, eps, decay = rate(group["lr"]), group["eps"], group["weight_decay"]
        beta1, beta2 = group["betas"]
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["exp_avg"] = zeros_like(param)
                state["exp_inf"] = zeros_like(param)
            step = count(state)
            if decay:
                grad = grad + param * decay
            mean = lerp(state["exp_avg"], grad, 1 - beta1)
            largest = (state["exp_inf"] * beta2).maximum(grad.abs() + eps)
            state["exp_avg"].copy_(mean)
            state["exp_inf"].copy_(largest)
            param.sub_(mean / largest * (lr / (1 - beta1**step)))
