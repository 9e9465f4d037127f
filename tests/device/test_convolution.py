"""Convolutions against PyTorch: values, gradients and second gradients of every geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad import config
from clgrad.codegen import conv_build
from clgrad.graph import recorder, watch
from clgrad.graph.pending import drop_plans
from tests.device.against_torch import arrays, assert_close, compare, same_error

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even:UserWarning")


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(None)


CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], int, dict[str, Any]]] = [
    # function, image, weight, size of the bias, settings; first small ones: one kernel each
    ("conv2d", (2, 3, 7, 9), (4, 3, 3, 2), 4, {}),
    ("conv2d", (3, 3, 9, 8), (5, 3, 3, 4), 0, {"stride": 2, "padding": 1}),
    ("conv2d", (2, 4, 9, 8), (6, 2, 3, 3), 6,
     {"stride": (2, 1), "padding": (2, 1), "dilation": (1, 2), "groups": 2}),
    ("conv2d", (2, 4, 7, 9), (8, 1, 3, 3), 8, {"groups": 4, "padding": 1}),
    ("conv2d", (2, 6, 6, 5), (6, 1, 3, 3), 0, {"groups": 6, "stride": 2, "padding": 1}),
    ("conv2d", (2, 3, 7, 9), (4, 3, 4, 3), 4, {"padding": "same", "dilation": (1, 3)}),
    ("conv2d", (2, 3, 7, 9), (4, 3, 1, 1), 4, {"padding": "valid"}),
    ("conv2d", (3, 7, 9), (4, 3, 3, 2), 4, {"stride": 3, "padding": [1]}),
    ("conv2d", (1, 2, 5, 5), (2, 2, 5, 5), 2, {"padding": 7}),
    ("conv2d", (0, 3, 7, 9), (4, 3, 3, 2), 4, {}),
    ("conv1d", (2, 4, 11), (6, 2, 3), 6, {"stride": 2, "padding": 1, "groups": 2}),
    ("conv3d", (2, 3, 5, 6, 7), (4, 3, 3, 2, 3), 4, {"stride": (2, 1, 2), "padding": 1}),
    ("conv3d", (4, 5, 6, 7), (4, 2, 3, 2, 3), 4,
     {"groups": 2, "dilation": 2, "padding": (2, 1, 2)}),
    ("conv_transpose1d", (2, 4, 5), (4, 3, 3), 6,
     {"stride": 3, "padding": 1, "output_padding": 1, "groups": 2}),
    ("conv_transpose2d", (2, 4, 5, 6), (4, 3, 3, 2), 3,
     {"stride": 2, "padding": 1, "output_padding": (1, 0)}),
    ("conv_transpose2d", (4, 5, 6), (4, 2, 3, 3), 0, {"dilation": (2, 1), "groups": 2}),
    ("conv_transpose2d", (0, 4, 5, 6), (4, 3, 3, 2), 3, {}),
    ("conv_transpose3d", (2, 4, 3, 4, 3), (4, 3, 3, 2, 1), 3,
     {"stride": 2, "dilation": 2, "output_padding": 1}),
    # tiles on CPUs, many of them the same: 14 points by two vectors of channels, 24 channels
    ("conv2d", (2, 24, 14, 14), (20, 24, 3, 3), 20, {"padding": 1}),
    ("conv2d", (2, 24, 28, 28), (20, 24, 4, 4), 20, {"padding": 1, "stride": 2}),
    ("conv2d", (2, 48, 14, 14), (40, 24, 3, 3), 0, {"padding": 2, "dilation": 2, "groups": 2}),
    ("conv2d", (1, 24, 42, 42), (20, 24, 5, 2), 0, {"padding": (2, 0), "stride": 3}),
    ("conv2d", (3, 24, 7, 8), (20, 24, 1, 1), 0, {}),
    ("conv2d", (28, 24, 3, 2), (20, 24, 3, 2), 20, {"padding": (1, 0)}),
    ("conv1d", (8, 24, 28), (20, 24, 5), 20, {"padding": "same"}),
    ("conv3d", (2, 24, 3, 5, 14), (20, 24, 3, 3, 3), 20, {"padding": 1, "stride": (1, 2, 1)}),
    ("conv_transpose2d", (2, 24, 14, 14), (24, 20, 4, 4), 20, {"stride": 2, "padding": 1}),
    ("conv2d", (2, 16, 12, 13), (17, 16, 3, 3), 17, {"padding": 1}),  # nothing divides
    # few channels: lanes along points
    ("conv2d", (5, 1, 28, 27), (6, 1, 5, 5), 6, {"padding": (2, 0)}),
    ("conv2d", (2, 24, 11, 35), (3, 24, 3, 3), 3, {"padding": 1}),
    ("conv2d", (3, 20, 12, 19), (20, 1, 3, 3), 20, {"groups": 20, "padding": (1, 2)}),
    ("conv2d", (3, 20, 12, 33), (40, 1, 3, 3), 0, {"groups": 20, "padding": 1, "stride": (1, 2)}),
    ("conv2d", (3, 20, 12, 33), (20, 1, 5, 3), 0,
     {"groups": 20, "stride": 2, "dilation": (2, 3)}),
    # depthwise, plane by plane: bands, residues without taps, windows beyond the image
    ("conv2d", (1, 2, 61, 45), (2, 1, 3, 3), 2, {"groups": 2, "padding": (1, 2), "stride": 2}),
    ("conv2d", (1, 3, 47, 33), (6, 1, 4, 2), 0, {"groups": 3, "padding": (0, 1)}),
    ("conv2d", (5, 40, 13, 16), (40, 1, 1, 1), 0, {"groups": 40, "stride": 2}),
    ("conv2d", (4, 30, 7, 9), (30, 1, 5, 7), 30,
     {"groups": 30, "padding": (4, 9), "stride": (1, 2), "dilation": (2, 1)}),
    ("conv1d", (3, 12, 701), (12, 1, 4), 12, {"groups": 12, "stride": 2, "padding": 3}),
    ("conv1d", (2, 8, 1024), (8, 1, 5), 0, {"groups": 8, "padding": "same", "dilation": 3}),
    ("conv_transpose2d", (2, 24, 11, 17), (24, 1, 3, 5), 24,
     {"groups": 24, "stride": 2, "padding": (0, 2), "output_padding": 1}),
]  # fmt: skip


def _name(case: Any) -> str:
    return f"{case[0]}-{'x'.join(map(str, case[1]))}-{'x'.join(map(str, case[2]))}"


def _case(name: str, settings: dict[str, Any]) -> Any:
    return lambda m, *operands: getattr(m.nn.functional, name)(*operands, **settings)


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_values_gradients_and_second_gradients(device: Any, case: Any) -> None:
    name, x, w, bias, settings = case
    compare(_case(name, settings), arrays(x, w, *([(bias,)] if bias else [])), "float32")


def test_float64(device: Any) -> None:
    for case in (CASES[0], CASES[2], CASES[11], CASES[18], CASES[30], CASES[33]):
        name, x, w, bias, settings = case
        compare(_case(name, settings), arrays(x, w, *([(bias,)] if bias else [])))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[18], CASES[30], CASES[33]], ids=_name)
def test_short_floats_are_summed_in_float32(device: Any, case: Any, dtype: str) -> None:
    name, x, w, bias, settings = case
    operands = arrays(x, w, *([(bias,)] if bias else []))
    ours = [clgrad.tensor(a).to(getattr(clgrad, dtype)) for a in operands]
    exact = [torch.tensor(t.to(clgrad.float64).numpy()) for t in ours]
    result = _case(name, settings)(clgrad, *ours)
    assert result.dtype is getattr(clgrad, dtype)
    expected = _case(name, settings)(torch, *exact).to(getattr(torch, dtype))
    assert_close(result, expected, {"float16": 2e-3, "bfloat16": 1.6e-2}[dtype], name)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_integers(device: Any, dtype: str) -> None:
    x, w = (np.rint(a * 9).astype(dtype) for a in arrays((2, 4, 7, 9), (4, 2, 3, 2)))
    compare(_case("conv2d", {"stride": 2, "padding": 1, "groups": 2}), [x, w])


def test_operands_of_any_layout(device: Any) -> None:
    def case(m: Any, x: Any, w: Any, b: Any) -> Any:
        y = m.conv2d(x.permute(0, 3, 1, 2), w.transpose(0, 1), b[::2], padding=1)
        return m.conv2d(y[:, :, ::2, 1:], w[:2, :1].expand(2, 2, 3, 3), None, (1, 2))

    compare(case, arrays((2, 8, 9, 4), (4, 2, 3, 3), (4,)))


def test_an_expanded_gradient(device: Any) -> None:
    x, w = arrays((2, 3, 6, 6), (4, 3, 3, 3))
    compare(lambda m, x, w: m.conv2d(x, w).sum((0, 2, 3)), [x, w])
    compare(lambda m, x, w: m.conv2d(x[:1, :1].expand(2, 3, 6, 6), w), [x, w])


def test_the_gradient_passes_finite_differences(device: Any) -> None:
    made = [clgrad.tensor(a, requires_grad=True) for a in arrays((1, 2, 5, 4), (2, 1, 3, 2), (2,))]

    def case(x: Any, w: Any, b: Any) -> Any:
        return clgrad.conv2d(x, w, b, stride=(2, 1), padding=1, groups=2)

    assert clgrad.autograd.gradcheck(case, made)
    assert clgrad.autograd.gradgradcheck(case, made)


def test_padding_reads_nothing_beside_the_image(device: Any) -> None:
    x = np.zeros((2, 1, 6, 6), "f")
    x[0, 0, 0, 0], x[1, 0, 5, 5], x[0, 0, 5, 0] = np.inf, np.nan, -np.inf
    w = np.ones((1, 1, 3, 3), "f")
    for settings in ({"padding": 1}, {"padding": 2, "stride": 2}, {"padding": 2, "dilation": 2}):
        compare(_case("conv2d", settings), [x, w], "float32", grad=False)


def test_nodes_and_what_they_save(device: Any) -> None:
    def nodes(m: Any) -> list[Any]:
        x, w = m.ones(2, 3, 6, 6, requires_grad=True), m.ones(4, 3, 3, 3, requires_grad=True)
        b = m.ones(4, requires_grad=True)
        y, z = m.conv2d(x, w, b, padding=1), m.conv_transpose2d(x, w[:3], None)
        found: list[Any] = [y.grad_fn, z.grad_fn, m.conv2d(x[0], w).grad_fn]
        even = m.conv2d(x, w[:, :, :2, :2], padding="same").grad_fn
        found += [even, even.next_functions[0][0]]
        saved = [tuple(getattr(y.grad_fn, f"_saved_{n}").shape) for n in ("input", "weight")]
        return [f.name().rstrip("0123456789") for f in found] + saved

    assert nodes(clgrad) == nodes(torch)


@pytest.mark.parametrize("which", [0, 1])
def test_an_operand_that_was_written_over(device: Any, which: int) -> None:
    def case(m: Any) -> Any:
        operands = [m.ones(1, 2, 4, 4, requires_grad=True) * 1, m.ones(2, 2, 3, 3) * 1]
        y = m.conv2d(*operands)
        operands[which].add_(1)
        y.sum().backward()

    same_error(case, "modified by an inplace operation")


@pytest.mark.parametrize(
    ("name", "x", "w", "settings"),
    [
        ("conv2d", (2, 3, 5, 6), (4, 3, 3, 2), {}),
        ("conv2d", (2, 24, 14, 14), (20, 24, 3, 3), {"padding": 1}),
        ("conv2d", (28, 24, 3, 2), (20, 24, 3, 2), {"padding": (1, 0)}),
        ("conv2d", (2, 8, 15, 14), (34, 4, 1, 1), {"groups": 2}),
        ("conv2d", (3, 20, 12, 19), (20, 1, 3, 3), {"groups": 20, "padding": (1, 2)}),
        ("conv_transpose2d", (2, 24, 14, 14), (24, 20, 4, 4), {"stride": 2, "padding": 1}),
        ("conv_transpose2d", (2, 24, 11, 17), (24, 1, 3, 3), {"groups": 24, "stride": 2}),
    ],
    ids=str,
)
def test_what_follows_is_part_of_the_kernel(
    device: Any, name: str, x: Any, w: Any, settings: Any
) -> None:
    """Bias, activation, residual, numbers, a mask made of the index: no launch, the same bits."""
    operands = [clgrad.tensor(a.astype("f")) for a in arrays(x, w)]
    plain = getattr(clgrad, name)(*operands, **settings)
    bias, residual = arrays((plain.shape[1],), plain.shape)
    bias = clgrad.tensor(bias.astype("f"))
    residual = clgrad.tensor(residual.astype("f")).transpose(2, 3).contiguous().transpose(2, 3)

    def layer(number: float) -> Any:
        y = getattr(clgrad, name)(*operands, bias, **settings).relu() * number + residual
        kept = clgrad.arange(plain.numel()).reshape(plain.shape) > 40
        return clgrad.where(y > 0, y, y * 0.25) * kept

    with config.override(eager=True):
        apart = layer(1.5).numpy()
    recorder.flush()
    watch.reset()
    plain = getattr(clgrad, name)(*operands, **settings)
    recorder.flush()
    alone = watch.reset().launches
    fused = layer(1.5)
    recorder.flush()
    assert watch.reset().launches == alone
    np.testing.assert_array_equal(fused.numpy(), apart)


def test_a_layer_of_inference_is_one_kernel(device: Any) -> None:
    """Convolution, bias, BatchNorm, residual and ReLU: as many launches as without them."""
    x, w, bias, residual, mean, scale, shift = arrays(
        (2, 24, 14, 14), (20, 24, 3, 3), (20,), (2, 20, 14, 14), (20,), (20,), (20,)
    )
    arguments = [x, w, bias, residual, mean, np.abs(mean) + 0.5, scale, shift]

    def layer(m: Any, x: Any, w: Any, b: Any, r: Any, mean: Any, var: Any, *affine: Any) -> Any:
        y = m.nn.functional.conv2d(x, w, b, padding=1)
        return (m.nn.functional.batch_norm(y, mean, var, *affine) + r).relu()

    compare(layer, arguments, "float32", grad=False)
    ours = [clgrad.tensor(a.astype("f")) for a in arguments]
    recorder.flush()
    watch.reset()
    plain = clgrad.conv2d(ours[0], ours[1], padding=1)
    recorder.flush()
    alone = watch.reset().launches
    made = layer(clgrad, *ours)
    recorder.flush()
    assert made.shape == plain.shape
    assert watch.reset().launches == alone


ERRORS = [
    (lambda m, r: m.conv2d(r(2, 2, 8, 8), r(4, 3, 3, 3)), "to have 3 channels, but got 2"),
    (lambda m, r: m.conv2d(r(2, 2, 8, 8), r(1, 1, 3, 3), groups=2), "to be at least 2 at dim"),
    (lambda m, r: m.conv2d(r(2, 3, 8, 8), r(4, 1, 3, 3), groups=3), "to be divisible by 3 at"),
    (lambda m, r: m.conv2d(r(2, 3, 8, 8), r(4, 1, 3, 3), groups=0), "non-positive groups"),
    (lambda m, r: m.conv2d(r(2, 3, 2, 2), r(4, 3, 3, 3)), "can't be greater than actual input"),
    (lambda m, r: m.conv2d(r(2, 3), r(4, 3, 3, 3)), "Expected 3D (unbatched) or 4D (batched)"),
    (lambda m, r: m.conv1d(r(2, 3, 4, 4), r(4, 3, 3)), "Expected 2D (unbatched) or 3D (batched)"),
    (lambda m, r: m.conv2d(r(2, 3, 4, 4), r(4, 3, 3, 3), r(3)), "expected bias to be 1-dim"),
    (lambda m, r: m.conv2d(r(2, 3, 4, 4), r(4, 3, 3, 3), stride=(1, 1, 1)), "list of 2 values"),
    (lambda m, r: m.conv2d(r(2, 3, 4, 4), r(4, 3, 3, 3), stride=0), "non-positive stride"),
    (lambda m, r: m.conv2d(r(2, 3, 4, 4), r(4, 3, 3, 3), padding=-1), "negative padding"),
    (lambda m, r: m.conv2d(r(2, 3, 4, 4), r(4, 3, 3, 3), dilation=0), "non-positive dilation"),
    (lambda m, r: m.conv2d(r(2, 3, 4, 4), r(4, 3, 3, 3).double()), "should be the same"),
    (lambda m, r: m.conv2d(r(2, 3, 4, 4), r(4, 3, 3, 3), padding="same", stride=2), "is not supp"),
    (lambda m, r: m.conv2d(r(2, 3, 4, 4), r(4, 3, 3, 3), padding="other"), "Invalid padding"),
    (lambda m, r: m.conv_transpose2d(r(2, 2, 8, 8), r(3, 4, 3, 3)), "transposed=1, weight of size"),
    (lambda m, r: m.conv_transpose2d(r(2, 3, 8, 8), r(3, 4, 3, 3), output_padding=1), "must be sm"),
    (lambda m, r: m.conv_transpose2d(r(2, 3, 8, 8), r(3, 4, 3, 3), r(3)), "expected bias to be"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "words"), ERRORS, ids=[words for _, words in ERRORS])
def test_errors(device: Any, case: Any, words: str) -> None:
    same_error(lambda m: case(m, m.ones), words)


PORTIONS = [
    # image, weight, settings: of few channels, of many at a stride, in groups
    ((45, 3, 6, 20), (18, 3, 3, 3), {}),
    ((45, 20, 9, 18), (18, 20, 4, 3), {"stride": (2, 1), "padding": 1}),
    ((45, 6, 8, 7), (18, 3, 3, 3), {"groups": 2, "padding": 1, "dilation": (1, 2)}),
]


@pytest.mark.parametrize("case", PORTIONS, ids=str)
def test_a_gradient_in_portions_of_the_batch(
    device: Any, case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scratch is that of a portion; the pointwise op that follows finds the images of its own."""
    image, weight, settings = case
    x, w, y = (a.astype("float32") for a in arrays(image, weight, image, seed=5))

    def gradient(m: Any) -> Any:
        leaf = m.tensor(x, requires_grad=True)
        made = m.nn.functional.conv2d(leaf.relu() * m.tensor(y), m.tensor(w), **settings)
        (grad,) = m.autograd.grad(made.square().sum(), [leaf])
        return grad.numpy()

    def peak() -> int:
        clgrad.synchronize()
        device.pool.reset_peak()
        gradient(clgrad)
        return int(device.pool.stats()["allocated.peak"])

    recorder.flush()
    monkeypatch.setattr(conv_build, "PORTION_BYTES", 1 << 30)
    drop_plans()
    whole, expected = peak(), gradient(clgrad)
    monkeypatch.setattr(conv_build, "PORTION_BYTES", 0)
    drop_plans()
    assert peak() <= whole
    np.testing.assert_array_equal(gradient(clgrad), expected)
    reference = gradient(torch)
    np.testing.assert_allclose(expected, reference, atol=1e-5 * abs(reference).max())
    drop_plans()
