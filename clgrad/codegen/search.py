"""Binary search: where values belong in ordered rows."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.template import render_kernel
from clgrad.dtypes import DType
from clgrad.expr import helper_source, helpers_in, load_conversion
from clgrad.shapes import merge_dims
from clgrad.traits import DeviceTraits

INDEX_LIMIT = 2**31 - 2**16


@dataclass(frozen=True, slots=True)
class SearchProblem:
    """Values of any shape, each searched in the row that `row_strides` lead to.

    Attributes:
        dtype: of both; `out` of the result.
        length, step: of a row.
        right: behind equal elements.
    """

    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    row_strides: tuple[int, ...]
    length: int
    step: int
    out: DType
    right: bool


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """The kernel of a search."""

    dtype: DType
    out: DType
    rank: int
    right: bool
    index64: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        dims = range(self.rank)
        wide, kind = ("long", "l") if self.index64 else ("int", "i")
        numbers = [("sequence_offset", "long"), ("values_offset", "long")]
        numbers += [(f"n{d}", wide) for d in dims] + [(f"v{d}", "long") for d in dims]
        numbers += [(f"s{d}", "long") for d in dims] + [("n", wide), ("step", "long")]
        at = " + ".join(["values_offset", *(f"(long)c{d} * v{d}" for d in dims)])
        arrays = [
            f"__global const {self.dtype.cl} *sequence", f"__global const {self.dtype.cl} *values",
            f"__global {self.out.cl} *y",
        ]  # fmt: skip
        side = "behind" if self.right else "before"
        name, source = render_kernel(
            "search.cl.j2", "search",
            title=["where values belong in ordered rows", f"{side} equal elements"],
            parameters=[*arrays, *(f"const {t} {label}" for label, t in numbers)],
            index=wide, is_cpu=traits.is_cpu, rank=self.rank, cl=self.dtype.cl,
            register=self.dtype.register, value=load_conversion(self.dtype, 1, f"values[{at}]"),
            element=load_conversion(self.dtype, 1, "row[middle * step]"),
            after="!(e > v)" if self.right else "!(e >= v)", out=self.out.cl,
        )  # fmt: skip
        helpers = tuple(helper_source(key) for key in helpers_in(source))
        kinds = ["buffer"] * 3 + ["l" if t == "long" else kind for _, t in numbers]
        return KernelSource(name, source, helpers, (), tuple(kinds))


def lower_search(problem: SearchProblem, traits: DeviceTraits) -> Lowered:
    """Return the launch of a search."""
    shape, rows = merge_dims(problem.shape, (problem.strides, problem.row_strides))
    shape, strides, row_strides = shape or (1,), rows[0] or (0,), rows[1] or (0,)
    count = prod(shape)
    wide = max(count, problem.length) >= INDEX_LIMIT
    spec = SearchSpec(problem.dtype, problem.out, len(shape), problem.right, wide)
    numbers = (*shape, *strides, *row_strides, problem.length, problem.step)
    args: list[Arg] = [("in", 0), ("in", 1), ("out",), ("in_offset", 0), ("in_offset", 1)]
    args += [("int", v) for v in numbers]
    if traits.is_cpu:
        return Lowered((), (LoweredLaunch(spec, tuple(args), (max(1, min(count, 64)),), (1,)),))
    local = min(traits.preferred_work_group, traits.max_work_group)
    groups = max(1, min(-(-count // local), 1024))
    return Lowered((), (LoweredLaunch(spec, tuple(args), (groups * local,), (local,)),))
