"""The convolution kernels for GPUs, run on whatever device is there, against PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad import config
from clgrad.codegen.conv_specs import GroupSpec
from clgrad.graph import recorder, watch
from clgrad.ops import convolution
from tests.device.against_torch import arrays, assert_close, compare


@pytest.fixture
def kernels(device: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Lower as for a GPU; the first element, work-items of a group, may be changed.

    What follows it are the specs that are chosen. Shapes occur in one test only: plans are kept.
    """
    chosen: list[Any] = [64]
    lower = convolution.lower_conv

    def lower_conv(problem: Any, traits: Any) -> Any:
        size = chosen[0]
        gpu = replace(traits, is_cpu=False, max_work_group=size, preferred_work_group=size)
        lowered = lower(problem, gpu)
        chosen.extend(launch.spec for launch in lowered.launches)
        return lowered

    monkeypatch.setattr(convolution, "lower_conv", lower_conv)
    clgrad.set_default_device(device)
    yield chosen
    clgrad.set_default_device(None)


Case = tuple[str, tuple[int, ...], tuple[int, ...], int, dict[str, Any]]
CASES: list[Case] = [
    ("conv2d", (3, 21, 11, 13), (37, 21, 3, 3), 37, {"padding": 1}),
    ("conv2d", (2, 20, 15, 14), (24, 10, 3, 2), 0,
     {"stride": (2, 1), "padding": (1, 3), "dilation": (1, 2), "groups": 2}),
    ("conv2d", (4, 17, 20, 21), (40, 17, 1, 1), 0, {"stride": 2}),
    ("conv2d", (2, 3, 33, 31), (24, 3, 7, 7), 24, {"stride": 2, "padding": 3}),
    ("conv2d", (4, 16, 32, 31), (64, 16, 3, 3), 0, {"padding": 1}),
    ("conv1d", (5, 12, 67), (18, 12, 5), 18, {"padding": "same"}),
    ("conv3d", (2, 9, 5, 6, 8), (10, 9, 2, 3, 2), 0, {"padding": (1, 0, 2), "dilation": (1, 2, 1)}),
    ("conv_transpose2d", (3, 12, 7, 9), (12, 20, 3, 4), 20,
     {"stride": 2, "padding": 1, "output_padding": 1}),
]  # fmt: skip


def _case(name: str, settings: dict[str, Any]) -> Any:
    return lambda m, *operands: getattr(m.nn.functional, name)(*operands, **settings)


def _operands(case: Case, more: int = 0) -> tuple[Any, list[Any]]:
    """Return a case with so many images more."""
    name, x, w, bias, settings = case
    shapes = [(x[0] + more, *x[1:]), w, *([(bias,)] if bias else [])]
    return _case(name, settings), arrays(*shapes)


def _groups(kernels: list[Any]) -> set[str]:
    return {spec.what for spec in kernels if isinstance(spec, GroupSpec)}


PASSES = {"forward", "input", "weight"}


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{'x'.join(map(str, c[2]))}")
def test_values_and_gradients(kernels: Any, case: Case) -> None:
    compare(*_operands(case), "float32")
    assert _groups(kernels) == ({"forward"} if case[1][1] == 3 else PASSES)


@pytest.mark.parametrize("case", [CASES[0], CASES[4]], ids=["wide and narrow", "tall"])
def test_large_groups(kernels: Any, case: Case) -> None:
    kernels[0] = 256
    compare(*_operands(case, 1), "float32")
    assert _groups(kernels) == PASSES
    tiles = {(spec.rows, spec.columns) for spec in kernels[1:] if isinstance(spec, GroupSpec)}
    assert tiles == ({(4, 4), (4, 2)} if case is CASES[0] else {(8, 4), (4, 1), (4, 4)})


def test_float64_and_short_floats(kernels: Any) -> None:
    function, operands = _operands(CASES[0], 2)
    compare(function, operands)
    for dtype, error in (("float16", 2e-3), ("bfloat16", 1.6e-2)):
        ours = [clgrad.tensor(a).to(getattr(clgrad, dtype)) for a in operands]
        exact = [torch.tensor(t.to(clgrad.float64).numpy()) for t in ours]
        expected = function(torch, *exact).to(getattr(torch, dtype))
        assert_close(function(clgrad, *ours), expected, error, dtype)
    assert _groups(kernels) == PASSES


def test_what_is_outside_is_not_read(kernels: Any) -> None:
    x = np.zeros((2, 8, 9, 9), "f")
    x[0, 0, 0, 0], x[1, 1, 8, 8], x[0, 2, 8, 0] = np.inf, np.nan, -np.inf
    w = np.ones((9, 8, 3, 3), "f")
    compare(_case("conv2d", {"padding": 2, "stride": 2}), [x, w], "float32", grad=False)
    assert _groups(kernels) == {"forward"}


def test_what_follows_is_part_of_the_kernel(kernels: Any) -> None:
    """The same bits as apart, in as many launches as the convolution alone."""
    x, w, bias = arrays((3, 11, 13, 10), (19, 11, 3, 3), (19,))
    x, w, bias = (clgrad.tensor(a.astype("f")) for a in (x, w, bias))

    def layer(number: float) -> Any:
        y = clgrad.nn.functional.conv2d(x, w, bias, 1, 1).relu() * number
        kept = clgrad.arange(y.numel()).reshape(y.shape) > 40
        return (y + x[:, :1]) * kept

    with config.override(eager=True):
        apart = layer(1.5).numpy()
    recorder.flush()
    watch.reset()
    plain = clgrad.nn.functional.conv2d(x, w, None, 1, 1)
    recorder.flush()
    alone = watch.reset().launches
    assert plain.shape == (3, 19, 13, 10)
    fused = layer(1.5)
    recorder.flush()
    assert watch.reset().launches == alone
    np.testing.assert_array_equal(fused.numpy(), apart)
