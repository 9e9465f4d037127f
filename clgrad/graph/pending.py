"""The tape of one thread on one device: recording, flushing, and values that become real.

Recording appends to a flat list and returns the handle of the result. A flush looks up the plan of
exactly this tape (signatures, operand positions, who holds what), runs it, and gives the live
handles their buffers. Nothing here knows gradients.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

from clgrad import config
from clgrad.errors import ExecutionError
from clgrad.graph import execute, watch
from clgrad.graph.checks import Wanted
from clgrad.graph.diagnosis import Watched
from clgrad.graph.position import Position, caller
from clgrad.graph.recipes import Recipe, unmade
from clgrad.graph.schedule import DEAD, HELD, SAVED, Plan, plan_entries
from clgrad.graph.segment import Segment, TapeEntry
from clgrad.graph.storage import KNOWN, Storage, Value
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits

PLANS = 4096
"""Plans kept per device."""


class Batch:
    """What was recorded since the last flush.

    Attributes:
        entries: (signature, operand refs, ref of the old value of a write or None).
        key: what identifies the entries: themselves, and in place of those of a segment that and
            where it was placed.
        scalars: the numbers of each entry.
        outs: handles of the results, in order, but for those that nobody can ask for. While
            somebody watches they are weak, so that he sees values go; weak references cost more
            than to count, in the end, who has a handle. After the flush: those that are alive.
        leaves, leaf_handles: buffers that are read, and the weak handles of their values.
        places: where in the program the entries were recorded that may report errors.
        checks: the entries whose values somebody wants looked at, or None.
    """

    __slots__ = (
        "__weakref__", "checks", "entries", "key", "leaf_handles", "leaves", "outs", "places",
        "recorder", "scalars",
    )  # fmt: skip

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.entries: list[TapeEntry] = []
        self.key: list[Any] = []
        self.scalars: list[tuple[Any, ...]] = []
        self.outs: list[Any] = []
        self.leaves: list[Any] = []
        self.leaf_handles: list[weakref.ref[Value]] = []
        self.places: dict[int, Position | None] = {}
        self.checks: Wanted | None = None


class Recorder:
    """The tape of one thread on one device.

    Only a flush may come from another thread. It changes `batch`, and does that with `lock` taken,
    `closing` set, and `adding` not set; so `add` does without the lock, which would be a tenth of
    its time.

    Attributes:
        batch: what is recorded now.
        adding: the thread of this tape is in `add`.
        closing: another thread is about to change `batch`.
        capturing: how many captures are open.
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self.lock = threading.RLock()
        self.thread = threading.get_ident()
        self.batch = Batch(self)
        self.adding = self.closing = False
        self.traits: DeviceTraits | None = None
        self.plans: dict[Any, Plan] = {}
        self.capturing = 0

    # ---- recording ----------------------------------------------------------------------------

    def add(
        self, sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...],
        based: bool = False,
    ) -> Value:  # fmt: skip
        """Append an entry and return the handle of its pending result; the hot path.

        If `based`, the last of `values` is the old value of a write.
        """
        while True:
            v = None
            self.adding = True
            try:
                if not self.closing:
                    batch = self.batch
                    refs = []
                    for v in values:
                        if v.tape is batch:
                            refs.append(v.index)
                        elif v.buffer is not None:
                            refs.append(self._leaf(batch, v))
                        else:
                            break
                    else:
                        meta, entries = sig.meta, batch.entries
                        out: Value = _new(Value)  # what `__init__` does, at three quarters of it
                        out.numel, out.dtype, out.device = meta.numel, meta.dtype, meta.device
                        out.tape, out.index = batch, len(entries)
                        out.buffer = out.recipe = out.holder = out.bounds = out.error = None
                        out.shared = False
                        old = refs.pop() if based else None
                        entry = (sig, tuple(refs), old)
                        entries.append(entry)
                        batch.key.append(entry)
                        batch.scalars.append(scalars)
                        batch.outs.append(out)
                        if sig.flagged:
                            batch.places[out.index] = caller()
                        if watch.active:
                            batch.outs[-1] = _ref(out)
                            out.holder = ()
                            watch.recorded(batch, sig, values, out)
                        return out
            finally:
                self.adding = False
            # what waits for other threads comes when they need not wait for this one
            if v is None:
                with self.lock:
                    continue
            self._prepare(v)

    def ref_of(self, value: Value) -> int:
        """Return the ref of a value on the present tape; it becomes a leaf if it is none yet."""
        while True:
            with self.lock:
                batch = self.batch
                if value.tape is batch:
                    return value.index
                if value.buffer is not None:
                    return self._leaf(batch, value)
            self._prepare(value)

    def splice(
        self, segment: Segment, values: Sequence[Value], numbers: Sequence[Any]
    ) -> list[Value]:
        """Record a segment on other operands; return the handles of its outputs."""
        with self.lock:
            while True:
                batch = self.batch
                refs = tuple(
                    [
                        v.index
                        if v.tape is batch
                        else self.ref_of(v)
                        if v.buffer is None
                        else self._leaf(batch, v)
                        for v in values
                    ]
                )
                if batch is self.batch:  # else a value of another tape had to be computed
                    break
            base = len(batch.entries)
            batch.entries += segment.place(base, refs)
            batch.scalars += segment.numbers(numbers) if segment.varying else segment.scalars
            batch.key.append((segment, base, refs))
            results = []
            for e in segment.outputs:
                meta = segment.entries[e][0].meta
                value = Value(meta.numel, meta.dtype, meta.device, batch, base + e)
                batch.outs.append(value)
                results.append(value)
            if watch.active:
                watch.spliced(batch, base, len(segment.entries))
            return results

    def _leaf(self, batch: Batch, value: Value) -> int:
        """Enter a value that is in memory as a leaf of the batch; return its ref."""
        ref = ~len(batch.leaves)
        batch.leaves.append(value.buffer)
        batch.leaf_handles.append(_ref(value))
        value.tape = batch
        value.index = ref
        return ref

    def _prepare(self, value: Value) -> None:
        """Make a value usable as an operand: flush another's tape, or record its recipe again."""
        if value.recipe is not None:
            for item in unmade(value):
                recipe, item.recipe = item.recipe, None
                self._revive(item, recipe)
        elif value.tape is not None and value.tape.recorder is not self:
            realize(value)
        elif value.tape is not None:  # another thread flushes this tape
            with self.lock:
                pass
        elif value.buffer is None:
            raise _failed(value)

    def _revive(self, item: Value, recipe: Recipe) -> None:
        """Record the op of a recipe again, with the handle that the recipe was left for."""
        pending = self.add(recipe.sig, recipe.sources, recipe.scalars, False)
        with self.lock:
            batch = pending.tape
            if batch is self.batch:
                item.tape, item.index = batch, pending.index
                batch.outs[-1] = item
                return
        item.buffer = realize(pending)  # another thread flushed in between

    # ---- flushing -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Enqueue everything that is pending and needed.

        Raises:
            CompileError, OutOfMemoryError, DeviceError: the first failure; what depends on it is
                poisoned, everything else was computed.
        """
        with self.lock:
            batch = self.batch
            if not batch.entries and not batch.leaves:
                return
            self._begin_anew()
            if not batch.entries:  # nor was one being added
                self._close(batch)
                return
            watch.begins(batch)
            values, live = snapshot(batch.outs)
            batch.outs = values
            handles = [r() for r in batch.leaf_handles]
            infos: list[tuple[int, bool, bool, bool]] = []
            for buffer in batch.leaves:
                value = handles[len(infos)]
                if value is None:  # only another tape may read it, too
                    infos.append((buffer.nbytes, getrefcount(buffer) == KNOWN, False, False))
                else:
                    infos.append((buffer.nbytes, False, not value.shared, value.shared))
            traits = self.device.traits
            if traits is not self.traits:
                self.traits = traits
                self.plans = plans_of.setdefault((self.device, traits), {})
            key: tuple[Any, ...] = (tuple(batch.key), tuple(live), tuple(infos))
            if batch.checks:  # leaves stay as they are, so that what is bad can be found again
                infos = [(n, False, keepable, shared) for n, _, keepable, shared in infos]
                tests = tuple([(e, kind) for e, (kind, _) in batch.checks.items()])
                key = (key[0], key[1], tuple(infos), tests)
            plan = self.plans.get(key)
            try:
                if plan is None:
                    plan = self._plan(batch, values, live, infos)
                    if len(self.plans) >= PLANS:
                        drop_plans()
                    self.plans[key] = plan
                self._run(plan, batch, values, handles)
            except BaseException as error:  # an interrupt, too, must not leave values in between
                self._abandon(batch, values, handles, error)
                raise

    def _begin_anew(self) -> None:
        """Change to an empty batch. The lock is held."""
        if self.thread == threading.get_ident():
            self.batch = Batch(self)
            return
        self.closing = True
        while self.adding:
            time.sleep(0)
        self.batch = Batch(self)
        self.closing = False

    def _abandon(
        self, batch: Batch, values: list[Value | None], handles: list[Value | None],
        error: BaseException,
    ) -> None:  # fmt: skip
        """Let the values of a batch that was not run to its end say so when they are read."""
        for value in (*values, *handles):
            if value is not None and value.tape is batch:
                value.tape = None
                value.index = -1
                if value.buffer is None:
                    value.error = error
        batch.leaves = []

    def _plan(
        self, batch: Batch, values: Sequence[Value | None], live: Sequence[int],
        infos: Sequence[tuple[int, bool, bool, bool]],
    ) -> Plan:  # fmt: skip
        needed = [DEAD] * len(batch.entries)
        for value, state in zip(values, live, strict=True):
            if value is not None:
                needed[value.index] = state
        kinds = {e: kind for e, (kind, _) in batch.checks.items()} if batch.checks else None
        return plan_entries(batch.entries, needed, infos, self.device.traits, kinds)

    def _run(
        self, plan: Plan, batch: Batch, values: list[Value | None], handles: list[Value | None]
    ) -> None:
        leaves, batch.leaves = batch.leaves, []  # the executor drops each after its last use
        watched = None
        if plan.tested:
            assert batch.checks is not None
            watched = Watched(plan, batch.checks, self.device, leaves, batch.entries, batch.scalars)
        registers, failed = execute.run(plan, self.device, leaves, batch.scalars, batch.places)
        alive = [v for v in values if v is not None]
        for value in alive:
            value.buffer = registers[value.index]
            if failed:
                value.error = failed.get(value.index)
        del registers
        if plan.recipes:
            self._keep_recipes(plan, alive, handles, batch)
        for value in alive:
            value.tape = None
            value.index = -1
        for handle in handles:
            if handle is not None and handle.tape is batch:
                handle.tape = None
                handle.index = -1
        watch.flushed(plan, self.device, batch)
        if failed:
            raise next(iter(failed.values()))
        if watched is not None:
            watched.check()

    def _keep_recipes(
        self, plan: Plan, alive: list[Value], handles: list[Value | None], batch: Batch
    ) -> None:
        """Turn the entries that were left unrealised into recipes of their handles."""
        made = {value.index: value for value in alive}
        known = set(made)

        def value_of(ref: int) -> Value:
            value = handles[~ref] if ref < 0 else made.get(ref)
            if value is None:
                meta = batch.entries[ref][0].meta
                value = made[ref] = Value(meta.numel, meta.dtype, self.device)
            return value

        needed: set[int] = set()
        stack = list(plan.recipes)
        while stack:
            e = stack.pop()
            if e in needed:
                continue
            needed.add(e)
            stack.extend(r for r in batch.entries[e][1] if r >= 0 and r not in known)
        for e in sorted(needed):
            sig, sources, _ = batch.entries[e]
            operands = tuple(value_of(r) for r in sources)
            value_of(e).recipe = Recipe(sig, operands, batch.scalars[e])

    def _close(self, batch: Batch) -> None:
        """Let the handles of leaves forget a batch that is done."""
        for r in batch.leaf_handles:
            value = r()
            if value is not None and value.tape is batch:
                value.tape = None
                value.index = -1
        batch.leaves = []
        batch.leaf_handles = []


def snapshot(outs: Sequence[Any]) -> tuple[list[Value | None], list[int]]:
    """Return the results that somebody besides `outs` has, and who needs each."""
    # run op by op, a result has no storage yet when it is flushed, and is no recipe
    saved = HELD if config.eager else SAVED
    values: list[Value | None] = []
    live: list[int] = []
    for value in outs:
        if value.__class__ is _ref:
            value = value()
            if value is None:
                values.append(None)
                live.append(DEAD)
                continue
            known = KNOWN - 1
        else:
            known = KNOWN
        holder = value.holder
        if holder.__class__ is Storage:
            if getrefcount(holder) > KNOWN:
                value.holder = _ref(holder)
                values.append(value)
                live.append(HELD)
                continue
            value.holder = None
        elif holder is not None and value.held:
            values.append(value)
            live.append(HELD)
            continue
        holder = None  # nobody has that storage; it goes, and no longer counts
        if getrefcount(value) > known:
            values.append(value)
            live.append(saved)
        else:
            values.append(None)
            live.append(DEAD)
    return values, live


getrefcount = sys.getrefcount
plans_of: dict[Any, dict[Any, Plan]] = {}
local = threading.local()
_ref = weakref.ref
_new = object.__new__


def recorder_of(device: Any) -> Recorder:
    try:
        return local.recorders[device]  # type: ignore[no-any-return]
    except AttributeError:
        local.recorders = {}
    except KeyError:
        pass
    made = local.recorders[device] = Recorder(device)
    return made


def drop_plans() -> None:
    """Let go of all plans and of their kernels, which are made anew, or read from disk."""
    for (device, _), plans in list(plans_of.items()):
        plans.clear()
        device.drop_kernels()


def _failed(value: Value) -> ExecutionError:
    error = ExecutionError(
        f"read: this value was never computed, because a kernel that it depends on failed: "
        f"{value.error}"
    )
    error.__cause__ = value.error
    return error


def realize(value: Value) -> Any:
    """Return the buffer that holds `value`; enqueues what it needs, does not wait.

    Raises:
        ExecutionError: a kernel that it depends on failed.
    """
    if value.buffer is None:
        if value.recipe is not None:
            recorder = recorder_of(value.device)
            recorder._prepare(value)
            recorder.flush()
        tape = value.tape
        if tape is not None:
            tape.recorder.flush()
        if value.buffer is None:
            raise _failed(value)
    return value.buffer
