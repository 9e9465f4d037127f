"""Activation functions of `nn.functional`; `EXPORTS` are those that `clgrad` itself has too.

An argument `inplace=True` writes the result over the input.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from clgrad.dispatch import apply, operand, unary
from clgrad.errors import ClgradRuntimeError, ClgradValueError, ShapeError, UnsupportedDTypeError
from clgrad.functional import shaping
from clgrad.functional._given import check_tensor
from clgrad.functional._out import with_out
from clgrad.functional.joining import cat
from clgrad.functional.sampling import rand_like
from clgrad.functional.splitting import chunk
from clgrad.layout import wrap_dim
from clgrad.ops.registry import OPS, Op, composite
from clgrad.tensor import Tensor
from clgrad.writing import apply_

__all__ = [
    "celu", "celu_", "elu", "elu_", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "logsigmoid", "mish", "prelu", "relu",
    "relu6", "relu_", "rrelu", "rrelu_", "selu", "selu_", "sigmoid", "silu", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "threshold_",
]  # fmt: skip
EXPORTS = (
    "celu", "celu_", "hardshrink", "prelu", "rrelu", "rrelu_", "selu", "selu_", "threshold",
    "threshold_",
)  # fmt: skip
METHODS = ("hardshrink", "prelu")

_ALPHA, _SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al., 2017


def _run(name: str, inplace: bool, input: Tensor, *others: Any) -> Tensor:
    """Call a pointwise op, in place or not."""
    op = OPS[name]
    check_tensor(op.label, input)
    if not others and not inplace:
        return _quick(name)(input)
    operands = (input, *[_number(op, n) for n in others])
    made: Tensor = apply_(op, operands) if inplace else apply(op, operands)
    return made


@cache
def _quick(name: str) -> Callable[[Any], Tensor]:
    return unary(OPS[name])


def _number(op: Op, value: Any) -> Any:
    """Return a numeric parameter, or a tensor operand as it is."""
    made = operand(op.label, value)
    return made.item() if op.numeric and isinstance(made, Tensor) else made


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return the positive part; NaN stays NaN."""
    return _run("relu", inplace, input)


def relu_(input: Tensor) -> Tensor:
    """Overwrite `input` with its positive part."""
    return _run("relu", True, input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return `input` between 0 and 6."""
    return hardtanh(input, 0.0, 6.0, inplace)


def sigmoid(input: Tensor) -> Tensor:
    """Return the logistic function."""
    return _run("sigmoid", False, input)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return _run("tanh", False, input)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Return `input` between `min_val` and `max_val`.

    Raises:
        ClgradValueError: `min_val` is above `max_val`.
    """
    if min_val > max_val:
        raise ClgradValueError(
            f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}."
        )
    check_tensor("hardtanh", input)
    kind = input._meta.dtype.kind
    if kind in "ui":
        min_val, max_val = int(min_val), int(max_val)
    if kind == "u" and min_val < 0:
        raise ClgradRuntimeError(
            f"hardtanh: cannot do hardtanh on an unsigned type with negative limits, got {min_val}."
        )
    return _run("_hardtanh", inplace, input, min_val, max_val)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Bring `input` between `min_val` and `max_val`, in place."""
    return hardtanh(input, min_val, max_val, True)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return (input + 3) / 6 between 0 and 1."""
    return _run("_hardsigmoid", inplace, input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return `input * hardsigmoid(input)`."""
    return _run("_hardswish", inplace, input)


@with_out
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return `input`, and 0 between -lambd and lambd."""
    return _run("_hardshrink", False, input, lambd)


@with_out
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return `input` moved towards 0 by `lambd`, but not beyond.

    Raises:
        ClgradRuntimeError: `lambd` is below zero.
    """
    if lambd < 0:
        raise ClgradRuntimeError(
            f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}."
        )
    return _run("_softshrink", False, input, lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """Return `input - tanh(input)`."""
    return input - tanh(input)


def softsign(input: Tensor) -> Tensor:
    """Return `input / (1 + |input|)`."""
    return input / (_run("abs", False, input) + 1)


@with_out
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return `input` where it is above `threshold`, else `value`; integers take whole numbers."""
    return _above(input, threshold, value, inplace)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """Write `value` where `input` is not above `threshold`."""
    return _above(input, threshold, value, True)


def _above(input: Tensor, limit: float, value: float, inplace: bool) -> Tensor:
    check_tensor("threshold", input)
    if input._meta.dtype.kind in "ui":
        limit, value = int(limit), int(value)
    return _run("_threshold", inplace, input, limit, value)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return `input`, times `negative_slope` below zero."""
    return _run("_leaky_relu", inplace, input, negative_slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Multiply `input` by `negative_slope` where it is below zero."""
    return leaky_relu(input, negative_slope, True)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Return `input`, times a slope below zero: random in training, else the mean of the bounds.

    Raises:
        ClgradRuntimeError: `lower` is above `upper`.
    """
    if lower > upper:
        raise ClgradRuntimeError(
            f"rrelu: Lower bound should be less than or equal to the upper bound, got {lower} and "
            f"{upper}."
        )
    check_tensor("rrelu", input)
    if not training or input._meta.dtype.kind != "f":
        return _run("_rrelu", inplace, input, (lower + upper) / 2)
    slopes = rand_like(input) * (upper - lower) + lower
    return _run("_rrelu_with_noise", inplace, input, slopes)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """Do `rrelu` in place."""
    return rrelu(input, lower, upper, training, True)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return `input`, times `weight` below zero.

    Args:
        input: shape (N, C, *) or any.
        weight: shape (C), one number per channel, or of one element.

    Raises:
        ShapeError: `weight` has neither one element nor as many as there are channels.
    """
    check_tensor("prelu", input)
    check_tensor("prelu", weight, "weight", 2)
    if input._meta.dtype is not weight._meta.dtype:
        raise ShapeError(
            f"prelu: Type promoting not supported. Got {input.dtype.name} and {weight.dtype.name}. "
            "Hint: cast one with .to()."
        )
    shape = input._meta.shape
    if weight._meta.numel != 1:
        if not shape:
            raise ShapeError("prelu: Not allow zero-dim input tensor. Expected shape (N, C, *).")
        channels = shape[1] if len(shape) > 1 else 1
        if channels != weight._meta.numel:
            raise ShapeError(
                f"prelu: Mismatch of parameter numbers and input channel size. Found parameter "
                f"numbers = {weight._meta.numel} and channel size = {channels}."
            )
    if weight._meta.ndim > 1:
        raise ShapeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}."
        )
    if weight._meta.ndim and len(shape) != 1:
        sizes = [1] * len(shape)
        if len(shape) > 1:
            sizes[1] = weight._meta.numel
        weight = shaping.reshape(weight, sizes)
    return apply(OPS["_prelu_kernel"], (input, weight))  # type: ignore[no-any-return]  # a Tensor


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return `input`, and `alpha * (exp(input) - 1)` below zero."""
    return _run("_elu", inplace, input, alpha, 1, 1)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Do `elu` in place."""
    return elu(input, alpha, True)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return `elu` scaled so that mean 0 and variance 1 stay.

    Source: G. Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    return _run("_elu", inplace, input, _ALPHA, _SCALE, 1)


def selu_(input: Tensor) -> Tensor:
    """Do `selu` in place."""
    return selu(input, True)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return `input`, and `alpha * (exp(input / alpha) - 1)` below zero.

    Raises:
        ClgradRuntimeError: `alpha` is 0.
    """
    if not alpha:
        raise ClgradRuntimeError("celu: ZeroDivisionError: alpha cannot be 0 for CELU.")
    return _run("_celu", inplace, input, alpha)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Do `celu` in place."""
    return celu(input, alpha, True)


@with_out
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """Return `log(1 + exp(beta * input)) / beta`; `input` where `beta * input > threshold`."""
    return _run("_softplus", False, input, beta, threshold)


@with_out
def logsigmoid(input: Tensor) -> Tensor:
    """Return `log(sigmoid(input))`, without overflow."""
    return _run("_logsigmoid", False, input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return `input * sigmoid(input)`."""
    return _run("_silu", inplace, input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return `input * tanh(softplus(input))`."""
    return _run("_mish", inplace, input)


@with_out
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return `input` times the normal distribution function of it.

    Args:
        input: any shape.
        approximate: `"none"`, or `"tanh"` for the approximation by tanh.

    Raises:
        ClgradRuntimeError: another word.
    """
    if approximate not in ("none", "tanh"):
        raise ClgradRuntimeError(
            f"gelu: approximate argument must be either none or tanh, got {approximate!r}."
        )
    return _run("_gelu_tanh" if approximate == "tanh" else "_gelu", False, input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half along `dim` times the sigmoid of the second half.

    Raises:
        ClgradRuntimeError: `input` has no dims, or an odd size along `dim`.
    """
    check_tensor("glu", input)
    if not input._meta.ndim:
        raise ClgradRuntimeError("glu: glu does not support 0-dimensional tensors.")
    dim = wrap_dim(dim, input._meta.ndim, "glu")
    size = input._meta.shape[dim]
    if size % 2:
        raise ClgradRuntimeError(
            f"glu: Halving dimension must be even, but dimension {dim} is size {size}."
        )
    if input._meta.dtype.kind != "f":
        raise UnsupportedDTypeError(
            f"glu: \"glu\" not implemented for '{input.dtype.name}'. Hint: cast with .float()."
        )
    return apply(_glu_op, (input,), (dim,))  # type: ignore[no-any-return]  # a Tensor


def _glu(input: Tensor, dim: int) -> Tensor:
    first, second = chunk(input, 2, dim)
    made: Tensor = first * sigmoid(second)
    return made


def _glu_back(ctx: Any, g: Any) -> tuple[Any]:
    dim = ctx.param("dim")
    first, second = chunk(ctx.saved("x"), 2, dim)
    gate = sigmoid(second)
    return (cat([g * gate, g * first * gate * (1 - gate)], dim),)


_glu_op = composite(
    "_glu", "x", _glu, backward=_glu_back, saves=("x",), params=(("dim", -1),),
    node_name="GluBackward0", doc="The first half times the sigmoid of the second one.",
)  # fmt: skip
