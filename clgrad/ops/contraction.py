"""Matrix products: shape rules of PyTorch's `matmul` and the gradient.

The signature has two operands as (batch…, m, k) and (batch…, k, n) layouts, batch
dims broadcast by stride 0, and a contiguous (batch…, m, n) result. Vectors gain and lose a dim by
views around it, so the kernel knows one form only.
"""

from __future__ import annotations

from math import gcd
from typing import Any

from clgrad.codegen.matmul import lower_matmul, takes_prologue
from clgrad.codegen.matmul_form import MatmulProblem
from clgrad.codegen.spec import Epilogue, Lowered, Prologue
from clgrad.dtypes import bool_
from clgrad.errors import DTypeError, ShapeError
from clgrad.layout import Layout, broadcast_shapes
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import Op, primitive
from clgrad.ops.signature import Signature, fresh_numel
from clgrad.traits import DeviceTraits


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
        op, "kernel", lower=lower_product, epilogue=True, prologue=takes, space=(*batch, m, n),
        reads=(a.layout.broadcast_to((*batch, m, k)), b.layout.broadcast_to((*batch, k, n))),
        dtypes=(a.dtype, b.dtype), meta=fresh_meta(a.dtype, (*batch, m, n), device),
        work=2 * fresh_numel(batch) * m * n * k,
    )  # fmt: skip


def lower_product(
    sig: Signature,
    traits: DeviceTraits,
    epilogue: Epilogue | None,
    prologues: tuple[Prologue | None, Prologue | None] = (None, None),
) -> Lowered:
    return lower_matmul(_problem(sig, epilogue, prologues), traits)


def takes(sig: Signature, operand: int, traits: DeviceTraits) -> bool:
    return sig.meta.dtype.is_floating_point and takes_prologue(_problem(sig), operand, traits)


def _problem(
    sig: Signature,
    epilogue: Epilogue | None = None,
    prologues: tuple[Prologue | None, Prologue | None] = (None, None),
) -> MatmulProblem:
    a, b = sig.reads
    return MatmulProblem(
        m=a.shape[-2], n=b.shape[-1], k=a.shape[-1], batch=sig.space[:-2],
        a_strides=a.strides, b_strides=b.strides, a_dtype=sig.dtypes[0], b_dtype=sig.dtypes[1],
        out_dtype=sig.meta.dtype, epilogue=epilogue, aligned=(gcd(a.offset, 4), gcd(b.offset, 4)),
        prologues=prologues,
    )  # fmt: skip


def _transposed(x: Any) -> Any:
    return x.transpose(-2, -1)


def gradients(ctx: Any, g: Any, product: str) -> tuple[Any, Any]:
    """Return g bᵀ and aᵀ g, each laid out in memory as its operand is.

    The weight of a linear layer is multiplied as the transpose of what is stored; its gradient
    computed as (gᵀ a)ᵀ is contiguous where the weight is, so that an update reads no columns.
    """
    da = db = None
    if ctx.needs("a"):
        da = _product(g, _transposed(ctx.saved("b")), product, _by_columns(ctx.layout("a")))
    if ctx.needs("b"):
        db = _product(_transposed(ctx.saved("a")), g, product, _by_columns(ctx.layout("b")))
    return da, db


def _product(a: Any, b: Any, product: str, by_columns: bool) -> Any:
    if by_columns:
        return _transposed(getattr(_transposed(b), product)(_transposed(a)))
    return getattr(a, product)(b)


def _by_columns(layout: Layout) -> bool:
    """Whether neighbours of a column are neighbours in memory, and those of a row are not."""
    rows, columns = layout.strides[-2:]
    return rows == 1 and columns >= max(1, layout.shape[-2]) and layout.shape[-1] > 1


_SAVES = {"a": ("b",), "b": ("a",)}  # with frozen weights, their input is not kept

mm = primitive(
    "mm", "a, b", _shape, backward=lambda ctx, g: gradients(ctx, g, "mm"), saves=_SAVES,
    doc="Product of two matrices.",
)  # fmt: skip
bmm = primitive(
    "bmm", "a, b", _shape, backward=lambda ctx, g: gradients(ctx, g, "matmul"), saves=_SAVES,
    doc="Products of two batches of matrices; batch dims broadcast.",
)  # fmt: skip
