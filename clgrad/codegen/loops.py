"""Pointwise and reduction kernels, fused or not: the spec, its template and its arguments.

Which template: no folds `pointwise`; lanes along the folded dim `reduce_rows`; lanes along a kept
dim `reduce_columns`; a work-group per row with a tree in local memory `reduce_group`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clgrad.codegen.checks import CheckSpec
from clgrad.codegen.loop_body import LoopText
from clgrad.codegen.loop_spec import STRIDED, Access, FoldSpec, Reach, StoreSpec
from clgrad.codegen.source import KernelSource
from clgrad.codegen.template import render_kernel
from clgrad.dtypes import DType
from clgrad.expr import helper_source, helpers_in, leaves_of, replace_parts
from clgrad.expr import name as leaf
from clgrad.traits import DeviceTraits

LoopArg = tuple[str] | tuple[str, int]
"""`("read", k)`, `("store", k)`, `("scalar", k)`, `("int", value)`, `("checks",)`, `("check",)`."""


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """One loop kernel: everything but sizes, strides and numbers.

    Attributes:
        rank: dims of the iteration space; `reduced` of them, the last ones, are folded.
        reads: operands; an `Access` without dtype is an index (leaf `i0…`, numbered apart).
        scalars: computing dtype of each number argument.
        lanes: `kept`: vector lanes run along the last kept dim; `inner`: along the last reduced;
            `group`: a work-group of `group` items shares a row, `across` along its last dim.
        width: elements of one vector; 1 for scalar code.
        split: the first reduced dim is cut into chunks, each a row of its own (partial results).
        tiled: rows that are taken together, a segment each, where operands lie along the columns.
        index64: 64-bit index arithmetic.
        checks: values that are tested for NaN on the way.
    """

    rank: int
    reduced: int
    reads: tuple[Access, ...]
    scalars: tuple[DType, ...]
    folds: tuple[FoldSpec, ...]
    stores: tuple[StoreSpec, ...]
    lanes: str
    width: int
    group: int = 0
    across: int = 0
    split: bool = False
    tiled: int = 0
    index64: bool = False
    checks: tuple[CheckSpec, ...] = ()

    @property
    def kept(self) -> int:
        return self.rank - self.reduced

    @property
    def template(self) -> str:
        """Name of the template, which is also the kernel's family."""
        if not self.folds:
            return "pointwise"
        return {"inner": "reduce_rows", "kept": "reduce_columns", "group": "reduce_group"}[
            self.lanes
        ]

    def uses(self, traits: DeviceTraits) -> tuple[dict[str, int], dict[int, int]]:
        """Return what tells whose memory a result may take over, where a result's place is used.

        By leaf the last pass that reads an operand, and by number the first one that writes to a
        store whose result is not known yet; nothing where every store is written once.
        """
        parked = LoopText(self, traits).parked
        if not parked:
            return {}, {}
        exprs = [(e, f.phase) for f in self.folds for e in f.element]
        exprs += [(s.expr, s.phase) for s in self.stores]
        exprs += [(c.expr, c.phase) for c in self.checks]
        last: dict[str, int] = {}
        for expr, phase in (*exprs, *parked.values()):
            there = {
                e: leaf(f"o{k}", e.dtype)
                for k, (e, since) in parked.items()
                if since < phase <= self.stores[k].phase
            }
            for item in leaves_of([replace_parts(expr, there) if there else expr]):
                last[item.label] = max(phase, last.get(item.label, 0))
        return last, {k: since for k, (_, since) in parked.items()}

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel for a device with these traits."""
        text = LoopText(self, traits)
        variables = text.variables()
        name, source = render_kernel(f"{self.template}.cl.j2", self.template, **variables)
        helpers = (*text.typedefs, *(helper_source(key) for key in helpers_in(source)))
        return KernelSource(name, source, helpers, (), text.argument_types())


def loop_arguments(
    spec: LoopSpec,
    shape: Sequence[int],
    reads: Sequence[Reach],
    stores: Sequence[Reach],
    extra: Sequence[int],
) -> tuple[LoopArg, ...]:
    """Return the arguments of a call, in the order of the kernel's parameters.

    Args:
        shape: sizes of the iteration space.
        reads, stores: strides and offsets of the accesses of `spec`.
        extra: the template's own: segment length, or chunk length and number of chunks.
    """
    args: list[LoopArg] = []
    args += [("read", k) for k, a in enumerate(spec.reads) if a.dtype is not None]
    args += [("store", k) for k in range(len(spec.stores))]
    args += [("scalar", k) for k in range(len(spec.scalars))]
    accesses = [*spec.reads, *(s.access for s in spec.stores)]
    for access, reach in zip(accesses, [*reads, *stores], strict=True):
        if access.offset:
            args.append(("int", reach.offset))
        args += [
            ("int", s) for s, p in zip(reach.strides, access.pattern, strict=True) if p == STRIDED
        ]
        args += [("int", n) for w in reach.windows if w is not None for n in w[1:]]
    args += [("int", n) for n in shape]
    args += [("int", n) for n in extra]
    if spec.checks:
        args += [("checks",), ("check",)]
    return tuple(args)
