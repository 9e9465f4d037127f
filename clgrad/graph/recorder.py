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
from clgrad.graph import execute, watch
from clgrad.graph.fusion import Entry
from clgrad.graph.recipes import Recipe, unmade
from clgrad.graph.schedule import DEAD, HELD, RECIPE_DEPTH, SAVED, LeafInfo, Plan, make_plan
from clgrad.graph.storage import Value
from clgrad.ops.signature import Signature

SOFT_LIMIT = 256
"""Entries after which the tape is cut at the next op that is not pointwise. Such a cut depends on
the program, not on a count, so that a steady loop comes to the same plans every time."""
HARD_LIMIT = 1024
PLANS = 4096
"""Plans kept per device."""


class Batch:
    """What was recorded since the last flush.

    `key` is the flat identity of the entries: signature ids and operand refs.
    """

    __slots__ = (
        "__weakref__", "bases", "key", "leaf_handles", "leaves", "outs", "recorder", "scalars",
        "sigs", "sources",
    )  # fmt: skip

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.sigs: list[Signature] = []
        self.sources: list[tuple[int, ...]] = []
        self.bases: list[int | None] = []
        self.scalars: list[tuple[Any, ...]] = []
        self.outs: list[weakref.ref[Value]] = []
        self.leaves: list[Any] = []
        self.leaf_handles: list[weakref.ref[Value]] = []
        self.key: list[Any] = []


class Recorder:
    """The tape of one thread on one device."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.lock = threading.RLock()
        self.batch = Batch(self)
        self.plans = _plans.setdefault(device, {})

    # ---- recording ----------------------------------------------------------------------------

    def add(
        self, sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...], base: Value | None
    ) -> Value:
        for v in values:
            if v.tape is not self.batch and v.buffer is None:
                self._prepare(v)
        if base is not None and base.tape is not self.batch and base.buffer is None:
            self._prepare(base)
        meta = sig.meta
        value = Value(meta.numel, meta.dtype, self.device)
        with self.lock:
            self._append(sig, values, scalars, base, value)
        return value

    def _append(
        self, sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...],
        base: Value | None, out: Value,
    ) -> None:  # fmt: skip
        batch = self.batch
        refs = tuple([v.index if v.tape is batch else self._leaf(batch, v) for v in values])
        key = batch.key
        key.append(sig.id)
        key.extend(refs)
        if base is None:
            batch.bases.append(None)
        else:
            ref = base.index if base.tape is batch else self._leaf(batch, base)
            batch.bases.append(ref)
            key.append(ref)
        out.tape = batch
        out.index = len(batch.sigs)
        batch.sigs.append(sig)
        batch.sources.append(refs)
        batch.scalars.append(scalars)
        batch.outs.append(weakref.ref(out))
        if watch.active:
            watch.recorded(batch, sig)

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
                for source in recipe.sources:
                    if source.tape is not self.batch and source.buffer is None:
                        self._prepare(source)
                with self.lock:
                    self._append(recipe.sig, recipe.sources, recipe.scalars, None, item)
        elif value.tape is not None and value.tape.recorder is not self:
            realize(value)
        elif value.error is not None:
            raise _failed(value)

    # ---- flushing -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Enqueue everything that is pending and needed.

        Raises:
            CompileError, OutOfMemoryError, DeviceError: the first failure; what depends on it is
                poisoned, everything else was computed.
        """
        with self.lock:
            batch = self.batch
            if not batch.sigs:
                if batch.leaves:
                    self._close(batch)
                return
            self.batch = Batch(self)
            values = [r() for r in batch.outs]
            # run op by op, a result has no storage yet when it is flushed, and is no recipe
            saved = HELD if config.get().eager else SAVED
            live = tuple([DEAD if v is None else HELD if v.held else saved for v in values])
            handles = [r() for r in batch.leaf_handles]
            infos = tuple(
                [  # fmt: skip
                    (b.nbytes, v is None and b.holds == 1, v is not None and _keepable(v),
                     v is not None and v.shared)
                    for b, v in zip(batch.leaves, handles, strict=True)
                ]
            )
            key = (tuple(batch.key), live, infos)
            plan = self.plans.get(key)
            if plan is None:
                plan = self._plan(batch, live, infos)
                if len(self.plans) >= PLANS:
                    self.plans.clear()
                self.plans[key] = plan
            self._run(plan, batch, values, handles)

    def _plan(self, batch: Batch, live: tuple[int, ...], infos: tuple[Any, ...]) -> Plan:
        entries = [
            Entry(sig, sources, base)
            for sig, sources, base in zip(batch.sigs, batch.sources, batch.bases, strict=True)
        ]
        dtypes: dict[int, DType] = {}
        for entry in entries:
            for ref, dtype in zip(entry.sources, entry.sig.dtypes, strict=True):
                dtypes[ref] = dtype
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
        registers, failed = execute.run(plan, self.device, self._release(batch), batch.scalars)
        for e in plan.kept:
            value = values[e]
            if value is not None:
                value.buffer = registers.get(e)
                value.error = failed.get(e)
        del registers
        self._keep_recipes(plan, values, handles, batch)
        for value in values:
            if value is not None:
                value.tape = None
                value.index = -1
        batch.leaf_handles = [weakref.ref(h) for h in handles if h is not None]
        self._close(batch)
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
                meta = batch.sigs[ref].meta
                value = anonymous[ref] = Value(meta.numel, meta.dtype, self.device)
            return value

        needed: set[int] = set()
        stack = list(plan.recipes)
        while stack:
            e = stack.pop()
            if e in needed:
                continue
            needed.add(e)
            stack.extend(r for r in batch.sources[e] if r >= 0 and values[r] is None)
        for e in sorted(needed):
            value_of(e).recipe = Recipe(
                batch.sigs[e], tuple(value_of(r) for r in batch.sources[e]), batch.scalars[e]
            )

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


def _keepable(value: Value) -> bool:
    if value.shared:
        return False
    return value.recipe is None or value.recipe.depth < RECIPE_DEPTH


_plans: dict[Any, dict[Any, Plan]] = {}
_local = threading.local()
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


# ---- what dispatch uses ----------------------------------------------------------------------------


def record(sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...]) -> Value:
    """Record an op and return the handle of its pending result.

    Args:
        values: current value of each operand's storage.
        scalars: the numbers that the signature expects.
    """
    device = sig.meta.device
    if not sig.meta.numel:
        return empty(device, 0, sig.meta.dtype)
    recorder = _recorder(device)
    value = recorder.add(sig, values, scalars, None)
    if config.get().eager or len(recorder.batch.sigs) > SOFT_LIMIT:
        _maybe_flush(recorder, sig)
    return value


def write(
    sig: Signature, base: Value, values: tuple[Value, ...], scalars: tuple[Any, ...]
) -> Value:
    """Record a write into a part of a storage; returns the value of the whole afterwards."""
    if not all(sig.space):
        return base
    recorder = _recorder(sig.meta.device)
    value = recorder.add(sig, values, scalars, None if sig.covers else base)
    if config.get().eager or len(recorder.batch.sigs) > SOFT_LIMIT:
        _maybe_flush(recorder, sig)
    return value


def _maybe_flush(recorder: Recorder, sig: Signature) -> None:
    if config.get().eager or sig.kind != "map" or len(recorder.batch.sigs) > HARD_LIMIT:
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
    """Enqueue what this thread has recorded and wait for it."""
    flush(device)
    for known in list(getattr(_local, "recorders", {})):
        if device is None or known is device:
            known.synchronize()


def from_host(device: Any, array: np.ndarray[Any, Any], dtype: DType) -> Value:
    """Return a value with a copy of `array` (C-contiguous, of the dtype's NumPy type)."""
    value = empty(device, array.size, dtype)
    if array.size:
        device.write(value.buffer, array)
    return value


def to_host(value: Value) -> np.ndarray[Any, Any]:
    """Return the elements of `value` as a flat array; waits for them."""
    out = np.empty(value.numel, value.dtype.numpy)
    if value.numel:
        value.device.read(realize(value), out)
    return out


def empty(device: Any, numel: int, dtype: DType) -> Value:
    """Return a value whose elements are whatever its buffer holds."""
    value = Value(numel, dtype, device)
    value.buffer = device.allocate(numel * dtype.itemsize)
    return value
