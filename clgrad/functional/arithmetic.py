"""Pointwise functions whose arguments choose the op, or that are composed of others."""

from __future__ import annotations

from typing import Any

from clgrad import dtypes
from clgrad.dispatch import NUMBERS, apply
from clgrad.errors import (
    ClgradRuntimeError,
    ClgradTypeError,
    DTypeError,
)
from clgrad.functional._arguments import numpy_names
from clgrad.functional._forms import Choice, choice, forms
from clgrad.functional._given import check_tensor
from clgrad.functional._out import with_out
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

__all__ = [
    "addcdiv", "allclose", "clamp", "clamp_", "clamp_max", "clamp_max_", "clamp_min",
    "clamp_min_", "clip", "clip_", "div", "divide", "equal",
    "float_power", "floor_divide", "fmod", "heaviside", "isclose", "isreal", "lerp", "lerp_",
    "nan_to_num", "nan_to_num_", "nextafter", "positive", "pow", "remainder",
    "round", "round_", "square", "square_",
]  # fmt: skip
METHODS = (
    *__all__, "addcdiv_", "div_", "divide_", "float_power_", "floor_divide_", "fmod_", "heaviside_",
    "nextafter_", "pow_", "remainder_",
)  # fmt: skip

Number = bool | int | float


class IntegerDivisionError(ClgradRuntimeError, ZeroDivisionError):
    """Integers are divided by the number zero."""


def _check_divisor(name: str, input: Any, other: Any) -> None:
    """Raise where integers are divided by a number that is zero.

    What is in a tensor only the device knows: there the quotient and the remainder are 0.
    """
    if type(other) not in NUMBERS or type(other) is float or not isinstance(input, Tensor):
        return
    dtype = input._meta.dtype
    bits = 64 if dtype.kind == "b" else 8 * dtype.itemsize
    if dtype.kind != "f" and not other % (1 << bits):  # in that dtype it is zero
        raise IntegerDivisionError(
            f"{name}: ZeroDivisionError: {input.dtype.name} divided by {other}. Expected a "
            "number that is not zero. Hint: float() gives infinities and NaN."
        )


# ---- division ----------------------------------------------------------------------------------


def _div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Choice:
    """Return the quotient: true, or rounded towards zero (`trunc`) or down (`floor`).

    Raises:
        ClgradRuntimeError: another `rounding_mode`, or integers rounded divided by 0.
    """
    if not isinstance(rounding_mode, str | None):
        raise ClgradTypeError(
            f"div(): argument 'rounding_mode' must be str, not {type(rounding_mode).__name__}."
        )
    if rounding_mode is None:
        return choice("div", input, other)
    if rounding_mode not in ("trunc", "floor"):
        raise ClgradRuntimeError(
            "div: div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"{rounding_mode!r}."
        )
    _check_divisor("div", input, other)
    return choice("_divide_trunc" if rounding_mode == "trunc" else "_divide_down", input, other)


def _floor_divide(input: Any, other: Any) -> Choice:
    """Return the quotient rounded down; integers stay integers. Not differentiable."""
    _check_divisor("floor_divide", input, other)
    return choice("floor_divide", input, other)


def _remainder(input: Any, other: Any) -> Choice:
    """Return `input - other * floor(input / other)`, which has the sign of `other`."""
    _check_divisor("remainder", input, other)
    return choice("remainder", input, other)


def _fmod(input: Any, other: Any) -> Choice:
    """Return `input - other * trunc(input / other)`, which has the sign of `input`."""
    _check_divisor("fmod", input, other)
    return choice("fmod", input, other)


div, div_ = forms(_div)
divide, divide_ = div, div_
floor_divide, floor_divide_ = forms(_floor_divide)
remainder, remainder_ = forms(_remainder)
fmod, fmod_ = forms(_fmod)


# ---- rounding, clamping ------------------------------------------------------------------------


def _round(input: Tensor, *, decimals: int | None = None) -> Choice:
    """Return the nearest number with so many decimals, the even one of two; tens if negative."""
    if decimals is None:
        return choice("round", input)
    name = "_round_decimals" if decimals >= 0 else "_round_tens"
    return choice(name, input, 10.0 ** abs(decimals))


def _bound(input: Any, value: Any) -> Any:
    """Return an operand; a number must fit the dtype in which the op computes.

    Raises:
        ClgradRuntimeError: it does not.
    """
    if type(value) in NUMBERS and isinstance(input, Tensor):
        kind = (dtypes.of_number(value), "number")
        dtypes.number(value, dtypes.result_type([(input._meta.dtype, "dim"), kind]))
    return value


def _clamp_min(input: Tensor, min: Any) -> Choice:
    """Return `input`, but not below `min`."""
    return choice("clamp_min", input, _bound(input, min))


def _clamp_max(input: Tensor, max: Any) -> Choice:
    """Return `input`, but not above `max`."""
    return choice("clamp_max", input, _bound(input, max))


def _clamp(input: Tensor, min: Any = None, max: Any = None) -> Choice:
    """Return `input`, but not below `min` nor above `max`: numbers, tensors, or None.

    Raises:
        ClgradRuntimeError: neither is given.
    """
    if min is None and max is None:
        raise ClgradRuntimeError(
            "clamp: At least one of 'min' or 'max' must not be None. Hint: clamp(x, min=0)."
        )
    min, max = _bound(input, min), _bound(input, max)
    if max is None:
        return choice("_clamp_from", input, min)
    if min is None:
        return choice("_clamp_to", input, max)
    return choice("clamp", input, min, max)


def _lerp(input: Tensor, end: Tensor, weight: Any) -> Choice:
    """Return what lies between `input` and `end`, by the part `weight` of the way.

    Raises:
        DTypeError: the tensors' dtypes differ; there is no promotion.
    """
    check_tensor("lerp", input)
    for name, side in (("end", end), ("weight", weight)):
        if isinstance(side, Tensor) and side._meta.dtype is not input._meta.dtype:
            raise DTypeError(
                f"lerp: expected dtype {input.dtype.name} for `{name}` but got dtype "
                f"{side.dtype.name}. Hint: cast it with .to()."
            )
    if input._meta.dtype.kind != "f":
        return choice("lerp", input, end, 0)  # refused
    return choice("lerp", input, end, weight)


def _heaviside(input: Tensor, values: Tensor) -> Choice:
    """Return 0 below zero, 1 above, `values` at zero.

    Raises:
        DTypeError: the dtypes differ; there is no promotion.
    """
    op, operands = choice("heaviside", input, values)
    if input._meta.dtype is not values._meta.dtype:
        raise DTypeError(
            "heaviside: heaviside is not yet implemented for tensors with different dtypes, got "
            f"{input.dtype.name} and {values.dtype.name}. Hint: cast one with .to()."
        )
    return op, operands


_LARGEST = {
    "float16": 65504.0, "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float32": (2 - 2.0**-23) * 2.0**127, "float64": (2 - 2.0**-52) * 2.0**1023,
}  # fmt: skip


def _nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None,
    neginf: float | None = None,
) -> Choice:  # fmt: skip
    """Return `input` with `nan` (0), `posinf` and `neginf` (the largest numbers) in their place."""
    check_tensor("nan_to_num", input)
    largest = _LARGEST.get(input._meta.dtype.name)
    if largest is None:
        return choice("copy", input)
    high = largest if posinf is None else posinf
    low = -largest if neginf is None else neginf
    return choice("nan_to_num", input, 0.0 if nan is None else nan, high, low)


def _nextafter(input: Tensor, other: Tensor) -> Choice:
    """Return the next number after `input` towards `other`, in their common dtype."""
    op, operands = choice("nextafter", input, other)
    common = dtypes.result_type(
        [(o._meta.dtype, "dim" if o._meta.ndim else "zero") for o in operands]
    )
    narrow = common.kind == "f" and common.itemsize == 2
    return (OPS[f"_nextafter_{common.name}"] if narrow else op), operands


def _addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Choice:
    """Return `input + value * tensor1 / tensor2`.

    Raises:
        DTypeError: both tensors are integers.
    """
    made = choice("addcdiv", input, tensor1, tensor2, value)
    if tensor1._meta.dtype.kind != "f" and tensor2._meta.dtype.kind != "f":
        raise DTypeError(
            "addcdiv: Integer division with addcdiv is no longer supported, got "
            f"{tensor1.dtype.name} and {tensor2.dtype.name}. Hint: cast one with .float()."
        )
    return made


addcdiv, addcdiv_ = forms(_addcdiv)
round, round_ = forms(_round)
clamp, clamp_ = forms(_clamp)
clip, clip_ = clamp, clamp_
clamp_min, clamp_min_ = forms(_clamp_min)
clamp_max, clamp_max_ = forms(_clamp_max)
nan_to_num, nan_to_num_ = forms(_nan_to_num)
lerp, lerp_ = forms(_lerp)
heaviside, heaviside_ = forms(_heaviside)
nextafter, nextafter_ = forms(_nextafter)


# ---- powers ------------------------------------------------------------------------------------


_POWERS = {2: "square", 3: "_cube", 0.5: "_root", -0.5: "_inverse_root", -1: "_inverse",
           -2: "_inverse_square"}  # fmt: skip
"""Exponents for which PyTorch does not call pow."""


def _pow(input: Any, exponent: Any) -> Choice:
    """Return `input` to the power of `exponent`; one of them may be a number.

    Raises:
        ClgradRuntimeError: integers to a negative integer number.
    """
    if isinstance(exponent, bool) and isinstance(input, Tensor) and input.dtype is dtypes.bool_:
        return choice("bitwise_or", input, not exponent)
    if type(exponent) in NUMBERS and isinstance(input, Tensor):
        kind = input._meta.dtype.kind
        if kind != "f" and not isinstance(exponent, float):
            if exponent < 0:
                raise ClgradRuntimeError(
                    "pow: Integers to negative integer powers are not allowed, got exponent "
                    f"{exponent}. Hint: input.float() or a float exponent."
                )
            _bound(input, exponent)
            if exponent == 2 and kind != "b":
                return choice("square", input, exponent)
        special = _POWERS.get(exponent) if kind == "f" else None
        if special is not None:
            return choice(special, input, exponent)
    return choice("pow", input, exponent)


def _square(input: Tensor) -> Choice:
    """Return `input * input`."""
    return _pow(input, 2)


pow, pow_ = forms(_pow)
square, square_ = forms(_square)


@with_out
def float_power(input: Any, exponent: Any) -> Tensor:
    """Return `input ** exponent`, computed in float64."""
    wide = [o.to(dtypes.float64) if isinstance(o, Tensor) else float(o) for o in (input, exponent)]
    op, operands = choice("pow", *wide)
    return apply(op, operands)  # type: ignore[no-any-return]  # a Tensor


def float_power_(input: Tensor, exponent: Any) -> Tensor:
    """Write `input ** exponent` over `input`, which must be float64."""
    if input.dtype is not dtypes.float64:
        raise DTypeError(
            f"float_power_: the base given to float_power_ has dtype {input.dtype.name} but the "
            "operation's result requires dtype Double. Hint: input.double()."
        )
    other = exponent.to(dtypes.float64) if isinstance(exponent, Tensor) else float(exponent)
    return input.pow_(other)  # type: ignore[no-any-return]  # a Tensor


def positive(input: Tensor) -> Tensor:
    """Return `input` itself; raises `DTypeError` for bools."""
    check_tensor("positive", input)
    if input.dtype is dtypes.bool_:
        raise DTypeError("positive: The `+` operator, on a bool tensor is not supported.")
    return input


# ---- comparisons -------------------------------------------------------------------------------


@numpy_names
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Return whether `|input - other| <= atol + rtol * |other|`, and for infinities equality.

    Raises:
        DTypeError: the dtypes differ. ClgradRuntimeError: a tolerance below zero.
    """
    _check_same_dtype("isclose", input, other)
    if rtol < 0 or atol < 0:
        raise ClgradRuntimeError(
            f"isclose: {'rtol' if rtol < 0 else 'atol'} must be greater than or equal to zero, "
            f"but got {rtol if rtol < 0 else atol}."
        )
    close: Tensor = input.eq(other)
    if equal_nan and input.dtype.kind == "f":
        close = close | (input.isnan() & other.isnan())
    if rtol == 0 and atol == 0:
        return close
    if input.dtype.kind != "f":
        other = other.to(dtypes.get_default_dtype())
    apart: Tensor = (input - other).abs() if input.dtype.kind != "b" else (input + -other).abs()
    near: Tensor = apart.isfinite() & (apart <= (other * rtol).abs() + atol)
    return close | near


@numpy_names
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Return whether all of `isclose` are; waits for the device."""
    _check_same_dtype("allclose", input, other)
    return _all(isclose(input, other, rtol, atol, equal_nan))


@numpy_names
def equal(input: Tensor, other: Tensor) -> bool:
    """Return whether shapes and all elements agree; waits for the device."""
    if not isinstance(other, Tensor):
        raise ClgradTypeError(
            f"equal(): argument 'other' must be Tensor, not {type(other).__name__}."
        )
    if input._meta.shape != other._meta.shape:
        return False
    return _all(input.eq(other))


def isreal(input: Tensor) -> Tensor:
    """Return true for every element: there are no complex dtypes."""
    return apply(OPS["full"], (True,), (input._meta.shape, dtypes.bool_), input.device)  # type: ignore[no-any-return]  # a Tensor


def _all(mask: Tensor) -> bool:
    return bool((~mask).sum().item() == 0)


def _check_same_dtype(name: str, input: Any, other: Any) -> None:
    for value in (input, other):
        if not isinstance(value, Tensor):
            raise ClgradTypeError(f"{name}(): argument must be Tensor, not {type(value).__name__}.")
    if input.dtype is not other.dtype:
        a, b = (dtypes.TORCH_NAMES[t.dtype.name] for t in (input, other))
        raise DTypeError(f"{name}: {a} did not match {b}. Hint: cast one with .to().")
