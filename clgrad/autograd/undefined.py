"""A function whose gradient is None: what checks put where gradients are to be missing."""

from __future__ import annotations

from typing import Any

from clgrad.autograd.function import Function
from clgrad.tensor import Tensor


class Undefined(Function):
    """Hands on its input; its gradient is None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        made: Tensor = x.clone()
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> None:
        return None
