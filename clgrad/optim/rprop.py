"""Rprop: steps that depend on the signs of gradients alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from clgrad.calls import function
from clgrad.creation import full_like, zeros_like
from clgrad.errors import ClgradValueError
from clgrad.ops.registry import OPS
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.optim.settings import Number, check_rate, count

_where = function(OPS["where"])


class Rprop(Optimizer):
    """Moves each element by a step of its own, which grows while its gradient keeps its sign.

    Math: with g the gradient (negated if `maximize`), g' the last one and s the step size of an
    element: where g g' > 0, s ← min(s η₊, largest); where g g' < 0, s ← max(s η₋, smallest) and
    g ← 0; then p ← p - sign(g) s.

    Args:
        params: parameters, or groups of them.
        lr: the first step size.
        etas: (η₋, η₊), by which steps shrink and grow.
        step_sizes: (smallest, largest) step.
        maximize: follow the gradient upwards.
        differentiable: let gradients flow through the step.
        capturable, foreach: kept in the groups for PyTorch's sake; they change nothing.

    Raises:
        ClgradValueError: a setting out of range.

    Source: Riedmiller and Braun 1993.
    """

    _counters: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Number = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False,
        foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ClgradValueError(
                f"Invalid eta values: {etas[0]}, {etas[1]}. Expected one in (0, 1), one above 1."
            )
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        shrink, grow = group["etas"]
        smallest, largest = group["step_sizes"]
        for param, grad in self._each(group):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["prev"] = zeros_like(param)
                state["step_size"] = full_like(param, float(group["lr"]))
            count(state)
            same = grad * state["prev"]
            rest = _where(same < 0, shrink, full_like(same, 1.0))  # of the gradient's dtype
            factor = _where(same > 0, grow, rest)
            size = (state["step_size"] * factor).clamp(smallest, largest)
            state["step_size"].copy_(size)
            grad = _where(same < 0, 0.0, grad)
            state["prev"].copy_(grad)
            param.sub_(_where(grad > 0, size, _where(grad < 0, -size, 0.0)))
