"""Joining many parts by a kernel of their own; few are written one by one, which fuses."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from clgrad.codegen.join import lower_join
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.ops.meta import Meta
from clgrad.ops.registry import Op
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits


@dataclass(frozen=True, slots=True)
class Join:
    """Lowers contiguous parts of one dtype, joined along `dim`."""

    dim: int

    def __call__(self, sig: Signature, traits: DeviceTraits, tail: Epilogue | None) -> Lowered:
        lengths = [prod(layout.shape[self.dim :]) for layout in sig.reads]
        rows = prod(sig.reads[0].shape[: self.dim])
        furthest = max(layout.span[1] for layout in sig.reads)
        return lower_join(lengths, rows, furthest, sig.dtypes[0].itemsize, traits)


def join_signature(op: Op, parts: tuple[Meta, ...], dim: int, meta: Meta) -> Signature:
    """Return the signature of contiguous parts of one dtype joined along a dim they all have."""
    return Signature(
        op, "kernel", lower=Join(dim), space=meta.shape, reads=tuple([p.layout for p in parts]),
        dtypes=tuple([p.dtype for p in parts]), meta=meta,
    )  # fmt: skip
