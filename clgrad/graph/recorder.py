"""What dispatch asks of the graph: record, write, read, flush, wait; see `pending` for how.

`dispatch.backend` is this module, or anything with the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clgrad import config
from clgrad.dtypes import DType
from clgrad.graph import dump, flags, watch
from clgrad.graph.pending import Recorder, local, realize, recorder_of, snapshot
from clgrad.graph.schedule import HELD
from clgrad.graph.segment import Number, Segment, segment_of
from clgrad.graph.storage import Value
from clgrad.ops.signature import Signature
from clgrad.traits import check_dtype

SOFT_LIMIT = 256
"""Entries after which the tape is cut at the next op that is not pointwise. Such a cut depends on
the program, not on a count, so that a steady loop comes to the same plans every time."""
HARD_LIMIT = 1024
CAPTURE_LIMIT = 8192
"""Entries after which even work that is taken down is flushed, and not taken down."""


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
        recorder = local.recorders[meta.device]
    except (AttributeError, KeyError):
        recorder = recorder_of(meta.device)
    value: Value = recorder.add(sig, values, scalars)
    if value.index >= SOFT_LIMIT or config.eager:
        _maybe_flush(recorder, sig, value.index)
    return value


class Capture:
    """What a stretch of work on some values records on one device, to be made a segment of.

    While it is open the tape is cut only when it gets very long.
    """

    def __init__(self, device: Any, values: Sequence[Value]) -> None:
        self.recorder = recorder_of(device)
        self.values = values
        for value in values:  # recipes are recorded again before it starts
            self.recorder.ref_of(value)
        self.batch = self.recorder.batch
        self.start = len(self.batch.entries)
        self.recorder.capturing += 1

    def close(self) -> None:
        """End it."""
        self.recorder.capturing -= 1

    def length(self) -> int:
        """Return the number of entries on the tape so far."""
        return len(self.batch.entries)

    def segment(
        self, varying: Mapping[int, Sequence[Number]], outputs: Sequence[Value]
    ) -> Segment | None:
        """Return what was recorded; None where it was cut, or reads more than its values."""
        batch = self.batch
        if self.recorder.batch is not batch:
            return None
        operands = {v.index: k for k, v in enumerate(self.values) if v.tape is batch}
        if any(v.tape is not batch or v.index < self.start for v in outputs):
            return None
        return segment_of(
            batch.entries, batch.scalars, self.start, operands, varying,
            [v.index for v in outputs],
        )  # fmt: skip


def splice(
    device: Any, segment: Segment, values: Sequence[Value], numbers: Sequence[Any]
) -> list[Value]:
    """Record a segment on other operands and numbers; return the handles of its outputs."""
    return recorder_of(device).splice(segment, values, numbers)


def watched() -> bool:
    """Whether somebody wants to see every op as it is recorded."""
    return watch.strict or config.eager


def write(
    sig: Signature, base: Value, values: tuple[Value, ...], scalars: tuple[Any, ...]
) -> Value:
    """Record a write into a part of a storage; returns the value of the whole afterwards."""
    if not all(sig.space):
        return base
    recorder = recorder_of(sig.meta.device)
    if not sig.covers:
        values = (*values, base)
    value = recorder.add(sig, values, scalars, not sig.covers)
    if value.index >= SOFT_LIMIT or config.eager:
        _maybe_flush(recorder, sig, value.index)
    return value


def _maybe_flush(recorder: Recorder, sig: Signature, index: int) -> None:
    if recorder.capturing and index < CAPTURE_LIMIT:
        return
    if sig.kind != "map" or index >= HARD_LIMIT or config.eager:
        recorder.flush()


def pending(device: Any) -> tuple[int, int, int]:
    """Return how many ops of this thread wait, and bytes of their results: held, and saved only."""
    recorder = getattr(local, "recorders", {}).get(device)
    if recorder is None:
        return 0, 0, 0
    held = saved = 0
    for value, state in zip(*snapshot(recorder.batch.outs), strict=True):
        if value is not None:
            held += value.nbytes if state == HELD else 0
            saved += 0 if state == HELD else value.nbytes
    return len(recorder.batch.entries), held, saved


def mark() -> tuple[object, object]:
    """Return what compares equal until this thread flushes; until it records, reads or uploads."""
    batches = [r.batch for r in getattr(local, "recorders", {}).values()]
    moved = getattr(local, "transfers", 0)
    return [id(b) for b in batches], [moved, *(len(b.entries) for b in batches)]


def _transfer() -> None:
    local.transfers = getattr(local, "transfers", 0) + 1


def flush(device: Any = None) -> None:
    """Enqueue what this thread has recorded, on one device or on all; does not wait."""
    try:
        recorders = tuple(local.recorders.values())
    except AttributeError:
        return
    for recorder in recorders:
        if device is None or recorder.device is device:
            recorder.flush()


def synchronize(device: Any = None) -> None:
    """Enqueue what this thread has recorded and wait for it; raises what kernels reported."""
    flush(device)
    for known in list(getattr(local, "recorders", {})):
        if device is None or known is device:
            known.synchronize()
            flags.check(known)


def from_host(device: Any, array: np.ndarray[Any, Any], dtype: DType) -> Value:
    """Return a value with a copy of `array` (C-contiguous, of the dtype's NumPy type)."""
    _transfer()
    value = empty(device, array.size, dtype)
    if array.size:
        device.write(value.buffer, array)
    return value


def to_host(value: Value) -> np.ndarray[Any, Any]:
    """Return the elements of `value` as a flat array; waits for them.

    Raises:
        ClgradIndexError: a kernel that ran by then met an index out of range.
    """
    _transfer()
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
