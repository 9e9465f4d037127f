"""Normalization by mean and variance: over trailing dims or groups of channels.

Each is one node that saves its input, the mean and the reciprocal standard deviation. Forward is
one row kernel; backward is one for the input and one column reduction for weight and bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clgrad.dispatch import apply
from clgrad.dtypes import float32
from clgrad.errors import ClgradValueError, DTypeError, ShapeError, UnsupportedDTypeError
from clgrad.functional.softmax import widened
from clgrad.ops.registry import REQUIRED, Op, pointwise
from clgrad.tensor import Tensor

rstd_op = pointwise(
    "_rstd", "v, *, eps=1e-5", "rsqrt(v + eps)", dv="-0.5 * g * (y * y * y)", inplace=False,
    domain={"v": (0.1, 4)}, doc="Reciprocal standard deviation of a variance.",
)  # fmt: skip


def _statistics(x: Any, dims: tuple[int, ...], eps: float) -> tuple[Any, Any]:
    """Return the mean and the reciprocal standard deviation over trailing dims, kept as size 1."""
    mean = x.mean(dim=dims, keepdim=True)
    centred = x - mean
    return mean, apply(rstd_op, ((centred * centred).mean(dim=dims, keepdim=True), eps))


def scaled_by(x: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


def _input_gradient(g: Any, centred: Any, rstd: Any, dims: tuple[int, ...]) -> Any:
    """Return the gradient of `centred * rstd`, through mean and variance, for the input."""
    unit = centred * rstd
    along = (g * unit).mean(dim=dims, keepdim=True)
    return (g - g.mean(dim=dims, keepdim=True) - unit * along) * rstd


def operands_of(weight: bool, bias: bool) -> tuple[str, ...]:
    return ("x", *(["weight"] if weight else []), *(["bias"] if bias else []))


def split_given(given: Sequence[Any], weight: bool, bias: bool) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return weight and bias, where there are such, and what comes after them."""
    rest = list(given)
    w = rest.pop(0) if weight else None
    b = rest.pop(0) if bias else None
    return w, b, tuple(rest)


# ---- over trailing dims ------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _layer_norm_op(weight: bool, bias: bool) -> Op:
    def forward(x: Any, *given: Any) -> tuple[Any, Any, Any]:
        w, b, (count, eps) = split_given(given, weight, bias)
        dims = tuple(range(-count, 0))
        wide = widened(x)
        mean, rstd = _statistics(wide, dims, eps)
        return scaled_by((wide - mean) * rstd, w, b).to(x.dtype), mean, rstd

    def backward(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        g, x = widened(grads[0]), widened(ctx.saved("x"))
        dims = tuple(range(-ctx.param("count"), 0))
        if ctx.recording:
            mean, rstd = _statistics(x, dims, ctx.param("eps"))
        else:
            mean, rstd = ctx.saved("result1"), ctx.saved("result2")
        centred = x - mean
        out = [None]
        if ctx.needs("x"):
            scaled = g * ctx.saved("weight") if weight else g
            out[0] = _input_gradient(scaled, centred, rstd, dims)
        if weight:
            out.append(g * (centred * rstd) if ctx.needs("weight") else None)
        if bias:
            out.append(g if ctx.needs("bias") else None)
        return tuple(out)

    read = ("x", "result1", "result2")
    saved = (*read, "weight") if weight else read
    return Op(
        name="layer_norm", kind="composite", inputs=operands_of(weight, bias),
        params=(("count", REQUIRED), ("eps", REQUIRED)), forward=forward, backward=backward,
        saves={"x": saved, "weight": read, "bias": read},
        node_name="NativeLayerNormBackward0",
    )  # fmt: skip


def check_dtypes(name: str, input: Any, *given: Any) -> None:
    """Check that parameters have the dtype of the input, or are float32 for halves.

    Raises:
        UnsupportedDTypeError: the input is no float.
        DTypeError: another dtype.
    """
    if not input.is_floating_point():
        raise UnsupportedDTypeError(
            f"{name}: not implemented for {input.dtype.name}. Expected a floating-point dtype."
        )
    allowed = (input.dtype, float32) if input.dtype.itemsize == 2 else (input.dtype,)
    for one in given:
        if one is not None and one.dtype not in allowed:
            raise DTypeError(
                f"{name}: mixed dtype: all inputs must share same datatype, got {input.dtype.name} "
                f"with parameters of {one.dtype.name}. Hint: cast the input with .to(), or the "
                "layer."
            )


def _check_parameter(name: str, what: str, given: Any, shape: tuple[int, ...]) -> None:
    if given is not None and tuple(given.shape) != shape:
        raise ShapeError(
            f"{name}: Expected {what} to be of same shape as normalized_shape, but got {what} of "
            f"shape {list(given.shape)} and normalized_shape = {list(shape)}."
        )


def _normalized(name: str, input: Any, shape: Any) -> tuple[int, ...]:
    wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    if not wanted:
        raise ShapeError(
            f"{name}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at "
            "least one element, but got normalized_shape = []."
        )
    if tuple(input.shape[-len(wanted) :]) != wanted or input.ndim < len(wanted):
        raise ShapeError(
            f"{name}: Given normalized_shape={list(wanted)}, expected input with shape "
            f"[*, {', '.join(map(str, wanted))}], but got input of size {list(input.shape)}."
        )
    return wanted


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5, cudnn_enable: bool = True,
) -> Tensor:  # fmt: skip
    """Return `(x - mean) / sqrt(variance + eps) * weight + bias` over the trailing dims.

    Args:
        input: shape (*, normalized_shape).
        normalized_shape: sizes of the dims that are normalized together.
        weight, bias: shape `normalized_shape`.
        cudnn_enable: has no meaning here.

    Raises:
        ShapeError: the trailing sizes, or those of weight or bias, differ.
    """
    shape = _normalized("layer_norm", input, normalized_shape)
    _check_parameter("layer_norm", "weight", weight, shape)
    _check_parameter("layer_norm", "bias", bias, shape)
    check_dtypes("layer_norm", input, weight, bias)
    given = [t for t in (weight, bias) if t is not None]
    op = _layer_norm_op(weight is not None, bias is not None)
    made: Tensor = apply(op, (input, *given), (len(shape), float(eps)))[0]
    return made


def rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Return `x / sqrt(mean(x * x) + eps) * weight` over the trailing dims.

    Args:
        input: shape (*, normalized_shape).
        weight: shape `normalized_shape`.
        eps: the smallest step of the dtype in which this is computed if None.
    """
    count = 1 if isinstance(normalized_shape, int) else len(normalized_shape)
    if input.ndim < count:
        raise ClgradValueError(
            f"rms_norm: Input tensor must have at least {count} dimensions, but got {input.ndim}"
        )
    shape = _normalized("rms_norm", input, normalized_shape)
    _check_parameter("rms_norm", "weight", weight, shape)
    check_dtypes("rms_norm", input)
    wide: Any = widened(input)
    if eps is None:
        eps = 2.0**-52 if wide.dtype.itemsize == 8 else 2.0**-23
    dims = tuple(range(-len(shape), 0))
    made = wide * apply(rstd_op, ((wide * wide).mean(dim=dims, keepdim=True), float(eps)))
    if weight is not None:
        made = made * weight
    return made.to(input.dtype)  # type: ignore[no-any-return]  # a Tensor


# ---- over groups of channels -------------------------------------------------------------------


def by_channel(given: Any, x: Any) -> Any:
    """Return one number per channel in a shape that broadcasts against (N, C, *)."""
    return None if given is None else given.reshape((1, -1, *(1,) * (x.ndim - 2)))


@lru_cache(maxsize=4)
def _group_norm_op(weight: bool, bias: bool) -> Op:
    def grouped(x: Any, groups: int) -> Any:
        n, c = x.shape[:2]
        return x.reshape((n, groups, c // groups, *x.shape[2:]))

    def per_channel(given: Any, x: Any) -> Any:
        """As `by_channel`, for (N, groups, C / groups, *)."""
        if given is None:
            return None
        return given.reshape((1, *x.shape[1:3], *(1,) * (x.ndim - 3)))

    def forward(x: Any, *given: Any) -> tuple[Any, Any, Any]:
        w, b, (groups, eps) = split_given(given, weight, bias)
        wide = grouped(widened(x), groups)
        dims = tuple(range(2, wide.ndim))
        mean, rstd = _statistics(wide, dims, eps)
        y = scaled_by((wide - mean) * rstd, per_channel(w, wide), per_channel(b, wide))
        return y.to(x.dtype).reshape(x.shape), mean, rstd

    def backward(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        saved = ctx.saved("x")
        x = grouped(widened(saved), ctx.param("groups"))
        g = grouped(widened(grads[0]), ctx.param("groups"))
        dims = tuple(range(2, x.ndim))
        if ctx.recording:
            mean, rstd = _statistics(x, dims, ctx.param("eps"))
        else:
            mean, rstd = ctx.saved("result1"), ctx.saved("result2")
        centred = x - mean
        rest = (0, *range(3, x.ndim))
        out = [None]
        if ctx.needs("x"):
            scaled = g * per_channel(ctx.saved("weight"), x) if weight else g
            out[0] = _input_gradient(scaled, centred, rstd, dims).reshape(saved.shape)
        if weight:
            needed = ctx.needs("weight")
            out.append((g * (centred * rstd)).sum(dim=rest).reshape(-1) if needed else None)
        if bias:
            out.append(g.sum(dim=rest).reshape(-1) if ctx.needs("bias") else None)
        return tuple(out)

    read = ("x", "result1", "result2")
    saved = (*read, "weight") if weight else read
    return Op(
        name="group_norm", kind="composite", inputs=operands_of(weight, bias),
        params=(("groups", REQUIRED), ("eps", REQUIRED)), forward=forward, backward=backward,
        saves={"x": saved, "weight": read, "bias": read},
        node_name="NativeGroupNormBackward0",
    )  # fmt: skip


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5, cudnn_enabled: bool = True,
) -> Tensor:  # fmt: skip
    """Return the input normalized over groups of channels, each sample by itself.

    Args:
        input: shape (N, C, *).
        num_groups: a divisor of C.
        weight, bias: shape (C).
        cudnn_enabled: has no meaning here.

    Raises:
        ShapeError: C is no multiple of the groups, or weight or bias have another size.
    """
    if input.ndim < 2:
        raise ShapeError(
            f"Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    channels = input.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise ShapeError(
            "group_norm: Expected number of channels in input to be divisible by num_groups, but "
            f"got input of shape {list(input.shape)} and num_groups={num_groups}."
        )
    for what, one in (("weight", weight), ("bias", bias)):
        if one is not None and tuple(one.shape) != (channels,):
            raise ShapeError(
                f"group_norm: Expected {what} to be a vector of size equal to the number of "
                f"channels in input, but got {what} of shape {list(one.shape)} and input of shape "
                f"{list(input.shape)}."
            )
    check_dtypes("group_norm", input, weight, bias)
    given = [t for t in (weight, bias) if t is not None]
    op = _group_norm_op(weight is not None, bias is not None)
    made: Tensor = apply(op, (input, *given), (int(num_groups), float(eps)))[0]
    return made


__all__ = ["group_norm", "layer_norm", "rms_norm"]
METHODS = ()
