"""`Variable`, which tensors were called when they and their gradients were two things."""

from __future__ import annotations

from typing import Any

from clgrad.autograd.backward import backward
from clgrad.autograd.running import queue_callback
from clgrad.tensor import Tensor


class _Engine:
    """What programs reach through `Variable._execution_engine`."""

    queue_callback = staticmethod(queue_callback)
    run_backward = staticmethod(backward)


class _Meta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_Meta):
    """`Variable(tensor, requires_grad)` is the tensor's memory as a leaf; tensors are instances."""

    _execution_engine = _Engine()

    def __new__(cls, data: Any = (), requires_grad: bool = False) -> Any:
        leaf = data.detach() if isinstance(data, Tensor) else Tensor(data)
        return leaf.requires_grad_(requires_grad)
