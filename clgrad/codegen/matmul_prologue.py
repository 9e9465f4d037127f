"""The baked part of a prologue: an operand that is made of another one where a kernel reads it.

Kernels call it as a function of what they load. It is not contracted and rounds as a kernel of its
own would, so that the product has the bits that it has with the operand in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from clgrad.codegen.source import SCALAR_CHARS, digest
from clgrad.dtypes import DType
from clgrad.expr import Expr, helper_source, render
from clgrad.expr.render import Rendered

_LONG = np.dtype(np.int64).char


@dataclass(frozen=True, slots=True)
class FedExtraSpec:
    """How a prologue reads one of its other operands.

    Attributes:
        dtype: as stored.
        first, second: along each axis of the matrix `broadcast`, `contiguous` or `strided`.
    """

    dtype: DType
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class PrologueSpec:
    """How an element of an operand is made.

    Attributes:
        expr: as in `spec.Prologue`.
        stored, made: dtypes of the element in memory and of the operand.
        extras: how each operand behind `x0`, `x1`, ... is read.
        numbers: dtypes of the numbers.
    """

    expr: Expr
    stored: DType
    made: DType
    extras: tuple[FedExtraSpec, ...] = ()
    numbers: tuple[DType, ...] = ()

    @property
    def args(self) -> tuple[str, ...]:
        """The types of the arguments, in the order of `fed_parameters` in `_gemm.j2`."""
        extras = ("buffer", _LONG, _LONG, _LONG) * len(self.extras)
        return (*extras, *(SCALAR_CHARS[number.register] for number in self.numbers))

    def arrays(self, operand: str) -> list[str]:
        """Return the names of the arrays that it reads beside the operand's own."""
        return [f"{operand}_x{i}" for i in range(len(self.extras))]

    def _rendered(self, width: int) -> Rendered:
        names = {"x": "x"} | {f"x{i}": f"x{i}" for i in range(len(self.extras))}
        names |= {f"s{i}": f"s{i}_all" for i in range(len(self.numbers))}
        return render([self.expr], names, width)

    def _body(self, width: int) -> str:
        w = "" if width == 1 else str(width)
        inside = [
            f"const {n.register}{w} s{i}_all = ({n.register}{w})(s{i});"
            for i, n in enumerate(self.numbers)
        ]
        rendered = self._rendered(width)
        inside += [*rendered.statements, f"return {rendered.results[0]};"]
        parameters = [f"const {self.stored.register}{w} x"]
        parameters += [f"const {x.dtype.register}{w} x{i}" for i, x in enumerate(self.extras)]
        parameters += [f"const {n.register} s{i}" for i, n in enumerate(self.numbers)]
        return f"({', '.join(parameters)})\n{{\n    " + "\n    ".join(inside) + "\n}\n"

    def function(self, width: int) -> str:
        """Return the name of the function that makes `width` elements."""
        return f"cg_operand{width}_{digest(self._body(width), length=10)}"

    def helpers(self, source: str, widths: Iterable[int]) -> list[str]:
        """Return the texts of the functions of these widths that a kernel's text calls."""
        found: list[str] = []
        for width in widths:
            name = self.function(width)
            if name not in source:
                continue
            found += [helper_source(key, width) for key in self._rendered(width).helpers]
            w = "" if width == 1 else str(width)
            text = f"static {self.made.register}{w} {name}{self._body(width)}"
            found.append(f"#ifndef {name.upper()}\n#define {name.upper()}\n{text}#endif\n")
        return found
