"""Decompositions of low rank, and normalizations with their statistics, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    clgrad.manual_seed(3)
    yield
    clgrad.set_default_device(None)


def low_rank(shape: tuple[int, ...], rank: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    left = rng.standard_normal((*shape[:-1], rank))
    made = left @ rng.standard_normal((*shape[:-2], rank, shape[-1]))
    return made.astype(np.float32)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (2, 7, 6)])
def test_a_matrix_of_low_rank_is_found_again(shape):
    array = low_rank(shape, 3)
    for name, options in (
        ("svd_lowrank", {"q": 3}), ("svd_lowrank", {"q": 4, "M": low_rank(shape[-2:], 1)}),
        ("pca_lowrank", {"q": 3}), ("pca_lowrank", {"q": 3, "center": False, "niter": 1}),
    ):  # fmt: skip
        x = clgrad.tensor(array, requires_grad=True)
        y = torch.tensor(array, dtype=torch.float64, requires_grad=True)
        mine = {k: clgrad.tensor(v) if k == "M" else v for k, v in options.items()}
        theirs = {k: torch.tensor(v).double() if k == "M" else v for k, v in options.items()}
        u, s, v = getattr(clgrad, name)(x, **mine)
        tu, ts, tv = getattr(torch, name)(y, **theirs)
        assert [t.shape for t in (u, s, v)] == [t.shape for t in (tu, ts, tv)]
        product = (u * s.unsqueeze(-2) @ v.mT).detach().numpy()
        np.testing.assert_allclose(
            product, (tu * ts.unsqueeze(-2) @ tv.mT).detach().numpy(), atol=1e-4
        )
        s.sum().backward()
        ts.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), atol=1e-3)


def test_components_are_counted():
    x = clgrad.rand(5, 3)
    for call in (lambda: clgrad.pca_lowrank(x, 4), lambda: clgrad.pca_lowrank(x, niter=-1)):
        with pytest.raises(ValueError, match="must be non-negative integer"):
            call()
    with pytest.raises(RuntimeError, match="svd_lowrank"):
        clgrad.svd_lowrank(clgrad.ones(3, 3, dtype=clgrad.int64))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("native_layer_norm", lambda lib, w, b: ((4, 5), None, None, 1e-5)),
        ("native_group_norm", lambda lib, w, b: (w, b, 3, 4, 20, 2, 1e-3)),
        ("native_batch_norm", lambda lib, w, b: (w, b, None, None, True, 0.1, 1e-5)),
        ("native_batch_norm", lambda lib, w, b: (
            w, None, lib.zeros(4), lib.ones(4), False, 0.1, 1e-5
        )),
    ],
)  # fmt: skip
def test_statistics_come_besides(name, arguments):
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((3, 4, 4, 5), (4,), (4,))]
    outcomes = []
    for lib in (clgrad, torch):
        x, w, b = (lib.tensor(a).requires_grad_() for a in arrays)
        made, mean, rstd = getattr(lib, name)(x, *arguments(lib, w, b))
        (grad,) = lib.autograd.grad((made * made * made).sum(), x)
        outcomes.append([t.detach().numpy() for t in (made, mean, rstd, grad)])
    for ours, theirs in zip(*outcomes, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
