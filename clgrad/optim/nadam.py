"""NAdam: Adam with Nesterov's look ahead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import zeros_like
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_betas, check_least, check_rate, count, lerp, rate


class NAdam(Optimizer):
    """Moves parameters by a mixture of the gradient and its running mean, as Adam scales them.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`) and
    t the number of the step, μₜ = β₁ (1 - 0.96^(t · `momentum_decay`) / 2) and Πₜ = μ₁ ⋯ μₜ,
    m ← lerp(m, g, 1 - β₁), v ← β₂ v + (1 - β₂) g², d = √(v / (1 - β₂ᵗ)) + `eps`, then
    p ← p - `lr` ((1 - μₜ) / (1 - Πₜ) · g / d + μₜ₊₁ / (1 - Πₜ₊₁) · m / d).

    Args:
        params: parameters, or groups of them.
        lr: step size.
        betas: (β₁, β₂), how much of the two means is kept.
        eps: added to the root, against division by zero.
        weight_decay: pull towards zero.
        momentum_decay: how soon μ comes to its limit β₁.
        decoupled_weight_decay: shrink parameters by themselves, as AdamW does.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        foreach, capturable: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a setting out of range.

    Source: Dozat 2016.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step", "mu_product")

    def __init__(
        self, params: Iterable[Any], lr: Number = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_least("epsilon value", eps)
        check_betas(betas)
        check_least("weight_decay value", weight_decay)
        check_least("momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        lr, eps, decay = rate(group["lr"]), group["eps"], group["weight_decay"]
        beta1, beta2 = group["betas"]
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["mu_product"] = 1.0
                state["exp_avg"] = zeros_like(param)
                state["exp_avg_sq"] = zeros_like(param)
            step = count(state)
            if decay and group["decoupled_weight_decay"]:
                param.mul_(1 - lr * decay)
            elif decay:
                grad = grad + param * decay
            mu, ahead = (
                beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1)
            )
            product = state["mu_product"] = state["mu_product"] * mu
            mean = lerp(state["exp_avg"], grad, 1 - beta1)
            square = state["exp_avg_sq"] * beta2 + grad * grad * (1 - beta2)
            state["exp_avg"].copy_(mean)
            state["exp_avg_sq"].copy_(square)
            size = (square / (1 - beta2**step)).sqrt() + eps
            param.sub_(grad / size * (lr * (1 - mu) / (1 - product)))
            param.sub_(mean / size * (lr * ahead / (1 - product * ahead)))
