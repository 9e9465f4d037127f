"""Lowering of batched matrix products: from sizes and strides to kernel launches.

The problem is first brought to a small form (batch dimensions folded, a single column turned into
a single row), then a variant is chosen:

    CPU   tile         register tiles; B is packed into panels where that pays or where its columns
                       are not adjacent, A only where packing saves conversions
          dot          inner products, for a transposed B that is not worth packing
    GPU   group        local-memory tiles
          lanes        sub-groups that hand A round, for the tuner to choose where a device has them
    any   tile, dot    where the canary of local-memory products fails (`traits.disabled`)
          merge        second pass, where k is cut into parts because the result is small

Every sum is made in a fixed order. Results do not depend on scheduling, only on sizes, strides and
traits. Register tiles and their cost model are in `matmul_tuning`, kernels in `matmul_specs`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from clgrad.codegen import matmul_tuning as tuning
from clgrad.codegen.choice import Family, choose, register
from clgrad.codegen.matmul_choice import (
    Choice,
    awkward,
    candidates,
    describe,
    expected,
    key_of,
    operands,
    parse,
    result,
    work,
)
from clgrad.codegen.matmul_form import Form, MatmulProblem, Operand, check_problem, small_form
from clgrad.codegen.matmul_specs import (
    DotSpec,
    EpilogueSpec,
    GroupSpec,
    LanesSpec,
    MergeSpec,
    PackSpec,
    TileSpec,
)
from clgrad.codegen.matmul_tuning import Dot, Lanes, Slab, Tile
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.dtypes import DType
from clgrad.traits import DeviceTraits


def _ints(*values: int) -> tuple[Arg, ...]:
    return tuple(("int", value) for value in values)


def _pack(
    form: Form, operand: Operand, lines: int, depth: int, width: int, vectors: int,
    temporaries: list[int], traits: DeviceTraits,
) -> LoweredLaunch:  # fmt: skip
    """Return the launch that packs `operand`, and let `operand` be the packed array.

    Args:
        lines: number of what lies side by side in a panel, `operand.first` apart.
        depth: length of a panel, `operand.second` being the stride along it.
        width: lines of one vector.
        vectors: vectors of one panel.
    """
    panels = tuning.ceil_div(lines, width * vectors)
    part = max(64, tuning.ceil_div(depth * panels, 16 * traits.compute_units))
    # broadcast batch dimensions are packed once
    sizes = [size if operand.batch[d] else 1 for d, size in enumerate(form.batch)]
    batch: list[Arg] = []
    for d, size in enumerate(sizes):
        batch += _ints(size, operand.batch[d], *(x.batch[d] for x in operand.fed))
    access = "lines" if operand.first == 1 else "k" if operand.second == 1 else "strided"
    spec = PackSpec(
        operand.dtype, form.acc, width, vectors, access, len(form.batch), operand.prologue_spec()
    )
    matrix = panels * width * vectors * depth
    launch = LoweredLaunch(
        spec,
        (*operand.pointer, ("temp", len(temporaries)),
         *_ints(lines, depth, operand.first, operand.second, part), *operand.fed_args(), *batch),
        (panels, tuning.ceil_div(depth, part), prod(sizes)),
        (1, 1, 1),
    )  # fmt: skip
    operand.dtype = form.acc
    operand.prologue, operand.fed, operand.fed_numbers = None, [], range(0)
    operand.buffer, operand.offset = ("temp", len(temporaries)), ("int", 0)
    for d in reversed(range(len(sizes))):
        operand.batch[d] = matrix * prod(sizes[d + 1 :]) if operand.batch[d] else 0
    temporaries.append(matrix * prod(sizes) * form.acc.itemsize)
    return launch


def _cut(form: Form, items: int, temporaries: list[int], traits: DeviceTraits) -> _Cut:
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

    def operands(self, form: Form) -> list[Operand]:
        """Return the arrays whose batch strides the main kernel takes."""
        beside = [*form.a.fed, *form.b.fed]
        return [form.a, form.b, *beside, *(form.extras if self.epilogue else [])]


def _merge(form: Form, cut: _Cut, traits: DeviceTraits) -> tuple[LoweredLaunch, ...]:
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


def _lower_tiles(form: Form, tile: Tile, traits: DeviceTraits) -> Lowered:
    """Lower to register tiles, packing what the tile says, and a B without adjacent columns."""
    temporaries: list[int] = []
    launches: list[LoweredLaunch] = []
    b_access = "rows"
    if tile.pack_b or not form.columns_adjacent:
        b_access = "packed"
        lines = form.b.turned()
        launches.append(
            _pack(form, lines, form.n, form.k, tile.width, tile.columns, temporaries, traits)
        )  # fmt: skip
        form.b = lines
    a_access = "columns" if form.a.first == 1 else "strided"
    if tile.pack_a:
        a_access = "packed"
        launches.append(_pack(form, form.a, form.m, form.k, tile.rows, 1, temporaries, traits))
    panels = tuning.ceil_div(form.n, tile.columns * tile.width)
    row_tiles = tuning.ceil_div(form.m, tile.rows)
    cut = _cut(form, panels * row_tiles * form.batches, temporaries, traits)
    tiles = tuning.strip_tiles(
        form.m, form.n, cut.length, form.batches * cut.parts, tile.rows, tile.columns * tile.width,
        form.acc.itemsize, traits,
    )  # fmt: skip
    spec = TileSpec(
        form.a.dtype, form.b.dtype, cut.out, form.acc, tile.rows, tile.columns, tile.width,
        a_access, b_access, len(form.batch), cut.parts > 1, cut.epilogue,
        form.a.prologue_spec(), form.b.prologue_spec(),
    )  # fmt: skip
    launches.append(
        LoweredLaunch(
            spec,
            (*form.a.pointer, *form.b.pointer, cut.target,
             *_ints(form.m, form.n, form.k, form.a.first, form.a.second, form.b.first, tiles),
             *cut.args, *form.fed_args(), *form.batch_args(cut.operands(form)), *cut.extra_args),
            (panels, tuning.ceil_div(row_tiles, tiles), form.batches * cut.parts),
            (1, 1, 1),
        )
    )  # fmt: skip
    return Lowered(tuple(temporaries), (*launches, *_merge(form, cut, traits)))


def _lower_dots(form: Form, tile: Dot, traits: DeviceTraits) -> Lowered:
    """Lower to inner products along k."""
    temporaries: list[int] = []
    launches: list[LoweredLaunch] = []
    if tile.pack_a:
        # a row's steps along k lie in panels that hold those of all rows
        lines = form.a.turned()
        launches.append(_pack(form, lines, form.k, form.m, tile.width, 1, temporaries, traits))
        form.a = replace(lines, first=tile.width)
    panels = tuning.ceil_div(form.n, tile.columns)
    row_tiles = tuning.ceil_div(form.m, tile.rows)
    cut = _cut(form, panels * row_tiles * form.batches, temporaries, traits)
    tiles = tuning.strip_tiles(
        form.m, form.n, cut.length, form.batches * cut.parts, tile.rows, tile.columns,
        form.acc.itemsize, traits,
    )  # fmt: skip
    spec = DotSpec(
        form.a.dtype, form.b.dtype, cut.out, form.acc, tile.rows, tile.columns, tile.width,
        tile.pack_a, len(form.batch), cut.parts > 1, cut.epilogue,
        form.a.prologue_spec(), form.b.prologue_spec(),
    )  # fmt: skip
    launches.append(
        LoweredLaunch(
            spec,
            (*form.a.pointer, *form.b.pointer, cut.target,
             *_ints(form.m, form.n, form.k, form.a.first, form.b.second, tiles),
             *cut.args, *form.fed_args(), *form.batch_args(cut.operands(form)), *cut.extra_args),
            (panels, tuning.ceil_div(row_tiles, tiles), form.batches * cut.parts),
            (1, 1, 1),
        )
    )  # fmt: skip
    return Lowered(tuple(temporaries), (*launches, *_merge(form, cut, traits)))


def _lower_groups(form: Form, slab: Slab, traits: DeviceTraits) -> Lowered:
    """Lower to local-memory tiles."""
    temporaries: list[int] = []
    across = tuning.ceil_div(form.n, slab.tile_n)
    down = tuning.ceil_div(form.m, slab.tile_m)
    cut = _cut(form, across * down * form.batches, temporaries, traits)
    reach = max(
        (form.m + slab.tile_m) * max(form.a.first, 1)
        + (form.k + slab.tile_k) * max(form.a.second, 1),
        (form.n + slab.tile_n) * max(form.b.second, 1)
        + (form.k + slab.tile_k) * max(form.b.first, 1),
    )
    a_along_k, b_along_n = form.a.second == 1, form.b.second == 1
    c_width = slab.block_columns if form.n % slab.block_columns == 0 else 1
    spec = GroupSpec(
        form.a.dtype, form.b.dtype, cut.out, form.acc, reach >= 1 << 31, slab,
        a_along_k, b_along_n,
        slab.copy_width(slab.tile_m, a_along_k, form.a.vector_width(form.m, form.k)),
        slab.copy_width(slab.tile_n, not b_along_n, form.b.vector_width(form.k, form.n)),
        c_width, len(form.batch), cut.parts > 1, cut.epilogue,
        form.a.prologue_spec(), form.b.prologue_spec(),
    )  # fmt: skip
    main = LoweredLaunch(
        spec,
        (*form.a.pointer, *form.b.pointer, cut.target,
         *_ints(form.m, form.n, form.k, form.a.first, form.a.second, form.b.first, form.b.second),
         *cut.args, *form.fed_args(), *form.batch_args(cut.operands(form)), *cut.extra_args),
        # all groups in one dimension: some devices take no more than 65535 in the others
        (across * down * form.batches * cut.parts * slab.breadth, slab.height),
        (slab.breadth, slab.height),
    )  # fmt: skip
    return Lowered(tuple(temporaries), (main, *_merge(form, cut, traits)))


def _lower_lanes(form: Form, tile: Lanes, traits: DeviceTraits) -> Lowered:
    """Lower to sub-groups."""
    temporaries: list[int] = []
    across = tuning.ceil_div(form.n, tile.columns * tile.width)
    down = tuning.ceil_div(form.m, tile.rows * tile.height)
    cut = _cut(form, across * down * form.batches, temporaries, traits)
    spec = LanesSpec(
        form.a.dtype, form.b.dtype, cut.out, form.acc, tile.rows, tile.columns, tile.width,
        tile.height, len(form.batch), cut.parts > 1, cut.epilogue,
    )  # fmt: skip
    main = LoweredLaunch(
        spec,
        (*form.a.pointer, *form.b.pointer, cut.target,
         *_ints(form.m, form.n, form.k, form.a.first, form.b.first),
         *cut.args, *form.batch_args(cut.operands(form)), *cut.extra_args),
        (across * down * form.batches * cut.parts * tile.width, tile.height),
        (tile.width, tile.height),
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
    check_problem(problem)
    if problem.m == 0 or problem.n == 0 or prod(problem.batch) == 0:
        return Lowered((), ())
    choice = _chosen(problem, traits)
    return _lower(problem, _with_prologues(choice, small_form(problem)), traits)


def _chosen(problem: MatmulProblem, traits: DeviceTraits) -> Choice:
    """Return how to compute a problem; prologues leave that, and so the bits, as they are."""
    plain = replace(problem, prologues=(None, None))
    return choose(FAMILY, plain, traits) or candidates(plain, traits)[0]


def _with_prologues(choice: Choice, form: Form) -> Choice:
    """Let operands be made once, while they are packed, if a loop would make them often."""
    if isinstance(choice, Tile | Dot) and form.a.prologue is not None:
        often = _readings(form.n, choice) > tuning.FED_READS
        choice = replace(choice, pack_a=choice.pack_a or often)
    if isinstance(choice, Tile) and form.b.prologue is not None:
        often = tuning.ceil_div(form.m, choice.rows) > tuning.FED_READS
        choice = replace(choice, pack_b=choice.pack_b or often)
    return choice


def _readings(n: int, choice: Tile | Dot) -> int:
    """Return how often an element of A is read."""
    return tuning.ceil_div(n, choice.columns * (choice.width if isinstance(choice, Tile) else 1))


def takes_prologue(problem: MatmulProblem, operand: int, traits: DeviceTraits) -> bool:
    """Return whether operand 0 or 1 is better made where a product reads it than stored before."""
    if 0 in (problem.m, problem.n, problem.k, *problem.batch):
        return False
    choice = _chosen(problem, traits)
    form = small_form(problem)
    if isinstance(choice, Tile) and form.a.buffer == ("in", operand):
        # elements of A are scalars: packing them costs as much as storing them
        return choice.pack_a or _readings(form.n, choice) <= tuning.FED_READS
    if isinstance(choice, Dot) and form.b.buffer == ("in", operand):
        return tuning.ceil_div(form.m, choice.rows) <= tuning.FED_DOTS
    return not isinstance(choice, Lanes)


def _lower(problem: MatmulProblem, choice: Choice, traits: DeviceTraits) -> Lowered:
    form = small_form(problem)
    if isinstance(choice, Tile):
        return _lower_tiles(form, choice, traits)
    if isinstance(choice, Dot):
        return _lower_dots(form, choice, traits)
    if isinstance(choice, Lanes):
        return _lower_lanes(form, choice, traits)
    return _lower_groups(form, choice, traits)


FAMILY = register(
    Family(
        name="matmul", describe=describe, parse=parse, key=key_of, candidates=candidates,
        lower=_lower, awkward=awkward, operands=operands, expected=expected, result=result,
        work=work,
    )
)  # fmt: skip
"""What the tuner knows about matrix products."""
