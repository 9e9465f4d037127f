"""The statements of a loop kernel: loads, expressions, folds and stores as lines of OpenCL C.

Templates hold the loops; this turns the expressions of a spec into the lines that stand inside
them, once for vectors and once for the scalar tail. Coordinates are called `c0 …`, one per dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clgrad.codegen import checks, loop_windows
from clgrad.codegen.loop_folds import (
    combine,
    fold_parts,
    lanes,
    one_by_one,
    splat,
    vector_type,
)
from clgrad.codegen.loop_parking import DEAR, parked
from clgrad.codegen.loop_spec import BROADCAST, UNIT, Access, FoldSpec, StoreSpec
from clgrad.codegen.loop_title import title
from clgrad.codegen.source import SCALAR_CHARS
from clgrad.dtypes import DType
from clgrad.expr import (
    TABLE,
    Expr,
    count_ops,
    leaves_of,
    load_conversion,
    render,
    replace_parts,
    store_conversion,
)
from clgrad.expr import name as leaf
from clgrad.expr.node import postorder
from clgrad.traits import DeviceTraits

if TYPE_CHECKING:
    from clgrad.codegen.loops import LoopSpec

TAILS = (8, 4)
"""Widths in which the end of a row is computed where a scalar takes as long as a vector."""
COLUMN_VECTORS, COLUMN_VECTORS_OF_LONG, LONG_BODY = 8, 2, 16
"""Vectors that one item of a column reduction folds side by side, so that it reads a row in long
runs; fewer where an element takes more than `LONG_BODY` operations or has many accumulators, whose
registers spill. Measured on 4096 x 4096 floats, two cores: 2.6 ms against 3.8 (4 vectors) and 13
(1); long: 14, 17, 27."""


class LoopText:
    """Everything that a template needs of one spec on one device."""

    def __init__(self, spec: LoopSpec, traits: DeviceTraits) -> None:
        self.spec = spec
        self.traits = traits
        self.index = "long" if spec.index64 else "int"
        self.squares = 0 if traits.is_cpu else spec.tiled
        """Rows and columns of the squares of work-items that a GPU takes, or 0."""
        self.typedefs: list[str] = []
        self._reads: dict[str, tuple[Access, str]] = {}
        arrays = indices = 0
        for k, access in enumerate(spec.reads):
            if access.dtype is None:
                self._reads[f"i{indices}"] = (access, f"i{indices}")
                indices += 1
            else:
                self._reads[f"x{k - indices}"] = (access, f"p{k - indices}")
                arrays += 1
        self._reloads = {f"o{k}": (store.access, f"out{k}") for k, store in enumerate(spec.stores)}
        self.lane = spec.rank - 1 if spec.lanes != "kept" else spec.kept - 1
        self._row_memo: dict[Expr, bool] = {}
        self.near = spec.lanes == "inner" and traits.is_cpu
        """Whether a row that was read is in the nearest cache."""
        usable = self.near and not spec.split
        self.parked = parked(spec.folds, spec.stores, self._is_row) if usable else {}

    # ---- parameters -------------------------------------------------------------------------

    def _accesses(self) -> list[tuple[Access, str]]:
        return [
            *self._reads.values(),
            *((s.access, f"out{k}") for k, s in enumerate(self.spec.stores)),
        ]

    def _parameters(self) -> list[tuple[str, str]]:
        """Return (declaration, argument type) of each parameter."""
        out = []
        for access, label in self._reads.values():
            if access.dtype is not None:
                out.append((f"__global const {access.dtype.cl} *{label}", "buffer"))
        for k, store in enumerate(self.spec.stores):
            assert store.access.dtype is not None
            out.append((f"__global {store.access.dtype.cl} *out{k}", "buffer"))
        for k, dtype in enumerate(self.spec.scalars):
            out.append((f"const {dtype.register} s{k}", SCALAR_CHARS[dtype.register]))
        char = SCALAR_CHARS[self.index]
        names = []
        for access, label in self._accesses():
            if access.offset:
                names.append(f"{label}_offset")
            names += [f"{label}_s{d}" for d, p in enumerate(access.pattern) if p > UNIT]
            names += loop_windows.parameters(access, label)
        names += [f"n{d}" for d in range(self.spec.rank)]
        names += ["parts", "chunk"] if self.spec.split else []
        names += [] if self.spec.folds or self.squares else ["segment"]
        out += [(f"const {self.index} {n}", char) for n in names]
        return [*out, *checks.PARAMETERS] if self.spec.checks else out

    def argument_types(self) -> tuple[str, ...]:
        return tuple(char for _, char in self._parameters())

    # ---- levels -----------------------------------------------------------------------------

    def _is_row(self, expr: Expr) -> bool:
        """Whether `expr` has one value per row: nothing in it varies along the reduced dims."""
        memo = self._row_memo
        stack = [expr]
        while stack:
            e = stack[-1]
            if e in memo:
                stack.pop()
                continue
            if e.op == "name":
                memo[e] = self._leaf_is_row(e.label)
            else:
                missing = [a for a in e.args if a not in memo]
                if missing:
                    stack.extend(missing)
                    continue
                memo[e] = all(memo[a] for a in e.args)
            stack.pop()
        return memo[expr]

    def _leaf_is_row(self, label: str) -> bool:
        if label[0] in "rsh":
            return True
        if label[0] in "abo":
            return False
        access, _ = self._reads[label]
        return all(p == BROADCAST for p in access.pattern[self.spec.kept :])

    def hoist(self, exprs: Sequence[Expr], table: dict[Expr, Expr]) -> list[Expr]:
        """Replace the largest row-level parts of `exprs` by leaves `h0…`, noted in `table`."""
        out = []
        for root in exprs:
            parts = []
            stack, seen = [root], set()
            while stack:
                e = stack.pop()
                if e in seen:
                    continue
                seen.add(e)
                if e.op != "const" and self._is_row(e):
                    parts.append(e)
                else:
                    stack.extend(e.args)
            result = root
            for part in parts:
                if part.op == "name" and part.label[0] in "rs":
                    continue
                if part not in table:
                    table[part] = leaf(f"h{len(table)}", part.dtype)
            if any(p in table for p in parts):
                result = replace_parts(root, {p: table[p] for p in parts if p in table})
            out.append(result)
        return out

    # ---- loads, values, stores ----------------------------------------------------------------

    def _address(self, access: Access, label: str) -> str:
        terms = [f"{label}_offset"] if access.offset else []
        for d, p in enumerate(access.pattern):
            if p == UNIT:
                terms.append(f"c{d}")
            elif p != BROADCAST:
                terms.append(f"c{d} * {label}_s{d}")
        return " + ".join(terms) or "0"

    def _vector_pointer(self, base: str, width: int) -> str:
        name = f"cg_{base}{width}_at_{base}"
        self._define(f"typedef {base}{width} {name} __attribute__((aligned({_sizeof(base)})));")
        return name

    def vector_load(self, base: str, width: int, place: str) -> str:
        """Return the vector that lies at a pointer, aligned as an element is."""
        if self.traits.unaligned_vectors:
            return f"*(__global const {self._vector_pointer(base, width)} *)({place})"
        return f"vload{width}(0, {place})"

    def _define(self, text: str) -> None:
        if text not in self.typedefs:
            self.typedefs.append(text)

    def _load(self, label: str, dtype: DType, width: int) -> list[str]:
        access, pointer = self._reads.get(label) or self._reloads[label]
        address = self._address(access, pointer)
        lane = access.pattern[self.lane] if self.spec.rank else BROADCAST
        if access.dtype is None:
            return self._load_index(label, pointer, address, dtype, lane, width)
        base = access.dtype.cl
        register = vector_type(access.dtype.register, width)
        if access.windows:
            return loop_windows.load(self, label, access, pointer, address, width)
        if width == 1:
            value = load_conversion(access.dtype, 1, f"{pointer}[{address}]")
        elif lane == UNIT:
            raw = self.vector_load(base, width, f"{pointer} + {address}")
            value = load_conversion(access.dtype, width, raw)
        elif lane == BROADCAST:
            value = splat(
                load_conversion(access.dtype, 1, f"{pointer}[{address}]"), access.dtype, width
            )
        else:
            step = f"{pointer}_s{self.lane}"
            items = [f"at[{k} * {step}]" if k else "at[0]" for k in range(width)]
            raw = f"({base}{width})({', '.join(items)})"
            return [
                f"{register} {label};",
                f"{{ __global const {base} *at = {pointer} + {address};",
                f"  {label} = {load_conversion(access.dtype, width, raw)}; }}",
            ]
        return [f"const {register} {label} = {value};"]

    def _load_index(
        self, label: str, pointer: str, address: str, dtype: DType, lane: int, width: int
    ) -> list[str]:
        register = vector_type(dtype.register, width)
        if width == 1 or lane == BROADCAST:
            value = f"({register})({address})"
        else:
            ramp = f"({register})({', '.join(str(k) for k in range(width))})"
            step = "" if lane == UNIT else f" * ({dtype.register}){pointer}_s{self.lane}"
            value = f"({register})({address}) + {ramp}{step}"
        return [f"const {register} {label} = {value};"]

    def values(
        self, exprs: Sequence[Expr], width: int, uniform: frozenset[str] = frozenset("s")
    ) -> tuple[list[str], list[str]]:
        """Return statements and result expressions of `exprs` at one width.

        Args:
            uniform: first letters of leaves that are scalars also inside vector code.
        """
        names: dict[str, str] = {}
        lines: list[str] = []
        for item in leaves_of(exprs):
            label = item.label
            assert item.dtype is not None
            if label in self._reads or label in self._reloads:
                lines += self._load(label, item.dtype, width)
                names[label] = label
            elif label[0] in uniform:
                names[label] = splat(label, item.dtype, width)
            else:
                names[label] = label
        rendered = render(list(exprs), names, width)
        return lines + rendered.statements, rendered.results

    def store(self, k: int, value: str, width: int, address: str | None = None) -> list[str]:
        """Return the lines that put a register value where store `k` belongs."""
        access = self.spec.stores[k].access
        dtype = access.dtype
        assert dtype is not None
        where = address if address is not None else self._address(access, f"out{k}")
        converted = store_conversion(dtype, width, value)
        if width == 1:
            return [f"out{k}[{where}] = {converted};"]
        if access.pattern[self.lane] == UNIT or address is not None:
            if self.traits.unaligned_vectors:
                name = self._vector_pointer(dtype.cl, width)
                return [f"*(__global {name} *)(out{k} + {where}) = {converted};"]
            return [f"vstore{width}({converted}, 0, out{k} + {where});"]
        lines = [
            f"{{ const {dtype.cl}{width} v = {converted};",
            f"  __global {dtype.cl} *at = out{k} + {where};",
        ]
        step = f"out{k}_s{self.lane}"
        lines += [f"  at[{n} * {step}] = v.{s};" for n, s in enumerate(lanes(width))]
        return [*lines, "}"]

    # ---- the pieces that templates place ------------------------------------------------------

    def variables(self) -> dict[str, Any]:
        """Return the variables of the template."""
        spec = self.spec
        shared = {
            "title": title(spec, self.squares),
            "parameters": [p for p, _ in self._parameters()],
            "index": self.index,
            "rank": spec.rank,
            "kept": spec.kept,
            "reduced": spec.reduced,
            "width": spec.width,
            "hint": self._hint(),
            "is_cpu": self.traits.is_cpu,
        }
        if not spec.folds:
            return shared | {
                "tiled": spec.tiled,
                "squares": self.squares,
                "vector": self._pointwise(spec.width) if spec.width > 1 else [],
                "scalar": self._pointwise(1),
            }
        shared |= {"split": spec.split, "group": spec.group, "across": spec.across}
        if spec.lanes == "kept":
            return shared | {"bodies": self._column_bodies()}
        return shared | {"phases": self._phases(spec.width)}

    def _column_bodies(self) -> list[dict[str, Any]]:
        """Return the bodies for several vectors side by side, for one vector, for one column."""
        width = self.spec.width
        scalar = {"width": 1, "many": 1, "phases": self._phases(1)}
        if width == 1:
            return [scalar]
        passes = self._phases(width)
        bodies = [{"width": width, "many": 1, "phases": passes}, scalar]
        if len(passes) == 1:
            # nothing is hoisted: it would be needed once per vector
            phases = self._phases(width, hoist=False)
            wanted = [e for f in self.spec.folds for e in f.element]
            long = sum(map(count_ops, [*wanted, *(s.expr for s in self.spec.stores)])) > LONG_BODY
            sums = sum(len(f.dtypes) for f in self.spec.folds)
            many = COLUMN_VECTORS_OF_LONG if long or sums > 4 else COLUMN_VECTORS >> (sums > 2)
            bodies.insert(0, {"width": width, "many": many, "phases": phases})
        return bodies

    def _hint(self) -> str:
        if self.spec.width == 1 or not self.traits.is_cpu:
            return ""
        return f"__attribute__((vec_type_hint(float{self.spec.width}))) "

    def _pointwise(self, width: int) -> list[str]:
        spec = self.spec
        exprs = [*(s.expr for s in spec.stores), *(c.expr for c in spec.checks)]
        lines, results = self.values(exprs, width)
        # every value is computed before the first store: a result may share memory with an operand
        if len(results) > 1:
            for k, (expr, result) in enumerate(zip(exprs, results, strict=True)):
                assert expr.dtype is not None
                register = vector_type(expr.dtype.register, width)
                lines.append(f"const {register} y{k} = {result};")
                results[k] = f"y{k}"
        for k in range(len(spec.stores)):
            lines += self.store(k, results[k], width)
        return [*lines, *checks.tests(spec.checks, results[len(spec.stores) :], width)]

    def _phases(self, width: int, hoist: bool = True) -> list[dict[str, Any]]:
        spec = self.spec
        last = max([f.phase for f in spec.folds] + [s.phase for s in spec.stores])
        table: dict[Expr, Expr] = {}
        return [self._phase(p, width, table, hoist) for p in range(last + 1)]

    def _phase(
        self, phase: int, width: int, table: dict[Expr, Expr], hoist: bool
    ) -> dict[str, Any]:
        """Return the pieces of one pass over the reduced dims.

        `row` hoisted row-level lines before the loops; `declare` accumulators; `vector`, `scalar`
        bodies of the loops (empty without folds and full-level stores); `finish` lines after them.
        """
        spec = self.spec
        folds = [(f, fold) for f, fold in enumerate(spec.folds) if fold.phase == phase]
        stores = [(k, s) for k, s in enumerate(spec.stores) if s.phase == phase]
        full = [(k, s) for k, s in stores if not self._row_store(s)]
        at_row = [(k, s) for k, s in stores if self._row_store(s)]
        for k, (expr, since) in self.parked.items():
            if since == phase:
                full.append((k, StoreSpec(spec.stores[k].access, expr, phase)))
        tested = [(k, c) for k, c in enumerate(spec.checks) if c.phase == phase]
        row_tests = [(k, c) for k, c in tested if self._is_row(c.expr)]
        tests = [item for item in tested if item not in row_tests]
        wanted = [e for _, fold in folds for e in fold.element]
        wanted += [*(s.expr for _, s in full), *(c.expr for _, c in tests)]
        wanted = self._reload(wanted, phase)
        known = set(table)
        inner = self.hoist(wanted, table) if hoist else wanted
        new = [e for e in table if e not in known]
        row_width = width if spec.lanes == "kept" else 1
        row_lines, row_values = self.values(new, row_width)
        row = []
        for expr in new:
            assert expr.dtype is not None
            row.append(f"{vector_type(expr.dtype.register, row_width)} {table[expr].value};")
        if new:
            # a block of its own: a later pass may load the same operand under the same name
            values = zip(new, row_values, strict=True)
            body = [*row_lines, *(f"{table[expr].value} = {value};" for expr, value in values)]
            row += ["{", *(f"    {line}" for line in body), "}"]
        row_store: list[str] = []
        if at_row or row_tests:
            exprs = [*(s.expr for _, s in at_row), *(c.expr for _, c in row_tests)]
            lines, results = self.values(exprs, row_width)
            row_store += lines
            for (k, _), result in zip(at_row, results, strict=False):
                row_store += self.store(k, result, row_width, "cell" if spec.split else None)
            for (k, c), result in zip(row_tests, results[len(at_row) :], strict=True):
                row_store.append(checks.test(c, k, result, row_width))
        return {
            "row": row,
            "row_store": row_store,
            "folds": [fold_parts(f, fold, width, spec.lanes == "inner") for f, fold in folds],
            "vector": self._inner(inner, folds, full, tests, width) if width > 1 else [],
            "scalar": self._inner(inner, folds, full, tests, 1) if spec.lanes != "kept" else [],
            "tails": [
                {"width": w, "lines": self._inner(inner, folds, full, tests, w, tail=True)}
                for w in TAILS
                if spec.lanes == "inner" and w < width and _calls(inner)
            ],
            "body": self._inner(inner, folds, full, tests, width) if spec.lanes == "kept" else [],
            "any": bool(inner),
        }

    def _reload(self, exprs: list[Expr], phase: int) -> list[Expr]:
        """Let a pass read again what an earlier one has stored and is dear to compute.

        The row is in the nearest cache of a CPU then.
        """
        if not self.near:
            return exprs
        stored = {
            s.expr: leaf(f"o{k}", s.expr.dtype)
            for k, s in enumerate(self.spec.stores)
            if s.phase < phase and not self._row_store(s) and count_ops(s.expr) >= DEAR
        }
        for k, (expr, since) in self.parked.items():
            if since < phase <= self.spec.stores[k].phase:
                stored[expr] = leaf(f"o{k}", expr.dtype)
        return [replace_parts(e, stored) for e in exprs] if stored else exprs

    def _row_store(self, store: StoreSpec) -> bool:
        return all(p == BROADCAST for p in store.access.pattern[self.spec.kept :]) and self._is_row(
            store.expr
        )

    def _inner(
        self,
        exprs: Sequence[Expr],
        folds: Sequence[tuple[int, FoldSpec]],
        full: Sequence[tuple[int, StoreSpec]],
        tests: Sequence[tuple[int, checks.CheckSpec]],
        width: int,
        tail: bool = False,
    ) -> list[str]:
        """Return the body of the innermost loop: elements, combining, full-level stores, tests.

        Args:
            tail: fold lane after lane, as a loop over scalars does.
        """
        if not exprs:
            return []
        uniform = frozenset("s") if self.spec.lanes == "kept" else frozenset("srh")
        lines, results = self.values(exprs, width, uniform)
        lines = list(lines)
        at = 0
        prefix = "w" if width > 1 or self.spec.lanes == "kept" else "t"
        for f, fold in folds:
            elements = results[at : at + len(fold.element)]
            at += len(fold.element)
            if tail:
                lines += one_by_one(f, fold, elements, width)
            else:
                lines += combine(f, fold, prefix, elements, width, f"e{f}_")
        for (k, _), result in zip(full, results[at:], strict=False):
            lines += self.store(k, result, width)
        for (k, c), result in zip(tests, results[at + len(full) :], strict=True):
            lines.append(checks.test(c, k, result, width))
        return lines


def _calls(exprs: Sequence[Expr]) -> bool:
    """Whether any operation takes as long for one element as for a vector of them."""
    return any(TABLE[e.op].cost >= DEAR for e in postorder(exprs) if e.args)


def _sizeof(base: str) -> int:
    return {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "long": 8, "ulong": 8, "double": 8}.get(
        base, 4
    )
