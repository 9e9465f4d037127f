"""New tensors on devices: what is computed there, and what the host hands over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.creation import current


@pytest.fixture(autouse=True)
def _device(device: Any) -> Iterator[None]:
    former, current.device = current.device, device
    yield
    current.device = former


LINES = """
m.linspace(-3, 7.5, 1001)
m.linspace(0, 1, 17, dtype=m.float16)
m.linspace(-3, 10, 6, dtype=m.int64)
m.linspace(1e4, -1e-3, 7, dtype=m.float64)
m.logspace(-3, 3, 25)
m.logspace(0, 5, 6, base=2, dtype=m.int32)
m.arange(0, 1, 0.1)
m.arange(-2.5, 60, 0.5, dtype=m.bfloat16)
m.arange(2**40, 2**40 + 50, 7)
m.eye(5, 3)
m.eye(4, dtype=m.bool)
m.full((3, 2), -1, dtype=m.uint8)
m.full((2, 2), True)
m.full((3,), 1e4, dtype=m.float16)
m.zeros(4, dtype=m.int32).fill_(3.9)
m.triu_indices(3, 5, -1, dtype=m.int32)
m.vander(m.tensor([1.5, -2.0, 0.25]), 4)
m.cartesian_prod(m.arange(3), m.arange(2))
m.stack(m.meshgrid(m.arange(3), m.tensor(7), m.arange(2), indexing="xy"))
m.empty_strided((2, 3), (1, 2)).fill_(2)
m.tensor([[True, False], [False, True]])
m.tensor([0.1, 7.0], dtype=m.bfloat16)
m.scalar_tensor(3)
"""


@pytest.mark.parametrize("line", LINES.split("\n")[1:-1])
def test_as_torch(line: str) -> None:
    ours, theirs = (eval(line, {"m": m}) for m in (clgrad, torch))
    assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
    assert ours.stride() == theirs.stride()
    if theirs.dtype is torch.bfloat16:
        ours, theirs = ours.float(), theirs.float()
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-7, atol=1e-6)


def test_the_grid_shares_the_memory_of_the_vectors() -> None:
    x, y = clgrad.arange(3.0, requires_grad=True), clgrad.arange(2.0, requires_grad=True)
    a, b = clgrad.meshgrid(x, y, indexing="xy")
    (a * b * b).sum().backward()
    assert a.shape == (2, 3)
    assert a._storage is x._storage
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    assert y.grad.tolist() == [0.0, 6.0]
