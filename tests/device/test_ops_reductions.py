"""Reductions, products and joins against PyTorch, generated from the records by covering arrays."""

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
from clgrad.testing.samples import any_values, arrange, shape_of
from tests.device.op_cases import (
    COMMON,
    FLOATS,
    TORCH,
    bits_of,
    check_close,
    read,
    same_tensor,
    torch_tensor,
)

torch = pytest.importorskip("torch")

REDUCTIONS = [
    *sorted(n for n, op in OPS.items() if op.kind == "reduction" and n[0] != "_"), "var"
]  # fmt: skip
SUMS = ("sum", "nansum", "mean", "var")
LAYOUTS = ("contiguous", "transposed", "sliced", "step", "expanded", "single", "odd", "long")
DIMS: dict[str, Any] = {"all": None, "first": 0, "last": -1, "both": (0, 1), "swapped": (1, 0)}
LONG = (5, 1500)  # several vectors and several work-items in a row


def _named(name: str) -> Any:
    """Return an op by name on either library's tensors."""

    def call(x: Any, dim: Any, keepdim: bool) -> Any:
        if dim is None and not keepdim:
            return getattr(x, name.strip("_"))()
        return getattr(x, name)(dim, keepdim=keepdim)

    return call


def _takes(row: dict[str, Any]) -> bool:
    """Whether PyTorch computes this; asked of PyTorch."""
    if row["op"] == "var" and row["layout"] == "single":
        return False  # NaN with a warning; see `test_var_of_one`
    if row["op"] == "prod" and row["layout"] == "long" and row["dtype"].kind == "f":
        return False  # overflows or not by the order
    x = torch.ones(2, 3).to(TORCH[row["dtype"]])
    try:
        _named(row["op"])(x, DIMS[row["dims"]], row["keepdim"])
    except (RuntimeError, TypeError):
        return False
    return True


@lru_cache(maxsize=1)
def _rows() -> list[dict[str, Any]]:
    factors = {
        "op": REDUCTIONS, "dtype": COMMON, "layout": LAYOUTS, "dims": tuple(DIMS),
        "keepdim": (False, True),
    }  # fmt: skip
    return covering(factors, _takes)


def _terms(row: dict[str, Any], x: Any) -> tuple[float, float]:
    """Return how many roundings a result may have, in units of what size.

    Sums of both libraries round at most once per level of their trees and lanes, far less often
    than once per element; what they sum are numbers up to 3 (9 squared).
    """
    dtype = row["dtype"]
    if row["op"] == "prod" and dtype.kind == "f":
        return (1.0 if dtype.itemsize == 2 else 2.0 * x.numel()), 0.0
    if row["op"] not in SUMS or dtype.kind != "f":
        return 0.0, 0.0
    count = x.numel() if row["dims"] not in ("first", "last") else max(x.shape)
    size = {"sum": 3.0 * count, "nansum": 3.0 * count, "mean": 3.0, "var": 9.0}[row["op"]]
    if dtype.itemsize == 2:
        # accumulated in float32: rounded once, but PyTorch rounds the mean of var as well
        return (1.0 if row["op"] != "var" else 4.0), (0.0 if row["op"] != "var" else size)
    return 4.0, size


def test_reductions(device: Any) -> None:
    cases = []
    for seed, row in enumerate(_rows()):
        op = OPS[row["op"]]
        shape = LONG if row["layout"] == "long" else shape_of(row["layout"])
        values = any_values(op, op.inputs[0], row["dtype"], shape, seed)
        if row["dtype"].kind == "f" and row["op"] in SUMS:
            # what sums over a special value is special: leave all but the last row without
            values[:-1] = np.nan_to_num(values[:-1], nan=0.5, posinf=2, neginf=-2)
        stored, view = arrange(bits_of(torch_tensor(values, row["dtype"])), row["layout"])
        whole = torch_tensor(stored, row["dtype"])
        x = view(whole)
        want = _named(row["op"])(x, DIMS[row["dims"]], row["keepdim"])
        got = _named(row["op"])(view(same_tensor(whole, device)), DIMS[row["dims"]], row["keepdim"])
        cases.append((row, x, want, got))
    recorder.flush()
    wrong = []
    for row, x, want, got in cases:
        if TORCH[got.dtype] != want.dtype:
            wrong.append(f"{row}: dtype {got.dtype}, expected {want.dtype}")
            continue
        ulps, scale = _terms(row, x)
        fault = check_close(read(got), bits_of(want), got.dtype, ulps, scale)
        if fault:
            wrong.append(f"{row}: {fault}")
    assert not wrong, f"{len(wrong)} of {len(cases)} cases differ\n" + "\n".join(wrong[:20])


def test_reductions_of_nothing(device: Any) -> None:
    x, ours = torch.zeros(0, 3), clgrad.zeros(0, 3, device=device)
    for dim in (0, 1, None):
        a, b = _named("sum")(x, dim, False), _named("sum")(ours, dim, False)
        assert np.array_equal(read(b), a.numpy())
    assert np.isnan(ours.mean().item())
    for name in ("amax", "amin"):
        with pytest.raises(IndexError, match="Expected reduction dim"):
            getattr(ours, name)(0)
        assert tuple(getattr(ours, name)(1).shape) == tuple(getattr(x, name)(1).shape) == (0,)
    with pytest.raises(IndexError, match="Expected reduction dim"):
        ours.argmax(0)


def test_var_of_one(device: Any) -> None:
    assert np.isnan(clgrad.ones(1, device=device).var().item())


def test_ties_and_nan_of_positions(device: Any) -> None:
    """The first of equal elements, and the first NaN before everything."""
    values = np.array(
        [[1, 3, 3, 2], [np.nan, 5, np.nan, 1], [np.inf, 2, np.inf, 0], [-0.0, 0.0, 0.0, -1]]
    )
    x, ours = torch.from_numpy(values), clgrad.tensor(values, device=device)
    for name in ("argmax", "argmin"):
        for dim in (0, 1, None):
            want, got = _named(name)(x, dim, False), _named(name)(ours, dim, False)
            assert np.array_equal(read(got), want.numpy()), (name, dim)


PRODUCTS = (
    ((3, 4), (4, 5)), ((4,), (4,)), ((4,), (4, 3)), ((2, 4), (4,)), ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 2)), ((4,), (2, 4, 3)), ((17, 33), (33, 19)),
    ((0, 4), (4, 3)), ((3, 0), (0, 2)), ((1, 1), (1, 1)),
)  # fmt: skip


@pytest.mark.parametrize("dtype", [*FLOATS, dtypes.int32, dtypes.int64], ids=lambda d: d.name)
def test_products(device: Any, dtype: Any) -> None:
    cases = []
    for seed, (left, right) in enumerate(PRODUCTS):
        rng = np.random.default_rng(seed)
        low, high = (-2, 2) if dtype.kind == "f" else (-5, 6)
        a, b = (torch_tensor(rng.uniform(low, high, s), dtype) for s in (left, right))
        for flipped in (False, True) if len(left) > 1 and len(right) > 1 else (False,):
            x, y = a, b
            ours_x, ours_y = same_tensor(a, device), same_tensor(b, device)
            if flipped:  # the same product with both operands transposed in memory
                ours_x = same_tensor(a.mT.contiguous(), device).mT
                ours_y = same_tensor(b.mT.contiguous(), device).mT
            cases.append((left, right, flipped, torch.matmul(x, y), clgrad.matmul(ours_x, ours_y)))
    recorder.flush()
    for left, right, flipped, want, got in cases:
        # each of k products is up to 4; sums round at most once each
        k = left[-1]
        ulps = float(k) if dtype.kind == "f" and dtype.itemsize > 2 else 1.0
        fault = check_close(read(got), bits_of(want), dtype, ulps, 4.0)
        assert fault is None, f"{left} @ {right}, transposed {flipped}: {fault}"


@pytest.mark.parametrize("name", ["cat", "stack"])
def test_joins(device: Any, name: str) -> None:
    parts = [np.arange(6.0).reshape(2, 3) + 10 * k for k in range(3)]
    for dim in (0, 1, -1):
        theirs = [torch.from_numpy(p) for p in parts]
        ours = [clgrad.tensor(p, device=device) for p in parts]
        theirs[1], ours[1] = theirs[1].flip(0), clgrad.stack([ours[1][1], ours[1][0]])
        want, got = getattr(torch, name)(theirs, dim), getattr(clgrad, name)(ours, dim)
        assert np.array_equal(read(got), want.numpy())
    mixed = [torch.ones(2, 3, dtype=torch.int32), torch.ones(2, 3)]
    ours = [same_tensor(m, device) for m in mixed]
    got = getattr(clgrad, name)(ours)
    assert TORCH[got.dtype] == getattr(torch, name)(mixed).dtype
