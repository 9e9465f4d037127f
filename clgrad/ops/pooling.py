"""Windows over images as ops: pooling, columns of windows, and what turns back to the image.

The parameter `windows` says where they are: a `Windows`, whose spatial dims are the last ones of
the operand; whatever comes before is a batch of channels, or channels alone. Shapes are checked by
whoever calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from clgrad.codegen.conv_problem import Three
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.codegen.window import GATHERS, WindowProblem, lower_window
from clgrad.dtypes import DType, int16, int32, int64
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op, primitive
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits


@dataclass(frozen=True, slots=True)
class Windows:
    """Where windows lie over an image of spatial shape `size`, `out` of them along each dim.

    Attributes:
        kernel, stride, padding, dilation: one number for each dim; empty where the windows are
            adaptive and divide the image evenly.
        divisor: what a mean divides by instead of the number of taps, or 0.
        padded: whether a mean counts taps in the padding.
    """

    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    divisor: int = 0
    padded: bool = True


def _three(values: tuple[int, ...], fill: int) -> Three:
    first, second, third = (*(fill,) * (3 - len(values)), *values)
    return first, second, third


def _strides(x: Meta, rank: int) -> tuple[int, ...]:
    """Return strides for (image, channel, three spatial dims)."""
    lead = x.layout.strides[: x.ndim - rank]
    return (*(0,) * (2 - len(lead)), *lead, *_three(x.layout.strides[x.ndim - rank :], 0))


def _signature(
    what: str, op: Op, metas: tuple[Meta, ...], static: dict[str, Any], device: Any
) -> Signature:
    windows: Windows = static["windows"]
    x = metas[0]
    rank = len(windows.size)
    dtype = _places(windows.size) if what == "argmax" else x.dtype
    if what == "fold":
        taps = fresh_numel(windows.kernel)
        lead = (*x.shape[:-2], x.shape[-2] // taps)
        strides = (*(0,) * (3 - x.ndim), *x.layout.strides, 0, 0)
    else:
        lead = x.shape[: x.ndim - rank]
        strides = _strides(x, rank)
    images, channels = (1, *lead)[-2:]
    shape = (*lead, *(windows.size if what in GATHERS else windows.out))
    if what == "columns":
        shape = (*lead[:-1], channels * fresh_numel(windows.kernel), fresh_numel(windows.out))
    problem = WindowProblem(
        what, images, channels, _three(windows.size, 1), _three(windows.out, 1),
        _three(windows.kernel, 1), _three(windows.stride, 1), _three(windows.padding, 0),
        _three(windows.dilation, 1), strides, _strides(metas[1], rank) if len(metas) > 1 else (),
        x.dtype, dtype, not windows.kernel, windows.divisor, windows.padded,
        metas[1].dtype if len(metas) > 1 else int64,
    )  # fmt: skip
    return Signature(
        op, "kernel", space=shape, reads=tuple(m.layout for m in metas),
        dtypes=tuple(m.dtype for m in metas), meta=fresh_meta(dtype, shape, device),
        lower=partial(_lower, problem),
    )  # fmt: skip


def _places(size: tuple[int, ...]) -> DType:
    """Return the dtype of positions in an image of this shape."""
    count = fresh_numel(size)
    return int16 if count <= 1 << 15 else int32 if count <= 1 << 31 else int64


def fresh_numel(shape: tuple[int, ...]) -> int:
    """Return the product of `shape`."""
    count = 1
    for n in shape:
        count *= n
    return count


def _lower(
    problem: WindowProblem, sig: Signature, traits: DeviceTraits, epilogue: Epilogue | None
) -> Lowered:
    return lower_window(problem, traits)


_PARAMS = (("windows", REQUIRED),)
POOLS = ("2d", "3d", "adaptive_2d", "adaptive_3d")
"""The pools that have nodes of their own; those of one dim are 2d."""


def _name(pool: str, kind: str) -> str:
    """Return `adaptive_2d`, `MaxPool` as `AdaptiveMaxPool2D`."""
    adaptive, _, dims = pool.rpartition("_")
    return f"{adaptive.capitalize()}{kind}{dims.upper()}"


window_argmax = primitive(
    "_window_argmax", "x", partial(_signature, "argmax"), params=_PARAMS,
    doc="Where in its image the largest element of each window is (the last NaN, if any).",
)  # fmt: skip
window_max = primitive(
    "_window_max", "x", partial(_signature, "max"), params=_PARAMS,
    doc="The largest element of each window, without a gradient.",
)  # fmt: skip


def _put_again(ctx: Any, g: Any) -> tuple[Any, None]:
    static = (ctx.param("windows"),)
    return ctx.apply(window_take["2d"], (g, ctx.saved("indices")), static), None


window_put = primitive(
    "_window_put", "g, indices", partial(_signature, "put"), params=_PARAMS,
    backward=_put_again, saves={"g": ("indices",)}, node_name="MaxPoolBackwardBackward0",
    doc="For each element of an image the sum of g over the windows whose index it is.",
)  # fmt: skip


def _put(ctx: Any, g: Any) -> tuple[Any, None]:
    return ctx.apply(window_put, (g, ctx.saved("indices")), (ctx.param("windows"),)), None


window_take: dict[str, Op] = {
    pool: primitive(
        f"_max_pool_{pool}", "x, indices", partial(_signature, "take"), params=_PARAMS,
        backward=_put, saves={"x": ("x", "indices")},
        node_name=f"{_name(pool, 'MaxPool')}{'' if 'adaptive' in pool else 'WithIndices'}Backward0",
        doc="The elements of images at the indices of windows.",
    )
    for pool in POOLS
}  # fmt: skip


def _mean_again(ctx: Any, g: Any) -> tuple[Any]:
    return (ctx.apply(window_mean["2d"], (g,), (ctx.param("windows"),)),)


window_spread = primitive(
    "_window_spread", "g", partial(_signature, "spread"), params=_PARAMS,
    backward=_mean_again,
    node_name="AvgPoolBackwardBackward0",
    doc="For each element of an image the sum of g / count over the windows that hold it.",
)  # fmt: skip


def _spread(ctx: Any, g: Any) -> tuple[Any]:
    return (ctx.apply(window_spread, (g,), (ctx.param("windows"),)),)


window_mean: dict[str, Op] = {
    pool: primitive(
        f"_avg_pool_{pool}", "x", partial(_signature, "mean"), params=_PARAMS,
        backward=_spread, saves=("x",), node_name=f"{_name(pool, 'AvgPool')}Backward0",
        doc="The mean of each window.",
    )
    for pool in POOLS
}  # fmt: skip


def _fold(ctx: Any, g: Any) -> tuple[Any]:
    return (ctx.apply(fold_columns, (g,), (ctx.param("windows"),)),)


def _unfold(ctx: Any, g: Any) -> tuple[Any]:
    return (ctx.apply(columns, (g,), (ctx.param("windows"),)),)


columns = primitive(
    "_columns", "x", partial(_signature, "columns"), params=_PARAMS, backward=_fold,
    node_name="Im2ColBackward0", doc="The taps of each window as a column.",
)  # fmt: skip
fold_columns = primitive(
    "_fold_columns", "x", partial(_signature, "fold"), params=_PARAMS,
    backward=_unfold,
    node_name="Col2ImBackward0", doc="The sum over the windows that hold an element.",
)  # fmt: skip
