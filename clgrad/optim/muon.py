"""Muon: momentum whose singular values are made equal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from clgrad.creation import zeros_like
from clgrad.errors import ClgradValueError
from clgrad.functional.adding import addmm
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_least, check_rate, lerp, rate

_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_RATES = (None, "original", "match_rms_adamw")


def _orthogonal(x: Any, coefficients: Sequence[float], steps: int, eps: float) -> Any:
    """Return a matrix near to U V^T, of the singular vectors of `x`, in bfloat16."""
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    made = x.bfloat16().t() if tall else x.bfloat16()
    made = made / made.norm().clamp(min=eps)
    for _ in range(steps):
        gram = made @ made.t()
        update = addmm(gram, gram, gram, beta=b, alpha=c)
        made = addmm(made, update, made, beta=a)
    return made.t() if tall else made


class Muon(Optimizer):
    """Moves matrices by their momentum with all singular values near 1.

    Math: with g the gradient, m ← lerp(m, g, 1 - `momentum`), u = lerp(g, m, `momentum`) if
    `nesterov`, else m; u is divided by its norm and goes `ns_steps` times through
    u ← a u + (b u uᵀ + c (u uᵀ)²) u; then p ← (1 - `lr` · `weight_decay`) p - `lr`' u.

    Args:
        params: matrices, or groups of them.
        lr: step size.
        weight_decay: share of a parameter, times `lr`, that is taken away.
        momentum: how much of the running mean is kept.
        nesterov: look one step ahead.
        ns_coefficients: (a, b, c).
        eps: the least norm to divide by.
        ns_steps: below 100.
        adjust_lr_fn: "original" (None) multiplies `lr` by sqrt(max(1, rows / columns)),
            "match_rms_adamw" by 0.2 sqrt(max(rows, columns)).

    Raises:
        ClgradValueError: a setting out of range, a parameter that is no matrix.

    Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
    """

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-3, weight_decay: float = 0.1,
        momentum: float = 0.95, nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = _COEFFICIENTS, eps: float = 1e-7,
        ns_steps: int = 5, adjust_lr_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_rate(lr)
        check_least("momentum value", momentum)
        check_least("weight_decay value", weight_decay)
        if adjust_lr_fn not in _RATES:
            raise ClgradValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported. Expected None, "
                "'original' or 'match_rms_adamw'."
            )
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    raise ClgradValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{list(param.shape)}. Hint: AdamW for the others."
                    )

    def _update(self, group: Group) -> None:
        if group["ns_steps"] >= 100 or len(group["ns_coefficients"]) != 3:
            raise ClgradValueError(
                f"Muon: got ns_steps={group['ns_steps']} and {len(group['ns_coefficients'])} "
                "coefficients. Expected fewer than 100 steps, and 3."
            )
        lr, momentum = rate(group["lr"]), group["momentum"]
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                state["momentum_buffer"] = zeros_like(grad)
            mean = lerp(state["momentum_buffer"], grad, 1 - momentum)
            ahead = lerp(grad, mean, momentum) if group["nesterov"] else mean
            update = _orthogonal(ahead, group["ns_coefficients"], group["ns_steps"], group["eps"])
            rows, columns = param.shape
            factor = math.sqrt(max(1, rows / columns))
            if group["adjust_lr_fn"] == "match_rms_adamw":
                factor = 0.2 * math.sqrt(max(rows, columns))
            state["momentum_buffer"].copy_(mean)
            kept = param * (1 - lr * group["weight_decay"])
            param.copy_(kept - update.to(param.dtype) * (lr * factor))
