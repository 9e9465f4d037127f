"""Programs whose results once differed from PyTorch's: kept, so that they do not again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad

NAN, INF = float("nan"), float("inf")
ROWS = [
    [NAN, 1.0, 0.0], [INF, 1.0, 0.0], [0.0, 2.0, 3.0], [0.0, 0.0, 1.0], [0.0, 0.0, NAN],
    [NAN, INF, 0.0], [2.0, 3.0, 4.0],
]  # fmt: skip


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_products_with_a_zero_and_what_is_not_finite(device: Any, kind: str) -> None:
    def program(m: Any, **where: Any) -> list[Any]:
        x = m.tensor(ROWS, dtype=getattr(m, kind), requires_grad=True, **where)
        x.prod(1).sum().backward()
        rows = [m.tensor(r, dtype=x.dtype, requires_grad=True, **where) for r in ROWS]
        for row in rows:
            row.prod().backward()
        return [x.grad.tolist(), *(row.grad.tolist() for row in rows)]

    if kind == "float64" and not device.traits.fp64:
        pytest.skip("no float64")
    for ours, theirs in zip(program(clgrad, device=device), program(torch), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_lstm_under_autocast_is_short_as_a_whole(device: Any) -> None:
    def program(m: Any, **where: Any) -> list[str]:
        layer = m.nn.LSTM(3, 4, num_layers=2, **where)
        x = m.ones(5, 2, 3, **where)
        with m.autocast("cpu", dtype=m.bfloat16):
            y, (h, c) = layer(x)
        y.float().sum().backward()
        found = [str(t.dtype).split(".")[-1] for t in (y, h, c, layer.weight_hh_l0.grad)]
        return [*found, str(bool(m.isfinite(layer.weight_ih_l1.grad).all()))]

    if device.kind != "cpu":
        pytest.skip("PyTorch's list is the one for CPUs")
    assert program(clgrad, device=device) == program(torch)


def test_distances_of_two_dtypes_are_an_error(device: Any) -> None:
    rows = clgrad.ones(2, 3, device=device)
    with pytest.raises(RuntimeError, match=r"X1 is .*float32 and X2 is .*float16"):
        clgrad.cdist(rows, rows.half())
