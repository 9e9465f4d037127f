"""Lowering: a group becomes launches of kernels, with sizes, strides and arguments filled in.

Dims are ordered (kept…, folded…) and merged where memory allows; leaves are numbered by first use,
so that equal work gives an equal spec, whatever was recorded around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clgrad.codegen.loop_spec import (
    STRIDED,
    UNIT,
    Access,
    FoldSpec,
    Reach,
    StoreSpec,
    access_of,
)
from clgrad.codegen.loops import LoopSpec, loop_arguments
from clgrad.codegen.spec import Arg, Prologue, Spec
from clgrad.dtypes import DType
from clgrad.expr import Expr, free_names, leaves_of, substitute_all
from clgrad.expr import name as leaf
from clgrad.graph.beside import Beside, StepArg, epilogue_of, prologue_of
from clgrad.graph.checks import Found, Tested
from clgrad.graph.fold_order import chunk_length
from clgrad.graph.fusion import Entry
from clgrad.graph.group import Group, Ref, kept_layout
from clgrad.layout import Layout, collapse, permuted_collapse
from clgrad.ops.signature import fresh_numel
from clgrad.traits import DeviceTraits
from clgrad.windowed import Windowed

CPU_ITEMS = 64
"""Work-items on a CPU, each looping: enough to balance two to 64 cores, few enough to be cheap."""
GPU_ITEMS = 1 << 16
SQUARE = 16
"""Rows and columns of a square of work-items, on a GPU, where an operand lies across."""
CACHE_LINE, TILE = 64, 64
"""Bytes of a cache line; elements of a row that a tile takes (64 lines of it stay in the L1)."""
INDEX_LIMIT = 2**31 - 2**16
"""Elements from which on indices need 64 bits (with room for the steps of loops)."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel call of a plan."""

    spec: Spec
    args: tuple[StepArg, ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None


@dataclass(slots=True)
class Store:
    """A result of a step: where a value goes. `layout` is over the group's shape.

    `phase`: the first pass that writes there.
    """

    ref: Ref
    dtype: DType
    layout: Layout
    expr: Expr
    row: bool
    phase: int


@dataclass(slots=True)
class Step:
    """A group ready to run.

    Attributes:
        reads: refs that its kernels read, with the layouts and the last pass that does.
        stores: what it makes.
        scratch: bytes of each temporary of this step.
    """

    group: Group
    launches: list[Launch]
    reads: dict[Ref, list[tuple[Layout, int]]]
    stores: list[Store]
    scratch: tuple[int, ...] = ()


def lower(
    group: Group,
    entries: Sequence[Entry],
    temporaries: Callable[[Ref], DType],
    traits: DeviceTraits,
    tested: Tested | None = None,
) -> Step:
    """Return the step that runs `group`, and looks at the values that `tested` names."""
    if group.single is not None and entries[group.single].sig.kind == "kernel":
        return _kernel(group, entries, traits, tested)
    return _loop(group, entries, temporaries, traits, tested)


def _stores(
    group: Group, entries: Sequence[Entry], dtype_of: Callable[[Ref], DType]
) -> list[Store]:
    stores = []
    if group.single is not None:
        entry = entries[group.single]
        target = entry.sig.target
        assert target is not None
        layout = group.level_layout(target, False)
        assert layout is not None
        expr = group.members[group.single].expr
        return [Store(group.single, entry.sig.meta.dtype, layout, expr, False, 0)]
    for ref in sorted(group.stores):
        if ref not in group.members:
            continue  # a partial result, below
        member = group.members[ref]
        phase = max(member.phase - 1, 0) if member.row else member.phase
        assert member.expr.dtype is not None
        stores.append(
            Store(
                ref, member.expr.dtype, group.own_layout(member.row), member.expr, member.row, phase
            )
        )
    kept = group.kept_shape
    flat = Layout.contiguous(kept)
    for f, refs in enumerate(group.partials):
        for j, ref in enumerate(refs):
            dtype = dtype_of(ref)
            layout = _spread(flat, group)
            stores.append(Store(ref, dtype, layout, leaf(f"r{f}_{j}", dtype), True, 0))
    return stores


def _spread(flat: Layout, group: Group) -> Layout:
    strides = iter(flat.strides)
    reduced = group.reduced or ()
    return Layout(
        group.shape,
        tuple(0 if d in reduced else next(strides) for d in range(len(group.shape))),
        0,
    )


def _used_folds(group: Group, exprs: Sequence[Expr]) -> list[int]:
    """Return the folds that `exprs` depend on, directly or through other folds."""
    used: set[int] = set()
    pending = list(exprs) if group.folds else []
    while pending:
        for label in free_names(pending.pop()):
            if label[0] == "r":
                f = int(label[1:].partition("_")[0])
                if f not in used:
                    used.add(f)
                    pending.extend(group.folds[f].element)
    return sorted(used)


def _loop(
    group: Group,
    entries: Sequence[Entry],
    dtype_of: Callable[[Ref], DType],
    traits: DeviceTraits,
    tested: Tested | None = None,
) -> Step:
    stores = _stores(group, entries, dtype_of)
    fold_ids = _used_folds(group, [s.expr for s in stores])
    folds = [group.folds[f] for f in fold_ids]
    used = [(s.expr, s.phase) for s in stores] + [(e, f.phase) for f in folds for e in f.element]
    found = [] if tested is None else tested.found(group, used)
    exprs = [expr for expr, _ in used] or [expr for _, expr, _ in found]
    # number what is used by first use
    rename: dict[str, Expr] = {}
    reads: list[tuple[Ref | None, Layout, DType]] = []
    labels: list[str] = []
    scalars: list[tuple[Ref | None, int, DType]] = []
    counts = {"x": 0, "i": 0}
    for item in leaves_of(exprs):
        letter = item.label[0]
        assert item.dtype is not None
        if letter in counts:
            ref, layout = group.leaves[item.label]
            rename[item.label] = leaf(f"{letter}{counts[letter]}", item.dtype)
            counts[letter] += 1
            reads.append((ref, layout, item.dtype))
            labels.append(rename[item.label].label)
        elif letter == "s":
            rename[item.label] = leaf(f"s{len(scalars)}", item.dtype)
            scalars.append(group.scalars[int(item.label[1:])])
        elif letter == "r":
            f, _, j = item.label[1:].partition("_")
            rename[item.label] = leaf(f"r{fold_ids.index(int(f))}_{j}", item.dtype)
    layouts = [r[1] for r in reads] + [s.layout for s in stores]
    reduced = group.reduced or () if folds else ()
    windows = [x.windows if isinstance(x, Windowed) else () for x in layouts]
    if any(windows):  # which belong to their dims: nothing is merged
        kept_shape, kept_strides = group.shape, [x.strides for x in layouts]
    else:
        kept_shape, kept_strides = _merged(
            [kept_layout(x, reduced) for x in layouts],
            lead=len(reads) if group.single is not None else -1,
        )
    # the folded dims stay as the order of folding has them
    folded_shape = tuple(group.shape[d] for d in reduced)
    folded_strides = [tuple(x.strides[d] for d in reduced) for x in layouts]
    if not kept_shape:
        kept_shape, kept_strides = (1,), [(0,)] * len(layouts)
    shape = kept_shape + folded_shape
    reaches = [
        Reach(k + f, layout.offset, w)
        for k, f, layout, w in zip(kept_strides, folded_strides, layouts, windows, strict=True)
    ]
    read_reach, store_reach = reaches[: len(reads)], reaches[len(reads) :]
    read_access = [
        access_of(None if ref is None else dtype, reach, shape)
        for (ref, _, dtype), reach in zip(reads, read_reach, strict=True)
    ]
    renamed = iter(substitute_all([expr for expr, _ in used], rename))
    store_specs = [
        StoreSpec(access_of(s.dtype, reach, shape), next(renamed), s.phase)
        for s, reach in zip(stores, store_reach, strict=True)
    ]
    fold_specs = tuple(
        FoldSpec(
            f.phase, f.fold.dtypes, f.fold.init,
            tuple([next(renamed) for _ in f.element]), f.fold.combine,
        )
        for f in folds
    )  # fmt: skip
    if folds:
        assert group.order is not None
        lanes, width = group.order.lanes, group.order.width
        group_size, across = group.order.group, group.order.across
        if lanes == "kept":
            width = _width(kept_shape[-1], exprs, traits)
    else:
        lanes, width = "kept", _width(kept_shape[-1], exprs, traits)
        group_size = across = 0
    split = bool(group.split) and bool(folds)
    checks = () if tested is None else tested.specs(found, rename)
    spec = LoopSpec(
        rank=len(shape), reduced=len(folded_shape), reads=tuple(read_access),
        scalars=tuple(d for _, _, d in scalars), folds=fold_specs, stores=tuple(store_specs),
        lanes=lanes, width=width, group=group_size, across=across, split=split,
        tiled=_tile(shape, [*read_access, *(s.access for s in store_specs)], folds, width, traits),
        index64=_needs_64_bits(shape, reaches), checks=checks,
    )  # fmt: skip
    extra, global_size, local_size = _geometry(spec, shape, group.split, traits)
    known = {} if tested is None else tested.arguments(found)
    args: list[StepArg] = []
    refs = [r for r, _, _ in reads]
    for arg in loop_arguments(spec, shape, read_reach, store_reach, extra):
        what, *rest = arg
        if what == "read":
            ref = refs[rest[0]]
            assert ref is not None
            args.append(("ref", ref))
        elif what == "store":
            args.append(("ref", stores[rest[0]].ref))
        elif what == "scalar":
            entry, position, _ = scalars[rest[0]]
            args.append(("int", position) if entry is None else ("scalar", entry, position))
        else:
            args.append(known.get(arg, arg))
    touched: dict[Ref, list[tuple[Layout, int]]] = {}
    last = max([f.phase for f in folds] + [s.phase for s in stores], default=0)
    if not folds and any(s.row for s in stores):
        last += 1  # a value per row is written at each point, between reads of the others
    uses, written = spec.uses(traits)
    for k, phase in written.items():
        stores[k].phase = phase
    for (ref, layout, _), label in zip(reads, labels, strict=True):
        if ref is not None:
            touched.setdefault(ref, []).append((layout, uses.get(label, last)))
    return Step(group, [Launch(spec, tuple(args), global_size, local_size)], touched, stores)


def _merged(layouts: Sequence[Layout], lead: int) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Merge dims; with a `lead` after sorting them so that that layout's strides descend."""
    if lead < 0:
        return collapse(layouts)
    others = [x for k, x in enumerate(layouts) if k != lead]
    shape, (first, *strides) = permuted_collapse([layouts[lead], *others])
    strides.insert(lead, first)
    return shape, strides


def _tile(
    shape: tuple[int, ...], accesses: Sequence[Access], folds: Sequence[object], width: int,
    traits: DeviceTraits,
) -> int:  # fmt: skip
    """Return how many rows are taken together, or 0 where it does not pay.

    It pays where an operand has its neighbours along the rows' own dim and not along the lanes'. A
    CPU takes as many elements as a cache line has, a work-group of a GPU a square of items: then
    neighbours that one item leaves are read by others of its group.
    """
    if folds or len(shape) < 2 or (traits.is_cpu and width == 1):
        return 0
    crossed = [a for a in accesses if a.pattern[-1] == STRIDED and a.pattern[-2] == UNIT]
    if not traits.is_cpu:
        return SQUARE if crossed and min(shape[-2:]) >= SQUARE else 0
    sizes = [a.dtype.itemsize for a in crossed if a.dtype is not None]
    return CACHE_LINE // min(sizes) if sizes else 0


def _width(extent: int, exprs: Sequence[Expr], traits: DeviceTraits) -> int:
    """Return the vector width along a dim of `extent` elements: 1 where it is too short."""
    if not traits.is_cpu:
        return 1
    sizes = [
        x.dtype.itemsize for x in leaves_of(exprs) if x.dtype is not None and x.label[0] != "i"
    ]
    width = traits.vector_width(max(sizes, default=4))
    return width if extent >= width else 1


def _geometry(
    spec: LoopSpec, shape: tuple[int, ...], parts: int, traits: DeviceTraits
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]:
    """Return the template's extra arguments, the global and the local size."""
    kept = shape[: spec.kept]
    rows = fresh_numel(kept)
    extra: tuple[int, ...] = ()
    if not spec.folds:
        last = shape[-1]
        if traits.is_cpu:
            per = TILE if spec.tiled else -(-last // CPU_ITEMS) if len(shape) == 1 else last
            least = TILE if spec.tiled else 2048
            segment = min(max(-(-per // spec.width) * spec.width, least), 16384)
        else:
            segment = spec.width
        if spec.tiled and not traits.is_cpu:
            squares = -(-shape[-2] // SQUARE) * -(-last // SQUARE)
            items = fresh_numel(shape[:-2]) * squares * SQUARE * SQUARE
        else:
            extra = (segment,)
            items = fresh_numel(shape[:-1]) * -(-last // segment) // (spec.tiled or 1)
    elif spec.lanes == "kept":
        items = (
            rows // shape[spec.kept - 1] * max(shape[spec.kept - 1] // spec.width, 1) if rows else 0
        )
    else:
        items = rows
    if spec.split:
        extra = (parts, chunk_length(shape[spec.kept], parts))
        items *= parts
    if spec.lanes == "group":
        return extra, (min(items, 4096) * spec.group,), (spec.group,)
    if traits.is_cpu:
        return extra, (max(1, min(items, CPU_ITEMS)),), (1,)
    local = min(traits.preferred_work_group, traits.max_work_group)
    groups = max(1, min(-(-items // local), GPU_ITEMS // local * 16))
    return extra, (groups * local,), (local,)


def _needs_64_bits(shape: tuple[int, ...], reaches: Sequence[Reach]) -> bool:
    limit = INDEX_LIMIT
    if fresh_numel(shape) >= limit:
        return True
    return any(
        r.offset + sum(max(s * (n - 1), 0) for s, n in zip(r.strides, shape, strict=True)) >= limit
        for r in reaches
    )


def look(ref: Ref, number: int, dtype: DType, tested: Tested, traits: DeviceTraits) -> Step:
    """Return a step that only tests a result, where nobody else reads all of it.

    Args:
        number: of the new group.
    """
    group = Group(number, (tested.missing[ref],))
    group.read(ref, Layout.contiguous(group.shape), dtype)
    return _loop(group, (), _no_temporary, traits, tested)


def _no_temporary(ref: Ref) -> DType:
    raise AssertionError(f"lower: {ref} is no temporary")


def _kernel(
    group: Group, entries: Sequence[Entry], traits: DeviceTraits, tested: Tested | None
) -> Step:
    """Let the op's own family lower it, with the pointwise ops that were taken into it."""
    e = group.single
    assert e is not None
    entry = entries[e]
    sig = entry.sig
    assert sig.lower is not None
    tail = e if group.tail is None else group.tail
    known: dict[Arg, StepArg] = {("out",): ("ref", tail), ("flag",): ("flag", e)}
    found: list[Found] = []
    if tested is not None:
        if tail in group.members:
            found = tested.found(group, [(group.members[tail].expr, 0)])
        elif e in tested.kinds:
            tested.missing[e] = sig.meta.numel
    epilogue, beside = None, Beside()
    if tail != e or found:
        epilogue, beside = epilogue_of(group, tail, tested, found)
    operands: list[tuple[Ref | None, Layout]] = list(zip(entry.sources, sig.reads, strict=True))
    fed: list[Prologue | None] = [None] * len(operands)
    made = Beside()
    for k, expr in group.fed.items():
        fed[k], operands[k] = prologue_of(group, expr, sig.reads[k], made)
    lowered = sig.lower(sig, traits, epilogue, *([tuple(fed)] if group.fed else []))
    if tested is not None and found:
        assert any(("checks",) in x.args for x in lowered.launches), f"{sig}: tests were left out"
        known |= tested.arguments(found)
    for k, (ref, layout) in enumerate(operands):
        known["in", k] = ("ref", ref)
        known["in_offset", k] = ("int", layout.offset)
    for k, (other, layout) in enumerate(beside.operands):
        known["extra", k] = ("ref", other)
        known["extra_offset", k] = ("int", layout.offset)
    for k, number in enumerate(beside.numbers):
        known["number", k] = number
    for k, (other, layout) in enumerate(made.operands):
        known["fed", k] = ("ref", other)
        known["fed_offset", k] = ("int", layout.offset)
    for k, number in enumerate(made.numbers):
        known["fed_number", k] = number
    for k in range(len(sig.scalars)):
        known["scalar", k] = ("scalar", e, k)
    launches = [
        Launch(
            x.spec, tuple(known.get(arg) or _common(arg) for arg in x.args), x.global_size,
            x.local_size,
        )
        for x in lowered.launches
    ]  # fmt: skip
    reads: dict[Ref, list[tuple[Layout, int]]] = {}
    for source, layout in [*operands, *made.operands, *beside.operands]:
        if source is not None:
            reads.setdefault(source, []).append((layout, 0))
    meta = entries[tail].sig.meta
    store = Store(tail, meta.dtype, Layout.contiguous(meta.shape), leaf("acc"), False, 0)
    return Step(group, launches, reads, [store], lowered.temporaries)


def _common(arg: Arg) -> StepArg:
    """Return an argument that is the same for a plan: a number, scratch, the flags."""
    assert arg == ("flags",) or (arg[0] in ("int", "temp") and len(arg) == 2), arg
    return arg
