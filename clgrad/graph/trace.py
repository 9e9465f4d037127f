"""What ran and where it came from: each kernel with its ops, the user's lines and its launches.

A `Trace` listens to the recorder (see `watch`). It knows neither files nor terminals: that is
`dump`. To walk the stack for every op costs about as much as to record it, hence only while
somebody listens.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clgrad.codegen.generate import generate
from clgrad.codegen.source import KernelSource, build_options
from clgrad.codegen.spec import Spec
from clgrad.expr.text import to_text
from clgrad.graph import watch
from clgrad.graph.fusion import Entry
from clgrad.graph.group import Ref
from clgrad.graph.position import Position, caller, line_of
from clgrad.graph.schedule import Plan, PlanStep
from clgrad.ops.registry import Op
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits

_FORMULA = 100
"""Characters of an op's formula at most."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One op that a kernel computes.

    Attributes:
        op: its name, with `_` where it writes in place into a part of a tensor.
        formula: what it computes, over the names of its operands.
        result: dtype and shape of its result.
        place: file and line of the user's program, if one was on the stack.
    """

    op: str
    formula: str
    result: str
    place: tuple[str, int] | None


Origins = tuple[Origin, ...]
Size = tuple[tuple[int, ...], tuple[int, ...] | None]


@dataclass(slots=True, eq=False)
class KernelTrace:
    """One kernel of a device and everything that led to it.

    Attributes:
        number: 1, 2, … in the order of first use.
        uses: the ops that it computed, in order, and how often; several plans may share a kernel.
        sizes: (global, local) work sizes and how often each was launched.
    """

    number: int
    spec: Spec
    source: KernelSource
    traits: DeviceTraits
    uses: dict[Origins, int] = field(default_factory=dict)
    sizes: dict[Size, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def family(self) -> str:
        """Name of the template: the kernel's name without prefix and digest."""
        return self.name.removeprefix("cg_").rpartition("_")[0]

    @property
    def options(self) -> tuple[str, ...]:
        return build_options(self.traits, self.source.options)

    @property
    def launches(self) -> int:
        return sum(self.sizes.values())

    def traits_read(self) -> dict[str, Any]:
        """Return the traits that its text depends on, and those that choose its form."""
        noted = _Noted(self.traits)
        self.spec.render(noted)  # type: ignore[arg-type]  # it stands in for the traits
        return {name: getattr(self.traits, name) for name in sorted(noted.read)}


class _Noted:
    """Traits that note which of them are read."""

    def __init__(self, traits: DeviceTraits) -> None:
        self._traits = traits
        self.read = {"is_cpu", "vector_bytes"}  # lowering has asked for them before

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._traits, name)
        if not callable(value):
            self.read.add(name)
        return value


class Trace:
    """All kernels of what is run while it is open.

    Attributes:
        kernels: in the order of first use.
        flushes: number of plans run.
    """

    def __init__(
        self, on_new: Callable[[KernelTrace], None] | None = None, places: bool = True
    ) -> None:
        """Prepare a trace.

        Args:
            on_new: called with each kernel when it was first launched.
            places: note where in the user's program each op was called.
        """
        self.kernels: list[KernelTrace] = []
        self.flushes = 0
        self._on_new = on_new
        self._places = places
        self._lock = threading.Lock()
        self._found: dict[tuple[str, DeviceTraits], KernelTrace] = {}
        self._positions: weakref.WeakKeyDictionary[Any, dict[int, Position | None]] = (
            weakref.WeakKeyDictionary()
        )
        self._plans: dict[int, tuple[Plan, list[tuple[Ref, ...]]]] = {}
        self._origins: dict[tuple[Signature, bool, Position | None], Origin] = {}
        self._stop: Callable[[], None] | None = None

    def open(self) -> Trace:
        """Start to listen."""
        self._stop = watch.listen(self._recorded if self._places else None, self._flushed)
        return self

    def close(self) -> None:
        """Listen no longer."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _recorded(self, batch: Any, sig: Signature, values: Sequence[Any], result: Any) -> None:
        position = caller()
        with self._lock:
            self._positions.setdefault(batch, {})[len(batch.entries) - 1] = position

    def _flushed(self, plan: Plan, device: Any, batch: Any) -> None:
        with self._lock:
            self.flushes += 1
            positions = self._positions.pop(batch, {})
            new: list[KernelTrace] = []
            for step, members in zip(plan.steps, self._members(plan), strict=True):
                origins = tuple([self._origin(plan.entries[e], positions.get(e)) for e in members])
                for launch in step.launches:
                    kernel = self._kernel(launch.spec, device.traits, new)
                    kernel.uses[origins] = kernel.uses.get(origins, 0) + 1
                    size = (launch.global_size, launch.local_size)
                    kernel.sizes[size] = kernel.sizes.get(size, 0) + 1
        if self._on_new is not None:
            for kernel in new:
                self._on_new(kernel)

    def _kernel(self, spec: Spec, traits: DeviceTraits, new: list[KernelTrace]) -> KernelTrace:
        source = generate(spec, traits)
        key = (source.name, traits)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = KernelTrace(len(self.kernels) + 1, spec, source, traits)
            self.kernels.append(found)
            new.append(found)
        return found

    def _members(self, plan: Plan) -> list[tuple[Ref, ...]]:
        """Return for each step of a plan the entries that it computes, in order."""
        known = self._plans.get(id(plan))
        if known is None:  # the plan is kept, so that its id stays its own
            known = plan, [members(step, plan.entries) for step in plan.steps]
            self._plans[id(plan)] = known
        return known[1]

    def _origin(self, entry: Entry, position: Position | None) -> Origin:
        part = entry.sig.kind == "write"
        key = (entry.sig, part, position)
        found = self._origins.get(key)
        if found is None:
            place = None if position is None else line_of(position)
            found = Origin(
                entry.sig.op.name + "_" * part, formula(entry.sig.op, entry.sig),
                described(entry.sig), place,
            )  # fmt: skip
            self._origins[key] = found
        return found


def texts(step: PlanStep, traits: DeviceTraits) -> list[KernelSource]:
    """Return the kernels of a step."""
    return [generate(launch.spec, traits) for launch in step.launches]


def members(step: PlanStep, entries: Sequence[Entry]) -> tuple[Ref, ...]:
    """Return the entries that a step computes, also those computed again for a reader.

    They are what lies between the values that it makes and those that it reads from memory.
    """
    count = len(entries)
    read = set(step.reads)
    partial = any(ref >= count for ref in step.makes)  # a chunk of a reduction each
    merging = {f for f in step.folds if any(ref >= count for ref in read)}
    stack = [ref for ref in step.makes if ref < count] + list(step.folds if partial else ())
    found: set[Ref] = set()
    while stack:
        e = stack.pop()
        if e in found:
            continue
        found.add(e)
        if e not in merging:
            stack.extend(ref for ref in entries[e].sources if ref >= 0 and ref not in read)
    return tuple(sorted(found))


def formula(op: Op, sig: Signature | None = None) -> str:
    """Return what an op computes, over the names of its operands.

    Args:
        sig: tells the shapes where there is no scalar formula.
    """
    if op.formula is not None:
        return to_text(op.formula, _FORMULA)
    if op.reduction is not None:
        rule = op.reduction
        combine = ", ".join(to_text(e, _FORMULA) for e in rule.combine)
        element = ", ".join(to_text(e, _FORMULA) for e in rule.element)
        finish = to_text(rule.finish, _FORMULA)
        return f"fold of {combine} over {element}" + f"; {finish}" * (finish != "a0")
    operands = list(op.inputs)
    if sig is not None and len(sig.reads) == len(operands):
        operands = [
            f"{n}{list(r.shape)}" for n, r in zip(operands, sig.reads, strict=True)
        ]  # fmt: skip
    return f"{op.name}({', '.join(operands)})"


def described(sig: Signature) -> str:
    """Return dtype and shape of a result."""
    return f"{sig.meta.dtype.name}{list(sig.meta.shape)}"
