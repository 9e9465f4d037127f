"""The public memory figures, and reductions that users declare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.runtime.profile import counters


def test_memory_figures_follow_what_is_alive(device: Any) -> None:
    clgrad.empty_cache(device)
    before = clgrad.memory_stats(device)["allocated.current"]
    x = clgrad.zeros(1 << 18, device=device)
    clgrad.synchronize(device)
    assert clgrad.memory_stats(device)["allocated.current"] - before >= 1 << 20
    clgrad.reset_peak_memory_stats(device)
    peak = clgrad.memory_stats(device)["allocated.peak"]
    assert peak == clgrad.memory_stats(device)["allocated.current"]
    assert "peak" in clgrad.memory_summary(device)
    del x
    assert clgrad.empty_cache(device) >= 1 << 20
    assert clgrad.memory_stats(device)["allocated.current"] == before


def test_synchronize_takes_names_of_devices(device: Any) -> None:
    launches = counters.launches
    x = clgrad.ones(3, device=device) * 2
    clgrad.flush(f"cl:{device.index}")
    assert counters.launches == launches + 1
    clgrad.synchronize(f"cl:{device.index}")
    assert x.tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(clgrad.DeviceError, match="there is no 'cl:99'"):
        clgrad.synchronize("cl:99")


def test_the_line_that_chooses_a_device(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = clgrad.accelerator
    monkeypatch.setattr(accelerator.discovery, "devices", lambda: [device])
    with monkeypatch.context() as patch:
        patch.setattr(device, "kind", "cpu")
        assert not accelerator.is_available()
        assert accelerator.current_accelerator() is None
        with pytest.raises(clgrad.DeviceError, match="there is no number 0"):
            accelerator.memory_allocated(0)
        with pytest.raises(clgrad.DeviceError, match="which is no accelerator"):
            accelerator.current_device_index()
    monkeypatch.setattr(device, "kind", "gpu")
    before = clgrad.get_default_device()
    try:
        accelerator.set_device_index(0)
        assert accelerator.is_available()
        assert accelerator.current_accelerator() is device
        assert accelerator.current_device_index() == 0
        x = clgrad.ones(1 << 10) + 1
        accelerator.synchronize()
        assert x.device is device
        assert accelerator.memory_allocated() >= 1 << 12
        assert accelerator.memory_allocated(0) <= accelerator.max_memory_allocated()
        assert accelerator.memory_reserved(device) <= accelerator.max_memory_reserved(device)
    finally:
        clgrad.set_default_device(before)


def test_a_declared_reduction_has_value_gradient_and_second_gradient(device: Any) -> None:
    if "mean_square" not in clgrad._OPS:
        clgrad.mean_square = clgrad.reduction(  # type: ignore[attr-defined]
            "mean_square", init="0", element="x * x", combine="a + b", finish="a / n",
            dx="g * 2 * x / n",
        )  # fmt: skip
    host = np.arange(12.0, dtype="f").reshape(3, 4) - 5
    x = clgrad.tensor(host, device=device, requires_grad=True)
    y = clgrad.mean_square(x, dim=1)  # type: ignore[attr-defined]
    np.testing.assert_allclose(y.detach().numpy(), (host**2).mean(axis=1), rtol=1e-6)
    (slope,) = clgrad.autograd.grad(y.sum(), x, create_graph=True)
    np.testing.assert_allclose(slope.detach().numpy(), host / 2, rtol=1e-6)
    (bend,) = clgrad.autograd.grad((slope * slope).sum(), x)
    np.testing.assert_allclose(bend.numpy(), host / 2, rtol=1e-6)


def test_a_taken_name_is_an_error(device: Any) -> None:
    with pytest.raises(ValueError, match="sum: an op of this name exists"):
        clgrad.reduction("sum", init="0", combine="a + b")
