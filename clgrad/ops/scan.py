"""Scans: running folds along one dim, by the same formulas as a reduction has.

Those that users call are in `functional.scans`; here an op is a fold, and from which end it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from clgrad.codegen.scan import ScanFold, ScanProblem, lower_scan
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.dtypes import by_name, float64
from clgrad.layout import Layout, wrap_dim
from clgrad.ops.folds import Reduction, fold_rule
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op, Saves, primitive
from clgrad.ops.signature import Fold, Signature, fold_of
from clgrad.traits import DeviceTraits


@dataclass(frozen=True, slots=True)
class Scan:
    """Lowers a scan.

    Attributes:
        dim: along which it runs; `fold` what is folded, whatever the device accumulates in.
    """

    problem: ScanProblem
    dim: int
    fold: ScanFold

    def __call__(self, sig: Signature, traits: DeviceTraits, tail: Epilogue | None) -> Lowered:
        return lower_scan(self.problem, traits)


def _shape(
    rule: Reduction, promote: str, result: str, precise: bool, op: Op, operands: tuple[Meta],
    static: dict[str, Any], device: Any,
) -> Signature:  # fmt: skip
    (x,) = operands
    computed = x.dtype if static["dtype"] is None else static["dtype"]
    if promote == "integer" and static["dtype"] is None and not computed.is_floating_point:
        computed = by_name("int64")
    out = computed if result == "same" else by_name(result)
    fold = _scan_fold(fold_of(rule, "x", x.dtype, computed, out, 1))
    wide = None
    if precise and out.is_floating_point and out is not float64:
        wide = _scan_fold(fold_of(rule, "x", x.dtype, float64, out, 1))
    dim = wrap_dim(static["dim"], x.ndim, op.name)
    layout, made = x.layout, Layout.contiguous(x.shape)
    if not x.ndim:
        layout, made = layout.view((1,)) or layout, made.view((1,)) or made
    outer = [d for d in range(layout.ndim) if d != dim]
    problem = ScanProblem(
        fold, wide, x.dtype, out,
        tuple(layout.shape[d] for d in outer), tuple(layout.strides[d] for d in outer),
        tuple(made.strides[d] for d in outer), layout.shape[dim], layout.strides[dim],
        made.strides[dim], static["reverse"],
    )  # fmt: skip
    return Signature(
        op, "kernel", space=x.shape, reads=(x.layout,), dtypes=(x.dtype,),
        meta=fresh_meta(out, x.shape, device), lower=Scan(problem, dim, fold),
    )  # fmt: skip


def _scan_fold(fold: Fold) -> ScanFold:
    return ScanFold(fold.dtypes, fold.init, fold.element, fold.combine, fold.finish)


def scan(
    name: str,
    *,
    init: str | Sequence[str],
    combine: str | Sequence[str],
    element: str | Sequence[str] = "x",
    finish: str = "a",
    accumulate: Sequence[str] = ("acc",),
    promote: str = "default",
    result: str = "same",
    precise: bool = False,
    backward: Callable[..., Any] | None = None,
    saves: Saves = (),
    node_name: str = "",
    doc: str = "",
) -> Op:
    """Declare an op whose element is the fold of all elements up to it along a dim.

    The formulas are those of `reduction`; static parameters are `dim`, `dtype` and `reverse`.
    Sums and products of floats are accumulated in float64 where a CPU has that, as PyTorch does
    (`precise`).
    """
    rule = fold_rule(name, "x", init, element, combine, finish, accumulate, empty=True)
    return primitive(
        name, "x", partial(_shape, rule, promote, result, precise), backward=backward, saves=saves,
        params=(("dim", REQUIRED), ("dtype", None), ("reverse", False)),
        node_name=node_name, doc=doc,
    )  # fmt: skip
