"""Problems of the matmul family and their small form.

Batch dimensions are folded, a single column is turned into a single row; what is left decides how
a product is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import gcd, prod

from clgrad.codegen.checks import CheckSpec
from clgrad.codegen.matmul_prologue import FedExtraSpec, PrologueSpec
from clgrad.codegen.matmul_specs import EpilogueSpec, ExtraSpec, sum_dtype
from clgrad.codegen.spec import Arg, Epilogue, Prologue
from clgrad.dtypes import DType
from clgrad.errors import DTypeError, ShapeError
from clgrad.expr import Expr


@dataclass(frozen=True, slots=True)
class MatmulProblem:
    """C[..., i, j] = sum over p of A[..., i, p] * B[..., p, j], C being fresh and contiguous.

    Attributes:
        m, n, k: rows of A, columns of B, length of the sum.
        batch: sizes of the leading dimensions, already broadcast.
        a_strides: elements, for (*batch, m, k); 0 broadcasts.
        b_strides: elements, for (*batch, k, n).
        a_dtype, b_dtype, out_dtype: as stored. Sums are made in `sum_dtype(a_dtype, b_dtype)`.
        epilogue: None writes the sums as they are. Floating point only.
        aligned: for A and B a power of two, at most 4, that divides their offset.
        prologues: for A and B None, or how they are made of what lies in memory as they would.
            Floating point only.
    """

    m: int
    n: int
    k: int
    batch: tuple[int, ...]
    a_strides: tuple[int, ...]
    b_strides: tuple[int, ...]
    a_dtype: DType
    b_dtype: DType
    out_dtype: DType
    epilogue: Epilogue | None = None
    aligned: tuple[int, int] = (1, 1)
    prologues: tuple[Prologue | None, Prologue | None] = (None, None)


_KINDS = {0: "broadcast", 1: "contiguous"}
_INDEX: Arg = ("index",)
"""Stands for the buffer of an operand that is the number of the element."""


@dataclass(slots=True)
class Operand:
    """One array of the small form: strides of the batch dimensions, then of two matrix axes.

    Attributes:
        prologue: how it is made of what is stored, with `fed` as its operands beside; the positions
            of its numbers among those of both are in `fed_numbers`.
    """

    dtype: DType
    batch: list[int]
    first: int
    second: int
    buffer: Arg
    offset: Arg

    aligned: int = 1
    prologue: Prologue | None = None
    made: DType | None = None
    fed: list[Operand] = field(default_factory=list)
    fed_numbers: range = range(0)

    @property
    def pointer(self) -> tuple[Arg, ...]:
        return (self.buffer, self.offset)

    def vector_width(self, firsts: int, seconds: int) -> int:
        """Return up to which vectors along the adjacent axis start at multiples of their size."""
        ends = (firsts, self.second) if self.first == 1 else (seconds, self.first)
        if 1 not in (self.first, self.second):
            return 1
        return gcd(self.aligned, *ends, *self.batch)

    def turned(self) -> Operand:
        """Return the same array with its two axes exchanged."""
        fed = [replace(x, first=x.second, second=x.first) for x in self.fed]
        return replace(self, first=self.second, second=self.first, fed=fed)

    def turn(self) -> None:
        """Exchange the two axes."""
        for x in (self, *self.fed):
            x.first, x.second = x.second, x.first

    def prologue_spec(self) -> PrologueSpec | None:
        """Return the baked part of the prologue."""
        if self.prologue is None:
            return None
        assert self.made is not None
        extras = tuple(
            FedExtraSpec(
                x.dtype, _KINDS.get(x.first, "strided"), _KINDS.get(x.second, "strided")
            )
            for x in self.fed
        )  # fmt: skip
        return PrologueSpec(
            self.prologue.expr, self.dtype, self.made, extras, self.prologue.numbers
        )

    def fed_args(self) -> tuple[Arg, ...]:
        """Return the arguments in the order of `fed_parameters` in `_gemm.j2`."""
        args: list[Arg] = []
        for x in self.fed:
            args += [*x.pointer, ("int", x.first), ("int", x.second)]
        return (*args, *(("fed_number", k) for k in self.fed_numbers))


@dataclass(slots=True)
class Form:
    """A problem in its small form; `extras` are indexed by (*batch, row, column)."""

    m: int
    n: int
    k: int
    batch: list[int]
    a: Operand
    b: Operand
    out: DType
    acc: DType
    expr: Expr | None
    extras: list[Operand] = field(default_factory=list)
    numbers: tuple[DType, ...] = ()
    checks: tuple[CheckSpec, ...] = ()

    @property
    def batches(self) -> int:
        return prod(self.batch)

    def epilogue(self) -> EpilogueSpec | None:
        """Return the baked part of the epilogue."""
        if self.expr is None:
            return None
        extras = tuple(
            ExtraSpec(x.dtype, _KINDS.get(x.second, "strided"), x.buffer == _INDEX)
            for x in self.extras
        )
        return EpilogueSpec(self.expr, extras, self.numbers, self.checks)

    @property
    def columns_adjacent(self) -> bool:
        """Whether a vector of neighbouring columns of B is one in memory, or of no account."""
        return self.b.second == 1 or self.n == 1 or self.k == 0

    def batch_args(self, operands: list[Operand]) -> tuple[Arg, ...]:
        """Return sizes and strides in the order of `batch_parameters` in `_gemm.j2`."""
        args: list[Arg] = []
        for d, size in enumerate(self.batch):
            args.append(("int", size))
            args.extend(("int", operand.batch[d]) for operand in operands)
        return tuple(args)

    def fed_args(self) -> tuple[Arg, ...]:
        """Return the arguments of the prologues that are left."""
        return (*self.a.fed_args(), *self.b.fed_args())

    def extra_args(self) -> tuple[Arg, ...]:
        """Return the arguments in the order of `extra_parameters` in `_gemm.j2`."""
        args: list[Arg] = []
        for x in self.extras:
            pointer = x.pointer[1:] if x.buffer == _INDEX else x.pointer
            args += [*pointer, ("int", x.first), ("int", x.second)]
        args += [("number", k) for k in range(len(self.numbers))]
        return (*args, ("checks",), ("check",)) if self.checks else tuple(args)


def check_problem(problem: MatmulProblem) -> None:
    rank = len(problem.batch) + 2
    for name, strides in (("A", problem.a_strides), ("B", problem.b_strides)):
        if len(strides) != rank or min(strides) < 0:
            raise ShapeError(
                f"matmul: {name} has strides {strides}. Expected {rank} strides of 0 or more, for "
                f"{rank - 2} batch dimensions and the matrix. Hint: make a copy with .contiguous()."
            )
    for dtype in (problem.a_dtype, problem.b_dtype, problem.out_dtype):
        if dtype.kind == "b":
            raise DTypeError(
                "matmul: bool has no product of sums. Expected a floating-point or integer dtype. "
                "Hint: cast with .to(clgrad.float32)."
            )
    floating = sum_dtype(problem.a_dtype, problem.b_dtype).is_floating_point
    if floating != problem.out_dtype.is_floating_point:
        raise DTypeError(
            f"matmul: a product of {problem.a_dtype.name} and {problem.b_dtype.name} cannot be "
            f"written as {problem.out_dtype.name}. Expected both or neither to be floating point."
        )
    if problem.epilogue is not None and not floating:
        raise DTypeError(
            f"matmul: an epilogue on {problem.a_dtype.name} sums, which wrap around in unsigned "
            "registers. Expected a floating-point product. Hint: run the epilogue as its own op."
        )
    if problem.prologues != (None, None) and not floating:
        raise DTypeError(
            f"matmul: a prologue of {problem.a_dtype.name} operands, which are read as unsigned. "
            "Expected a floating-point product. Hint: run the prologue as its own op."
        )


def small_form(problem: MatmulProblem) -> Form:
    """Drop and merge batch dimensions, fold them into m, and turn one column into one row."""

    def operand(
        dtype: DType, strides: tuple[int, ...], buffer: Arg, offset: Arg, aligned: int = 1
    ) -> Operand:
        return Operand(dtype, list(strides[:-2]), strides[-2], strides[-1], buffer, offset, aligned)

    epilogue, aligned = problem.epilogue, problem.aligned
    form = Form(
        problem.m, problem.n, problem.k, list(problem.batch),
        operand(problem.a_dtype, problem.a_strides, ("in", 0), ("in_offset", 0), aligned[0]),
        operand(problem.b_dtype, problem.b_strides, ("in", 1), ("in_offset", 1), aligned[1]),
        problem.out_dtype, sum_dtype(problem.a_dtype, problem.b_dtype),
        epilogue.expr if epilogue else None,
        [operand(x.dtype, x.strides, _INDEX if x.is_index else ("extra", i), ("extra_offset", i))
         for i, x in enumerate(epilogue.extras)] if epilogue else [],
        epilogue.numbers if epilogue else (), epilogue.checks if epilogue else (),
    )  # fmt: skip
    for operand_, made in zip((form.a, form.b), problem.prologues, strict=True):
        _feed(form, operand_, made)
    arrays = [form.a, form.b, *form.a.fed, *form.b.fed, *form.extras]
    for d in reversed(range(len(form.batch))):
        size = form.batch[d]
        merges = d + 1 < len(form.batch) and all(
            x.batch[d] == x.batch[d + 1] * form.batch[d + 1] for x in arrays
        )
        if size == 1 or merges:
            if merges:
                form.batch[d + 1] *= size
            del form.batch[d]
            for x in arrays:
                del x.batch[d]
    _fold_batch_into_rows(form)
    if form.n == 1 and form.m > 1:
        # c = A b is the row c = b A', and a row has vectors along it
        form.m, form.n = 1, form.m
        form.a, form.b = form.b, form.a
        for x in [form.a, form.b, *form.extras]:
            x.turn()
    return form


def _feed(form: Form, operand: Operand, prologue: Prologue | None) -> None:
    """Let `operand` be made of what is stored in its place."""
    if prologue is None:
        return
    operands = len(form.a.fed) + len(form.b.fed)
    numbers = max(form.a.fed_numbers.stop, form.b.fed_numbers.stop)
    operand.prologue, operand.made, operand.dtype = prologue, operand.dtype, prologue.dtype
    operand.fed = [
        Operand(x.dtype, list(x.strides[:-2]), x.strides[-2], x.strides[-1],
                ("fed", operands + i), ("fed_offset", operands + i))
        for i, x in enumerate(prologue.extras)
    ]  # fmt: skip
    operand.fed_numbers = range(numbers, numbers + len(prologue.numbers))


def _fold_batch_into_rows(form: Form) -> None:
    """Make one matrix of the rows of all innermost matrices where all of them meet one B."""
    while form.batch and form.b.batch[-1] == 0:
        rows = [form.a, *form.a.fed, *form.extras]
        if form.m > 1 and any(x.batch[-1] != x.first * form.m for x in rows):
            return
        for x in rows:
            x.first = x.batch[-1] if form.m == 1 else x.first
            x.batch.pop()
        for x in [form.b, *form.b.fed]:
            x.batch.pop()
        form.m *= form.batch.pop()
