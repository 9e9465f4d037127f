"""Recording and flushing: one tape of pending ops per thread and device.

Recording appends to a flat list and returns the handle of the result. A flush looks up the plan of
exactly this tape (signatures, operand positions, who holds what), runs it, and gives the live
handles their buffers. Nothing here knows gradients.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

from clgrad import config
from clgrad.dtypes import DType
from clgrad.errors import ExecutionError
from clgrad.graph import dump, execute, flags, watch
from clgrad.graph.fusion import Entry
from clgrad.graph.position import Position, caller
from clgrad.graph.recipes import Recipe, unmade
from clgrad.graph.schedule import DEAD, HELD, SAVED, LeafInfo, Plan, make_plan
from clgrad.graph.storage import Value
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits, check_dtype

SOFT_LIMIT = 256
"""Entries after which the tape is cut at the next op that is not pointwise. Such a cut depends on
the program, not on a count, so that a steady loop comes to the same plans every time."""
HARD_LIMIT = 1024
PLANS = 4096
"""Plans kept per device."""


class Batch:
    """What was recorded since the last flush.

    Attributes:
        entries: (signature, operand refs, ref of the old value of a write or None); the tuple of
            them is the identity of the tape.
        scalars: the numbers of each entry. `outs`: weak handles of the results.
        leaves, leaf_handles: buffers that are read, and the weak handles of their values.
        places: where in the program the entries were recorded that may report errors.
    """

    __slots__ = (
        "__weakref__", "entries", "leaf_handles", "leaves", "outs", "places", "recorder", "scalars",
    )  # fmt: skip

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.entries: list[tuple[Signature, tuple[int, ...], int | None]] = []
        self.scalars: list[tuple[Any, ...]] = []
        self.outs: list[weakref.ref[Value]] = []
        self.leaves: list[Any] = []
        self.leaf_handles: list[weakref.ref[Value]] = []
        self.places: dict[int, Position | None] = {}


class Recorder:
    """The tape of one thread on one device."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.lock = threading.RLock()
        self.batch = Batch(self)
        self.traits: DeviceTraits | None = None
        self.plans: dict[Any, Plan] = {}

    # ---- recording ----------------------------------------------------------------------------

    def add(
        self, sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...], based: bool
    ) -> Value:
        """Append an entry and return the handle of its pending result; the hot path.

        If `based`, the last of `values` is the old value of a write.
        """
        while True:
            with self.lock:
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
                    old: int | None = None
                    meta = sig.meta
                    out = Value(meta.numel, meta.dtype, meta.device, batch, len(batch.entries))
                    if based:
                        old = refs.pop()
                    batch.entries.append((sig, tuple(refs), old))
                    batch.scalars.append(scalars)
                    batch.outs.append(_ref(out))
                    if sig.flagged:
                        batch.places[out.index] = caller()
                    if watch.active:
                        watch.recorded(batch, sig)
                    return out
            # outside the lock: it may wait for the tape of another thread
            self._prepare(v)

    def _leaf(self, batch: Batch, value: Value) -> int:
        """Enter a value that is in memory as a leaf of the batch; return its ref."""
        ref = ~len(batch.leaves)
        buffer = value.buffer
        with _holds:
            buffer.holds += 1
        batch.leaves.append(buffer)
        batch.leaf_handles.append(weakref.ref(value))
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
        elif value.buffer is None and value.tape is None:
            raise _failed(value)

    def _revive(self, item: Value, recipe: Recipe) -> None:
        """Record the op of a recipe again, with the handle that the recipe was left for."""
        pending = self.add(recipe.sig, recipe.sources, recipe.scalars, False)
        with self.lock:
            batch = pending.tape
            if batch is self.batch:
                item.tape, item.index = batch, pending.index
                batch.outs[pending.index] = _ref(item)
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
            if not batch.entries:
                if batch.leaves:
                    self._close(batch)
                return
            self.batch = Batch(self)
            values, live = _snapshot(batch.outs)
            handles = [r() for r in batch.leaf_handles]
            infos = tuple(
                [
                    (buffer.nbytes, buffer.holds == 1, False, False)
                    if value is None
                    else (buffer.nbytes, False, not value.shared, value.shared)
                    for buffer, value in zip(batch.leaves, handles, strict=True)
                ]
            )
            traits = self.device.traits
            if traits is not self.traits:
                self.traits = traits
                self.plans = _plans.setdefault((self.device, traits), {})
            key = (tuple(batch.entries), tuple(live), infos)
            plan = self.plans.get(key)
            try:
                if plan is None:
                    plan = self._plan(batch, live, infos)
                    if len(self.plans) >= PLANS:
                        self.plans.clear()
                    self.plans[key] = plan
                self._run(plan, batch, values, handles)
            except BaseException as error:  # an interrupt, too, must not leave values in between
                self._abandon(batch, values, handles, error)
                raise

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
        self._release(batch)

    def _plan(self, batch: Batch, live: list[int], infos: tuple[Any, ...]) -> Plan:
        entries = [Entry(sig, sources, base) for sig, sources, base in batch.entries]
        dtypes: dict[int, DType] = {}
        for entry in entries:
            dtypes.update(zip(entry.sources, entry.sig.dtypes, strict=True))
            if entry.base is not None:
                dtypes[entry.base] = entry.sig.meta.dtype
        leaves = [
            LeafInfo(nbytes // dtypes[~k].itemsize, dtypes[~k], owned, keepable, shared)
            for k, (nbytes, owned, keepable, shared) in enumerate(infos)
        ]
        return make_plan(entries, live, leaves, self.device.traits)

    def _run(
        self, plan: Plan, batch: Batch, values: list[Value | None], handles: list[Value | None]
    ) -> None:
        registers, failed = execute.run(
            plan, self.device, self._release(batch), batch.scalars, batch.places
        )
        for e in plan.kept:
            value = values[e]
            if value is not None:
                value.buffer = registers.get(e)
                if failed:
                    value.error = failed.get(e)
        del registers
        if plan.recipes:
            self._keep_recipes(plan, values, handles, batch)
        for value in values:
            if value is not None:
                value.tape = None
                value.index = -1
        for value in handles:
            if value is not None and value.tape is batch:
                value.tape = None
                value.index = -1
        watch.flushed(plan, self.device, batch)
        if failed:
            raise next(iter(failed.values()))

    def _keep_recipes(
        self, plan: Plan, values: list[Value | None], handles: list[Value | None], batch: Batch
    ) -> None:
        """Turn the entries that were left unrealised into recipes of their handles."""
        anonymous: dict[int, Value] = {}

        def value_of(ref: int) -> Value:
            value = handles[~ref] if ref < 0 else values[ref]
            if value is None:
                value = anonymous.get(ref)
            if value is None:
                meta = batch.entries[ref][0].meta
                value = anonymous[ref] = Value(meta.numel, meta.dtype, self.device)
            return value

        needed: set[int] = set()
        stack = list(plan.recipes)
        while stack:
            e = stack.pop()
            if e in needed:
                continue
            needed.add(e)
            stack.extend(r for r in batch.entries[e][1] if r >= 0 and values[r] is None)
        for e in sorted(needed):
            sig, sources, _ = batch.entries[e]
            operands = tuple(value_of(r) for r in sources)
            value_of(e).recipe = Recipe(sig, operands, batch.scalars[e])

    def _release(self, batch: Batch) -> list[Any]:
        """Take the leaves' buffers from a batch; the executor drops each after its last use."""
        buffers, batch.leaves = batch.leaves, []
        with _holds:
            for buffer in buffers:
                buffer.holds -= 1
        return buffers

    def _close(self, batch: Batch) -> None:
        """Let the handles of leaves forget a batch that is done."""
        for r in batch.leaf_handles:
            value = r()
            if value is not None and value.tape is batch:
                value.tape = None
                value.index = -1
        self._release(batch)
        batch.leaf_handles = []
        if batch is self.batch:
            self.batch = Batch(self)


def _snapshot(outs: list[weakref.ref[Value]]) -> tuple[list[Value | None], list[int]]:
    """Return the results that are alive, held strongly from now on, and who needs each."""
    # run op by op, a result has no storage yet when it is flushed, and is no recipe
    saved = HELD if config.get().eager else SAVED
    values: list[Value | None] = []
    live: list[int] = []
    for r in outs:
        value = r()
        values.append(value)
        if value is None:
            live.append(DEAD)
            continue
        holder = value.holder
        if holder.__class__ is _ref:  # the usual case of `Value.held`, without a call
            storage = holder()
            live.append(HELD if storage is not None and storage.value is value else saved)
        else:
            live.append(HELD if value.held else saved)
    return values, live


_plans: dict[Any, dict[Any, Plan]] = {}
_local = threading.local()
_ref = weakref.ref
_holds = threading.Lock()
"""Guards `Buffer.holds`: tapes of several threads may read one buffer."""


def _recorder(device: Any) -> Recorder:
    try:
        return _local.recorders[device]  # type: ignore[no-any-return]
    except AttributeError:
        _local.recorders = {}
    except KeyError:
        pass
    made = _local.recorders[device] = Recorder(device)
    return made


def _failed(value: Value) -> ExecutionError:
    error = ExecutionError(
        f"read: this value was never computed, because a kernel that it depends on failed: "
        f"{value.error}"
    )
    error.__cause__ = value.error
    return error


# ---- what dispatch uses ------------------------------------------------------------------------


def record(sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...]) -> Value:
    """Record an op and return the handle of its pending result.

    Args:
        values: current value of each operand's storage.
        scalars: the numbers that the signature expects.
    """
    meta = sig.meta
    if not meta.numel:
        return empty(meta.device, 0, meta.dtype)
    try:
        recorder = _local.recorders[meta.device]
    except (AttributeError, KeyError):
        recorder = _recorder(meta.device)
    value: Value = recorder.add(sig, values, scalars, False)
    if value.index >= SOFT_LIMIT or config.get().eager:
        _maybe_flush(recorder, sig, value.index)
    return value


def write(
    sig: Signature, base: Value, values: tuple[Value, ...], scalars: tuple[Any, ...]
) -> Value:
    """Record a write into a part of a storage; returns the value of the whole afterwards."""
    if not all(sig.space):
        return base
    recorder = _recorder(sig.meta.device)
    if not sig.covers:
        values = (*values, base)
    value = recorder.add(sig, values, scalars, not sig.covers)
    if value.index >= SOFT_LIMIT or config.get().eager:
        _maybe_flush(recorder, sig, value.index)
    return value


def _maybe_flush(recorder: Recorder, sig: Signature, index: int) -> None:
    if sig.kind != "map" or index >= HARD_LIMIT or config.get().eager:
        recorder.flush()


def realize(value: Value) -> Any:
    """Return the buffer that holds `value`; enqueues what it needs, does not wait.

    Raises:
        ExecutionError: a kernel that it depends on failed.
    """
    if value.buffer is None:
        if value.recipe is not None:
            recorder = _recorder(value.device)
            recorder._prepare(value)
            recorder.flush()
        tape = value.tape
        if tape is not None:
            tape.recorder.flush()
        if value.buffer is None:
            raise _failed(value)
    return value.buffer


def flush(device: Any = None) -> None:
    """Enqueue what this thread has recorded, on one device or on all; does not wait."""
    for known, recorder in list(getattr(_local, "recorders", {}).items()):
        if device is None or known is device:
            recorder.flush()


def synchronize(device: Any = None) -> None:
    """Enqueue what this thread has recorded and wait for it; raises what kernels reported."""
    flush(device)
    for known in list(getattr(_local, "recorders", {})):
        if device is None or known is device:
            known.synchronize()
            flags.check(known)


def from_host(device: Any, array: np.ndarray[Any, Any], dtype: DType) -> Value:
    """Return a value with a copy of `array` (C-contiguous, of the dtype's NumPy type)."""
    value = empty(device, array.size, dtype)
    if array.size:
        device.write(value.buffer, array)
    return value


def to_host(value: Value) -> np.ndarray[Any, Any]:
    """Return the elements of `value` as a flat array; waits for them.

    Raises:
        ClgradIndexError: a kernel that ran by then met an index out of range.
    """
    out = np.empty(value.numel, value.dtype.numpy)
    if value.numel:
        value.device.read(realize(value), out)
        flags.check(value.device)
    return out


def empty(device: Any, numel: int, dtype: DType) -> Value:
    """Return a value whose elements are whatever its buffer holds.

    Raises:
        DTypeError: the device has no such dtype. OutOfMemoryError: there is not enough memory.
    """
    check_dtype("empty", dtype, device)
    value = Value(numel, dtype, device)
    value.buffer = device.allocate(numel * dtype.itemsize)
    return value


dump.start_from_config()
