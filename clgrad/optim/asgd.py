"""ASGD: gradient descent that also keeps the average of where it has been."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import zeros_like
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_least, check_rate, count


class ASGD(Optimizer):
    """Moves parameters against their gradients, by smaller and smaller steps, and averages them.

    Math: with g the gradient plus `weight_decay` times the parameter p (negated if `maximize`),
    t the number of the step, η₁ = `lr` and μ₁ = 1: p ← (1 - `lambd` ηₜ) p - ηₜ g,
    a ← a + μₜ (p - a), ηₜ₊₁ = `lr` / (1 + `lambd` `lr` t)^`alpha`, μₜ₊₁ = 1 / max(1, t - `t0`).
    The average a is `state[p]["ax"]`.

    Args:
        params: parameters, or groups of them.
        lr: step size.
        lambd: decay of parameters and of step sizes.
        alpha: power by which step sizes fall.
        t0: the step at which averaging begins.
        weight_decay: factor of the parameter that is added to its gradient.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        foreach, capturable: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a negative setting.

    Source: Polyak and Juditsky 1992.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step", "eta", "mu")

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
        t0: float = 1e6, weight_decay: float = 0, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False, capturable: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_least("weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        lr, lambd, decay = float(group["lr"]), group["lambd"], group["weight_decay"]
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                state.update(step=0.0, eta=lr, mu=1.0, ax=zeros_like(param))
            step, eta, mu = count(state), state["eta"], state["mu"]
            if decay:
                grad = grad + param * decay
            param.mul_(1 - lambd * eta).sub_(grad * eta)
            average = state["ax"]
            average.copy_(param if mu == 1 else average + (param - average) * mu)
            state["eta"] = lr / (1 + lambd * lr * step) ** group["alpha"]
            state["mu"] = 1 / max(1.0, step - group["t0"])
