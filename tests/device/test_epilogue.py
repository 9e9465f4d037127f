"""Pointwise ops on the sums of a matmul: one kernel, and the same bits as op by op."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import config
from clgrad.graph import recorder, watch

SHAPES = [(5, 7, 3), (33, 65, 17), (128, 300, 96), (1, 64, 64), (4, 1, 9)]


def _layer(x: Any, w: Any, b: Any, r: Any) -> Any:
    return ((x @ w.t() + b).relu() + r.t()).tanh()


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("float32", s) for s in SHAPES] + [(d, SHAPES[1]) for d in ("float64", "float16", "bfloat16")],
    ids=str,
)
def test_bias_activation_and_residual_are_fused_and_equal(
    device: Any, dtype: str, shape: tuple[int, int, int]
) -> None:
    m, k, n = shape
    rng = np.random.default_rng(0)
    operands = [
        clgrad.tensor(rng.standard_normal(s).astype("f"), device=device).to(getattr(clgrad, dtype))
        for s in ((m, k), (n, k), (n,), (n, m))
    ]
    recorder.synchronize()
    with config.override(eager=True):
        apart = _layer(*operands).float().numpy()
    plain = (operands[0] @ operands[1].t()).float()
    recorder.flush()
    watch.reset()
    product = operands[0] @ operands[1].t()
    recorder.flush()
    alone = watch.reset().launches
    fused = _layer(*operands)
    recorder.flush()
    assert watch.reset().launches == alone  # the epilogue costs no launch
    np.testing.assert_array_equal(fused.float().numpy(), apart)
    np.testing.assert_array_equal(product.float().numpy(), plain.numpy())


def test_a_product_that_is_needed_itself_is_stored(device: Any) -> None:
    x = clgrad.tensor(np.eye(3, dtype="f") * 2, device=device)
    product = x @ x
    shifted = product + x
    np.testing.assert_array_equal(shifted.numpy(), np.eye(3) * 6)
    np.testing.assert_array_equal(product.numpy(), np.eye(3) * 4)


def test_gradients_pass_through_an_epilogue(device: Any) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    hosts = [rng.standard_normal(s).astype("f") for s in ((9, 5), (7, 5), (7,), (7, 9))]
    ours = [clgrad.tensor(h, device=device, requires_grad=True) for h in hosts]
    theirs = [torch.tensor(h, requires_grad=True) for h in hosts]
    _layer(*ours).sum().backward()
    _layer(*theirs).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=2e-5, atol=1e-6)


def test_two_readers_of_a_product_do_not_fuse_into_it(device: Any) -> None:
    x = clgrad.tensor(np.arange(12, dtype="f").reshape(3, 4), device=device)
    product = x @ x.t()
    total = (product.relu() + product).numpy()
    want = np.arange(12).reshape(3, 4) @ np.arange(12).reshape(3, 4).T
    np.testing.assert_array_equal(total, want * 2)


@pytest.mark.parametrize("shape", [(33, 65, 17), (1, 64, 64), (64, 64, 1), (3, 5000, 4)], ids=str)
def test_numbers_and_indices_are_operands_of_an_epilogue(
    device: Any, shape: tuple[int, int, int]
) -> None:
    """`leaky_relu(c * number)`, and a mask made of the element's own number, as dropout's is."""
    m, k, n = shape
    rng = np.random.default_rng(2)
    a, b = (
        clgrad.tensor(rng.standard_normal(s).astype("f"), device=device) for s in ((m, k), (k, n))
    )

    def layer(number: float) -> Any:
        scaled = (a @ b) * number - 0.5
        kept = clgrad.where(scaled > 0, scaled, scaled * 0.25)
        return kept * (clgrad.arange(m * n, device=device).reshape(m, n) > 9)

    with config.override(eager=True):
        apart = [layer(number).numpy() for number in (1.5, -2.0)]
    (a @ b).numpy()
    watch.reset()
    held = a @ b
    recorder.flush()
    alone = watch.reset().launches
    fused = [layer(number) for number in (1.5,)]
    recorder.flush()
    assert watch.reset().launches == alone
    fused.append(layer(-2.0))
    for got, want in zip(fused, apart, strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    assert held is not None


@pytest.mark.parametrize("mask", ["whole", "rows", "one"])
def test_masks_are_operands_and_results_of_an_epilogue(device: Any, mask: str) -> None:
    """A bool is a byte in memory and a mask in vectors: neither may pass for the other."""
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal(s).astype("f") for s in ((33, 65), (65, 17)))
    condition = rng.standard_normal({"whole": (33, 17), "rows": (33, 1), "one": (1, 1)}[mask]) > -3
    condition[0] = mask == "one"
    x, y, c = (clgrad.tensor(h, device=device) for h in (a, b, condition))
    product = (x @ y).numpy()
    np.testing.assert_array_equal(
        clgrad.where(c, x @ y, 0.5).numpy(), np.where(condition, product, np.float32(0.5))
    )
    positive = (x @ y > 0).numpy()
    assert positive.view("u1").max() == 1
    np.testing.assert_array_equal(positive, product > 0)


def test_an_operand_made_for_the_epilogue_alone_is_made_there(device: Any) -> None:
    """`beta * input` of addmm, and a mask cast to a number; one with two readers is stored."""
    rng = np.random.default_rng(3)
    a, b, r, v = (
        clgrad.tensor(rng.standard_normal(s).astype("f"), device=device)
        for s in ((33, 65), (65, 17), (33, 17), (17,))
    )

    def layers() -> list[Any]:
        return [
            clgrad.addmm(r, a, b, beta=0.5, alpha=2.0),
            clgrad.addmm(v, a, b, beta=0.25),
            (a @ b) * (r > 0).float() + v.half().float(),
        ]

    def shared() -> list[Any]:
        scale = r.tanh()
        return [(a @ b) * scale, scale]

    with config.override(eager=True):
        apart = [x.numpy() for x in (*layers(), *shared())]
    recorder.synchronize()
    watch.reset()
    products = [a @ b for _ in range(3)]
    recorder.flush()
    alone = watch.reset().launches
    fused = layers()
    recorder.flush()
    assert watch.reset().launches == alone
    assert len(products) == 3
    for got, want in zip((*fused, *shared()), apart, strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
