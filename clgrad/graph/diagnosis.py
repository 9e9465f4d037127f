"""What is said of a bad value: where it is, and what the op that made it was given.

A plan that tests values sets a flag for each bad one. If one is set, the op that came first is run
once more from the leaves of its tape, which such a plan leaves as they were, and its operands are
read back. That costs nothing as long as all is well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from clgrad.codegen.checks import NAN
from clgrad.dtypes import DType, bfloat16
from clgrad.graph import execute
from clgrad.graph.checks import Wanted
from clgrad.graph.group import Ref
from clgrad.graph.schedule import DEAD, HELD, Plan, plan_entries
from clgrad.graph.segment import TapeEntry
from clgrad.layout import Layout
from clgrad.ops.signature import Signature
from clgrad.windowed import Windowed, read_array

Array = np.ndarray[Any, Any]


class Watched:
    """A tape whose plan tests values, while it runs.

    Args:
        leaves: the buffers of its leaves; that of the flags is added.
    """

    def __init__(
        self,
        plan: Plan,
        wanted: Wanted,
        device: Any,
        leaves: list[Any],
        entries: Sequence[TapeEntry],
        scalars: Sequence[tuple[Any, ...]],
    ) -> None:
        self.plan = plan
        self.wanted = wanted
        self.device = device
        self.leaves = list(leaves)
        self.entries = entries
        self.scalars = scalars
        self.flags = device.allocate(4 * len(plan.tested), tag="tests for nan")
        device.fill(self.flags, np.int32(0))
        leaves.append(self.flags)

    def check(self) -> None:
        """Wait, and raise what the first bad value means to whoever asked for it."""
        flags = np.empty(len(self.plan.tested), np.int32)
        self.device.read(self.flags, flags)
        bad = [self.plan.tested[k] for k in np.flatnonzero(flags)]
        if not bad:
            return
        first = min(bad)
        kind, report = self.wanted[first]
        raise report(self.describe(first, kind))

    def describe(self, e: Ref, kind: str) -> str:
        """Return what can be said of the bad result of an entry."""
        sig, sources, _ = self.entries[e]
        live = [DEAD] * (e + 1)
        for ref in (e, *sources):
            if ref >= 0:
                live[ref] = HELD
        infos = tuple([(buffer.nbytes, False, False, False) for buffer in self.leaves])
        plan = plan_entries(self.entries[: e + 1], live, infos, self.device.traits)
        registers, failed = execute.run(plan, self.device, list(self.leaves), self.scalars, {})
        if failed:
            raise next(iter(failed.values()))
        result = _view(self._read(registers[e], sig.meta.dtype), _place_of_result(sig))
        operands = [
            _view(self._read(registers[ref], dtype), layout)
            for ref, dtype, layout in zip(sources, sig.dtypes, sig.reads, strict=True)
        ]
        return _text(sig, result, operands, self.scalars[e], kind)

    def _read(self, buffer: Any, dtype: DType) -> Array:
        """Return a buffer's elements, 16-bit floats as float32."""
        flat: Array = np.empty(buffer.nbytes // dtype.itemsize, dtype.numpy)
        self.device.read(buffer, flat)
        if dtype is bfloat16:
            return (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return flat


def _place_of_result(sig: Signature) -> Layout:
    if sig.target is not None:
        return sig.target
    return Layout.contiguous(sig.space if sig.kind == "map" else sig.meta.shape)


def _view(flat: Array, layout: Layout) -> Array:
    if isinstance(layout, Windowed):
        made: Array = read_array(flat, layout)
        return made
    if not layout.numel:
        return flat[:0]
    item = flat.itemsize
    return as_strided(flat[layout.offset :], layout.shape, [s * item for s in layout.strides])


def _text(
    sig: Signature, result: Array, operands: Sequence[Array], numbers: tuple[Any, ...], kind: str
) -> str:
    bad = np.isnan(result) if kind == NAN else ~np.isfinite(result)
    count = int(np.count_nonzero(bad))
    op = sig.op
    name = op.name.strip("_")
    if not count:
        return (
            f"{op.name.strip('_')}: it could not be found again. Was memory of the outside changed?"
        )
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    value = float(result[index])
    share = f"{count} of {result.size} elements"
    parts = [f"{name} made {_number(value)} in {share}, first at {list(index)}."]
    named = list(zip(op.inputs, operands, strict=False))
    if sig.kind in ("map", "write") and named:
        there = ", ".join(f"{n} = {_number(x[index].item())}" for n, x in named)
        parts.append(f"There {there}.")
    elif sig.kind == "reduce":
        row = operands[0][np.unravel_index(int(np.argmax(bad)), _kept(sig))]
        parts.append(f"What was folded there: {_statistics(row)}.")
    for operand, x in named:
        if sig.kind == "reduce":
            x = x.transpose(np.argsort(sig.order))
        parts.append(f"{operand}: {_statistics(x)}.")
    if numbers:
        parts.append(f"Numbers: {', '.join(map(str, numbers))}.")
    if any(x.dtype.kind == "f" and np.isnan(x).any() for _, x in named):
        parts.append("It was given nan already, which was made before this was looked for.")
    return " ".join(parts)


def _kept(sig: Signature) -> tuple[int, ...]:
    return sig.space[: len(sig.space) - sig.reduced]


def _statistics(x: Array) -> str:
    """Return shape, range and mean of the finite elements, and how many others there are."""
    text = f"{x.dtype.name}{list(x.shape)}"
    if x.dtype.kind != "f":
        return f"{text} from {x.min()} to {x.max()}" if x.size else text
    finite = x[np.isfinite(x)]
    if finite.size:
        mean = float(finite.mean(dtype=np.float64))
        low, high = float(finite.min()), float(finite.max())
        text += f" from {_number(low)} to {_number(high)}, mean {_number(mean)}"
    others = [(int(np.count_nonzero(np.isnan(x))), "nan"), (int(np.isinf(x).sum()), "inf")]
    return ", ".join([text, *(f"{n} of {x.size} {name}" for n, name in others if n)])


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
