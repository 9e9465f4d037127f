"""Sorting along one dim: where each element of the sorted row comes from. Stable; NaN last.

    rows      short rows, or few elements wanted: a work-item each, in private memory
    row       longer rows where there are many: all digits of a row by one work-item
    count offsets scatter   few long rows: three launches for each digit, rows cut into parts

Nothing needs local memory or atomics, so the result depends on nothing but the elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Arg, Lowered, LoweredLaunch
from clgrad.codegen.template import render_kernel
from clgrad.dtypes import DType
from clgrad.shapes import merge_dims
from clgrad.traits import DeviceTraits

SHORT, SHORT_OF_CPU = 128, 32
"""Elements up to which a row is sorted in private memory."""
MOST_TAKEN = 32
"""Elements that are selected by insertion, without sorting the row."""
PART = 8192
"""Elements of a part at least, where long rows are cut."""
ITEMS = 64
INDEX_LIMIT = 2**31 - 2**16
_INFINITY = {"float16": "0x7c00", "bfloat16": "0x7f80", "float32": "0x7f800000",
             "float64": "0x7ff0000000000000"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SortProblem:
    """A sort of `length` elements along one dim, beside `outer` others.

    Attributes:
        outer: sizes of the other dims; `strides` of the operand, `out_strides` of the result.
        step, out_step: strides along the sorted dim.
        take: how many of the first are wanted; `length` for all.
    """

    dtype: DType
    outer: tuple[int, ...]
    strides: tuple[int, ...]
    out_strides: tuple[int, ...]
    length: int
    step: int
    out_step: int
    descending: bool
    take: int


@dataclass(frozen=True, slots=True)
class SortSpec:
    """One kernel of a sort; see the templates `sort_rows` and `sort_radix`."""

    stage: str
    dtype: DType
    outer: int
    descending: bool
    index64: bool
    limit: int = 0
    take: bool = False
    digit: int = 8
    first: bool = False
    last: bool = False
    group: int = 0

    @property
    def bits(self) -> int:
        return self.dtype.itemsize * 8

    @property
    def packed(self) -> bool:
        return self.bits <= 32

    def parameters(self) -> list[tuple[str, str]]:
        """Return (declaration, argument type) of each parameter."""
        stage, out = self.stage, []
        reads = stage in ("rows", "row") or (self.first and stage != "offsets")
        writes = stage in ("rows", "row") or (self.last and stage == "scatter")
        if reads:
            out.append((f"__global const {self.dtype.cl} *x", "buffer"))
        if writes:
            out.append(("__global long *y", "buffer"))
        if stage in ("count", "offsets", "scatter"):
            out.append(("__global uint *counts", "buffer"))
        held = []
        if stage == "row" or (stage in ("count", "scatter") and not self.first):
            held += ["a", "p"]
        if stage == "row" or (stage == "scatter" and not self.last):
            held += ["b", "q"]
        out += [
            (f"__global {'ulong' if name in 'ab' else 'uint'} *{name}", "buffer")
            for name in held if name in "ab" or not self.packed
        ]  # fmt: skip
        wide = "long" if self.index64 else "int"
        numbers = [("x_offset", "long")] if reads else []
        if stage == "offsets":
            numbers += [("rows", wide), ("parts", "int")]
        else:
            numbers += [(f"n{d}", wide) for d in range(self.outer)]
            numbers += [(f"x_s{d}", "long") for d in range(self.outer)] if reads else []
            numbers += [("n", "int")] + ([("step", "long")] if reads else [])
            if writes:
                numbers += [(f"y_s{d}", "long") for d in range(self.outer)] + [("y_step", "long")]
            numbers += [("take", "int")] if self.take else []
            numbers += [("parts", "int"), ("chunk", "int"), ("shift", "int")] if (
                stage in ("count", "scatter")
            ) else []  # fmt: skip
        return out + [(f"const {t} {n}", "l" if t == "long" else "i") for n, t in numbers]

    def _title(self) -> list[str]:
        order = "descending" if self.descending else "ascending"
        what = {
            "rows": f"where each element of a row in {order} order comes from",
            "row": f"where each element of a row in {order} order comes from, digit by digit",
            "count": "how often each digit occurs in each part of a row",
            "offsets": "where the first of each digit and part goes",
            "scatter": "every element to the place of its digit",
        }[self.stage]
        return [what]

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        parameters = self.parameters()
        template = "sort_rows" if self.stage == "rows" else "sort_radix"
        shared = {
            "title": self._title(), "parameters": [p for p, _ in parameters],
            "index": "long" if self.index64 else "int", "is_cpu": traits.is_cpu,
            "outer": self.outer, "bits": self.bits, "cl": self.dtype.cl,
            "kind": "u" if self.dtype.kind == "b" else self.dtype.kind,
            "infinity": _INFINITY.get(self.dtype.name, ""), "descending": self.descending,
        }  # fmt: skip
        if self.stage == "rows":
            own: dict[str, object] = {
                "limit": self.limit,
                "take": self.take,
                "group": self.group,
            }
        else:
            own = {
                "stage": self.stage, "digit": self.digit, "first": self.first, "last": self.last,
                "packed": self.packed, "group": self.group,
            }  # fmt: skip
        name, source = render_kernel(f"{template}.cl.j2", template, **shared, **own)
        return KernelSource(name, source, (), (), tuple(kind for _, kind in parameters))


def lower_sort(problem: SortProblem, traits: DeviceTraits) -> Lowered:
    """Return the launches of a sort."""
    sizes, strides = merge_dims(problem.outer, (problem.strides, problem.out_strides))
    outer, x_strides, y_strides = sizes or (1,), strides[0] or (0,), strides[1] or (0,)
    rows, n = prod(outer), problem.length
    wide = rows * n >= INDEX_LIMIT
    values: dict[str, Arg] = {
        "x": ("in", 0), "y": ("out",), "x_offset": ("in_offset", 0), "n": ("int", n),
        "step": ("int", problem.step), "y_step": ("int", problem.out_step),
        "take": ("int", problem.take), "rows": ("int", rows),
    }  # fmt: skip
    for d in range(len(outer)):
        values[f"n{d}"] = ("int", outer[d])
        values[f"x_s{d}"] = ("int", x_strides[d])
        values[f"y_s{d}"] = ("int", y_strides[d])

    def launch(spec: SortSpec, items: int, **given: Arg) -> LoweredLaunch:
        names = [text.rsplit(" ", 1)[1].lstrip("*") for text, _ in spec.parameters()]
        known = values | given
        given_args = tuple(known[k] for k in names)
        if spec.group:
            groups = max(1, min(items, 1 << 13))
            return LoweredLaunch(spec, given_args, (groups * spec.group,), (spec.group,))
        return LoweredLaunch(spec, given_args, *_sizes(items, traits))

    def spec(stage: str, **named: object) -> SortSpec:
        return SortSpec(stage, problem.dtype, len(outer), problem.descending, wide, **named)  # type: ignore[arg-type]  # its own fields

    if problem.take < n and problem.take <= MOST_TAKEN:
        limit = 1 << max(problem.take - 1, 0).bit_length()
        group = _sharing(n, limit, problem.dtype.itemsize, traits)
        return Lowered((), (launch(spec("rows", limit=limit, take=True, group=group), rows),))
    if n <= (SHORT_OF_CPU if traits.is_cpu else SHORT):
        limit = max(16, 1 << max(n - 1, 0).bit_length())
        return Lowered((), (launch(spec("rows", limit=limit), rows),))
    packed = problem.dtype.itemsize <= 4
    if traits.is_cpu and (rows >= 2 * traits.compute_units or n < 4 * PART):
        count = min(rows, ITEMS) * n
        held = (count * 8, count * 8) + (() if packed else (count * 4, count * 4))
        temps: dict[str, Arg] = {name: ("temp", k) for k, name in enumerate("abpq")}
        return Lowered(held, (launch(spec("row"), rows, **temps),))
    return _digits(problem, rows, launch, spec, traits)


def _digits(
    problem: SortProblem,
    rows: int,
    launch: Callable[..., LoweredLaunch],
    spec: Callable[..., SortSpec],
    traits: DeviceTraits,
) -> Lowered:
    """Return the launches for few long rows: three for each digit."""
    n, bits = problem.length, problem.dtype.itemsize * 8
    digit = 8 if traits.is_cpu else 4
    least, enough = (PART, 4 * traits.compute_units) if traits.is_cpu else (256, 16384)
    parts = max(1, min(-(-enough // rows), n // least))
    chunk = -(-n // parts)
    parts = -(-n // chunk)
    bins, passes = 1 << digit, bits // digit
    group = 0 if traits.is_cpu else 1 << min(8, traits.max_work_group.bit_length() - 1)
    packed = problem.dtype.itemsize <= 4
    held = [rows * parts * bins * 4]
    if passes > 1:
        held += [rows * n * 8] * 2
        held += [] if packed else [rows * n * 4] * 2
    launches = []
    for d in range(passes):
        named = {"digit": digit, "first": d == 0, "last": d == passes - 1}
        source, target = (1, 2) if d % 2 else (2, 1)
        given: dict[str, Arg] = {
            "counts": ("temp", 0), "a": ("temp", source), "b": ("temp", target),
            "p": ("temp", source + 2), "q": ("temp", target + 2), "shift": ("int", d * digit),
            "parts": ("int", parts), "chunk": ("int", chunk),
        }  # fmt: skip
        launches += [
            launch(spec("count", **(named | {"last": False})), rows * parts, **given),
            launch(spec("offsets", digit=digit, group=group), rows, **given),
            launch(spec("scatter", **named), rows * parts, **given),
        ]
    return Lowered(tuple(held), tuple(launches))


def _sharing(n: int, limit: int, itemsize: int, traits: DeviceTraits) -> int:
    """Return how many items of a GPU share a row of which at most `limit` elements are wanted."""
    group = min(64, 1 << (traits.max_work_group.bit_length() - 1))
    while group * (limit * (itemsize + 4) + 4) > traits.local_bytes:
        group //= 2
    return 0 if traits.is_cpu or n < 4 * group else group


def _sizes(items: int, traits: DeviceTraits) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return global and local size for items that loop over their share."""
    if traits.is_cpu:
        return (max(1, min(items, ITEMS)),), (1,)
    local = min(traits.preferred_work_group, traits.max_work_group)
    return (max(1, min(-(-items // local), 1024)) * local,), (local,)
