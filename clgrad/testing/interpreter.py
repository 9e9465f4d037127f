"""A backend that runs signatures with NumPy, at once: autograd without a device, for tests.

It has the functions of `clgrad.graph.recorder` and computes what the kernels compute, one op after
the other. It is not a fallback: nothing in the library ever chooses it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from clgrad import dispatch
from clgrad.dtypes import DType, bfloat16
from clgrad.expr import Expr, evaluate
from clgrad.expr.evaluate import bfloat16_bits
from clgrad.graph.storage import Value
from clgrad.layout import Layout
from clgrad.ops.indexing import Place
from clgrad.ops.signature import Signature
from clgrad.testing.families import FAMILIES, place
from clgrad.windowed import Windowed, read_array

Array = Any


class HostDevice:
    """Stands for a device in tests; all of its state is its name."""

    def __init__(self, name: str = "host") -> None:
        self.name = name
        self.kind = "cpu"
        self.index = 0

    def __repr__(self) -> str:
        return self.name


class Interpreter:
    """Runs each recorded op at once.

    Attributes:
        recorded: names of the ops that were recorded, in order.
        poison: fill fresh memory with NaN (or a large integer), so that reading it shows.
    """

    def __init__(self) -> None:
        self.recorded: list[str] = []
        self.flushes = 0

    def record(self, sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...]) -> Value:
        """Run a signature that makes a new value."""
        self.recorded.append(sig.op.name)
        reads = [_read(v.buffer, layout) for v, layout in zip(values, sig.reads, strict=True)]
        if sig.kind == "map":
            assert sig.expr is not None
            result = _map(sig.expr, sig, reads, scalars)
            if sig.target is None and sig.meta.shape != sig.space:
                result = result.reshape(-1)
        elif sig.kind == "reduce":
            result = _reduce(sig, reads[0])
        elif sig.op.name in ("mm", "bmm"):
            result = _matmul(reads, sig.dtypes[0])
        elif type(sig.lower) in FAMILIES:
            result = FAMILIES[type(sig.lower)](sig.lower, sig, reads)
        else:
            raise NotImplementedError(f"interpreter: a signature of kind {sig.kind!r}")
        return self._value(result, sig.meta.dtype, sig.meta.device)

    def write(
        self, sig: Signature, base: Value, values: tuple[Value, ...], scalars: tuple[Any, ...]
    ) -> Value:
        """Run a signature that replaces a part of `base`; the old value stays as it is."""
        self.recorded.append(f"{sig.op.name}_")
        assert sig.target is not None
        reads = [_read(v.buffer, layout) for v, layout in zip(values, sig.reads, strict=True)]
        new = base.buffer.copy()
        if isinstance(sig.lower, Place):
            place(sig.lower, _view(new, sig.target), reads)
            return self._value(new, sig.meta.dtype, sig.meta.device, stored=True)
        assert sig.expr is not None
        result = _map(sig.expr, sig, reads, scalars)
        _view(new, sig.target)[...] = _stored(np.broadcast_to(result, sig.space), sig.meta.dtype)
        return self._value(new, sig.meta.dtype, sig.meta.device, stored=True)

    def _value(self, array: Array, dtype: DType, device: Any, stored: bool = False) -> Value:
        flat = array if stored else _stored(array, dtype)
        flat = np.array(flat, copy=True).reshape(-1)
        value = Value(flat.size, dtype, device)
        value.buffer = flat
        return value

    def from_host(self, device: Any, array: Array, dtype: DType) -> Value:
        """Return a copy of an array of the storage's NumPy dtype as a value."""
        return self._value(array, dtype, device, stored=True)

    def to_host(self, value: Value) -> Array:
        """Return a copy of a value, flat."""
        return value.buffer.copy()

    def empty(self, device: Any, numel: int, dtype: DType) -> Value:
        """Return a value full of NaN, or of the largest integer: nobody may read it."""
        kind = dtype.numpy.kind
        bad: Any = np.nan if kind == "f" else True if kind == "b" else np.iinfo(dtype.numpy).max
        return self._value(np.full(numel, bad, dtype.numpy), dtype, device, stored=True)

    def flush(self, device: Any = None) -> None:
        """Count; everything has run already."""
        self.flushes += 1

    def mark(self) -> tuple[object, object]:
        """Return what compares equal until something is flushed."""
        return self.flushes, None

    def synchronize(self, device: Any = None) -> None:
        """Do nothing."""


def _view(flat: Array, layout: Layout) -> Array:
    item = flat.itemsize
    return as_strided(flat[layout.offset :], layout.shape, [s * item for s in layout.strides])


def _read(flat: Array, layout: Layout) -> Array:
    if isinstance(layout, Windowed):
        return read_array(flat, layout)
    low, high = layout.span
    assert 0 <= low <= high <= max(flat.size, low), f"{layout} leaves {flat.size} elements"
    if low == high:
        return np.empty(layout.shape, flat.dtype)
    return _view(flat, layout)


def _stored(array: Array, dtype: DType) -> Array:
    """Return an evaluated result in the dtype in which the storage keeps it."""
    if dtype is bfloat16:
        return bfloat16_bits(np.asarray(array, np.float32))
    return np.asarray(array).astype(dtype.numpy)


def _map(expr: Expr, sig: Signature, reads: list[Array], scalars: tuple[Any, ...]) -> Array:
    env: dict[str, Array] = {f"x{k}": r for k, r in enumerate(reads)}
    for k, (number, dtype) in enumerate(zip(scalars, sig.scalars, strict=True)):
        env[f"s{k}"] = np.asarray(number).astype(np.float32 if dtype is bfloat16 else dtype.numpy)
    count = int(np.prod(sig.space, dtype=np.int64))
    env["i"] = np.arange(count, dtype=np.int64).reshape(sig.space)
    return np.broadcast_to(evaluate(expr, env), sig.space)


def _reduce(sig: Signature, read: Array) -> Array:
    """Fold along the last dims by halving, as kernels may: the order is not NumPy's."""
    fold = sig.fold
    assert fold is not None
    kept = sig.space[: len(sig.space) - sig.reduced]
    count = fold.count
    x = read.reshape((*kept, count))
    env: dict[str, Array] = {"x0": x, "i": np.arange(count, dtype=np.int64), "n": count}
    shape = (*kept, count)
    items = [np.broadcast_to(evaluate(e, env), shape) for e in fold.element]
    starts = [np.asarray(evaluate(e, {})) for e in fold.init]
    folded = [np.full(kept, s, s.dtype) for s in starts]
    while items[0].shape[-1] > 1:
        half = (items[0].shape[-1] + 1) // 2
        rest = items[0].shape[-1] - half
        sides = {f"a{k}": a[..., :rest] for k, a in enumerate(items)}
        sides |= {f"b{k}": a[..., half:] for k, a in enumerate(items)}
        joined = [evaluate(c, sides) for c in fold.combine]
        items = [
            np.concatenate([j, a[..., rest:half]], -1) for j, a in zip(joined, items, strict=True)
        ]
    if items[0].shape[-1]:
        sides = {f"a{k}": s for k, s in enumerate(folded)}
        sides |= {f"b{k}": a[..., 0] for k, a in enumerate(items)}
        folded = [evaluate(c, sides) for c in fold.combine]
    env = {f"a{k}": f for k, f in enumerate(folded)} | {"n": count}
    return np.broadcast_to(evaluate(fold.finish, env), kept)


def _matmul(reads: list[Array], dtype: DType) -> Array:
    if dtype is bfloat16:
        reads = [(r.astype(np.uint32) << np.uint32(16)).view(np.float32) for r in reads]
    elif dtype.itemsize == 2 and dtype.kind == "f":
        reads = [r.astype(np.float32) for r in reads]
    return np.matmul(reads[0], reads[1])


@contextmanager
def interpreted(device: HostDevice | None = None) -> Iterator[Interpreter]:
    """Run everything inside a `with` block on the interpreter, on a stand-in device."""
    from clgrad import creation

    made = Interpreter()
    before, dispatch.backend = dispatch.backend, made
    former = creation.current.device
    creation.current.device = device or HostDevice()
    try:
        yield made
    finally:
        dispatch.backend = before
        creation.current.device = former
