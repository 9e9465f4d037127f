"""Convolutions and transposed convolutions of one to three dimensions.

Each call is one node, `ConvolutionBackward0`, over the ops of `ops.convolution`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import index
from typing import Any

from clgrad.dispatch import apply
from clgrad.dtypes import bool_
from clgrad.errors import (
    ClgradTypeError,
    ClgradValueError,
    DTypeError,
    ShapeError,
    UnsupportedDTypeError,
)
from clgrad.functional.padding import constant_pad_nd
from clgrad.functional.shaping import squeeze, unsqueeze
from clgrad.ops.convolution import conv, conv_image, conv_output, conv_weight
from clgrad.ops.meta import Meta
from clgrad.ops.registry import OPS, REQUIRED, composite
from clgrad.shapes import dims_of
from clgrad.tensor import Tensor

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "convolution", "get_float32_conv_precision", "set_float32_conv_precision",
]  # fmt: skip
METHODS: tuple[str, ...] = ()

Sizes = int | Sequence[int]

_PARAMS = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
_PRECISIONS = ("highest", "high", "medium")
_precision = "highest"


def set_float32_conv_precision(precision: str) -> None:
    """Say how exact convolutions in float32 have to be, as `set_float32_matmul_precision` does.

    Beyond `"highest"`, the default, 3 x 3 convolutions of stride 1 without dilation and groups, and
    their gradients for the input, may be computed by Winograd's tiles where that is faster:

    - `"high"`: of 2 x 2 points. Errors are about those of `"highest"`.
    - `"medium"`: also of 4 x 4 points. Errors are 2 to 4 times those of `"highest"`.

    Either way an element of the input that is infinite or NaN makes all points of the tiles that
    read it NaN, up to 5 beside those whose window holds it. Sums of 16-bit floats, made in float32,
    count as well; float64 does not. Results are the same every time. For all threads, from the next
    call on, backward passes included.

    Args:
        precision: `"highest"`, `"high"` or `"medium"`.

    Raises:
        ClgradValueError: another text.
    """
    global _precision
    if precision not in _PRECISIONS:
        raise ClgradValueError(
            f"set_float32_conv_precision: got {precision!r}. Expected one of "
            f"{', '.join(map(repr, _PRECISIONS))}."
        )
    _precision = precision


def get_float32_conv_precision() -> str:
    """Return what `set_float32_conv_precision` was told last."""
    return _precision


def _forward(
    input: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int,
) -> Tensor:  # fmt: skip
    geometry = (stride, padding, dilation, groups, _precision)
    if transposed:
        size = _transposed_size(input.shape[2:], weight.shape[2:], geometry, output_padding)
        y: Tensor = apply(conv_image, (input, weight), (size, *geometry))
    else:
        y = apply(conv, (input, weight), geometry)
    if isinstance(bias, Tensor):
        y = apply(OPS["add"], (y, bias.reshape(1, bias.shape[0], *(1,) * len(stride))))
    return y


def _transposed_size(
    size: Sequence[int], kernel: Sequence[int], geometry: tuple[Any, ...], extra: Sequence[int]
) -> tuple[int, ...]:
    stride, padding, dilation = geometry[:3]
    return tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, k, s, p, d, e in zip(size, kernel, stride, padding, dilation, extra, strict=True)
    )


def _backward(ctx: Any, g: Any) -> tuple[Any, Any, Any]:
    input, weight = ctx.saved("input"), ctx.saved("weight")
    transposed = ctx.param("transposed")
    names = ("stride", "padding", "dilation", "groups")
    geometry = (*(ctx.param(name) for name in names), _precision)
    kernel = ctx.shape("weight")[2:]
    dx = dw = db = None
    if ctx.needs("input"):
        if transposed:
            dx = apply(conv, (g, weight), geometry)
            for d, n in enumerate(ctx.shape("input")[2:], 2):  # output_padding may reach further
                dx = dx.narrow(d, 0, n)
        else:
            dx = apply(conv_image, (g, weight), (ctx.shape("input")[2:], *geometry))
    if ctx.needs("weight"):
        of = (input, g) if transposed else (g, input)
        dw = apply(conv_weight, of, (kernel, *geometry))
    if ctx.needs("bias"):
        db = g.sum(dim=(0, *range(2, g.ndim)))
    return dx, dw, db


_SAVED = ("input", "weight")
_convolution = composite(
    "_convolution", "input, weight, bias", _forward, backward=_backward,
    saves={"input": _SAVED, "weight": _SAVED, "bias": _SAVED},
    params=tuple((name, REQUIRED) for name in _PARAMS), node_name="ConvolutionBackward0",
    doc="A convolution or transposed convolution; the number 0 stands for no bias.",
)  # fmt: skip


# ---- arguments ---------------------------------------------------------------------------------


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else dims_of(value)


def _each(op: str, name: str, value: Any, count: int) -> tuple[int, ...]:
    """Return a setting as one integer for each spatial dim."""
    values = (value,) if isinstance(value, int) else value
    for one in values:
        if isinstance(one, bool) or not isinstance(one, int):
            raise ClgradTypeError(
                f"{op}: {name} has {one!r} ({type(one).__name__}). Expected integers."
            )
    if len(values) == 1:
        values = values * count
    if len(values) != count:
        raise ShapeError(
            f"{op}: expected {name} to be a single integer value or a list of {count} values to "
            f"match the convolution dimensions, but got {name}={list(values)}."
        )
    made: tuple[int, ...] = values
    return made


def _refuse(op: str, name: str, values: tuple[int, ...], positive: bool) -> None:
    if min(values) < (1 if positive else 0):
        kind = "non-positive" if positive else "negative"
        raise ShapeError(f"{op}: {kind} {name} is not supported, got {name}={list(values)}.")


@lru_cache(maxsize=4096)
def _check(
    op: str, dims: int, x: Meta, w: Meta, b: Meta | None, stride: Any, padding: Any, dilation: Any,
    groups: Any, output_padding: Any, transposed: bool,
) -> tuple[tuple[Any, ...], tuple[int, ...]]:  # fmt: skip
    """Return the parameters of `_convolution`, and what to pad at the end of each dim before.

    Raises:
        ShapeError, DTypeError, ClgradTypeError: as the functions below say.
    """
    shape, weight = x.shape, w.shape
    if len(shape) not in (dims + 1, dims + 2):
        raise ShapeError(
            f"{op}: Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {op}, but "
            f"got input of size: {list(shape)}. Hint: a batch of images has shape (N, C, ...)."
        )
    if len(weight) != dims + 2:
        raise ShapeError(
            f"{op}: expected a {dims + 2}-dimensional weight for a {dims + 2}-dimensional input, "
            f"but got weight of size {list(weight)} and input of size {list(shape)}. "
            "Hint: a weight has shape (out_channels, in_channels / groups, ...)."
        )
    _check_dtypes(op, x, w, b)
    s = _each(op, "stride", stride, dims)
    d = _each(op, "dilation", dilation, dims)
    extra = _each(op, "output_padding", output_padding, dims)
    _refuse(op, "stride", s, True)
    _refuse(op, "dilation", d, True)
    _refuse(op, "output_padding", extra, False)
    if groups < 1:
        raise ShapeError(f"{op}: non-positive groups is not supported, got groups={groups}.")
    p, end = _padding(op, padding, s, d, weight[2:])
    _refuse(op, "padding", p, False)
    if len(shape) == dims + 1:
        shape = (1, *shape)
    _check_channels(op, shape, weight, b, groups, transposed)
    geometry = {"stride": s, "padding": p, "dilation": d, "groups": groups}
    if transposed:
        _check_transposed(op, shape, weight, geometry, extra)
    else:
        _check_sizes(op, tuple(n + e for n, e in zip(shape[2:], end, strict=True)), weight[2:],
                     geometry)  # fmt: skip
    return (s, p, d, transposed, extra, groups), end if any(end) else ()


def _check_dtypes(op: str, x: Meta, w: Meta, b: Meta | None) -> None:
    if x.dtype is bool_:
        raise UnsupportedDTypeError(
            f"{op}: not implemented for bool. Hint: cast with .to(clgrad.float32)."
        )
    for name, other in (("weight", w), ("bias", b)):
        if other is not None and other.dtype is not x.dtype:
            raise DTypeError(
                f"{op}: Input type ({x.dtype.name}) and {name} type ({other.dtype.name}) should be "
                "the same. Hint: cast the input with .to(dtype), or the layer."
            )


def _padding(
    op: str, padding: Any, stride: tuple[int, ...], dilation: tuple[int, ...],
    kernel: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:  # fmt: skip
    """Return the padding on both sides, and what comes on top of it at the end."""
    none = (0,) * len(kernel)
    if not isinstance(padding, str):
        return _each(op, "padding", padding, len(kernel)), none
    if padding == "valid":
        return none, none
    if padding != "same":
        raise ShapeError(
            f"{op}: Invalid padding string: {padding!r}. Expected 'same', 'valid' or integers."
        )
    if max(stride) > 1:
        raise ShapeError(f"{op}: padding='same' is not supported for strided convolutions.")
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return tuple(n // 2 for n in total), tuple(n % 2 for n in total)


def _check_channels(
    op: str, shape: tuple[int, ...], weight: tuple[int, ...], b: Meta | None, groups: int,
    transposed: bool,
) -> None:  # fmt: skip
    first = weight[0]
    given = "transposed=1" if transposed else f"groups={groups}"
    if first < groups:
        raise ShapeError(
            f"{op}: Given groups={groups}, expected weight to be at least {groups} at dimension 0, "
            f"but got weight of size {list(weight)} instead."
        )
    if first % groups:
        raise ShapeError(
            f"{op}: Given groups={groups}, expected weight to be divisible by {groups} at "
            f"dimension 0, but got weight of size {list(weight)} instead."
        )
    wanted = first if transposed else weight[1] * groups
    if shape[1] != wanted:
        raise ShapeError(
            f"{op}: Given {given}, weight of size {list(weight)}, expected input{list(shape)} to "
            f"have {wanted} channels, but got {shape[1]} channels instead. Hint: the channels of "
            "an image come before its height and width: (N, C, H, W)."
        )
    made = weight[1] * groups if transposed else first
    if b is not None and b.shape != (made,):
        raise ShapeError(
            f"{op}: Given {'transposed=1, ' if transposed else ''}weight of size {list(weight)}, "
            f"expected bias to be 1-dimensional with {made} elements, but got bias of size "
            f"{list(b.shape)} instead."
        )


def _by(sizes: Sequence[int]) -> str:
    return f"({' x '.join(map(str, sizes))})"


def _check_sizes(
    op: str, size: tuple[int, ...], kernel: tuple[int, ...], geometry: dict[str, Any]
) -> None:
    if min(conv_output(size, kernel, geometry)) < 1 or min(kernel) < 1:
        padded = [n + 2 * p for n, p in zip(size, geometry["padding"], strict=True)]
        reach = [d * (k - 1) + 1 for d, k in zip(geometry["dilation"], kernel, strict=True)]
        raise ShapeError(
            f"{op}: Calculated padded input size per channel: {_by(padded)}. Kernel size: "
            f"{_by(reach)}. Kernel size can't be greater than actual input size. "
            "Hint: a larger padding, or a smaller kernel."
        )


def _check_transposed(
    op: str, shape: tuple[int, ...], weight: tuple[int, ...], geometry: dict[str, Any],
    extra: tuple[int, ...],
) -> None:  # fmt: skip
    stride, dilation = geometry["stride"], geometry["dilation"]
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= s and e >= d:
            raise ShapeError(
                f"{op}: output padding must be smaller than either stride or dilation, but got "
                f"output_padding={list(extra)}, stride={list(stride)}, dilation={list(dilation)}."
            )
    size = _transposed_size(shape[2:], weight[2:], tuple(geometry.values()), extra)
    if min(size) < 1:
        raise ShapeError(
            f"{op}: Given input size per channel: {_by(shape[2:])}. Calculated output size per "
            f"channel: {_by(size)}. Output size is too small."
        )


def _call(
    op: str, dims: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any,
    padding: Any, dilation: Any, groups: int, output_padding: Any = 0, transposed: bool = False,
) -> Tensor:  # fmt: skip
    static, end = _check(
        op, dims, input._meta, weight._meta, None if bias is None else bias._meta,
        _hashable(stride), _hashable(padding), _hashable(dilation), index(groups),
        _hashable(output_padding), transposed,
    )  # fmt: skip
    batched = input._meta.ndim == dims + 2
    x = input if batched else unsqueeze(input, 0)
    if end:
        x = constant_pad_nd(x, [n for e in reversed(end) for n in (0, e)])
    y: Tensor = apply(_convolution, (x, weight, 0 if bias is None else bias), static)
    return y if batched else squeeze(y, 0)


# ---- the functions -----------------------------------------------------------------------------


def _forward_function(name: str, dims: int) -> Callable[..., Tensor]:
    shape = ", ".join(("length",) if dims == 1 else ("depth", "height", "width")[3 - dims :])

    def call(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1,
        padding: Sizes | str = 0, dilation: Sizes = 1, groups: int = 1,
    ) -> Tensor:  # fmt: skip
        return _call(name, dims, input, weight, bias, stride, padding, dilation, groups)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""Return the {dims}-dimensional convolution of `input` with `weight`.

    Args:
        input: shape (N, C, {shape}) or (C, {shape}).
        weight: shape (out_channels, C / groups, *kernel).
        bias: shape (out_channels), or None.
        stride: steps of the kernel, one number or one for each dimension.
        padding: zeros on both sides of each dimension; "valid" is none, "same" as many as keep the
            size (for stride 1).
        dilation: distance between taps of the kernel.
        groups: into how many parts the channels are divided; each is convolved by itself.

    Raises:
        ShapeError: channels, groups, bias or kernel do not fit the input.
        DTypeError: the dtypes differ, or bool.
    """
    return call


def _transposed_function(name: str, dims: int) -> Callable[..., Tensor]:
    shape = ", ".join(("length",) if dims == 1 else ("depth", "height", "width")[3 - dims :])

    def call(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1,
        padding: Sizes = 0, output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
    ) -> Tensor:  # fmt: skip
        return _call(
            name, dims, input, weight, bias, stride, padding, dilation, groups, output_padding, True
        )  # fmt: skip

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""Return the {dims}-dimensional transposed convolution: the gradient of one.

    Args:
        input: shape (N, C, {shape}) or (C, {shape}).
        weight: shape (C, out_channels / groups, *kernel).
        bias: shape (out_channels), or None.
        stride, padding, dilation, groups: of the convolution whose gradient this is.
        output_padding: what to add to one side of the result's size, which a convolution with a
            stride leaves open.

    Raises:
        ShapeError: channels, groups, bias or paddings do not fit.
        DTypeError: the dtypes differ, or bool.
    """
    return call


conv1d = _forward_function("conv1d", 1)
conv2d = _forward_function("conv2d", 2)
conv3d = _forward_function("conv3d", 3)
conv_transpose1d = _transposed_function("conv_transpose1d", 1)
conv_transpose2d = _transposed_function("conv_transpose2d", 2)
conv_transpose3d = _transposed_function("conv_transpose3d", 3)


def convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes, padding: Sizes,
    dilation: Sizes, transposed: bool, output_padding: Sizes, groups: int,
) -> Tensor:  # fmt: skip
    """Return a convolution or transposed convolution of as many dimensions as `weight` has."""
    return _call(
        "convolution", weight._meta.ndim - 2, input, weight, bias, stride, padding, dilation,
        groups, output_padding, transposed,
    )  # fmt: skip
