"""Bessel functions: against PyTorch, and more exactly against what ties them together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import clgrad
from tests.device.against_torch import assert_close

torch = pytest.importorskip("torch")

ODD = [0.0, -0.0, math.inf, math.nan, 2.0, 25.0, 1e-5]
SMALL = np.concatenate([np.linspace(0.01, 30, 301), ODD])
BOTH = ("bessel_j0", "bessel_j1", "modified_bessel_i0", "modified_bessel_i1", "spherical_bessel_j0")
POSITIVE = (
    "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
)  # fmt: skip


@pytest.mark.parametrize("name", BOTH + POSITIVE)
def test_values(device: Any, name: str) -> None:
    x = np.concatenate([SMALL, -SMALL[:5]]) if name in BOTH else np.concatenate([SMALL, [-1.0]])
    ours, theirs = getattr(clgrad.special, name), getattr(torch.special, name)
    wide = theirs(torch.tensor(x))
    if device.traits.fp64:
        made = ours(clgrad.tensor(x, device=device))
        assert_close(made, wide, 1e-6, name)  # PyTorch's own error at 5
    made = ours(clgrad.tensor(x.astype("f"), device=device, requires_grad=True))
    assert not made.requires_grad
    assert_close(made, theirs(torch.tensor(x.astype("f"))), 2e-5, name)
    counts = clgrad.tensor([1, 3], device=device)
    assert ours(counts).dtype is clgrad.float32


def test_wronskian(device: Any) -> None:
    if not device.traits.fp64:
        pytest.skip("needs float64")
    s = clgrad.special
    x = clgrad.tensor(np.linspace(0.05, 60, 500), device=device)
    found = s.bessel_j1(x) * s.bessel_y0(x) - s.bessel_j0(x) * s.bessel_y1(x)
    assert ((found * x * (math.pi / 2) - 1).abs().max() < 1e-13).item()
    product = s.i0e(x) * s.scaled_modified_bessel_k1(x) + s.i1e(x) * s.scaled_modified_bessel_k0(x)
    assert ((product * x - 1).abs().max() < 1e-13).item()
