"""Matrix products: shape rules of PyTorch's `matmul` and the gradient.

A signature of kind `matmul` has two operands as (batch…, m, k) and (batch…, k, n) layouts, batch
dims broadcast by stride 0, and a contiguous (batch…, m, n) result. Vectors gain and lose a dim by
views around it, so the kernel knows one form only.
"""

from __future__ import annotations

from typing import Any

from clgrad.dtypes import bool_
from clgrad.errors import DTypeError, ShapeError
from clgrad.layout import broadcast_shapes
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import Op, primitive
from clgrad.ops.signature import Signature


def _shape(op: Op, operands: tuple[Meta, Meta], static: dict[str, Any], device: Any) -> Signature:
    a, b = operands
    if a.dtype is not b.dtype:
        raise DTypeError(
            f"matmul: expected both operands to have the same dtype, but got {a.dtype.name} and "
            f"{b.dtype.name}. Hint: cast one with .to(dtype)."
        )
    if a.dtype is bool_:
        raise DTypeError(
            "matmul: dtype bool is not taken. Expected a number. Hint: cast to an integer or a "
            "float first."
        )
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: shapes {list(a.shape)} and {list(b.shape)} cannot be multiplied "
            f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]}). "
            "Expected the last dim of the first to equal the one before last of the second."
        )
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2], op="matmul")
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    return Signature(
        op, "matmul", space=(*batch, m, n),
        reads=(a.layout.broadcast_to((*batch, m, k)), b.layout.broadcast_to((*batch, k, n))),
        dtypes=(a.dtype, b.dtype), meta=fresh_meta(a.dtype, (*batch, m, n), device),
    )  # fmt: skip


def _transposed(x: Any) -> Any:
    return x.transpose(-2, -1)


def _gradients(ctx: Any, g: Any, product: str) -> tuple[Any, Any]:
    da = getattr(g, product)(_transposed(ctx.saved("b"))) if ctx.needs("a") else None
    db = getattr(_transposed(ctx.saved("a")), product)(g) if ctx.needs("b") else None
    return da, db


_SAVES = {"a": ("b",), "b": ("a",)}  # with frozen weights, their input is not kept

mm = primitive(
    "mm", "a, b", _shape, backward=lambda ctx, g: _gradients(ctx, g, "mm"), saves=_SAVES,
    doc="Product of two matrices.",
)  # fmt: skip
bmm = primitive(
    "bmm", "a, b", _shape, backward=lambda ctx, g: _gradients(ctx, g, "bmm"), saves=_SAVES,
    doc="Products of two batches of matrices; batch dims broadcast.",
)  # fmt: skip
