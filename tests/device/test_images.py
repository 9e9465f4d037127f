"""Images resampled and rearranged, against PyTorch: values, gradients and second gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from tests.device.against_torch import arrays, assert_close, compare, same_error


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(None)


def _case(name: str, *args: Any, **settings: Any) -> Any:
    return lambda m, x: getattr(m.nn.functional, name)(x, *args, **settings)


SHAPES = {3: (2, 3, 7), 4: (2, 3, 5, 7), 5: (2, 2, 3, 4, 5)}
SIZES: dict[int, list[dict[str, Any]]] = {
    3: [{"size": 10}, {"size": 3}, {"scale_factor": 2.5}, {"size": 1}, {"size": 7}],
    4: [{"size": (9, 4)}, {"scale_factor": 2}, {"scale_factor": (0.6, 1.7)}, {"size": (1, 14)},
        {"scale_factor": 1.3, "recompute_scale_factor": True}],
    5: [{"size": (5, 3, 8)}, {"scale_factor": 1.5}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "ndim"),
    [("nearest", 3), ("nearest", 4), ("nearest", 5), ("nearest-exact", 3), ("nearest-exact", 4),
     ("nearest-exact", 5), ("linear", 3), ("bilinear", 4), ("trilinear", 5), ("bicubic", 4),
     ("area", 3), ("area", 4), ("area", 5)],
)  # fmt: skip
def test_interpolate(device: Any, mode: str, ndim: int) -> None:
    (x,) = arrays(SHAPES[ndim])
    dtype = "float64" if mode in ("bilinear", "bicubic") else "float32"
    ways: list[dict[str, Any]] = [{}]
    if mode in ("linear", "bilinear", "trilinear", "bicubic"):
        ways = [{"align_corners": False}, {"align_corners": True}]
    for size in SIZES[ndim]:
        for way in ways:
            compare(_case("interpolate", mode=mode, **size, **way), [x], dtype)


def test_interpolate_other_dtypes_and_layouts(device: Any) -> None:
    (x,) = arrays((2, 3, 5, 7))
    for dtype in ("float16", "bfloat16"):
        compare(_case("interpolate", size=(9, 4), mode="bilinear"), [x], dtype, grad=False)
        compare(_case("interpolate", size=(9, 4)), [x], dtype, grad=False)
    compare(_case("interpolate", scale_factor=2), [np.rint(x * 50 + 100).astype("uint8")])
    compare(lambda m, x: m.nn.functional.interpolate(x.transpose(1, 3)[:, :, ::2], (3, 9)), [x])


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
def test_older_names(device: Any) -> None:
    (x,) = arrays((2, 3, 5, 7))
    compare(_case("upsample", scale_factor=2, mode="bilinear"), [x])
    compare(_case("upsample_bilinear", scale_factor=2), [x])
    compare(_case("upsample_nearest", size=(4, 4)), [x])
    with pytest.warns(UserWarning, match="deprecated"):
        clgrad.nn.functional.upsample(clgrad.tensor(x), 3)


COLUMNS: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((2, 3, 7, 9), 3, {}),
    ((2, 3, 7, 9), (3, 2), {"stride": 2, "padding": (1, 2), "dilation": (2, 1)}),
    ((3, 6, 8), (2, 3), {"stride": (3, 1), "padding": 1}),
    ((0, 3, 7, 9), 2, {}),
]


@pytest.mark.parametrize("case", COLUMNS, ids=str)
def test_columns(device: Any, case: Any) -> None:
    shape, kernel, settings = case
    (x,) = arrays(shape)
    compare(_case("unfold", kernel, **settings), [x])
    columns = torch.nn.functional.unfold(torch.tensor(x), kernel, **settings)
    (y,) = arrays(columns.shape)
    compare(_case("fold", shape[-2:], kernel, **settings), [y])
    compare(_case("fold", shape[-2:], kernel, **settings), [y], "float16", grad=False)


def test_columns_of_any_layout(device: Any) -> None:
    def case(m: Any, x: Any) -> Any:
        f = m.nn.functional
        y = f.unfold(x.permute(0, 3, 1, 2)[:, ::2], 3, padding=1)
        z = m.stack([y, y], 3)[..., 1].transpose(0, 1)[:18].transpose(0, 1)
        return y.sum(), f.fold(z, (8, 9), 3, padding=1)

    compare(case, arrays((2, 8, 9, 4)))


def test_shuffles(device: Any) -> None:
    x, y, z = arrays((2, 8, 3, 4), (12, 2, 3), (2, 6, 4, 6))
    compare(_case("pixel_shuffle", 2), [x])
    compare(_case("pixel_shuffle", 2), [y])
    compare(_case("pixel_unshuffle", 2), [z])
    compare(_case("channel_shuffle", 3), [z])
    compare(_case("channel_shuffle", 2), [y.reshape(2, 6, 6)])
    compare(lambda m, x: m.pixel_unshuffle(m.pixel_shuffle(x.transpose(2, 3), 2), 2), [x])


def test_local_response_norm(device: Any) -> None:
    for shape in ((2, 5, 6), (2, 7, 4, 5), (1, 4, 2, 3, 4)):
        for size in (1, 2, 3, 4):
            compare(_case("local_response_norm", size, alpha=0.3, k=2.0), arrays(shape))


@pytest.mark.parametrize(
    ("mode", "padding", "align"),
    [("bilinear", "zeros", False), ("bilinear", "border", True), ("bilinear", "reflection", False),
     ("nearest", "zeros", True), ("nearest", "reflection", True), ("bicubic", "border", False),
     ("bicubic", "zeros", True), ("bicubic", "reflection", False)],
)  # fmt: skip
def test_grid_sample(device: Any, mode: str, padding: str, align: bool) -> None:
    x, grid, v, space = arrays((2, 3, 5, 4), (2, 3, 6, 2), (2, 2, 3, 4, 5), (2, 2, 3, 2, 3))

    def case(m: Any, x: Any, grid: Any) -> Any:
        return m.nn.functional.grid_sample(x, grid, mode, padding, align)

    first_order(case, [x, grid * 0.9])
    if mode != "bicubic" and padding == "zeros":
        first_order(case, [v, space * 0.9])


def first_order(case: Any, inputs: list[Any]) -> None:
    """Compare values and gradients of first order."""
    made = []
    for m in (clgrad, torch):
        operands = [m.tensor(a, requires_grad=True) for a in inputs]
        y = case(m, *operands)
        (y * m.tensor(arrays(y.shape, seed=5)[0])).sum().backward()
        made.append([y, *(t.grad for t in operands)])
    for ours, theirs in zip(*made, strict=True):
        assert_close(ours, theirs, 1e-11, "grid_sample")


def test_affine_grid(device: Any) -> None:
    plane, space = arrays((2, 2, 3), (2, 3, 4))
    for align in (False, True):
        compare(_case("affine_grid", [2, 3, 4, 5], align), [plane])
        compare(_case("affine_grid", [2, 3, 4, 2, 5], align), [space])


def test_nodes(device: Any) -> None:
    def nodes(m: Any) -> list[str]:
        f = m.nn.functional
        x, v = m.ones(2, 4, 6, 6, requires_grad=True), m.ones(2, 3, 4, 6, 6, requires_grad=True)
        made = [
            f.interpolate(x, 3), f.interpolate(x, 3, mode="bilinear"), f.interpolate(v, 3),
            f.interpolate(x, 3, mode="nearest-exact"), f.interpolate(x, 3, mode="bicubic"),
            f.interpolate(v, 3, mode="trilinear"), f.interpolate(x[0], 3, mode="linear"),
            f.interpolate(x, 3, mode="area"), f.unfold(x, 2), f.fold(f.unfold(x, 2), 6, 2),
            f.pixel_shuffle(x, 2), f.pixel_unshuffle(x, 2), f.channel_shuffle(x, 2),
        ]  # fmt: skip
        return [y.grad_fn.name().rstrip("0123456789") for y in made]

    assert nodes(clgrad) == nodes(torch)


ERRORS = [
    (lambda f, r: f.interpolate(r(2, 3, 4, 4)), "either size or scale_factor should be defined"),
    (lambda f, r: f.interpolate(r(2, 3, 4, 4), 2, 2), "only one of size or scale_factor should be"),
    (lambda f, r: f.interpolate(r(2, 3, 4, 4), 2, mode="odd"), "Only 3D, 4D and 5D input Tensors"),
    (lambda f, r: f.interpolate(r(2, 3, 4, 4), 2, mode="linear"), "Got 4D input, but linear mode"),
    (lambda f, r: f.interpolate(r(2, 3, 4), 2, mode="bilinear"), "Got 3D input, but bilinear mode"),
    (lambda f, r: f.interpolate(r(2, 3, 4, 4), 2, align_corners=True), "align_corners option can"),
    (lambda f, r: f.interpolate(r(2, 3, 4, 4), (2, 2, 2)), "same number of spatial dimensions"),
    (lambda f, r: f.interpolate(r(2, 3, 4, 4), 0), "Input and output sizes should be greater than"),
    (lambda f, r: f.interpolate(r(2, 3), 2), "Only 3D, 4D and 5D input Tensors supported"),
    (lambda f, r: f.pixel_shuffle(r(2, 3, 4, 4), 2), "is not divisible by 4"),
    (lambda f, r: f.pixel_shuffle(r(3, 4), 2), "to have at least 3 dimensions, but got input with"),
    (lambda f, r: f.pixel_unshuffle(r(2, 3, 5, 4), 2), "expects height to be divisible by"),
    (lambda f, r: f.pixel_shuffle(r(2, 3, 5, 4), 0), "a positive upscale_factor, but got 0"),
    (lambda f, r: f.channel_shuffle(r(2, 3, 5, 4), 2), "must be divisible by groups. Got 3"),
    (lambda f, r: f.unfold(r(2, 3), 2), "Dimension out of range"),
    (lambda f, r: f.unfold(r(2, 3, 4, 4), 5), "calculated shape of the array of sliding blocks as"),
    (lambda f, r: f.unfold(r(2, 3, 4, 4), 0), "kernel size should be greater than zero"),
    (lambda f, r: f.unfold(r(2, 3, 4, 4), 2, stride=0), "stride should be greater than zero"),
    (lambda f, r: f.unfold(r(2, 3, 4, 4), 2, padding=-1), "padding should be non-negative"),
    (lambda f, r: f.fold(r(2, 12, 8), 4, 2), "number of sliding blocks 3 * 3 = 9"),
    (lambda f, r: f.fold(r(2, 13, 9), 4, 2), "to be divisible by the product of kernel_size"),
    (lambda f, r: f.fold(r(12), 4, 2), "Expected 2D or 3D (batch mode) tensor for input with"),
    (lambda f, r: f.local_response_norm(r(2), 2), "Expected 3D or higher dimensionality"),
    (lambda f, r: f.grid_sample(r(1, 1, 2, 2), r(1, 2, 2, 2), "odd"), "expected mode to be"),
    (lambda f, r: f.grid_sample(r(1, 1, 2, 2), r(2, 2, 2, 2), align_corners=True), "grid_sampler"),
    (lambda f, r: f.affine_grid(r(1, 2, 2), [1, 1, 2, 2], True), "Expected a batch of 2D affine"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "words"), ERRORS, ids=[words for _, words in ERRORS])
def test_errors(device: Any, case: Any, words: str) -> None:
    same_error(lambda m: case(m.nn.functional, m.ones), words)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_interpolate_with_means(device: Any, mode: str) -> None:
    x = arrays((2, 3, 9, 7))[0]
    for way in ({"size": (4, 10)}, {"scale_factor": (0.4, 1.7)}, {"size": (5, 3)}):
        compare(_case("interpolate", mode=mode, antialias=True, **way), [x])
    compare(_case("interpolate", mode=mode, antialias=True, size=(4, 5)), [x], "float32")


def test_interpolate_bytes(device: Any) -> None:
    x = np.random.default_rng(0).integers(0, 255, (1, 2, 9, 7)).astype("uint8")
    for mode, means in (("bilinear", False), ("bilinear", True), ("bicubic", True)):
        way = {"size": (4, 10), "mode": mode, "antialias": means}
        ours = clgrad.nn.functional.interpolate(clgrad.tensor(x), **way)
        theirs = torch.nn.functional.interpolate(torch.tensor(x), **way)
        assert ours.dtype is clgrad.uint8  # PyTorch has weights of 16 bits, and so may be 1 off
        assert np.abs(ours.numpy().astype(int) - theirs.numpy().astype(int)).max() <= 1
