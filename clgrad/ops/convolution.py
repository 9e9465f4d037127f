"""Convolution as three ops, each the gradient of the others: image, weight and result.

    conv           y[b, co, o]  = Σ x[b, ci, o s - p + k d] w[co, ci, k]
    conv_image     the x that y and w ask for: the gradient for x, and the transposed convolution
    conv_weight    the w that y and x ask for: the gradient for w

Sizes are checked by whoever calls them; here shapes fit. Images have shape (B, C, *), weights
(Cout, Cin / groups, *), with one to three dims `*`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from clgrad.codegen.conv import lower_conv
from clgrad.codegen.conv_problem import ConvProblem, Three
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op, primitive
from clgrad.ops.signature import Signature, fresh_numel
from clgrad.traits import DeviceTraits

GEOMETRY = (("stride", REQUIRED), ("padding", REQUIRED), ("dilation", REQUIRED),
            ("groups", REQUIRED), ("precision", "highest"))  # fmt: skip
"""Tuples with an entry for each spatial dim, the number of groups, and how exact sums in float32
are (`clgrad.set_float32_conv_precision`)."""


def conv_output(
    size: tuple[int, ...], kernel: tuple[int, ...], static: dict[str, Any]
) -> tuple[int, ...]:
    """Return the spatial shape of the result (an entry may be 0 or less: nothing fits)."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(
            size, kernel, static["stride"], static["padding"], static["dilation"], strict=True
        )
    )


def _three(values: tuple[int, ...], fill: int) -> Three:
    first, second, third = (*(fill,) * (3 - len(values)), *values)
    return first, second, third


def _signature(
    op: Op, what: str, metas: tuple[Meta, Meta], static: dict[str, Any], device: Any,
    x: tuple[int, ...], y: tuple[int, ...], w: tuple[int, ...],
) -> Signature:  # fmt: skip
    """Return the signature of the op that computes what `what` says of the other two shapes."""
    shape = {"forward": y, "input": x, "weight": w}[what]
    groups = static["groups"]
    a, b = metas
    problem = ConvProblem(
        what=what,
        batch=x[0],
        groups=groups,
        out_channels=w[0] // groups,
        in_channels=w[1],
        size=_three(x[2:], 1),
        out_size=_three(y[2:], 1),
        kernel=_three(w[2:], 1),
        stride=_three(static["stride"], 1),
        padding=_three(static["padding"], 0),
        dilation=_three(static["dilation"], 1),
        a_strides=(*a.layout.strides[:2], *_three(a.layout.strides[2:], 0)),
        b_strides=(*b.layout.strides[:2], *_three(b.layout.strides[2:], 0)),
        a_dtype=a.dtype,
        b_dtype=b.dtype,
        out_dtype=a.dtype,
        precision=static["precision"],
    )
    return Signature(
        op, "kernel", space=shape, reads=(a.layout, b.layout), dtypes=(a.dtype, b.dtype),
        meta=fresh_meta(a.dtype, shape, device), lower=partial(_lower, problem),
        epilogue=what != "weight", work=2 * fresh_numel(y) * fresh_numel(w[1:]),
    )  # fmt: skip


def _lower(
    problem: ConvProblem, sig: Signature, traits: DeviceTraits, epilogue: Epilogue | None
) -> Lowered:
    if epilogue is not None:
        extras = tuple(
            replace(x, strides=(*x.strides[:2], *_three(x.strides[2:], 0))) for x in epilogue.extras
        )
        problem = replace(problem, epilogue=replace(epilogue, extras=extras))
    return lower_conv(problem, traits)


Metas = tuple[Meta, Meta]


def _forward(op: Op, metas: Metas, static: dict[str, Any], device: Any) -> Signature:
    x, w = (m.shape for m in metas)
    y = (x[0], w[0], *conv_output(x[2:], w[2:], static))
    return _signature(op, "forward", metas, static, device, x, y, w)


def _image(op: Op, metas: Metas, static: dict[str, Any], device: Any) -> Signature:
    y, w = (m.shape for m in metas)
    x = (y[0], w[1] * static["groups"], *static["size"])
    return _signature(op, "input", metas, static, device, x, y, w)


def _weight(op: Op, metas: Metas, static: dict[str, Any], device: Any) -> Signature:
    y, x = (m.shape for m in metas)
    w = (y[1], x[1] // static["groups"], *static["kernel"])
    return _signature(op, "weight", metas, static, device, x, y, w)


def _geometry(ctx: Any) -> tuple[Any, ...]:
    return tuple(ctx.param(name) for name, _ in GEOMETRY)


def _forward_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    geometry = _geometry(ctx)
    dx = dw = None
    if ctx.needs("x"):
        dx = ctx.apply(conv_image, (g, ctx.saved("w")), (ctx.shape("x")[2:], *geometry))
    if ctx.needs("w"):
        dw = ctx.apply(conv_weight, (g, ctx.saved("x")), (ctx.shape("w")[2:], *geometry))
    return dx, dw


def _image_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    geometry = _geometry(ctx)
    dy = dw = None
    if ctx.needs("y"):
        dy = ctx.apply(conv, (g, ctx.saved("w")), geometry)
    if ctx.needs("w"):
        dw = ctx.apply(conv_weight, (ctx.saved("y"), g), (ctx.shape("w")[2:], *geometry))
    return dy, dw


def _weight_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    geometry = _geometry(ctx)
    dy = dx = None
    if ctx.needs("y"):
        dy = ctx.apply(conv, (ctx.saved("x"), g), geometry)
    if ctx.needs("x"):
        dx = ctx.apply(conv_image, (ctx.saved("y"), g), (ctx.shape("x")[2:], *geometry))
    return dy, dx


conv = primitive(
    "_conv", "x, w", _forward, backward=_forward_back, saves={"x": ("w",), "w": ("x",)},
    params=GEOMETRY, node_name="ConvolutionBackward0", doc="Convolution of (B, C, *) images.",
)  # fmt: skip
conv_image = primitive(
    "_conv_image", "y, w", _image, backward=_image_back, saves={"y": ("w",), "w": ("y",)},
    params=(("size", REQUIRED), *GEOMETRY), node_name="ConvolutionBackwardBackward0",
    doc="The image of spatial shape `size` that is the gradient of a convolution for its input.",
)  # fmt: skip
conv_weight = primitive(
    "_conv_weight", "y, x", _weight, backward=_weight_back, saves={"y": ("x",), "x": ("y",)},
    params=(("kernel", REQUIRED), *GEOMETRY), node_name="ConvolutionBackwardBackward0",
    doc="The weight of spatial shape `kernel` that is the gradient of a convolution for it.",
)  # fmt: skip
