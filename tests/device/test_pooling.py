"""Pooling against PyTorch: values, indices, gradients and second gradients of every window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from tests.device.against_torch import arrays, compare, same_error


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(None)


def _case(name: str, *args: Any, **settings: Any) -> Any:
    return lambda m, x: getattr(m.nn.functional, name)(x, *args, **settings)


MAX: list[tuple[str, tuple[int, ...], tuple[Any, ...], dict[str, Any]]] = [
    ("max_pool1d", (2, 3, 11), (3,), {"stride": 2, "padding": 1}),
    ("max_pool1d", (3, 11), (2,), {"dilation": 3, "ceil_mode": True}),
    ("max_pool2d", (2, 3, 7, 9), (2,), {}),
    ("max_pool2d", (2, 3, 7, 9), (3,), {"stride": 1, "padding": 1}),
    ("max_pool2d", (2, 3, 7, 9), ((3, 2),),
     {"stride": (2, 3), "padding": (1, 0), "ceil_mode": True, "dilation": (1, 2)}),
    ("max_pool2d", (3, 7, 9), (3, 2), {"dilation": 2, "padding": 1}),
    ("max_pool2d", (0, 3, 7, 9), (2,), {}),
    ("max_pool3d", (2, 2, 5, 6, 7), (2,), {"stride": (1, 2, 2), "padding": 1}),
    ("max_pool3d", (2, 5, 6, 7), ((1, 2, 3),), {"ceil_mode": True}),
    ("adaptive_max_pool1d", (2, 3, 11), (4,), {}),
    ("adaptive_max_pool2d", (2, 3, 7, 9), (3,), {}),
    ("adaptive_max_pool2d", (3, 7, 9), ((None, 5),), {}),
    ("adaptive_max_pool3d", (2, 2, 5, 6, 7), ((2, 1, 9),), {}),
]  # fmt: skip


@pytest.mark.parametrize("case", MAX, ids=str)
def test_largest_elements(device: Any, case: Any) -> None:
    name, shape, args, settings = case
    dtype = "float64" if case is MAX[4] else "float32"
    (x,) = arrays(shape)
    compare(_case(name, *args, **settings, return_indices=True), [x], dtype)
    compare(_case(name, *args, **settings), [np.rint(x)], dtype)  # with ties
    compare(_case(name, *args, **settings), [x], dtype, grad=False)


MEANS: list[tuple[str, tuple[int, ...], tuple[Any, ...], dict[str, Any]]] = [
    ("avg_pool1d", (2, 3, 11), (3,), {"stride": 2, "padding": 1}),
    ("avg_pool1d", (3, 11), (4,), {"ceil_mode": True, "count_include_pad": False, "padding": 2}),
    ("avg_pool2d", (2, 3, 7, 9), (2,), {}),
    ("avg_pool2d", (2, 3, 7, 9), (3, 2), {"padding": 1, "ceil_mode": True}),
    ("avg_pool2d", (2, 3, 7, 9), ((3, 4), 1), {"padding": (1, 2), "count_include_pad": False}),
    ("avg_pool2d", (3, 7, 9), (2,), {"stride": (3, 1), "divisor_override": 3}),
    ("avg_pool2d", (0, 3, 7, 9), (2,), {}),
    ("avg_pool3d", (2, 2, 5, 6, 7), (2,), {"stride": (1, 2, 2), "padding": 1}),
    ("avg_pool3d", (2, 5, 6, 7), ((1, 2, 3),), {"ceil_mode": True}),
    ("adaptive_avg_pool1d", (2, 3, 11), (4,), {}),
    ("adaptive_avg_pool2d", (2, 3, 7, 9), (3,), {}),
    ("adaptive_avg_pool2d", (2, 3, 7, 9), (1,), {}),
    ("adaptive_avg_pool2d", (3, 7, 9), ((None, 5),), {}),
    ("adaptive_avg_pool2d", (0, 3, 7, 9), (2,), {}),
    ("adaptive_avg_pool3d", (2, 2, 5, 6, 7), ((2, 1, 9),), {}),
    ("lp_pool1d", (2, 3, 11), (2.0, 3), {"stride": 2}),
    ("lp_pool2d", (2, 3, 7, 9), (2.0, (2, 3)), {"ceil_mode": True}),
    ("lp_pool3d", (2, 3, 4, 5, 6), (2.0, 2), {}),
]  # fmt: skip


@pytest.mark.parametrize("case", MEANS, ids=str)
def test_means_and_norms(device: Any, case: Any) -> None:
    name, shape, args, settings = case
    (x,) = arrays(shape)
    compare(_case(name, *args, **settings), [x], "float64" if case is MEANS[3] else "float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats(device: Any, dtype: str) -> None:
    (x,) = arrays((2, 3, 7, 9))
    for name in ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"):
        compare(_case(name, 3), [x], dtype)


def test_integers(device: Any) -> None:
    (x,) = arrays((2, 3, 7, 9))
    for dtype in ("uint8", "int8", "int16", "int32", "int64"):
        compare(_case("max_pool2d", 3, 2, 1), [np.rint(x * 9).astype(dtype)])
    compare(_case("avg_pool2d", 3, 2, 1), [np.rint(x * 9).astype("int64")])


def test_not_a_number_and_infinity(device: Any) -> None:
    (x,) = arrays((1, 2, 6, 6))
    x[0, 0, 1, 1] = x[0, 0, 2, 2] = np.nan
    x[0, 1, 3:] = -np.inf
    x[0, 1, 0, 0] = np.inf
    for dtype in ("float32", "float16"):
        compare(_case("max_pool2d", 3, 2, 1, return_indices=True), [x], dtype, grad=False)
        compare(_case("max_pool2d", 2), [x], dtype, grad=False)
        compare(_case("adaptive_max_pool2d", 4, return_indices=True), [x], dtype, grad=False)


def test_operands_of_any_layout(device: Any) -> None:
    def case(m: Any, x: Any) -> Any:
        f = m.nn.functional
        y = f.max_pool2d(x.permute(0, 3, 1, 2)[:, ::2], 2, 1)
        z = f.avg_pool2d(x.permute(3, 0, 2, 1), 3, 2, padding=1)
        return y.sum((0, 1)), z.transpose(2, 3).sum((0, 1)), f.adaptive_max_pool2d(y, 2)

    compare(case, arrays((2, 8, 9, 4)))


def test_unpooling(device: Any) -> None:
    def case(rank: int, *pool: Any, **size: Any) -> Any:
        def unpooled(m: Any, x: Any) -> Any:
            f = m.nn.functional
            y, at = getattr(f, f"max_pool{rank}d")(x, *pool, return_indices=True)
            return getattr(f, f"max_unpool{rank}d")(y * y, at, *pool, **size)

        return unpooled

    compare(case(1, 3), arrays((2, 3, 11)))
    compare(case(2, 2), arrays((2, 3, 6, 8)))
    compare(case(2, (3, 2), 2, (1, 0), output_size=(8, 8)), arrays((3, 8, 8)))
    compare(case(3, 2, output_size=(2, 2, 4, 5, 6)), arrays((2, 2, 4, 5, 6)))


def test_nodes(device: Any) -> None:
    def nodes(m: Any) -> list[str]:
        f = m.nn.functional
        x, v = m.ones(2, 3, 6, 6, requires_grad=True), m.ones(2, 3, 4, 6, 6, requires_grad=True)
        made = [
            f.max_pool2d(x, 2), f.max_pool3d(v, 2), f.avg_pool2d(x, 2), f.avg_pool3d(v, 2),
            f.adaptive_avg_pool2d(x, 2), f.adaptive_max_pool2d(x, 2), f.adaptive_avg_pool3d(v, 2),
            f.adaptive_max_pool3d(v, 2), f.max_pool1d(x[0], 2), f.adaptive_avg_pool2d(x, 1),
        ]  # fmt: skip
        return [y.grad_fn.name().rstrip("0123456789") for y in made]

    assert nodes(clgrad) == nodes(torch)


ERRORS = [
    (lambda f, r: f.max_pool2d(r(2, 3, 2, 2), 3), "Output size is too small"),
    (lambda f, r: f.max_pool2d(r(2, 3, 4, 4), 2, padding=2), "pad should be at most half of eff"),
    (lambda f, r: f.max_pool2d(r(2, 3, 4, 4), (2, 2, 2)), "kernel_size must either be a single"),
    (lambda f, r: f.max_pool2d(r(2, 3, 4, 4), 2, dilation=0), "dilation should be greater than"),
    (lambda f, r: f.max_pool2d(r(2, 3), 2), "3D or 4D (batch mode) tensor expected for input"),
    (lambda f, r: f.max_pool2d(r(2, 0, 4, 4), 2), "with optional 0 dim batch size for input, but"),
    (lambda f, r: f.max_pool1d(r(2), 2), "Expected 2D or 3D (batch mode) tensor"),
    (lambda f, r: f.max_pool3d(r(2, 3, 2, 2, 2), 3), "Output size is too small"),
    (lambda f, r: f.avg_pool2d(r(2, 3, 2, 2), 3), "Output size is too small"),
    (lambda f, r: f.avg_pool2d(r(2, 3, 4, 4), 2, divisor_override=0), "divisor must be not zero"),
    (lambda f, r: f.avg_pool2d(r(2, 3), 2), "Dimension out of range"),
    (lambda f, r: f.avg_pool1d(r(2), 2), "Expected 2 to 3 dimensions, but got 1-dimensional"),
    (lambda f, r: f.avg_pool3d(r(2, 3, 4), 2), "4D or 5D (batch mode) tensor expected for input"),
    (lambda f, r: f.adaptive_avg_pool2d(r(2, 3), 2), "Expected 3D or 4D tensor, but got"),
    (lambda f, r: f.adaptive_avg_pool2d(r(2, 3, 4, 4), (2, 2, 2)), "output_size must be 2"),
    (lambda f, r: f.adaptive_avg_pool2d(r(2, 3, 4, 4), -1), "must be greater than or equal to 0"),
    (lambda f, r: f.adaptive_avg_pool2d(r(2, 3, 0, 4), 2), "to have non-zero size for non-batch"),
    (lambda f, r: f.avg_pool2d(r(2, 3, 4, 4).int(), 2), "not implemented for"),
    (lambda f, r: f.max_unpool2d(r(1, 1, 2, 2), r(1, 1, 2, 2).int(), 2), "should be type int64"),
    (lambda f, r: f.max_unpool2d(r(1, 1, 2, 2), r(1, 2, 2).long(), 2), "Expected shape of indices"),
    (lambda f, r: f.max_unpool2d(r(1, 1, 2, 2), r(1, 1, 2, 2).long(), 2, output_size=(9, 9)),
     "must be between"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "words"), ERRORS, ids=[words for _, words in ERRORS])
def test_errors(device: Any, case: Any, words: str) -> None:
    same_error(lambda m: case(m.nn.functional, m.ones), words)
