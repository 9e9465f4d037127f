"""Running folds along one dim (cumsum and the like): spec, statements, lowering.

    rows     every element; from the carry of its part where rows are cut
    totals   the fold of each part of a row
    carries  what precedes each part, in place of the totals

Lanes run along the last of the other dims where that is contiguous. On GPUs rows that lie along the
scanned dim, and are long, are folded by work-groups through local memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.template import render_kernel
from clgrad.dtypes import DType, bool_
from clgrad.expr import (
    Expr,
    helper_source,
    helpers_in,
    load_conversion,
    render,
    store_conversion,
)
from clgrad.shapes import merge_dims
from clgrad.traits import DeviceTraits

BLOCK = 64
"""Elements that are folded by themselves before they are joined with what precedes them."""
PART = 16384
"""Elements of a part at least, where rows are cut."""
INDEX_LIMIT = 2**31 - 2**16
EACH = 4
"""Elements of a work-item in a tile of a work-group."""
PARTS = 256
"""Parts of a row at most where work-groups fold them: the items of the group for their carries."""


@dataclass(frozen=True, slots=True)
class ScanFold:
    """What is folded: typed formulas over `x0` and `i`, over `a0…` and `b0…`, over `a0…`.

    `i` is the position along the dim; `dtypes` are those of the accumulators.
    """

    dtypes: tuple[DType, ...]
    init: tuple[Expr, ...]
    element: tuple[Expr, ...]
    combine: tuple[Expr, ...]
    finish: Expr


@dataclass(frozen=True, slots=True)
class ScanProblem:
    """A scan of `length` elements along one dim, beside `outer` others.

    Attributes:
        outer: sizes of the other dims; `strides` of the operand, `out_strides` of the result.
        step, out_step: strides along the scanned dim.
        reverse: from the end.
        wide: the same fold in float64, for devices where that costs little.
    """

    fold: ScanFold
    wide: ScanFold | None
    dtype: DType
    out_dtype: DType
    outer: tuple[int, ...]
    strides: tuple[int, ...]
    out_strides: tuple[int, ...]
    length: int
    step: int
    out_step: int
    reverse: bool


@dataclass(frozen=True, slots=True)
class ScanSpec:
    """One scan kernel; see the template."""

    stage: str
    fold: ScanFold
    dtype: DType
    out_dtype: DType
    outer: int
    width: int
    split: bool
    reverse: bool
    blocked: bool
    index64: bool
    group: int = 0

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        text = _Text(self, traits)
        parameters = text.parameters()
        if self.group:
            family, variables = "scan_group", text.group_body()
        else:
            widths = (self.width, 1) if self.width > 1 else (1,)
            family, variables = "scan", {"bodies": [text.body(w) for w in widths]}
        name, source = render_kernel(
            f"{family}.cl.j2", family, title=text.title(), parameters=[p for p, _ in parameters],
            stage=self.stage, index=text.index, is_cpu=traits.is_cpu, outer=self.outer,
            split=self.split, reverse=self.reverse, block=BLOCK if self.blocked else 0,
            cell=text.cell(), **variables,
        )  # fmt: skip
        helpers = (*text.typedefs, *(helper_source(key) for key in helpers_in(source)))
        return KernelSource(name, source, helpers, (), tuple(kind for _, kind in parameters))


class _Text:
    """The statements of a scan kernel."""

    def __init__(self, spec: ScanSpec, traits: DeviceTraits) -> None:
        self.spec = spec
        self.traits = traits
        self.index = "long" if spec.index64 else "int"
        self.typedefs: list[str] = []

    def title(self) -> list[str]:
        spec = self.spec
        what = {
            "rows": "each element: the fold of all up to it",
            "totals": "the fold of each part of a row",
            "carries": "what precedes each part, in place of its fold",
        }[spec.stage]
        return [what + (", from the end" if spec.reverse else "")]

    def parameters(self) -> list[tuple[str, str]]:
        spec = self.spec
        out: list[tuple[str, str]] = []
        if spec.stage != "carries":
            out.append((f"__global const {spec.dtype.cl} *x", "buffer"))
        if spec.stage == "rows":
            out.append((f"__global {spec.out_dtype.cl} *y", "buffer"))
        if spec.split:
            out += [
                (f"__global {d.register} *held{j}", "buffer")
                for j, d in enumerate(spec.fold.dtypes)
            ]
        names = ["x_offset"] if spec.stage != "carries" else []
        names += [f"n{d}" for d in range(spec.outer)]
        if spec.stage != "carries":
            names += [f"x_s{d}" for d in range(spec.outer)] + ["n", "x_step"]
        if spec.stage == "rows":
            names += [f"y_s{d}" for d in range(spec.outer)] + ["y_step"]
        names += ["parts"] if spec.split else []
        names += ["chunk"] if spec.split and spec.stage != "carries" else []
        kind = "l" if spec.index64 else "i"
        return out + [(f"const {self.index} {n}", kind) for n in names]

    def cell(self) -> str:
        """Return where the fold of part 0 of a row is held; the last dim is contiguous."""
        terms = "0"
        for d in range(self.spec.outer):
            terms = f"c{d}" if d == 0 else f"({terms}) * n{d} + c{d}"
        return terms

    def _rows(self) -> str:
        return " * ".join(f"n{d}" for d in range(self.spec.outer))

    def _type(self, dtype: DType, width: int) -> str:
        return dtype.register if width == 1 else f"{dtype.register}{width}"

    def _pointer(self, base: str, width: int, constant: bool) -> str:
        name = f"cg_{base}{width}_at_{base}"
        size = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4}
        text = f"typedef {base}{width} {name} __attribute__((aligned({size.get(base, 8)})));"
        if text not in self.typedefs:
            self.typedefs.append(text)
        return f"(__global {'const ' if constant else ''}{name} *)"

    def _read(self, base: str, at: str, width: int) -> str:
        if width == 1:
            return f"({at})[0]"
        if self.traits.unaligned_vectors:
            return f"*{self._pointer(base, width, True)}({at})"
        return f"vload{width}(0, {at})"

    def _write(self, base: str, at: str, value: str, width: int) -> str:
        if width == 1:
            return f"({at})[0] = {value};"
        if self.traits.unaligned_vectors:
            return f"*{self._pointer(base, width, False)}({at}) = {value};"
        return f"vstore{width}({value}, 0, {at});"

    def _fold(self, into: str, a: str, b: str, width: int) -> list[str]:
        """Return the lines of `into = combine(a, b)`, of all accumulators at once."""
        fold = self.spec.fold
        names = {
            f"{s}{j}": f"{n}{j}" for s, n in (("a", a), ("b", b)) for j in range(len(fold.dtypes))
        }
        made = render(list(fold.combine), names, width)
        lines = list(made.statements)
        if len(fold.dtypes) == 1:
            lines.append(f"{into}0 = {made.results[0]};")
        else:
            for j, (dtype, result) in enumerate(zip(fold.dtypes, made.results, strict=True)):
                lines.append(f"const {self._type(dtype, width)} z{j} = {result};")
            lines += [f"{into}{j} = z{j};" for j in range(len(fold.dtypes))]
        return ["{", *(f"    {line}" for line in lines), "}"] if len(lines) > 1 else lines

    def _declared(self, name: str, width: int) -> list[str]:
        """Return declarations of accumulators called `name`, at their start."""
        fold, lines = self.spec.fold, []
        for j, (dtype, init) in enumerate(zip(fold.dtypes, fold.init, strict=True)):
            (value,) = render([init], {}, width).results
            lines.append(f"{self._type(dtype, width)} {name}{j} = {value};")
        return lines

    def _held(self, j: int) -> str:
        return f"held{j} + part * ({self._rows()}) + cell"

    def body(self, width: int) -> dict[str, Any]:
        """Return the pieces of the template for one width."""
        spec, fold = self.spec, self.spec.fold
        load = [
            f"const {self._type(d, width)} was{j} = {self._read(d.register, self._held(j), width)};"
            for j, d in enumerate(fold.dtypes)
        ]

        def keep(name: str) -> list[str]:
            return [
                self._write(d.register, self._held(j), f"{name}{j}", width)
                for j, d in enumerate(fold.dtypes)
            ]

        return {
            "width": width,
            "start": self._start(width),
            "load": load,
            "carry": [*load, *keep("all"), *self._fold("all", "all", "was", width)],
            "resume": [*load, *(f"all{j} = was{j};" for j in range(len(fold.dtypes)))],
            "local": self._declared("local", width),
            "step": self._step(width) if spec.stage != "carries" else [],
            "join": self._fold("all", "all", "local", width),
            "keep": keep("all"),
        }

    def group_body(self) -> dict[str, Any]:
        """Return what `scan_group.cl.j2` takes beside the variables of `scan.cl.j2`.

        Accumulators: `all` what precedes a tile, `own` an item's, `run` up to each of its elements,
        `before` what precedes the item, `base` all that does.
        """
        spec, fold, plain = self.spec, self.spec.fold, self.body(1)
        folds = [
            {"type": d.register, "start": render([init], {}, 1).results[0]}
            for d, init in zip(fold.dtypes, fold.init, strict=True)
        ]
        take, give = [], []
        for u in range(EACH if spec.stage != "carries" else 0):
            take.append(self._element(1) + self._fold("own", "own", "next", 1))
            take[-1] += [f"run{u}_{j} = own{j};" for j in range(len(folds))]
            up = [f"{d.register} up{j};" for j, d in enumerate(fold.dtypes)]
            up += self._fold("up", "base", f"run{u}_", 1)
            give.append(up + self._result("up", 1) if spec.stage == "rows" else [])
        lines = {name: plain[name] for name in ("start", "resume", "keep", "load")} | {
            "take": take, "give": give, "climb": self._fold("own", "before", "own", 1),
            "base": self._fold("base", "base", "before", 1),
            "total": self._fold("all", "all", "before", 1),
        }  # fmt: skip
        return {"group": spec.group, "each": EACH, "folds": folds, "lines": lines}

    def _start(self, width: int) -> list[str]:
        spec = self.spec
        dims = range(spec.outer)
        lines = self._declared("all", width)
        if spec.stage != "carries":
            at = " + ".join(["x_offset", *(f"c{d} * x_s{d}" for d in dims)])
            lines.append(f"__global const {spec.dtype.cl} *from = x + {at};")
        if spec.stage == "rows":
            at = " + ".join(f"c{d} * y_s{d}" for d in dims)
            lines.append(f"__global {spec.out_dtype.cl} *to = y + {at};")
        return lines

    def _element(self, width: int) -> list[str]:
        """Return the lines that make accumulators `next` of one element."""
        spec, fold = self.spec, self.spec.fold
        raw = self._read(spec.dtype.cl, "from + at * x_step", width)
        lines = [
            f"const {self._type(spec.dtype, width)} e = {load_conversion(spec.dtype, width, raw)};"
        ]
        position = "(long)at" if width == 1 else f"(long{width})(at)"
        made = render(list(fold.element), {"x0": "e", "i": position}, width)
        lines += made.statements
        for j, (dtype, result) in enumerate(zip(fold.dtypes, made.results, strict=True)):
            lines.append(f"const {self._type(dtype, width)} next{j} = {result};")
        return lines

    def _result(self, of: str, width: int) -> list[str]:
        """Return the lines that store what the accumulators `of` come to."""
        spec, fold = self.spec, self.spec.fold
        names = {f"a{j}": f"{of}{j}" for j in range(len(fold.dtypes))}
        final = render([fold.finish], names, width)
        value = store_conversion(spec.out_dtype, width, final.results[0])
        return [
            *final.statements, self._write(spec.out_dtype.cl, "to + at * y_step", value, width)
        ]  # fmt: skip

    def _step(self, width: int) -> list[str]:
        """Return the lines that take one element in, and store the fold up to it."""
        spec, fold = self.spec, self.spec.fold
        into = "local" if spec.blocked else "all"
        lines = self._element(width) + self._fold(into, into, "next", width)
        if spec.stage == "totals":
            return lines
        if spec.blocked:
            lines += [f"{self._type(d, width)} up{j};" for j, d in enumerate(fold.dtypes)]
            lines += self._fold("up", "all", "local", width)
            into = "up"
        return lines + self._result(into, width)


def lower_scan(problem: ScanProblem, traits: DeviceTraits) -> Lowered:
    """Return the launches of a scan."""
    sizes, rows = merge_dims(problem.outer, (problem.strides, problem.out_strides))
    outer, strides, out_strides = sizes or (1,), rows[0] or (0,), rows[1] or (0,)
    cheap = traits.is_cpu and traits.fp64
    fold = problem.wide if problem.wide is not None and cheap else problem.fold
    blocked = problem.wide is not None and not cheap
    width = _width(problem, fold, outer[-1], strides[-1], out_strides[-1], traits)
    count = prod(outer)
    vectors = count // outer[-1] * (outer[-1] // width + outer[-1] % width)
    group = _group(problem, count, strides[-1], traits)
    parts = _parts(problem.length, vectors, group, traits)
    chunk = -(-problem.length // parts)
    chunk = -(-chunk // BLOCK) * BLOCK
    parts = -(-problem.length // chunk)
    span = max(
        sum(abs(s) * (n - 1) for s, n in zip((*r, step), (*outer, problem.length), strict=True))
        for r, step in ((strides, problem.step), (out_strides, problem.out_step))
    )
    wide = max(span, count * max(problem.length, parts)) >= INDEX_LIMIT
    split = parts > 1

    def spec(stage: str) -> ScanSpec:
        items = PARTS if stage == "carries" and group else group
        return ScanSpec(
            stage, fold, problem.dtype, problem.out_dtype, len(outer), width, split,
            problem.reverse, blocked and not group, wide, items,
        )  # fmt: skip

    def ints(*values: int) -> list[Arg]:
        return [("int", v) for v in values]

    held: list[Arg] = [("temp", j) for j in range(len(fold.dtypes))] if split else []
    operand = [*ints(*outer, *strides, problem.length, problem.step)]
    rows_args: list[Arg] = [
        ("in", 0), ("out",), *held, ("in_offset", 0), *operand,
        *ints(*out_strides, problem.out_step), *(ints(parts, chunk) if split else []),
    ]  # fmt: skip
    launches = []
    if split:
        totals: list[Arg] = [("in", 0), *held, ("in_offset", 0), *operand, *ints(parts, chunk)]
        carries: list[Arg] = [*held, *ints(*outer, parts)]
        launches = [
            _launch(spec("totals"), totals, vectors * parts, traits),
            _launch(spec("carries"), carries, vectors, traits),
        ]
    launches.append(_launch(spec("rows"), rows_args, vectors * parts, traits))
    sizes_of = (
        tuple(count * parts * (4 if d is bool_ else d.itemsize) for d in fold.dtypes)
        if split
        else ()
    )
    return Lowered(sizes_of, tuple(launches))


def _width(
    problem: ScanProblem,
    fold: ScanFold,
    extent: int,
    stride: int,
    out_stride: int,
    traits: DeviceTraits,
) -> int:
    """Return the lanes along the last of the other dims: 1 where it is not contiguous."""
    if not traits.is_cpu or stride != 1 or out_stride != 1:
        return 1
    sizes = [d.itemsize for d in (problem.dtype, problem.out_dtype, *fold.dtypes)]
    width = traits.vector_width(max(sizes))
    while width > extent:
        width //= 2
    return max(width, 1)


def _group(problem: ScanProblem, rows: int, stride: int, traits: DeviceTraits) -> int:
    """Return how many work-items share a row: 0 where each has one, or more, of its own."""
    across = stride == 1 and problem.step != 1 and rows >= 64
    if traits.is_cpu or across or problem.length < 64 or traits.max_work_group < PARTS:
        return 0
    group = 64
    while group < min(traits.preferred_work_group, traits.max_work_group, problem.length // EACH):
        group *= 2
    return group


def _parts(length: int, vectors: int, group: int, traits: DeviceTraits) -> int:
    """Return into how many parts each row is cut: 1 where there are rows enough."""
    if group:
        return max(1, min(4 * traits.compute_units // max(vectors, 1), length // 4096, PARTS))
    enough = 2 * traits.compute_units if traits.is_cpu else 4096
    least = PART if traits.is_cpu else 256
    if vectors >= enough or length < 4 * least:
        return 1
    return max(1, min(4 * enough // vectors, length // least))


def _launch(spec: ScanSpec, args: list[Arg], items: int, traits: DeviceTraits) -> LoweredLaunch:
    if spec.group:
        groups = max(1, min(items, 1 << 13))
        return LoweredLaunch(spec, tuple(args), (groups * spec.group,), (spec.group,))
    return LoweredLaunch(spec, tuple(args), *_sizes(items, traits))


def _sizes(items: int, traits: DeviceTraits) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return global and local size for items that loop over their share."""
    if traits.is_cpu:
        return (max(1, min(items, 64)),), (1,)
    local = min(traits.preferred_work_group, traits.max_work_group)
    return (max(1, min(-(-items // local), 1024)) * local,), (local,)
