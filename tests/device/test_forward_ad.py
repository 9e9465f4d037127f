"""Tangents of ops with kernels of their own, and of in-place ops on them, as PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
import torch.autograd.forward_ad  # what PyTorch does not import by itself

import clgrad

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own

RNG = np.random.default_rng(8)


def F(name: str, *rest: Any, **options: Any) -> Any:
    return lambda m, *x: getattr(m.nn.functional, name)(*x, *rest, **options)


def scattered(m: Any, x: Any, w: Any) -> Any:
    at = m.tensor([[0, 2, 1], [1, 1, 0]], device=x.device)
    return x.index_add_(0, at[0], w).scatter_add(1, at, w).gather(1, at)


def multiplied(m: Any, x: Any, w: Any) -> Any:
    h = x @ w.t()
    h[0].mul_(x[0, 0])
    return m.addmm(h, w, x.t())


CASES = {
    "conv2d": (F("conv2d", padding=1), (2, 3, 5, 6), (4, 3, 3, 3)),
    "conv_transpose2d": (F("conv_transpose2d", stride=2), (2, 4, 3, 3), (4, 3, 2, 2)),
    "max_pool2d": (lambda m, x: m.nn.functional.max_pool2d(x, 2), (2, 3, 5, 6)),
    "avg_pool2d": (lambda m, x: m.nn.functional.avg_pool2d(x, 2), (2, 3, 5, 6)),
    "products": (multiplied, (3, 4), (3, 4)),
    "sorted": (lambda m, x: x.sort(1).values * x.topk(1, 1).values, (3, 5)),
    "scattered": (scattered, (3, 3), (3, 3)),
    "embedding": (
        lambda m, x: m.nn.functional.embedding(m.tensor([[0, 2], [2, 1]], device=x.device), x),
        (3, 4),
    ),
    "normalized": (lambda m, x: m.nn.functional.batch_norm(x, None, None, training=True), (4, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_tangents_of_kernels(device: Any, name: str) -> None:
    case, *shapes = CASES[name]
    arrays = [RNG.standard_normal((2, *shape)) for shape in shapes]
    found = []
    for m, options in ((torch, {}), (clgrad, {"device": device})):
        fwd = m.autograd.forward_ad
        with fwd.dual_level():
            pairs = [[m.tensor(a, dtype=m.float64, **options) for a in two] for two in arrays]
            made = case(m, *[fwd.make_dual(x, t) for x, t in pairs])
            found.append(fwd.unpack_dual(made).tangent.numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-11)
