"""Graphs as deep as programs make them: work of the host alone, so one device is enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.autograd import graph


@pytest.fixture(autouse=True)
def on_device(any_device: Any) -> Iterator[None]:
    clgrad.set_default_device(any_device)
    yield
    clgrad.set_default_device(None)


def test_100_000_ops() -> None:
    """Neither recursion nor quadratic work, forward, backward and when dropped."""
    x = clgrad.tensor([-0.5, 0.1, 0.2, 0.5], requires_grad=True)
    y = x
    for _ in range(50_000):
        y = y * 0.99999 + 0.00001
    y.sum().backward()
    assert np.allclose(x.grad.numpy(), 0.99999**50_000, rtol=1e-2)
    z = x
    for _ in range(50_000):
        z = (z * 0.5).alias() + 1
    del z  # drops a long chain without backward


def test_3_000_ops_are_drawn() -> None:
    x = clgrad.ones(2, requires_grad=True)
    y = x
    for _ in range(3000):
        y = y * 1.0001
    assert graph.show(y).count("MulBackward0") == 3000
    assert graph.show(y, format="html").count("<rect") == 3001
