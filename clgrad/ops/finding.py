"""Finding the true elements of a mask: the ops behind `nonzero` and boolean indexing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clgrad.codegen.find import block_length, lower_count, lower_find
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.dtypes import int64
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits


@dataclass(frozen=True, slots=True)
class Count:
    """Lowers the counts of true elements of each block of a contiguous mask."""

    def __call__(self, sig: Signature, traits: DeviceTraits, tail: Epilogue | None) -> Lowered:
        return lower_count(sig.reads[0].numel, traits)


@dataclass(frozen=True, slots=True)
class Find:
    """Lowers the coordinates of true elements, a row per dim; `found` is their number."""

    found: int

    def __call__(self, sig: Signature, traits: DeviceTraits, tail: Epilogue | None) -> Lowered:
        return lower_find(sig.reads[0].shape, self.found, traits)


def _count_shape(
    op: Op, operands: tuple[Meta, ...], static: dict[str, Any], device: Any
) -> Signature:
    (mask,) = operands
    blocks = -(-mask.numel // block_length(mask.numel))
    return Signature(
        op, "kernel", lower=Count(), space=mask.shape, reads=(mask.layout,), dtypes=(mask.dtype,),
        meta=fresh_meta(int64, (blocks,), device),
    )  # fmt: skip


def _find_shape(
    op: Op, operands: tuple[Meta, ...], static: dict[str, Any], device: Any
) -> Signature:
    found = static["found"]
    mask, counts = operands
    return Signature(
        op, "kernel", lower=Find(found), space=mask.shape, reads=(mask.layout, counts.layout),
        dtypes=(mask.dtype, counts.dtype), meta=fresh_meta(int64, (mask.ndim, found), device),
    )  # fmt: skip


count_op = Op(name="_count_true", kind="primitive", inputs=("mask",), shape=_count_shape)
find_op = Op(
    name="_find_true", kind="primitive", inputs=("mask", "counts"), params=(("found", REQUIRED),),
    shape=_find_shape,
)  # fmt: skip
