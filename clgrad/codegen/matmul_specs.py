"""Specs of the matmul kernels: what each template is told, and the order of its parameters.

A spec bakes dtypes, how operands are reached, the register tile and the epilogue; sizes, strides
and offsets are kernel arguments. Which spec suits a problem is decided in `matmul_tuning`, what is
launched in `matmul`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clgrad.codegen.checks import PARAMETERS, CheckSpec, tests
from clgrad.codegen.matmul_prologue import PrologueSpec
from clgrad.codegen.matmul_tuning import Slab
from clgrad.codegen.source import SCALAR_CHARS, KernelSource
from clgrad.codegen.template import render_kernel
from clgrad.codegen.vectors import unaligned_helper, vector_access
from clgrad.dtypes import DType, bfloat16, float32, float64, uint32, uint64
from clgrad.expr import Expr, helper_source, render
from clgrad.expr.render import Rendered
from clgrad.traits import DeviceTraits

_LONG = np.dtype(np.int64).char
_INT = np.dtype(np.int32).char
_WIDTHS = (1, 2, 4, 8, 16)
_BAND = 8
"""Tiles that groups walk down before they go to the next column."""


def sum_dtype(a: DType, b: DType) -> DType:
    """Return the dtype in which products of `a` and `b` are summed.

    float32 for 16-bit floats; unsigned for integers, because unsigned sums wrap around by
    definition and their low bits are those of the signed sum of any width.
    """
    if a.is_floating_point or b.is_floating_point:
        return float64 if float64 in (a, b) else float32
    return uint64 if max(a.itemsize, b.itemsize) == 8 else uint32


@dataclass(frozen=True, slots=True)
class ExtraSpec:
    """How an epilogue reads one extra operand.

    Attributes:
        dtype: as stored.
        column: `broadcast` (one element per row), `contiguous` (columns adjacent) or `strided`.
        is_index: it is not read: its value is the number of the element.
    """

    dtype: DType
    column: str
    is_index: bool = False


@dataclass(frozen=True, slots=True)
class EpilogueSpec:
    """What happens to a finished sum in registers before it is rounded and written.

    Attributes:
        expr: typed expression over `acc` (the sum), `x0`, `x1`, ... (the extra operands) and `s0`,
            `s1`, ... (the numbers).
        extras: how each of these operands is read.
        numbers: dtypes of the numbers.
        checks: values that are tested for NaN.
    """

    expr: Expr
    extras: tuple[ExtraSpec, ...] = ()
    numbers: tuple[DType, ...] = ()
    checks: tuple[CheckSpec, ...] = ()

    def _names(self) -> dict[str, str]:
        names = ["acc", *(f"x{i}" for i in range(len(self.extras)))]
        names += [f"s{i}_all" for i in range(len(self.numbers))]
        return {name.removesuffix("_all"): name for name in names}

    def arguments(self, strides: int = 2) -> tuple[str, ...]:
        """Return the types of the arguments, in the order of `extra_parameters` in `_gemm.j2`."""
        kinds: list[str] = []
        for extra in self.extras:
            kinds += [] if extra.is_index else ["buffer"]
            kinds += (_LONG,) * (1 + strides)
        kinds += [SCALAR_CHARS[number.register] for number in self.numbers]
        return (*kinds, *(kind for _, kind in PARAMETERS)) if self.checks else tuple(kinds)

    @property
    def parameters(self) -> list[str]:
        """The declarations of what the tests need."""
        return [declaration for declaration, _ in PARAMETERS] if self.checks else []

    def _rendered(self, width: int) -> Rendered:
        return render([self.expr, *(c.expr for c in self.checks)], self._names(), width)

    def statements(self, width: int) -> list[str]:
        """Return the statements for `width` elements, leaves being the variables of their names."""
        rendered = self._rendered(width)
        return [*rendered.statements, *tests(self.checks, rendered.results[1:], width)]

    def result(self, width: int) -> str:
        """Return the expression of the result after these statements."""
        return str(self._rendered(width).results[0])

    def helpers(self, width: int) -> tuple[str, ...]:
        """Return the texts of the functions that the statements call."""
        keys = self._rendered(width).helpers
        return tuple(helper_source(key, width) for key in keys)


def _bfloat16_helper(width: int) -> str:
    """Return the function that rounds floats to bfloat16 bits: to nearest even, NaN stays NaN."""
    w = "" if width == 1 else str(width)
    guard = f"CG_BFLOAT16_BITS{width}"
    is_nan = "isnan(x)" if width > 1 else "(uint)(isnan(x) ? 0xffffffffu : 0u)"
    mask = f"as_uint{w}({is_nan})" if width > 1 else is_nan
    return (
        f"#ifndef {guard}\n#define {guard}\n"
        f"static ushort{w} cg_bfloat16_bits{w}(const float{w} x)\n{{\n"
        f"    const uint{w} bits = as_uint{w}(x);\n"
        f"    const uint{w} nan = {mask};\n"
        f"    const uint{w} rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;\n"
        f"    return convert_ushort{w}((rounded & ~nan) | (0x7fc0u & nan));\n"
        "}\n#endif\n"
    )


def finish_kernel(
    template: str,
    family: str,
    traits: DeviceTraits,
    *,
    memory: tuple[tuple[DType, int], ...],
    stored: DType,
    store_width: int | tuple[int, ...],
    epilogue: EpilogueSpec | None,
    args: tuple[str, ...],
    strides: int = 2,
    prologues: Sequence[PrologueSpec | None] = (),
    **variables: Any,
) -> KernelSource:
    """Render one kernel and collect the helpers that its loads, stores and epilogue need.

    Args:
        memory: each (dtype, width) that is read or written as a vector.
        stored: dtype of what is written, in vectors of `store_width` (or of several widths).
        strides: how many strides the kernel takes for each operand of the epilogue.
        prologues: of operands that are made where the kernel reads them.
    """
    widths = (store_width,) if isinstance(store_width, int) else store_width
    vectors = vector_access(traits)
    name, source = render_kernel(template, family, vectors=vectors, epilogue=epilogue, **variables)
    helpers: dict[str, None] = {}
    if vectors == "pointer":
        pairs = [*memory, *((stored, width) for width in widths)]
        if epilogue:
            read = [x.dtype for x in epilogue.extras if not x.is_index]
            pairs += [(dtype, width) for dtype in read for width in widths]
        read = [x.dtype for made in prologues if made for x in made.extras]
        pairs += [(dtype, width) for dtype in read for width in _WIDTHS]
        for dtype, width in pairs:
            if width > 1 and f"cg_unaligned_{dtype.cl}{width} " in source:
                helpers[unaligned_helper(dtype.cl, dtype.itemsize, width)] = None
    for made in prologues:
        helpers.update(dict.fromkeys(made.helpers(source, _WIDTHS) if made else ()))
    for width in widths:
        if stored is bfloat16:
            helpers[_bfloat16_helper(width)] = None
        if epilogue:
            helpers.update(dict.fromkeys(epilogue.helpers(width)))
    extras = epilogue.arguments(strides) if epilogue else ()
    return KernelSource(name=name, source=source, helpers=tuple(helpers), args=args + extras)


def _arrays(
    *names: str, epilogue: EpilogueSpec | None, fed: tuple[PrologueSpec | None, ...] = ()
) -> list[str]:
    beside = [x for name, made in zip(names, fed, strict=False) if made for x in made.arrays(name)]
    extras = [f"extra{i}" for i in range(len(epilogue.extras) if epilogue else 0)]
    return [*names, *beside, *extras]


def _fed_args(*prologues: PrologueSpec | None) -> tuple[str, ...]:
    return tuple([kind for made in prologues if made for kind in made.args])


def _fused(acc: DType, traits: DeviceTraits) -> bool:
    return acc.is_floating_point and not traits.contract_by_pragma


@dataclass(frozen=True, slots=True)
class TileSpec:
    """The CPU kernel of register tiles (`matmul.cl.j2`, which says what the fields mean)."""

    a: DType
    b: DType
    out: DType
    acc: DType
    rows: int
    columns: int
    width: int
    a_access: str
    b_access: str
    batch_rank: int
    split: bool = False
    epilogue: EpilogueSpec | None = None
    a_fed: PrologueSpec | None = None
    b_fed: PrologueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        arrays = _arrays("a", "b", epilogue=self.epilogue, fed=(self.a_fed, self.b_fed))
        return finish_kernel(
            "matmul.cl.j2", "matmul", traits,
            memory=((self.b, self.width),), stored=self.out, store_width=self.width,
            epilogue=self.epilogue,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", *(_LONG,) * 7,
                  *(_LONG,) * (2 * self.split), *_fed_args(self.a_fed, self.b_fed),
                  *(_LONG,) * (self.batch_rank * (1 + len(arrays)))),
            a=self.a, b=self.b, out=self.out, acc=self.acc.cl, rows=self.rows,
            columns=self.columns, width=self.width, a_access=self.a_access,
            b_access=self.b_access, batch_rank=self.batch_rank, arrays=arrays,
            a_fed=self.a_fed, b_fed=self.b_fed, prologues=(self.a_fed, self.b_fed),
            split=self.split, fused=_fused(self.acc, traits),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DotSpec:
    """The CPU kernel of inner products along k (`matmul_dot.cl.j2`)."""

    a: DType
    b: DType
    out: DType
    acc: DType
    rows: int
    columns: int
    width: int
    a_packed: bool
    batch_rank: int
    split: bool = False
    epilogue: EpilogueSpec | None = None
    a_fed: PrologueSpec | None = None
    b_fed: PrologueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        arrays = _arrays("a", "b", epilogue=self.epilogue, fed=(self.a_fed, self.b_fed))
        return finish_kernel(
            "matmul_dot.cl.j2", "matmul_dot", traits,
            memory=((self.a, self.width), (self.b, self.width)), stored=self.out, store_width=1,
            epilogue=self.epilogue,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", *(_LONG,) * 6,
                  *(_LONG,) * (2 * self.split), *_fed_args(self.a_fed, self.b_fed),
                  *(_LONG,) * (self.batch_rank * (1 + len(arrays)))),
            a=self.a, b=self.b, out=self.out, acc=self.acc.cl, rows=self.rows,
            columns=self.columns, width=self.width, a_packed=self.a_packed,
            batch_rank=self.batch_rank, arrays=arrays, a_fed=self.a_fed, b_fed=self.b_fed,
            prologues=(self.a_fed, self.b_fed), split=self.split,
            fused=_fused(self.acc, traits),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PackSpec:
    """The kernel that copies an operand into panels (`matmul_pack.cl.j2`)."""

    a: DType
    acc: DType
    width: int
    vectors_per_panel: int
    access: str
    batch_rank: int
    a_fed: PrologueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        arrays = _arrays("a", epilogue=None, fed=(self.a_fed,))
        return finish_kernel(
            "matmul_pack.cl.j2", "matmul_pack", traits,
            memory=((self.a, self.width),), stored=self.acc, store_width=self.width, epilogue=None,
            args=("buffer", _LONG, "buffer", *(_LONG,) * 5, *_fed_args(self.a_fed),
                  *(_LONG,) * (self.batch_rank * (1 + len(arrays)))),
            a=self.a, acc=self.acc.cl, width=self.width,
            vectors_per_panel=self.vectors_per_panel, access=self.access,
            batch_rank=self.batch_rank, arrays=arrays, a_fed=self.a_fed,
            prologues=(self.a_fed,),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MergeSpec:
    """The kernel that adds the parts of a matmul cut along k (`matmul_merge.cl.j2`)."""

    out: DType
    acc: DType
    width: int
    batch_rank: int
    epilogue: EpilogueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        arrays = _arrays(epilogue=self.epilogue)
        return finish_kernel(
            "matmul_merge.cl.j2", "matmul_merge", traits,
            memory=((self.acc, self.width),), stored=self.out, store_width=self.width,
            epilogue=self.epilogue,
            args=("buffer", "buffer", *(_LONG,) * 4,
                  *(_LONG,) * (self.batch_rank * (1 + len(arrays)))),
            out=self.out, acc=self.acc.cl, width=self.width, batch_rank=self.batch_rank,
            arrays=arrays,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """The GPU kernel of local-memory tiles (`matmul_gpu.cl.j2` says what the fields mean)."""

    a: DType
    b: DType
    out: DType
    acc: DType
    wide_index: bool
    slab: Slab
    a_k_adjacent: bool
    b_column_adjacent: bool
    a_width: int
    b_width: int
    c_width: int
    batch_rank: int
    split: bool = False
    epilogue: EpilogueSpec | None = None
    a_fed: PrologueSpec | None = None
    b_fed: PrologueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        arrays = _arrays("a", "b", epilogue=self.epilogue, fed=(self.a_fed, self.b_fed))
        index = _LONG if self.wide_index else _INT
        return finish_kernel(
            "matmul_gpu.cl.j2", "matmul_gpu", traits,
            memory=(), stored=self.out, store_width=self.c_width, epilogue=self.epilogue,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", *(index,) * 7,
                  *(index,) * (2 * self.split), *_fed_args(self.a_fed, self.b_fed),
                  *(_LONG,) * (self.batch_rank * (1 + len(arrays)))),
            a=self.a, b=self.b, out=self.out, acc=self.acc.cl,
            index="long" if self.wide_index else "int", **asdict(self.slab), band=_BAND,
            a_k_adjacent=self.a_k_adjacent, b_column_adjacent=self.b_column_adjacent,
            a_width=self.a_width, b_width=self.b_width, c_width=self.c_width,
            batch_rank=self.batch_rank, arrays=arrays, a_fed=self.a_fed, b_fed=self.b_fed,
            prologues=(self.a_fed, self.b_fed), split=self.split,
            fused=_fused(self.acc, traits),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LanesSpec:
    """The GPU kernel of sub-groups (`matmul_lanes.cl.j2` says what the fields mean)."""

    a: DType
    b: DType
    out: DType
    acc: DType
    rows: int
    columns: int
    width: int
    height: int
    batch_rank: int
    split: bool = False
    epilogue: EpilogueSpec | None = None

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        arrays = _arrays("a", "b", epilogue=self.epilogue)
        return finish_kernel(
            "matmul_lanes.cl.j2", "matmul_lanes", traits,
            memory=(), stored=self.out, store_width=1, epilogue=self.epilogue,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", *(_LONG,) * 5,
                  *(_LONG,) * (2 * self.split), *(_LONG,) * (self.batch_rank * (1 + len(arrays)))),
            a=self.a, b=self.b, out=self.out, acc=self.acc.cl, rows=self.rows,
            columns=self.columns, width=self.width, height=self.height,
            batch_rank=self.batch_rank, arrays=arrays, split=self.split,
            fused=_fused(self.acc, traits),
        )  # fmt: skip
