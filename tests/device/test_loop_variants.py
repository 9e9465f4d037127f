"""Every variant of the loop kernels on every device: GPU kernels on CPUs, other vector widths,
64-bit indices. What a device would not choose by itself must be right all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.graph import lower, recorder
from clgrad.traits import PRESETS

VARIANTS = ["gpu-32", "gpu-16", "minimal", "cpu-avx2", "cpu-neon", "index64"]


@pytest.fixture(params=VARIANTS)
def variant(request: Any, device: Any, monkeypatch: Any) -> Iterator[Any]:
    """A device that believes to be another one, or to need 64-bit indices."""
    own = device.traits
    recorder.flush()
    if request.param == "index64":
        monkeypatch.setattr(lower, "INDEX_LIMIT", 0)
        other = replace(own, max_allocation=own.max_allocation - 1)  # plans of its own
    else:
        other = replace(
            PRESETS[request.param], cl_std=own.cl_std, disabled=own.disabled,
            fp64=own.fp64 and PRESETS[request.param].fp64,
            max_work_group=min(own.max_work_group, PRESETS[request.param].max_work_group),
        )  # fmt: skip
    device.impersonate(other)
    yield device
    recorder.flush()
    device.impersonate(own)


def _softmax(x: Any) -> Any:
    e = (x - x.amax(dim=-1, keepdim=True)).exp()
    return e / e.sum(dim=-1, keepdim=True)


def _np_softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


PROGRAMS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "chain": (lambda x: (x * 2.0 + 1.0).tanh(), lambda x: np.tanh(x * 2 + 1)),
    "transposed": (lambda x: x.transpose(0, 1).exp(), lambda x: np.exp(x.T)),
    "steps": (lambda x: x[1::2, ::3] * x[:1, ::3], lambda x: x[1::2, ::3] * x[:1, ::3]),
    "sum_all": (lambda x: x.sum(), lambda x: x.sum()),
    "sum_rows": (lambda x: x.sum(dim=1), lambda x: x.sum(axis=1)),
    "sum_columns": (lambda x: (x * x).sum(dim=0), lambda x: (x * x).sum(axis=0)),
    "mean_transposed": (lambda x: x.transpose(0, 1).mean(dim=0), lambda x: x.T.mean(axis=0)),
    "amax": (lambda x: x.amax(dim=1), lambda x: x.max(axis=1)),
    "argmax": (lambda x: x.argmax(dim=1), lambda x: x.argmax(axis=1)),
    "argmax_columns": (lambda x: x.argmax(dim=0), lambda x: x.argmax(axis=0)),
    "softmax": (_softmax, _np_softmax),
    "var": (lambda x: x.var(dim=1), lambda x: x.var(axis=1, ddof=1)),
    "masked": (
        lambda x: clgrad.where(x > 0, x, -x * 2.0).sum(dim=0),
        lambda x: np.where(x > 0, x, -x * 2).sum(axis=0),
    ),
    "cumsum": (lambda x: x.cumsum(1), lambda x: x.cumsum(axis=1)),
    "cumsum_columns": (lambda x: x.cumsum(0), lambda x: x.cumsum(axis=0)),
    "cummax": (lambda x: x.cummax(1).values, lambda x: np.maximum.accumulate(x, axis=1)),
    "where_largest": (
        lambda x: x.round().cummax(1).indices,  # the last of equal ones
        lambda x: np.maximum.accumulate(
            np.where(
                np.rint(x) >= np.maximum.accumulate(np.rint(x), axis=1), np.arange(x.shape[1]), 0
            ),
            axis=1,
        ),
    ),
    "matmul": (lambda x: x @ x.transpose(0, 1), lambda x: x @ x.T),
}


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (33, 65), (300, 257), (3, 70001)], ids=str)
def test_variants_agree_with_numpy(variant: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    host = rng.standard_normal(shape).astype(np.float32)
    x = clgrad.tensor(host, device=variant)
    results = {}
    for name, (ours, _) in PROGRAMS.items():
        if name == "matmul" and shape[1] > 1000:
            continue  # a product of long rows says nothing more about loops
        if name == "var" and shape[1] == 1:
            continue  # NaN by definition, with a warning from NumPy
        results[name] = ours(x)
    for name, result in results.items():
        want = PROGRAMS[name][1](host.astype(np.float64))
        np.testing.assert_allclose(
            result.numpy(), want, rtol=3e-5, atol=3e-5 * max(1.0, np.abs(want).max(initial=0)),
            err_msg=f"{name} {shape}",
        )  # fmt: skip


def test_dims_folded_apart(variant: Any) -> None:
    """Statistics of channels, where the last dim is short, and columns that are cut into parts."""
    rng = np.random.default_rng(0)
    for shape, dims in (((40, 6, 7, 5), (0, 2, 3)), ((500, 3, 9), (0, 2)), ((5000, 20), (0,))):
        host = rng.standard_normal(shape).astype(np.float32)
        x = clgrad.tensor(host, device=variant)
        for y, want in ((x.sum(dims), host.sum(dims)), (x.mean(dims), host.mean(dims))):
            np.testing.assert_allclose(y.numpy(), want, rtol=3e-5, atol=1e-3)
    host = rng.standard_normal((3, 40, 50)).astype(np.float32)
    x = clgrad.tensor(host, device=variant)
    y = (x.transpose(1, 2) + 1).contiguous()
    np.testing.assert_array_equal(y.numpy(), host.transpose(0, 2, 1) + 1)
