"""What a lowering hands to the executor: specs, launches and their arguments.

A spec says what to generate and is the key of the kernel caches; a lowering turns one problem with
its sizes into launches of specs. Nothing here holds a buffer or knows a device beyond its traits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from clgrad.codegen.checks import CheckSpec
from clgrad.codegen.source import KernelSource
from clgrad.dtypes import DType
from clgrad.expr import Expr
from clgrad.traits import DeviceTraits

Arg = tuple[str] | tuple[str, int | float]
"""One kernel argument. Buffers: `("in", k)` of operand k, `("out",)`, `("temp", k)` scratch,
`("extra", k)` of the epilogue, `("fed", k)` of the prologues, `("flags",)` the device's error
flags, `("checks",)` those of tests. Numbers: `("int", value)`, which may be a float,
`("in_offset", k)`, `("extra_offset", k)`, `("fed_offset", k)` in elements, `("scalar", k)` number k
of the call, `("number", k)` of the epilogue, `("fed_number", k)` of the prologues, `("flag",)` the
position among the flags at which this call may report (see `graph.flags`), `("check",)` that of the
first test."""


class Spec(Protocol):
    """A frozen, hashable description of one kernel."""

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel for a device with these traits."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class LoweredLaunch:
    """One kernel call of a lowering.

    Attributes:
        spec: the kernel.
        args: in the order of the kernel's parameters.
        global_size: work-items in each dimension; whole groups.
        local_size: work-items of one group, or None to let the driver choose.
    """

    spec: Spec
    args: tuple[Arg, ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Lowered:
    """The launches that compute one problem, in order.

    Attributes:
        temporaries: size in bytes of each scratch buffer, numbered as `("temp", i)` names them.
        launches: to be enqueued in this order; empty when there is nothing to compute.
    """

    temporaries: tuple[int, ...]
    launches: tuple[LoweredLaunch, ...]


@dataclass(frozen=True, slots=True)
class ExtraOperand:
    """An operand of the epilogue: a bias, a residual, a scale.

    Attributes:
        dtype: as stored.
        strides: in elements, for (*batch, m, n); 0 broadcasts. A bias of shape (n,) has
            `(0, ..., 0, 1)`.
        is_index: no memory: the value is the number of the element that the strides lead to.
    """

    dtype: DType
    strides: tuple[int, ...]
    is_index: bool = False


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What happens to each finished sum before it is rounded and written.

    Attributes:
        expr: typed expression over the leaves `acc` (the sum, of `sum_dtype`), `x0`, `x1`, ... and
            `s0`, `s1`, ...; its value is a register of the result's dtype.
        extras: the operands behind `x0`, `x1`, ...
        numbers: dtypes of the numbers `s0`, `s1`, ..., which are arguments.
        checks: values over the same leaves that are tested for NaN.
    """

    expr: Expr
    extras: tuple[ExtraOperand, ...] = ()
    numbers: tuple[DType, ...] = ()
    checks: tuple[CheckSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Prologue:
    """How an operand is made, element by element, of what is in memory in its place.

    Attributes:
        expr: typed expression over the leaves `x` (the stored element), `x0`, `x1`, ... and `s0`,
            `s1`, ...; its value is a register of the operand's dtype.
        dtype: of the stored elements, which lie as those of the operand would.
        extras: the operands behind `x0`, `x1`, ..., with strides for the operand's own dims.
        numbers: dtypes of the numbers `s0`, `s1`, ..., which are arguments.
    """

    expr: Expr
    dtype: DType
    extras: tuple[ExtraOperand, ...] = ()
    numbers: tuple[DType, ...] = ()
