"""Stochastic gradient descent, with momentum if wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_least, check_modes, check_rate, rate
from clgrad.tensor import Tensor


class SGD(Optimizer):
    """Moves parameters against their gradients.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`),
    v ← `momentum` v + (1 - `dampening`) g, where the first v is g; then p ← p - `lr` v, or
    p ← p - `lr` (g + `momentum` v) if `nesterov`; without momentum p ← p - `lr` g.

    Args:
        params: parameters, or groups of them.
        lr: step size.
        momentum: how much of the last step is kept.
        dampening: how much of the gradient is left out of the velocity.
        weight_decay: factor of the parameter that is added to its gradient.
        nesterov: look ahead; needs momentum and no dampening.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        foreach, fused: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a negative setting, or Nesterov's form without momentum.
        ClgradRuntimeError: both `foreach` and `fused`.

    Source: Sutskever et al. 2013, in PyTorch's form, where `lr` multiplies the velocity.
    """

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: Number = 0, nesterov: bool = False, *, maximize: bool = False,
        foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_modes(foreach, fused)
        check_least("momentum value", momentum)
        check_least("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ClgradValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        lr, momentum, decay = rate(group["lr"]), group["momentum"], rate(group["weight_decay"])
        keep = 1 - group["dampening"]
        for param, grad in self._each(group):
            if isinstance(decay, Tensor) or decay != 0:
                grad = grad + param * decay
            if momentum:
                state = self.state[param]
                velocity: Tensor | None = state.get("momentum_buffer")
                if velocity is None:
                    velocity = state["momentum_buffer"] = grad.detach().clone()
                else:
                    velocity.mul_(momentum).add_(grad if keep == 1 else grad * keep)
                grad = grad + velocity * momentum if group["nesterov"] else velocity
            param.sub_(grad * lr)
