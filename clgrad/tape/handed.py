"""What higher floors hand down to the tape: the one inversion of the import direction.

Nodes compute gradients with tensors and ops, which live above them. `tensor` and `dispatch` fill
this record when they are imported; nothing else is ever put here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Handed:
    """The functions and the class that the tape needs from above.

    Attributes:
        tensor: the class `Tensor`.
        wrap: `(storage, meta) -> Tensor`, with no autograd state.
        apply: `dispatch.apply(op, operands, static=())`.
        size: the class `Size`.
        plan: `(op, kinds) -> Plan`, of an op without static parameters.
        view: `(op, tensor, static) -> Tensor`, of an op that makes views.
        compute: `(plan, values, numbers) -> Tensor`: record it, without history.
    """

    __slots__ = ("apply", "compute", "plan", "size", "tensor", "view", "wrap")

    size: Any
    tensor: Any
    wrap: Callable[..., Any]
    apply: Callable[..., Any]
    plan: Callable[..., Any]
    compute: Callable[..., Any]
    view: Callable[..., Any]


handed = Handed()
