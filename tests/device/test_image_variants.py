"""Convolutions, pools and resampling with the kernels of other devices, on every device.

What a device would not choose by itself must be right all the same; and nothing may depend on what
was in memory before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import clgrad
from clgrad.graph import recorder
from clgrad.traits import PRESETS
from tests.device.against_torch import arrays, compare


@pytest.fixture(params=["gpu-32", "minimal", "cpu-avx2", "cpu-neon"])
def variant(request: Any, device: Any) -> Iterator[Any]:
    """A device that believes to be another one, its free memory full of NaN."""
    own = device.traits
    recorder.flush()
    other = replace(
        PRESETS[request.param], cl_std=own.cl_std, disabled=own.disabled,
        fp64=own.fp64 and PRESETS[request.param].fp64,
        max_work_group=min(own.max_work_group, PRESETS[request.param].max_work_group),
    )  # fmt: skip
    clgrad.set_default_device(device)
    poison = [clgrad.full((1 << n,), np.nan) * 1 for n in range(6, 20)]
    recorder.flush()
    del poison
    device.impersonate(other)
    yield device
    recorder.flush()
    device.impersonate(own)
    clgrad.set_default_device(None)


def test_convolutions(variant: Any) -> None:
    cases = [
        ((2, 24, 14, 13), (20, 24, 3, 3), {"padding": 1}),
        ((2, 24, 15, 13), (20, 12, 3, 2), {"padding": 1, "stride": 2, "groups": 2}),
        ((2, 12, 14, 21), (12, 1, 3, 3), {"padding": 1, "groups": 12, "stride": (1, 2)}),
        ((3, 2, 14, 6), (3, 2, 5, 5), {"padding": 2}),
        ((1, 4, 40, 41), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
        ((3, 3, 30, 31), (8, 3, 5, 5), {"padding": 2, "stride": 2}),
    ]
    for x, w, settings in cases:

        def case(m: Any, x: Any, w: Any, b: Any, settings: Any = settings) -> Any:
            return m.nn.functional.conv2d(x, w, b, **settings).relu() * 0.5

        compare(case, arrays(x, w, w[:1]), "float32", tolerance=1e-4)


def test_pools_and_columns(variant: Any) -> None:
    def case(m: Any, x: Any) -> Any:
        f = m.nn.functional
        y, at = f.max_pool2d(x, 3, 2, 1, return_indices=True)
        z = f.avg_pool2d(x, (2, 3), 2, (1, 0), ceil_mode=True) * f.adaptive_avg_pool2d(x, (4, 4))
        return y, at, z, f.fold(f.unfold(x, 3, padding=1), (7, 9), 3, padding=1)

    for images in (2, 9):
        compare(case, arrays((images, 2, 7, 9)), "float32")


def test_resampling(variant: Any) -> None:
    def case(m: Any, x: Any) -> Any:
        f = m.nn.functional
        return tuple(
            f.interpolate(x, (9, 5), mode=mode) for mode in ("nearest", "bilinear", "bicubic")
        )

    compare(case, arrays((2, 3, 5, 7)), "float32", tolerance=1e-4)
