"""Dropout on every device: rates, the mask of backward, channels, and PyTorch's edge cases."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad

F = clgrad.nn.functional


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    clgrad.manual_seed(17)
    yield
    clgrad.set_default_device(None)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rates_and_the_mask_of_backward(p: float) -> None:
    x = clgrad.ones(200, 100, requires_grad=True)
    y = F.dropout(x, p)
    y.sum().backward()
    values = y.detach().numpy()
    assert np.array_equal(x.grad.numpy(), values)
    assert set(np.unique(values)) == {np.float32(0), np.float32(1 / (1 - p))}
    assert (values == 0).mean() == pytest.approx(p, abs=0.02)
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 0.03


def test_seeds_calls_and_dtypes() -> None:
    x = clgrad.ones(64, 64)
    clgrad.manual_seed(3)
    first, second = F.dropout(x), F.dropout(x)
    clgrad.manual_seed(3)
    again = F.dropout(x)
    assert np.array_equal(first.numpy(), again.numpy())
    assert not np.array_equal(first.numpy(), second.numpy())
    half = F.dropout(x.half(), 0.001)
    assert half.dtype is clgrad.float16
    assert (half.numpy() == 0).mean() < 0.01  # chances are not rounded to halves


def test_whole_channels() -> None:
    for call, shape, lead in (
        (F.dropout1d, (40, 50, 3), 2), (F.dropout1d, (500, 3), 1), (F.dropout2d, (40, 50, 2, 2), 2),
        (F.dropout3d, (40, 50, 2, 1, 2), 2), (F.dropout3d, (500, 2, 1, 2), 1),
    ):  # fmt: skip
        values = call(clgrad.ones(*shape), 0.3).numpy()
        rows = values.reshape((int(np.prod(shape[:lead])), -1))
        assert (rows == rows[:, :1]).all()
        assert (rows[:, 0] == 0).mean() == pytest.approx(0.3, abs=0.08)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = clgrad.randn(400, 400, requires_grad=True)
    for call in (F.alpha_dropout, F.feature_alpha_dropout):
        y = call(x, 0.25, training=True)
        values = y.detach().numpy()
        assert values.mean() == pytest.approx(0, abs=0.02)
        assert values.std() == pytest.approx(1, abs=0.02)
    low, count = np.unique(values, return_counts=True)
    assert count.max() / values.size == pytest.approx(0.25, abs=0.01)
    q = 1 / np.sqrt((1.7580993408473766**2 * 0.25 + 1) * 0.75)
    assert low[count.argmax()] == pytest.approx(1.7580993408473766 * q * (0.25 - 1), rel=1e-5)
    y.sum().backward()
    kept = values != low[count.argmax()]
    np.testing.assert_allclose(x.grad.numpy(), kept * q, rtol=1e-5)


@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_edges(m: Any) -> None:
    f = m.nn.functional
    x = m.ones(3, 4)
    assert f.dropout(x, 0.5, False) is x
    assert f.dropout(x, 0.0) is x
    assert f.alpha_dropout(x) is x
    assert f.dropout(x, 1.0).tolist() == [[0.0] * 4] * 3
    assert f.dropout(m.ones(0)).shape == (0,)
    y = f.dropout(x, 0.5, inplace=True)
    assert y is x
    assert sorted(set(x.flatten().tolist())) in ([0.0, 2.0], [0.0], [2.0])
    assert f.dropout(m.ones(2, requires_grad=True), 0.5).grad_fn.name() == "MulBackward0"
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            f.dropout(x, p)
        with pytest.raises(ValueError, match="between 0 and 1"):
            m.nn.Dropout(p)
    with pytest.raises(RuntimeError):
        f.dropout(x.long())
    with pytest.raises(RuntimeError, match="2D or 3D"):
        f.dropout1d(m.ones(3))
    with pytest.warns(UserWarning, match="dropout2d"):
        f.dropout2d(m.ones(2, 3, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match="at least 2"):
            f.dropout2d(m.ones(3))


def test_modules_drop_while_training() -> None:
    x = clgrad.ones(100, 100)
    for name in ("Dropout", "AlphaDropout", "FeatureAlphaDropout"):
        layer = getattr(clgrad.nn, name)(0.4)
        assert repr(layer) == f"{name}(p=0.4, inplace=False)"
        assert not np.array_equal(layer(x).numpy(), x.numpy())
        assert layer.eval()(x) is x


def test_the_mask_takes_no_memory(device: Any) -> None:
    x = clgrad.randn(1 << 18, requires_grad=True)
    F.dropout(x).sum().backward()
    x.grad = None
    clgrad.synchronize()
    device.pool.reset_peak()
    before = device.pool.stats()["allocated.current"]
    loss = F.dropout(x).sum()
    clgrad.synchronize()
    assert device.pool.stats()["allocated.current"] - before < x.nbytes / 4
    loss.backward()
