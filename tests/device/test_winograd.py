"""Winograd convolutions: values, gradients, what follows them, accuracy, and when they are used."""

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
from clgrad.codegen import conv_winograd
from clgrad.codegen.choice import text_of
from clgrad.codegen.conv import FAMILY, candidates, lower_conv
from clgrad.codegen.conv_choice import Winograd
from clgrad.codegen.conv_winograd_specs import ImageSpec, ResultSpec
from clgrad.errors import ClgradValueError
from clgrad.graph import recorder, watch
from clgrad.ops import convolution
from clgrad.traits import PRESETS
from tests.device.against_torch import arrays, assert_close, compare
from tests.device.test_convolution_candidates import check_one

TEXTS = [
    "conv forward 3x24x15x17 40x24x3x3 padding=1 float32 medium",
    "conv input 3x20x13x18 17x20x3x3 float32 medium",
    "conv forward 2x5x9x33 6x5x3x3 padding=3x0 float32 medium",
    "conv input 2x7x21x9 20x7x3x3 padding=4x1 float32 medium",
]


@pytest.fixture
def chosen(device: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Let tiles win at all sizes; holds the specs that are launched. Shapes occur in one test."""
    specs: list[Any] = []
    lower = convolution.lower_conv

    def lower_noting(problem: Any, traits: Any) -> Any:
        lowered = lower(problem, traits)
        specs.extend(launch.spec for launch in lowered.launches)
        return lowered

    monkeypatch.setattr(conv_winograd, "wins", lambda p: True)
    monkeypatch.setattr(convolution, "lower_conv", lower_noting)
    clgrad.set_default_device(device)
    yield specs
    clgrad.set_float32_conv_precision("highest")
    clgrad.set_default_device(None)


def _tiles(specs: list[Any]) -> set[int]:
    return {spec.tile for spec in specs if isinstance(spec, ImageSpec)}


def _conv(m: Any, x: Any, w: Any, *bias: Any) -> Any:
    return m.nn.functional.conv2d(x, w, *bias, padding=1)


@pytest.mark.parametrize("cpu", [True, False], ids=["vectors", "one by one"])
@pytest.mark.parametrize("text", TEXTS)
def test_tiles_of_both_sizes(device: Any, text: str, cpu: bool) -> None:
    problem, traits = FAMILY.parse(text), replace(device.traits, is_cpu=cpu)
    for k, choice in enumerate((Winograd(2), Winograd(4), Winograd(4, 1))):
        assert choice in candidates(problem, traits)
        for small in (FAMILY.awkward(problem, choice)[k], problem):
            check_one(device, small, choice, traits)


@pytest.mark.parametrize(("precision", "tile"), [("high", 2), ("medium", 4)])
def test_values_and_gradients(chosen: list[Any], precision: str, tile: int) -> None:
    clgrad.set_float32_conv_precision(precision)
    assert clgrad.get_float32_conv_precision() == precision
    compare(_conv, arrays((3, 20, 11, 15 + tile), (37, 20, 3, 3), (37,)), "float32")
    assert _tiles(chosen) == {tile}
    # forward, and both derivatives that are convolutions of this kind
    assert sum(isinstance(spec, ResultSpec) for spec in chosen) >= 2


def test_short_floats(chosen: list[Any]) -> None:
    operands = arrays((2, 20, 10, 9), (18, 20, 3, 3), (18,))
    clgrad.set_float32_conv_precision("medium")
    for dtype, error in (("float16", 2e-3), ("bfloat16", 1.6e-2)):
        ours = [clgrad.tensor(a).to(getattr(clgrad, dtype)) for a in operands]
        exact = [torch.tensor(t.to(clgrad.float64).numpy()) for t in ours]
        expected = _conv(torch, *exact).to(getattr(torch, dtype))
        assert_close(_conv(clgrad, *ours), expected, error, dtype)
    assert _tiles(chosen) == {4}


def test_other_convolutions_and_float64_are_left_alone(chosen: list[Any]) -> None:
    clgrad.set_float32_conv_precision("medium")
    x, w = (clgrad.tensor(a.astype("f")) for a in arrays((2, 16, 12, 11), (16, 16, 3, 3)))
    for settings in ({"stride": 2}, {"dilation": 2}, {"padding": (0, 1), "stride": (1, 2)}):
        clgrad.conv2d(x, w, **settings).numpy()
    clgrad.conv2d(x, w[:, :4], groups=4).numpy()
    clgrad.conv2d(x, w[..., :2]).numpy()
    clgrad.conv2d(x.to(clgrad.float64), w.to(clgrad.float64)).numpy()
    assert chosen
    assert _tiles(chosen) == set()


def test_what_follows_is_part_of_the_kernel(chosen: list[Any]) -> None:
    """Bias, activation, residual and a mask of the index: no launch more, the same bits."""
    clgrad.set_float32_conv_precision("medium")
    x, w, bias = arrays((3, 21, 13, 10), (21, 21, 3, 3), (21,))
    x, w, bias = (clgrad.tensor(a.astype("f")) for a in (x, w, bias))

    def layer(number: float) -> Any:
        y = _conv(clgrad, x, w, bias).relu() * number
        return (y + x) * (clgrad.arange(y.numel()).reshape(y.shape) > 40)

    with config.override(eager=True):
        apart = layer(1.5).numpy()
    recorder.flush()
    watch.reset()
    plain = _conv(clgrad, x, w)
    recorder.flush()
    alone = watch.reset().launches
    assert plain.shape == (3, 21, 13, 10)
    fused = layer(1.5)
    recorder.flush()
    assert watch.reset().launches == alone
    np.testing.assert_array_equal(fused.numpy(), apart)
    assert _tiles(chosen) == {4}


def test_infinity_spreads_within_tiles_only(chosen: list[Any]) -> None:
    clgrad.set_float32_conv_precision("medium")
    x, w = np.zeros((1, 16, 16, 24), "f"), np.ones((16, 16, 3, 3), "f")
    x[0, 3, 7, 9] = np.inf
    y = _conv(clgrad, clgrad.tensor(x), clgrad.tensor(w)).numpy()
    strange = np.argwhere(~np.isfinite(y[0, 0]))
    # tiles of 4 x 4 points: rows 4 to 11, columns 8 to 11 read row 7, column 9
    assert strange.min(0).tolist() == [4, 8]
    assert (strange.max(0) <= [11, 11]).all()
    assert (y[0, 0][np.isfinite(y[0, 0])] == 0).all()
    assert _tiles(chosen) == {4}


def test_errors_against_float64(chosen: list[Any]) -> None:
    """As documented: those of 2 x 2 tiles are not larger than direct ones, of 4 x 4 a few times."""
    x, w = arrays((2, 128, 20, 20), (32, 128, 3, 3))
    exact = _conv(torch, *(torch.tensor(a.astype("f")).double() for a in (x, w))).numpy()
    errors = []
    for precision in ("highest", "high", "medium"):
        clgrad.set_float32_conv_precision(precision)
        y = _conv(clgrad, clgrad.tensor(x.astype("f")), clgrad.tensor(w.astype("f")))
        errors.append(np.sqrt(np.mean((y.numpy() - exact) ** 2) / np.mean(exact**2)))
    direct, two, four = errors
    assert two < 1.5 * direct
    assert direct / 2 < four < 5 * direct
    assert four < 4e-6
    assert _tiles(chosen) == {2, 4}


def test_the_sum_of_choices(device: Any) -> None:
    """What is chosen without and with a measurement, at sizes where tiles pay."""
    problem = FAMILY.parse("conv forward 8x256x14x14 256x256x3x3 padding=1 float32 medium")
    traits = replace(device.traits, tuned=())
    for precision, tile in (("highest", None), ("high", 2), ("medium", 4)):
        asked = replace(problem, precision=precision)
        first = candidates(asked, traits)[0]
        assert first == Winograd(tile) if tile else not isinstance(first, Winograd)
        assert lower_conv(asked, traits) == FAMILY.lower(asked, first, traits)
        assert (FAMILY.describe(asked) or "").endswith(precision) == (tile is not None)
    text = FAMILY.describe(problem)
    assert text is not None
    direct = next(c for c in candidates(problem, traits) if not isinstance(c, Winograd))
    tuned = replace(traits, tuned=((FAMILY.key(text), text_of(direct)),))
    assert lower_conv(problem, tuned) == FAMILY.lower(problem, direct, tuned)


@pytest.mark.parametrize("name", PRESETS)
def test_kernels_are_rendered_for_every_preset(name: str) -> None:
    for text in TEXTS:
        problem = FAMILY.parse(text)
        for launch in lower_conv(problem, PRESETS[name]).launches:
            source = launch.spec.render(PRESETS[name])
            assert len(source.args) == len(launch.args)


def test_a_wrong_precision_is_refused() -> None:
    with pytest.raises(ClgradValueError, match=r"got 'low'\. Expected one of 'highest'"):
        clgrad.set_float32_conv_precision("low")
