"""Lowering of batched matrix products: from sizes and strides to kernel launches.

The problem is first brought to a small form (batch dimensions folded, a single column turned into
a single row), then a variant is chosen:

    CPU   tile         register tiles; B is packed into panels where that pays or where its columns
                       are not adjacent, A only where packing saves conversions
          dot          inner products, for a transposed B that is not worth packing
    GPU   group        local-memory tiles
    any   tile, dot    where the canary of local-memory products fails (`traits.disabled`)
          merge        second pass, where k is cut into parts because the result is small

Every sum is made in a fixed order. Results do not depend on scheduling, only on sizes, strides and
traits. Register tiles and their cost model are in `matmul_tuning`, kernels in `matmul_specs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from clgrad.codegen import matmul_tuning as tuning
from clgrad.codegen.checks import CheckSpec
from clgrad.codegen.matmul_specs import (
    DotSpec,
    EpilogueSpec,
    ExtraSpec,
    GroupSpec,
    MergeSpec,
    PackSpec,
    TileSpec,
    sum_dtype,
)
from clgrad.codegen.spec import Arg, Epilogue, Lowered, LoweredLaunch
from clgrad.dtypes import DType
from clgrad.errors import DTypeError, ShapeError
from clgrad.expr import Expr
from clgrad.traits import DeviceTraits


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


_INDEX: Arg = ("index",)
"""Stands for the buffer of an operand that is the number of the element."""


@dataclass(slots=True)
class _Operand:
    """One array of the small form: strides of the batch dimensions, then of two matrix axes."""

    dtype: DType
    batch: list[int]
    first: int
    second: int
    buffer: Arg
    offset: Arg

    @property
    def pointer(self) -> tuple[Arg, ...]:
        return (self.buffer, self.offset)


@dataclass(slots=True)
class _Form:
    """A problem in its small form; `extras` are indexed by (*batch, row, column)."""

    m: int
    n: int
    k: int
    batch: list[int]
    a: _Operand
    b: _Operand
    out: DType
    acc: DType
    expr: Expr | None
    extras: list[_Operand] = field(default_factory=list)
    numbers: tuple[DType, ...] = ()
    checks: tuple[CheckSpec, ...] = ()

    @property
    def batches(self) -> int:
        return prod(self.batch)

    def epilogue(self) -> EpilogueSpec | None:
        """Return the baked part of the epilogue."""
        if self.expr is None:
            return None
        kinds = {0: "broadcast", 1: "contiguous"}
        extras = tuple(
            ExtraSpec(x.dtype, kinds.get(x.second, "strided"), x.buffer == _INDEX)
            for x in self.extras
        )
        return EpilogueSpec(self.expr, extras, self.numbers, self.checks)

    def batch_args(self, operands: list[_Operand]) -> tuple[Arg, ...]:
        """Return sizes and strides in the order of `batch_parameters` in `_gemm.j2`."""
        args: list[Arg] = []
        for d, size in enumerate(self.batch):
            args.append(("int", size))
            args.extend(("int", operand.batch[d]) for operand in operands)
        return tuple(args)

    def extra_args(self) -> tuple[Arg, ...]:
        """Return the arguments in the order of `extra_parameters` in `_gemm.j2`."""
        args: list[Arg] = []
        for x in self.extras:
            pointer = x.pointer[1:] if x.buffer == _INDEX else x.pointer
            args += [*pointer, ("int", x.first), ("int", x.second)]
        args += [("number", k) for k in range(len(self.numbers))]
        return (*args, ("checks",), ("check",)) if self.checks else tuple(args)


def _ints(*values: int) -> tuple[Arg, ...]:
    return tuple(("int", value) for value in values)


def _check(problem: MatmulProblem) -> None:
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


def _small_form(problem: MatmulProblem) -> _Form:
    """Drop and merge batch dimensions, fold them into m, and turn one column into one row."""

    def operand(dtype: DType, strides: tuple[int, ...], buffer: Arg, offset: Arg) -> _Operand:
        return _Operand(dtype, list(strides[:-2]), strides[-2], strides[-1], buffer, offset)

    epilogue = problem.epilogue
    form = _Form(
        problem.m, problem.n, problem.k, list(problem.batch),
        operand(problem.a_dtype, problem.a_strides, ("in", 0), ("in_offset", 0)),
        operand(problem.b_dtype, problem.b_strides, ("in", 1), ("in_offset", 1)),
        problem.out_dtype, sum_dtype(problem.a_dtype, problem.b_dtype),
        epilogue.expr if epilogue else None,
        [operand(x.dtype, x.strides, _INDEX if x.is_index else ("extra", i), ("extra_offset", i))
         for i, x in enumerate(epilogue.extras)] if epilogue else [],
        epilogue.numbers if epilogue else (), epilogue.checks if epilogue else (),
    )  # fmt: skip
    arrays = [form.a, form.b, *form.extras]
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
            x.first, x.second = x.second, x.first
    return form


def _fold_batch_into_rows(form: _Form) -> None:
    """Make one matrix of the rows of all innermost matrices where all of them meet one B."""
    while form.batch and form.b.batch[-1] == 0:
        rows = [form.a, *form.extras]
        if form.m > 1 and any(x.batch[-1] != x.first * form.m for x in rows):
            return
        for x in rows:
            x.first = x.batch[-1] if form.m == 1 else x.first
            x.batch.pop()
        form.b.batch.pop()
        form.m *= form.batch.pop()


def _pack(
    form: _Form, operand: _Operand, lines: int, width: int, vectors: int, temporaries: list[int],
    traits: DeviceTraits,
) -> LoweredLaunch:  # fmt: skip
    """Return the launch that packs `operand`, and let `operand` be the packed array.

    Args:
        lines: number of rows of A or columns of B; `operand.first` is the stride between them and
            `operand.second` the stride along k.
        width: lines of one vector.
        vectors: vectors of one panel.
    """
    panels = tuning.ceil_div(lines, width * vectors)
    part = max(64, tuning.ceil_div(form.k * panels, 16 * traits.compute_units))
    # broadcast batch dimensions are packed once
    sizes = [size if operand.batch[d] else 1 for d, size in enumerate(form.batch)]
    batch: list[Arg] = []
    for size, stride in zip(sizes, operand.batch, strict=True):
        batch += _ints(size, stride)
    access = "lines" if operand.first == 1 else "k" if operand.second == 1 else "strided"
    spec = PackSpec(operand.dtype, form.acc, width, vectors, access, len(form.batch))
    matrix = panels * width * vectors * form.k
    launch = LoweredLaunch(
        spec,
        (*operand.pointer, ("temp", len(temporaries)),
         *_ints(lines, form.k, operand.first, operand.second, part), *batch),
        (panels, tuning.ceil_div(form.k, part), prod(sizes)),
        (1, 1, 1),
    )  # fmt: skip
    operand.dtype = form.acc
    operand.buffer, operand.offset = ("temp", len(temporaries)), ("int", 0)
    for d in reversed(range(len(sizes))):
        operand.batch[d] = matrix * prod(sizes[d + 1 :]) if operand.batch[d] else 0
    temporaries.append(matrix * prod(sizes) * form.acc.itemsize)
    return launch


def _cut(form: _Form, items: int, temporaries: list[int], traits: DeviceTraits) -> _Cut:
    """Decide whether to cut k; reserve room for the parts if so."""
    parts = tuning.k_parts(items, form.m, form.n, form.k, traits)
    length = tuning.part_length(form.k, parts)
    parts = tuning.ceil_div(form.k, length) if parts > 1 else 1
    if parts == 1:
        return _Cut(1, form.k, form.out, form.epilogue(), ("out",), (), form.extra_args())
    temporaries.append(parts * form.batches * form.m * form.n * form.acc.itemsize)
    target: Arg = ("temp", len(temporaries) - 1)
    return _Cut(parts, length, form.acc, None, target, _ints(length, form.batches), ())


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where the main kernel writes: the result, or one partial result per part of k."""

    parts: int
    length: int
    out: DType
    epilogue: EpilogueSpec | None
    target: Arg
    args: tuple[Arg, ...]
    extra_args: tuple[Arg, ...]

    def operands(self, form: _Form) -> list[_Operand]:
        """Return the arrays whose batch strides the main kernel takes."""
        return [form.a, form.b, *(form.extras if self.epilogue else [])]


def _merge(form: _Form, cut: _Cut, traits: DeviceTraits) -> tuple[LoweredLaunch, ...]:
    """Return the second pass, if k was cut."""
    if cut.parts == 1:
        return ()
    width = traits.vector_width(form.acc.itemsize) if traits.is_cpu else 1
    while width > form.n:
        width //= 2
    epilogue = form.epilogue()
    spec = MergeSpec(form.out, form.acc, width, len(form.batch), epilogue)
    args: tuple[Arg, ...] = (
        cut.target, ("out",),
        *_ints(form.m, form.n, cut.parts, form.batches * form.m * form.n),
        *form.batch_args(form.extras), *form.extra_args(),
    )  # fmt: skip
    size = (tuning.ceil_div(form.n, width), form.m, form.batches)
    return (LoweredLaunch(spec, args, size, None),)


def _lower_tiles(form: _Form, traits: DeviceTraits) -> Lowered:
    """Lower to register tiles, packing what has to be packed or pays."""
    temporaries: list[int] = []
    launches: list[LoweredLaunch] = []
    tile = tuning.register_tile(form.m, form.n, form.batches, form.acc.itemsize, traits)
    b_access = "rows"
    adjacent = form.b.second == 1 or form.n == 1 or form.k == 0
    if not adjacent or tuning.pack_b(form.m, form.n, form.k, form.acc.itemsize):
        b_access = "packed"
        lines = replace(form.b, first=form.b.second, second=form.b.first)
        launches.append(
            _pack(form, lines, form.n, tile.width, tile.columns, temporaries, traits)
        )  # fmt: skip
        form.b = lines
    a_access = "columns" if form.a.first == 1 else "strided"
    if tuning.pack_a(form.n, form.k, form.a.dtype.cl != form.acc.cl):
        a_access = "packed"
        launches.append(_pack(form, form.a, form.m, tile.rows, 1, temporaries, traits))
    panels = tuning.ceil_div(form.n, tile.columns * tile.width)
    row_tiles = tuning.ceil_div(form.m, tile.rows)
    cut = _cut(form, panels * row_tiles * form.batches, temporaries, traits)
    tiles = tuning.strip_tiles(
        form.m, form.n, cut.length, form.batches * cut.parts, tile, form.acc.itemsize, traits
    )
    spec = TileSpec(
        form.a.dtype, form.b.dtype, cut.out, form.acc, tile.rows, tile.columns, tile.width,
        a_access, b_access, len(form.batch), cut.parts > 1, cut.epilogue,
    )  # fmt: skip
    launches.append(
        LoweredLaunch(
            spec,
            (*form.a.pointer, *form.b.pointer, cut.target,
             *_ints(form.m, form.n, form.k, form.a.first, form.a.second, form.b.first, tiles),
             *cut.args, *form.batch_args(cut.operands(form)), *cut.extra_args),
            (panels, tuning.ceil_div(row_tiles, tiles), form.batches * cut.parts),
            (1, 1, 1),
        )
    )  # fmt: skip
    return Lowered(tuple(temporaries), (*launches, *_merge(form, cut, traits)))


def _lower_dots(form: _Form, traits: DeviceTraits) -> Lowered:
    """Lower to inner products along k."""
    temporaries: list[int] = []
    tile = tuning.dot_tile(form.m, form.n, form.k, form.batches, form.acc.itemsize, traits)
    panels = tuning.ceil_div(form.n, tile.columns)
    row_tiles = tuning.ceil_div(form.m, tile.rows)
    cut = _cut(form, panels * row_tiles * form.batches, temporaries, traits)
    strip = replace(tile, width=1)
    tiles = tuning.strip_tiles(
        form.m, form.n, cut.length, form.batches * cut.parts, strip, form.acc.itemsize, traits
    )
    spec = DotSpec(
        form.a.dtype, form.b.dtype, cut.out, form.acc, tile.rows, tile.columns, tile.width,
        len(form.batch), cut.parts > 1, cut.epilogue,
    )  # fmt: skip
    main = LoweredLaunch(
        spec,
        (*form.a.pointer, *form.b.pointer, cut.target,
         *_ints(form.m, form.n, form.k, form.a.first, form.b.second, tiles),
         *cut.args, *form.batch_args(cut.operands(form)), *cut.extra_args),
        (panels, tuning.ceil_div(row_tiles, tiles), form.batches * cut.parts),
        (1, 1, 1),
    )  # fmt: skip
    return Lowered(tuple(temporaries), (main, *_merge(form, cut, traits)))


def _lower_groups(form: _Form, traits: DeviceTraits) -> Lowered:
    """Lower to local-memory tiles."""
    temporaries: list[int] = []
    slab = tuning.slab(form.m, form.n, form.acc.itemsize, traits)
    across = tuning.ceil_div(form.n, slab.columns * slab.breadth)
    down = tuning.ceil_div(form.m, slab.rows * slab.height)
    cut = _cut(form, across * down * form.batches, temporaries, traits)
    reach = max(
        (form.m + slab.rows * slab.height) * max(form.a.first, 1)
        + (form.k + slab.tile_k) * max(form.a.second, 1),
        (form.n + slab.columns * slab.breadth) * max(form.b.second, 1)
        + (form.k + slab.tile_k) * max(form.b.first, 1),
    )
    spec = GroupSpec(
        form.a.dtype, form.b.dtype, cut.out, form.acc, reach >= 1 << 31,
        slab.rows, slab.columns, slab.height, slab.breadth, slab.tile_k, slab.unroll,
        form.a.second == 1, form.b.second == 1, len(form.batch), cut.parts > 1, cut.epilogue,
    )  # fmt: skip
    main = LoweredLaunch(
        spec,
        (*form.a.pointer, *form.b.pointer, cut.target,
         *_ints(form.m, form.n, form.k, form.a.first, form.a.second, form.b.first, form.b.second),
         *cut.args, *form.batch_args(cut.operands(form)), *cut.extra_args),
        # all groups in one dimension: some devices take no more than 65535 in the others
        (across * down * form.batches * cut.parts * slab.breadth, slab.height),
        (slab.breadth, slab.height),
    )  # fmt: skip
    return Lowered(tuple(temporaries), (main, *_merge(form, cut, traits)))


def lower_matmul(problem: MatmulProblem, traits: DeviceTraits) -> Lowered:
    """Return the launches that compute `problem` on a device with `traits`.

    An empty sum (k = 0) gives zeros; an empty result gives no launches.

    Raises:
        ShapeError: strides that do not fit the batch, or negative ones.
        DTypeError: bool operands, a floating-point product of integers or the reverse, an
            epilogue on integers.
    """
    _check(problem)
    if problem.m == 0 or problem.n == 0 or prod(problem.batch) == 0:
        return Lowered((), ())
    form = _small_form(problem)
    if not traits.is_cpu and "matmul" not in traits.disabled:
        return _lower_groups(form, traits)
    along_k = form.a.second == 1 and form.b.first == 1 and (form.b.second != 1 or form.n == 1)
    if along_k and tuning.dot_wins(form.m, form.n, form.k, form.batches):
        return _lower_dots(form, traits)
    return _lower_tiles(form, traits)
