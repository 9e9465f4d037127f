"""Adam, and AdamW, whose weight decay bypasses the moments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import zeros_like
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import (
    Number,
    check_betas,
    check_least,
    check_modes,
    check_operands,
    check_rate,
    count,
    lerp,
    rate,
)


class Adam(Optimizer):
    """Moves parameters by running means of the gradient and of its square.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`) and
    t the number of the step, m ← lerp(m, g, 1 - β₁), v ← β₂ v + (1 - β₂) g², then
    p ← p - `lr` / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + `eps`). With `amsgrad` v is replaced by its
    largest value so far; with `decoupled_weight_decay` p is first multiplied by
    1 - `lr` · `weight_decay`, and g is the gradient alone.

    Args:
        params: parameters, or groups of them.
        lr: step size; a tensor of one element is read by the device alone.
        betas: (β₁, β₂), how much of the two means is kept.
        eps: added to the root, against division by zero.
        weight_decay: pull towards zero.
        amsgrad: never let the steps grow again.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        decoupled_weight_decay: as AdamW does.
        foreach, capturable, fused: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a setting out of range, or a tensor together with `foreach`.
        ClgradRuntimeError: both `foreach` and `fused`.

    Source: Kingma and Ba 2015; Reddi et al. 2018 (amsgrad); Loshchilov and Hutter 2019.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-3, betas: tuple[Number, Number] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
        differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_operands(lr, betas, foreach, capturable)
        check_modes(foreach, fused)
        check_least("epsilon value", eps)
        betas = check_betas(betas)
        check_least("weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
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
                if group["amsgrad"]:
                    state["max_exp_avg_sq"] = zeros_like(param)
            step = count(state)
            if decay and group["decoupled_weight_decay"]:
                param.mul_(1 - lr * decay)
            elif decay:
                grad = grad + param * decay
            mean = lerp(state["exp_avg"], grad, 1 - beta1)
            square = state["exp_avg_sq"] * beta2 + grad * grad * (1 - beta2)
            state["exp_avg"].copy_(mean)
            state["exp_avg_sq"].copy_(square)
            if group["amsgrad"]:
                square = state["max_exp_avg_sq"].maximum(square)
                state["max_exp_avg_sq"].copy_(square)
            size = square.sqrt() / (1 - beta2**step) ** 0.5 + eps
            param.sub_(mean / size * (lr / (1 - beta1**step)))


class AdamW(Adam):
    """Adam with decoupled weight decay: parameters are shrunk by themselves, not by gradients.

    Math, arguments and errors: see `Adam`; p ← (1 - `lr` · `weight_decay`) p comes first.

    Source: Loshchilov and Hutter 2019.
    """

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-3, betas: tuple[Number, Number] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
        maximize: bool = False, foreach: bool | None = None, capturable: bool = False,
        differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip
