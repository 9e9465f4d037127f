"""Every pointwise op of the table against PyTorch: values, dtype and shape of the result.

The cases are generated from the records, so a new op is tested by being there. A covering array
pairs every op with every dtype, layout and pattern of operands; all cases of one device are
recorded first and flushed at once, so that their kernels are few programs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import dtypes
from clgrad.graph import recorder
from clgrad.ops.registry import OPS
from clgrad.testing.covering import covering
from clgrad.testing.samples import LAYOUTS, any_values, arrange, shape_of
from tests.device.op_cases import (
    COMMON,
    TORCH,
    bits_of,
    check_close,
    pointwise_names,
    read,
    same_tensor,
    scale_of,
    torch_function,
    torch_tensor,
    ulps_of,
)

torch = pytest.importorskip("torch")

POINTWISE = pointwise_names()
PATTERNS = ("same", "row", "column", "number", "zero-d")
NUMBERS = {"b": True, "u": 3, "i": 3, "f": 1.5}


@lru_cache(maxsize=1024)
def _torch_takes(name: str, pattern: str, dtype: Any) -> bool:
    """Whether PyTorch computes this at all; asked of PyTorch, so that no list can be stale."""
    op = OPS[name]
    one = torch_tensor(np.ones(2), dtype)
    operands = [(one != 0) if n in op.masks else one for n in op.inputs]
    if pattern == "number":
        operands[-1] = NUMBERS[dtype.kind]
    try:
        torch_function(name)(*operands)
    except (RuntimeError, TypeError):
        return False
    return True


@lru_cache(maxsize=1)
def _rows() -> list[dict[str, Any]]:
    def allowed(row: dict[str, Any]) -> bool:
        many = len(OPS[row["op"]].inputs) > 1
        if not many and row["pattern"] != "same":
            return False
        if row["pattern"] in ("row", "column") and row["layout"] in ("scalar", "empty"):
            return False
        pattern = "number" if row["pattern"] == "number" else "same"
        return _torch_takes(row["op"], pattern, row["dtype"])

    factors = {"op": POINTWISE, "dtype": COMMON, "layout": LAYOUTS, "pattern": PATTERNS}
    return covering(factors, allowed)


def _operands(row: dict[str, Any], seed: int, device: Any) -> tuple[list[Any], list[Any]]:
    """Return the operands of a case for PyTorch and for clgrad."""
    op, dtype, pattern = OPS[row["op"]], row["dtype"], row["pattern"]
    shape = shape_of(row["layout"])
    theirs, ours = [], []
    last = len(op.inputs) - 1
    for k, name in enumerate(op.inputs):
        kind = dtypes.bool_ if name in op.masks else dtype
        if k == last and last and pattern == "number":
            theirs.append(NUMBERS[dtype.kind])
            ours.append(NUMBERS[dtype.kind])
            continue
        size, layout = shape, row["layout"]
        if k == last and last and pattern != "same":
            size = {"row": shape[-1:], "column": (*shape[:1], 1), "zero-d": ()}[pattern]
            layout = "contiguous"
        values = torch_tensor(any_values(op, name, kind, size, seed), kind)
        stored, view = arrange(bits_of(values), layout)
        whole = torch_tensor(stored, kind)
        theirs.append(view(whole))
        ours.append(view(same_tensor(whole, device)))
    return theirs, ours


def test_pointwise_forward(device: Any) -> None:
    cases = []
    for seed, row in enumerate(_rows()):
        theirs, ours = _operands(row, seed, device)
        want = torch_function(row["op"])(*theirs)
        got = getattr(clgrad, row["op"])(*ours)
        cases.append((row, want, got))
    recorder.flush()
    wrong = []
    for row, want, got in cases:
        if TORCH[got.dtype] != want.dtype:
            wrong.append(f"{row}: dtype {got.dtype}, expected {want.dtype}")
            continue
        ulps, scale = ulps_of(row["op"], got.dtype), scale_of(row["op"])
        fault = check_close(read(got), bits_of(want), got.dtype, ulps, scale)
        if fault:
            wrong.append(f"{row}: {fault}")
    assert not wrong, f"{len(wrong)} of {len(cases)} cases differ\n" + "\n".join(wrong[:20])


def test_every_op_is_tried() -> None:
    rows = _rows()
    assert {r["op"] for r in rows} == set(POINTWISE)
    for name in POINTWISE:
        mine = [r for r in rows if r["op"] == name]
        assert {r["layout"] for r in mine} == set(LAYOUTS), name
        taken = {d for d in COMMON for p in ("same", "number") if _torch_takes(name, p, d)}
        assert {r["dtype"] for r in mine} == taken, name


@pytest.mark.parametrize("source", COMMON, ids=lambda d: d.name)
def test_casts(device: Any, source: Any) -> None:
    """From each dtype to each, special values included."""
    op = OPS["to"]
    made = []
    for seed, target in enumerate(COMMON):
        values = any_values(op, "x", source, (5, 7), seed)
        if source.kind == "f" and target.kind in "ui":
            # what becomes of NaN, infinities and numbers out of range is undefined in C
            values = np.where(np.isfinite(values), values, 2.5)
            values = np.abs(values) if target.kind == "u" else values
        tensor = torch_tensor(values, source)
        made.append((target, tensor.to(TORCH[target]), same_tensor(tensor, device).to(target)))
    recorder.flush()
    for target, want, got in made:
        assert got.dtype is target
        assert check_close(read(got), bits_of(want), target, 0) is None, target
