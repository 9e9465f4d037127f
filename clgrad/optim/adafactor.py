"""Adafactor: squared gradients remembered by rows and columns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.creation import zeros
from clgrad.errors import ClgradValueError
from clgrad.limits import finfo
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_least, check_rate, count, lerp, rate


class Adafactor(Optimizer):
    """Moves parameters by the gradient over the root of its mean square, of rows times columns.

    Math: with g the gradient (negated if `maximize`) and t the number of the step, means of g² over
    rows and columns (of a vector: g² itself) follow by lerp with weight t^`beta2_decay`;
    v = rows · columns / mean(rows), u = g / sqrt(max(v, ε₁²)), then
    p ← (1 - `lr` · `weight_decay`) p - max(ε₂, rms(p)) min(`lr`, 1/√t) u / max(1, rms(u) / `d`).

    Args:
        params: parameters, or groups of them.
        lr: step size.
        beta2_decay: exponent, 0 or less.
        eps: (ε₁, ε₂); None is the epsilon of the dtype.
        d: how large updates may be, 1 or more.
        weight_decay: share of a parameter, times `lr`, that is taken away.
        foreach: kept in the groups for PyTorch's sake; it changes nothing.
        maximize: follow the gradient upwards.

    Raises:
        ClgradValueError: a setting out of range.

    Source: Shazeer and Stern 2018.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-2, beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0,
        *, foreach: bool | None = None, maximize: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        if not beta2_decay <= 0:
            raise ClgradValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        for k, least in enumerate(eps, 1):
            if least is not None and not least >= 0:
                raise ClgradValueError(f"epsilon{k} should be >= 0 but is: {least}")
        if not d >= 1:
            raise ClgradValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        check_least("weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        lr, (eps1, eps2) = rate(group["lr"]), group["eps"]
        lr = float(lr)
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                self._begin(state, grad)
            step = count(state)
            weight = step ** group["beta2_decay"]
            least = finfo(param.dtype).eps if eps1 is None else eps1
            size = (param.norm(2) / math.sqrt(param.numel())).clamp(min=eps2)
            alpha = size * min(lr, 1 / math.sqrt(step))
            squares = grad * grad
            if grad.ndim > 1:
                rows = lerp(state["row_var"], squares.mean(-1, keepdim=True), weight)
                columns = lerp(state["col_var"], squares.mean(-2, keepdim=True), weight)
                mean = (rows @ columns) / rows.mean(-2, keepdim=True).clamp(min=least)
                state["row_var"].copy_(rows)
                state["col_var"].copy_(columns)
            else:
                mean = lerp(state["variance"], squares, weight)
                state["variance"].copy_(mean)
            update = grad * mean.clamp(min=least * least).rsqrt()
            size = update.norm(2) / (math.sqrt(update.numel()) * group["d"])
            kept = param * (1 - lr * group["weight_decay"])
            param.copy_(kept - update * (alpha / size.clamp(min=1)))

    def _begin(self, state: dict[str, Any], grad: Any) -> None:
        state["step"] = 0.0
        shape, kind = tuple(grad.shape), {"dtype": grad.dtype, "device": grad.device}
        if grad.ndim > 1:
            state["row_var"] = zeros(*shape[:-1], 1, **kind)
            state["col_var"] = zeros(*shape[:-2], 1, shape[-1], **kind)
        else:
            state["variance"] = zeros(shape, **kind)
