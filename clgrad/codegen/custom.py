"""Kernels from templates that users write: what the template is given, and the spec of one kernel.

A template is Jinja2 over OpenCL C, as the library's own are. It reads

    name                  of the kernel, to be written after `__kernel void`
    parameters            all parameters of the kernel, as text: for each operand `x`
                              __global const <type> *x, x_offset, x_numel, x_n0, x_n1, …
                          then for the result `y` (which begins at 0) the same, then the numbers
    x, y, …               for each operand and the result: `x.load(index)`, `y.store(index, value)`,
                          `x.type` in memory, `x.register` while computing, `x.rank`, `x.dtype`
    index                 type of offsets and sizes: int, or long where that is too small
    traits                facts of the device (`traits.is_cpu`, …)

and the op's parameters that are no numbers. Operands are contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clgrad.codegen.source import SCALAR_CHARS, KernelSource
from clgrad.codegen.spec import Arg
from clgrad.codegen.template import render_text
from clgrad.dtypes import DType
from clgrad.expr import helper_source, helpers_in, load_conversion, store_conversion
from clgrad.traits import DeviceTraits

RESERVED = frozenset(("name", "parameters", "index", "traits"))
"""Names that a template has already."""


@dataclass(frozen=True, slots=True)
class Part:
    """An operand or the result, as the template sees it."""

    name: str
    kind: DType
    rank: int
    reads: bool = True

    @property
    def dtype(self) -> str:
        return self.kind.name

    @property
    def type(self) -> str:
        return self.kind.cl

    @property
    def register(self) -> str:
        return self.kind.register

    def load(self, index: Any) -> str:
        """Return the value of an element; `index` counts elements of the operand."""
        at = f"{self.name}[{self.name}_offset + ({index})]"
        return load_conversion(self.kind, 1, at)

    def store(self, index: Any, value: Any) -> str:
        """Return the statement that stores a value, rounded to the dtype."""
        return f"{self.name}[{index}] = {store_conversion(self.kind, 1, f'({value})')};"

    def parameters(self, index: str) -> list[tuple[str, str]]:
        sizes = [f"{self.name}_n{d}" for d in range(self.rank)]
        names = [f"{self.name}_numel", *sizes]
        if self.reads:
            names.insert(0, f"{self.name}_offset")
        constant = "const " if self.reads else ""
        pointer = f"__global {constant}{self.type} *{self.name}"
        kind = SCALAR_CHARS[index]
        return [(pointer, "buffer"), *((f"const {index} {n}", kind) for n in names)]


@dataclass(frozen=True, slots=True)
class CustomSpec:
    """One kernel of a user's template.

    Attributes:
        text: the template. `op`: what the kernel is named after.
        operands, result: what it reads and writes.
        numbers: name and C type of each number.
        params: name and value of the op's other parameters.
    """

    text: str
    op: str
    operands: tuple[Part, ...]
    result: Part
    numbers: tuple[tuple[str, str], ...]
    params: tuple[tuple[str, Any], ...]
    index64: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel.

        Raises:
            FormulaError: the template cannot be read, or reads what it is not given.
        """
        index = "long" if self.index64 else "int"
        parts = (*self.operands, self.result)
        parameters = [p for part in parts for p in part.parameters(index)]
        parameters += [(f"const {kind} {n}", SCALAR_CHARS[kind]) for n, kind in self.numbers]
        name, source = render_text(
            self.text, self.op, index=index, traits=traits,
            parameters=",\n    ".join(text for text, _ in parameters),
            **dict(self.params), **{part.name: part for part in parts},
        )  # fmt: skip
        helpers = tuple(helper_source(key) for key in helpers_in(source))
        return KernelSource(name, source, helpers, (), tuple(kind for _, kind in parameters))

    def arguments(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[Arg, ...]:
        """Return the arguments of a launch; `shapes` of the operands, then of the result."""
        args: list[Arg] = []
        for k, shape in enumerate(shapes):
            numel = 1
            for size in shape:
                numel *= size
            if k < len(self.operands):
                args += [("in", k), ("in_offset", k)]
            else:
                args.append(("out",))
            args += [("int", n) for n in (numel, *shape)]
        return (*args, *(("scalar", k) for k in range(len(self.numbers))))
