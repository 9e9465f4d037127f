"""RAdam: Adam that adapts its steps only once it has seen enough gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import zeros_like
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_betas, check_least, check_rate, count, lerp, rate


class RAdam(Optimizer):
    """Moves parameters by the running mean of the gradient, later scaled as Adam does.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`) and
    t the number of the step, m ← lerp(m, g, 1 - β₁), v ← β₂ v + (1 - β₂) g²; ρ∞ = 2 / (1 - β₂) - 1
    and ρ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ). If ρ > 5, p ← p - `lr` / (1 - β₁ᵗ) · r · m √(1 - β₂ᵗ) /
    (√v + `eps`) with r = √((ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρ)), else
    p ← p - `lr` / (1 - β₁ᵗ) · m.

    Args:
        params: parameters, or groups of them.
        lr: step size.
        betas: (β₁, β₂), how much of the two means is kept.
        eps: added to the root, against division by zero.
        weight_decay: pull towards zero.
        decoupled_weight_decay: shrink parameters by themselves, as AdamW does.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        foreach, capturable: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a setting out of range.

    Source: Liu et al. 2020.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
        differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_least("epsilon value", eps)
        check_betas(betas)
        check_least("weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable,
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
                state["exp_avg_sq"] = zeros_like(param)
            step = count(state)
            if decay and group["decoupled_weight_decay"]:
                param.mul_(1 - lr * decay)
            elif decay:
                grad = grad + param * decay
            mean = lerp(state["exp_avg"], grad, 1 - beta1)
            square = state["exp_avg_sq"] * beta2 + grad * grad * (1 - beta2)
            state["exp_avg"].copy_(mean)
            state["exp_avg_sq"].copy_(square)
            size = lr / (1 - beta1**step)
            rectified = _rectified(beta2, step)
            if rectified is not None:
                mean = mean / (square.sqrt() + eps)
                size = size * rectified
            param.sub_(mean * size)


def _rectified(beta2: float, step: float) -> float | None:
    """Return by how much an adaptive step is scaled, or None while it would vary too much."""
    most = 2 / (1 - beta2) - 1
    correction = 1 - beta2**step
    length = most - 2 * step * beta2**step / correction
    if length <= 5:
        return None
    ratio = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    return float((ratio * correction) ** 0.5)
