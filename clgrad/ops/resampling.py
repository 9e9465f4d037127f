"""One dim of images at another size, and its gradient: two ops, each the gradient of the other."""

from __future__ import annotations

from functools import partial
from typing import Any

from clgrad.codegen.resample import ResampleProblem, lower_resample
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.pooling import fresh_numel
from clgrad.ops.registry import REQUIRED, Op, primitive
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits


def _signature(
    back: bool, op: Op, metas: tuple[Meta], static: dict[str, Any], device: Any
) -> Signature:
    (x,) = metas
    dim, new = static["dim"], static["size"]
    dtype = static["dtype"] or x.dtype
    shape = (*x.shape[:dim], new, *x.shape[dim + 1 :])
    small, large = (new, x.shape[dim]) if back else (x.shape[dim], new)
    problem = ResampleProblem(
        fresh_numel(x.shape[:dim]), small, large, fresh_numel(x.shape[dim + 1 :]), static["mode"],
        static["align"], static["scale"], x.dtype, dtype, back,
    )  # fmt: skip
    return Signature(
        op, "kernel", space=shape, reads=(x.layout,), dtypes=(x.dtype,),
        meta=fresh_meta(dtype, shape, device), lower=partial(_lower, problem),
    )  # fmt: skip


def _lower(
    problem: ResampleProblem, sig: Signature, traits: DeviceTraits, epilogue: Epilogue | None
) -> Lowered:
    return lower_resample(problem, traits)


def _other(op: str, ctx: Any, g: Any) -> tuple[Any]:
    turned = resample_back if op == "back" else resample
    names = ("mode", "align", "scale")
    static = (ctx.param("dim"), ctx.shape("x")[ctx.param("dim")], *map(ctx.param, names))
    return (ctx.apply(turned, (g.contiguous(),), (*static, ctx.dtype("x"))),)


_PARAMS = tuple((name, REQUIRED) for name in ("dim", "size", "mode", "align", "scale", "dtype"))

resample = primitive(
    "_resample", "x", partial(_signature, False), params=_PARAMS, backward=partial(_other, "back"),
    doc="A contiguous tensor with one dim at another size: nearest, exact, linear or cubic.",
)  # fmt: skip
resample_back = primitive(
    "_resample_back", "x", partial(_signature, True), params=_PARAMS,
    backward=partial(_other, "forth"),
    doc="The gradient of `_resample`: every element adds to those that it was made of.",
)  # fmt: skip
