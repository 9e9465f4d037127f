"""What Python's operators do with tensors: plain, reflected and in place.

An operand that is neither a tensor nor a number makes them return NotImplemented, so that Python
asks the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clgrad.calls import inplace
from clgrad.creation import tensor
from clgrad.dispatch import NUMBERS, as_operand, binary, operand, unary
from clgrad.errors import ClgradTypeError
from clgrad.functional import arithmetic
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

Call = Callable[..., Any]


def _writing(name: str, write: Call) -> Call:
    """Return an in-place operator."""

    def call(x: Tensor, other: Any) -> Any:
        if type(other) not in NUMBERS and not isinstance(other, Tensor):
            other = operand(name, other)
        return write(x, other)

    return call


def _guarded(name: str, choose: Call, reflected: bool = False) -> Call:
    """Return an operator that looks at a number before it is the quick one."""
    quick = binary(OPS[name], reflected)

    def call(x: Tensor, other: Any) -> Any:
        if isinstance(other, Tensor):
            return quick(x, other)
        other = as_operand(other)
        if other is NotImplemented:
            return other
        return choose(other, x) if reflected else choose(x, other)

    return call


def _comparing(name: str) -> Call:
    """Return `==` or `!=`, which take arrays too: Python's own answer would be one bool."""
    quick = binary(OPS[name])

    def call(x: Tensor, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            other = tensor(other, device=x.device)
        return quick(x, other)

    return call


def _divided_by(x: Tensor, other: Any) -> Any:
    """Return `other / x` as PyTorch computes it: what is saved is the reciprocal, not x."""
    return _product(_reciprocal(x), other)


_reciprocal, _product = unary(OPS["reciprocal"]), binary(OPS["mul"])


def _invert(x: Tensor) -> Any:
    if x._meta.dtype.kind == "f":
        raise ClgradTypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors, got "
            f"{x.dtype.name}. Hint: x == 0 or x.logical_not()."
        )
    return _not(x)


_not = unary(OPS["bitwise_not"])
_BITS = {
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip


def _all() -> dict[str, Call]:
    made: dict[str, Call] = {}
    for word, name in {"add": "add", "mul": "mul", "truediv": "div", **_BITS}.items():
        made[f"__{word}__"] = binary(OPS[name])
        made[f"__r{word}__"] = binary(OPS[name], reflected=True)
        made[f"__i{word}__"] = _writing(name, inplace(OPS[name]))
    made["__sub__"] = binary(OPS["sub"])
    made["__rsub__"] = binary(OPS["rsub"])
    made["__isub__"] = _writing("sub", inplace(OPS["sub"]))
    for word, name in {"floordiv": "floor_divide", "mod": "remainder", "pow": "pow"}.items():
        choose = getattr(arithmetic, name)
        made[f"__{word}__"] = _guarded(name, choose)
        made[f"__r{word}__"] = _guarded(name, choose, reflected=True)
        made[f"__i{word}__"] = _writing(name, getattr(arithmetic, f"{name}_"))
    for name in ("lt", "le", "gt", "ge"):
        made[f"__{name}__"] = binary(OPS[name])
    for name in ("eq", "ne"):
        made[f"__{name}__"] = _comparing(name)
    made["__neg__"] = unary(OPS["neg"])
    made["__abs__"] = unary(OPS["abs"])
    made["__rtruediv__"] = _divided_by
    made["__div__"], made["__rdiv__"] = made["__truediv__"], made["__rtruediv__"]
    made["__idiv__"] = made["__itruediv__"]
    made["__pos__"] = arithmetic.positive
    made["__invert__"] = _invert
    return made


OPERATORS = _all()
"""By the name of the special method."""
