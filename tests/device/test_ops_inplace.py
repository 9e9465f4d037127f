"""In-place variants against PyTorch: values, versions, and the dtypes that they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import dtypes
from clgrad.graph import recorder
from clgrad.ops.registry import OPS
from clgrad.testing.covering import covering
from clgrad.testing.samples import any_values, arrange
from tests.device.family import Check, Family
from tests.device.op_cases import (
    COMMON,
    bits_of,
    check_close,
    read,
    same_tensor,
    scale_of,
    torch_tensor,
    ulps_of,
)

torch = pytest.importorskip("torch")

# PyTorch has in-place variants of all of these but maximum and minimum
INPLACE = sorted(n for n, op in OPS.items() if op.inplace and hasattr(torch.Tensor, f"{n}_"))
LAYOUTS = ("contiguous", "transposed", "sliced", "step")
TARGETS = (dtypes.int32, dtypes.float16, dtypes.float32, dtypes.float64)


@pytest.mark.parametrize("target", TARGETS, ids=lambda d: d.name)
def test_inplace(device: Any, target: Any) -> None:
    """The target keeps its dtype; the other operand has the next one of the list."""
    cases = []
    for k, name in enumerate(INPLACE):
        op = OPS[name]
        layout = LAYOUTS[(k + TARGETS.index(target)) % len(LAYOUTS)]
        other = COMMON[(k + 3 * TARGETS.index(target)) % len(COMMON)]
        if name == "ldexp" and (other is dtypes.bool_ or other.itemsize == 2):
            other = dtypes.int32  # PyTorch refuses 2**bool, and rounds 2**other to 16 bits
        first = torch_tensor(any_values(op, op.inputs[0], target, (4, 6), k), target)
        stored, view = arrange(bits_of(first), layout)
        whole = torch_tensor(stored, target)
        ours_whole = same_tensor(whole, device)
        theirs, ours = [view(whole)], [view(ours_whole)]
        for operand in op.inputs[1:]:
            second = torch_tensor(any_values(op, operand, other, (6,), k), other)
            theirs.append(second)
            ours.append(same_tensor(second, device))
        try:
            getattr(theirs[0], f"{name}_")(*theirs[1:])
        except RuntimeError as error:
            with pytest.raises(type(error)):
                getattr(ours[0], f"{name}_")(*ours[1:])
            assert ours_whole._version == 0
            continue
        result = getattr(ours[0], f"{name}_")(*ours[1:])
        assert result is ours[0]
        assert ours_whole._version == ours[0]._version == 1
        cases.append((name, layout, other, whole, ours_whole))
    recorder.flush()
    wrong = []
    for name, layout, other, whole, ours_whole in cases:
        # the whole storage: what the view does not show must not change
        fault = check_close(
            read(ours_whole), bits_of(whole), target, ulps_of(name, target), scale_of(name)
        )
        if fault:
            wrong.append(f"{name}_ {layout} with {other}: {fault}")
    assert not wrong, "\n".join(wrong)
    # floats have no bits to combine; most functions make floats of integers, which do not fit
    assert len(cases) >= (len(INPLACE) * 3 // 4 if target.kind == "f" else 4)


def test_writes(device: Any) -> None:
    factors = {"name": ("copy_", "fill_", "zero_"), "dtype": COMMON, "layout": LAYOUTS}
    family = Family()
    for row in covering(factors):
        family.add(row, lambda row=row: _write(device, **row))
    family.check()


def _write(device: Any, name: str, dtype: Any, layout: str) -> Check:
    values = torch_tensor(np.arange(24).reshape(4, 6) % 2, dtype)
    stored, view = arrange(bits_of(values), layout)
    whole = torch_tensor(stored, dtype)
    ours = same_tensor(whole, device)
    source = np.arange(6.0) * 3
    args: Any = {"copy_": (torch.from_numpy(source),), "fill_": (1,), "zero_": ()}[name]
    getattr(view(whole), name)(*args)
    given = (clgrad.tensor(source, device=device),) if name == "copy_" else args
    getattr(view(ours), name)(*given)
    assert ours._version == 1
    return lambda: check_close(read(ours), bits_of(whole), dtype, 0)
