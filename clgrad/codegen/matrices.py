"""Factors of matrices: a work-group for each matrix of a batch, by the templates `matrix_*`."""

from __future__ import annotations

from dataclasses import dataclass

from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.template import render_kernel
from clgrad.dtypes import DType, float64
from clgrad.traits import DeviceTraits

LANES = 64
"""Work-items that share a matrix, where they are no CPU's."""


@dataclass(frozen=True, slots=True)
class MatrixSpec:
    """The kernel of the template `matrix_<what>`.

    Attributes:
        operands: names and dtypes of what it reads, contiguous; `out` dtype of what it writes.
        sizes: names of its size arguments; `flags` what else the template reads.
    """

    what: str
    operands: tuple[tuple[str, DType], ...]
    out: DType
    sizes: tuple[str, ...]
    flags: tuple[tuple[str, bool], ...]

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        parameters = [f"__global const {dtype.cl} *{label}" for label, dtype in self.operands]
        parameters.append(f"__global {self.out.cl} *y")
        parameters += [f"const long {label}_offset" for label, _ in self.operands]
        parameters += [f"const int {size}" for size in self.sizes]
        name, source = render_kernel(
            f"matrix_{self.what}.cl.j2", f"matrix_{self.what}", parameters=parameters,
            real=self.out.cl, epsilon="2.220446e-16" if self.out is float64 else "1.1920929e-7f",
            is_cpu=traits.is_cpu, **dict(self.flags),
        )  # fmt: skip
        count = len(self.operands)
        kinds = ("buffer",) * (count + 1) + ("l",) * count + ("i",) * len(self.sizes)
        return KernelSource(name, source, (), (), kinds)


@dataclass(frozen=True, slots=True)
class MatrixProblem:
    """A batch of `count` matrices; `sizes` are the values of the spec's."""

    spec: MatrixSpec
    count: int
    sizes: tuple[int, ...]

    def lower(self, traits: DeviceTraits) -> Lowered:
        """Return the launch."""
        operands = range(len(self.spec.operands))
        args: list[Arg] = [("in", k) for k in operands]
        args += [("out",), *(("in_offset", k) for k in operands)]
        args += [("int", n) for n in self.sizes]
        lanes = 1 if traits.is_cpu else min(LANES, traits.max_work_group)
        return Lowered(
            (), (LoweredLaunch(self.spec, tuple(args), (self.count * lanes,), (lanes,)),)
        )
