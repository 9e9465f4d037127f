"""Sorting: where each element of a sorted dim comes from, and where values belong in a sorted one.

Elements are gathered afterwards: a kernel has one result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clgrad.codegen.search import SearchProblem, lower_search
from clgrad.codegen.sort import SortProblem, lower_sort
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.dtypes import int64
from clgrad.layout import Layout, wrap_dim
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op, primitive
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits


@dataclass(frozen=True, slots=True)
class SortedPositions:
    """Lowers a sort along `dim`."""

    problem: SortProblem
    dim: int

    def __call__(self, sig: Signature, traits: DeviceTraits, tail: Epilogue | None) -> Lowered:
        return lower_sort(self.problem, traits)


def _sort_shape(op: Op, operands: tuple[Meta], static: dict[str, Any], device: Any) -> Signature:
    (x,) = operands
    dim = wrap_dim(static["dim"], x.ndim, op.name)
    shape = x.shape or (1,)
    layout = x.layout if x.ndim else x.layout.as_strided((1,), (1,), x.layout.offset)
    take = shape[dim] if static["take"] is None else static["take"]
    made = Layout.contiguous((*shape[:dim], take, *shape[dim + 1 :]))
    outer = [d for d in range(len(shape)) if d != dim]
    problem = SortProblem(
        x.dtype, tuple(shape[d] for d in outer), tuple(layout.strides[d] for d in outer),
        tuple(made.strides[d] for d in outer), shape[dim], layout.strides[dim], made.strides[dim],
        static["descending"], take,
    )  # fmt: skip
    return Signature(
        op, "kernel", space=made.shape, reads=(x.layout,), dtypes=(x.dtype,),
        meta=fresh_meta(int64, made.shape if x.ndim else (), device),
        lower=SortedPositions(problem, dim),
    )  # fmt: skip


sorted_positions = primitive(
    "_sorted_positions", "x", _sort_shape,
    params=(("dim", REQUIRED), ("descending", False), ("take", None)),
    doc="Where each element of a sorted dim comes from; equal ones keep their order, NaN is last.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PositionsInOrder:
    """Lowers a search."""

    problem: SearchProblem

    def __call__(self, sig: Signature, traits: DeviceTraits, tail: Epilogue | None) -> Lowered:
        return lower_search(self.problem, traits)


def _search_shape(
    op: Op, operands: tuple[Meta, Meta], static: dict[str, Any], device: Any
) -> Signature:
    sequence, values = operands
    lead = sequence.ndim - 1
    problem = SearchProblem(
        sequence.dtype, values.shape, values.layout.strides,
        (*sequence.layout.strides[:-1], *(0,) * (values.ndim - lead)) if lead
        else (0,) * values.ndim,
        sequence.shape[-1], sequence.layout.strides[-1], static["dtype"], static["right"],
    )  # fmt: skip
    return Signature(
        op, "kernel", space=values.shape, reads=(sequence.layout, values.layout),
        dtypes=(sequence.dtype, values.dtype),
        meta=fresh_meta(static["dtype"], values.shape, device),
        lower=PositionsInOrder(problem),
    )  # fmt: skip


positions_in_order = primitive(
    "_positions_in_order", "sequence, values", _search_shape,
    params=(("dtype", int64), ("right", False)),
    doc="Before which element of an ordered row each value belongs; behind equal ones if `right`.",
)  # fmt: skip
