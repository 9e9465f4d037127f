"""Operands that a product makes where it reads them: no kernel of their own, and the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import bfloat16, config, float16
from clgrad.graph import recorder, watch

SHAPES = [(7, 33, 19), (1, 70, 45), (130, 97, 70), (6, 1100, 9), (3, 2, 2)]
"""Rows, depth and columns: inner products, tiles, panels, a k in parts, less than a vector."""

CASES: dict[str, Callable[..., Any]] = {
    "half weight": lambda o: o["x"] @ o["w"].to(float16).float(),
    "stored as half": lambda o: o["x"] @ o["half"].float(),
    "bfloat16, transposed": lambda o: o["x"] @ o["brief"].float().T,
    "both to bfloat16": lambda o: o["x"].to(bfloat16) @ o["w"].to(bfloat16),
    "int8 by columns": lambda o: o["x"] @ (o["q"].float() * o["columns"]),
    "int8 by its rows": lambda o: o["x"] @ (o["qt"].float() * o["columns"][:, None]).T,
    "scaled rows": lambda o: (o["x"] * 0.125 + 1.0) @ (o["w"] * o["rows"]),
    "activation": lambda o: o["x"].relu() @ o["w"],
    "rows of both": lambda o: (o["x"] * o["each"] - 0.5) @ o["wt"].mul(o["columns"][:, None]).T,
    "made left": lambda o: (o["half"].float() * o["columns"]).T @ o["x"].T,
    "vector": lambda o: (o["qt"].float() * o["columns"][:, None]) @ o["x"][0],
}


def _operands(m: int, k: int, n: int, device: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return clgrad.tensor(rng.standard_normal(shape).astype("f"), device=device)

    def whole(*shape: int) -> Any:
        return clgrad.tensor(rng.integers(-127, 128, shape).astype(np.int8), device=device)

    made = {
        "x": normal(m, k), "w": normal(k, n), "wt": normal(n, k), "q": whole(k, n),
        "qt": whole(n, k), "columns": normal(n), "rows": normal(k, 1), "each": normal(m, 1),
    }  # fmt: skip
    made["half"], made["brief"] = made["w"].to(float16), made["wt"].to(bfloat16)
    recorder.synchronize()
    return made


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_prologue_gives_the_bits_of_an_operand_in_memory(
    device: Any, shape: tuple[int, int, int]
) -> None:
    operands = _operands(*shape, device)
    for name, made in CASES.items():
        with config.override(eager=True):
            apart = made(operands).float().numpy()
        np.testing.assert_array_equal(made(operands).float().numpy(), apart, err_msg=name)


@pytest.mark.parametrize("rows", [(1,), (4,), (2, 3)], ids=str)
def test_batches_of_products_have_prologues(device: Any, rows: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    x = clgrad.tensor(rng.standard_normal((*rows, 5, 33)).astype("f"), device=device)
    y = clgrad.tensor(rng.standard_normal((*rows, 33, 18)).astype("f"), device=device)
    w = clgrad.tensor(rng.standard_normal((33, 18)).astype("f"), device=device)
    each = clgrad.tensor(rng.standard_normal((*rows, 5, 1)).astype("f"), device=device)
    few = clgrad.tensor(rng.standard_normal((5, 1)).astype("f"), device=device)
    cases: list[Callable[[], Any]] = [
        lambda: (x * 0.5) @ y.to(float16).float(),
        lambda: (x * each) @ (w * 2.0),
        lambda: (x * few) @ (w + 1.0),
        lambda: (x * few) @ (y * few[0]),
        lambda: (w * 3.0).T @ (x * each).transpose(-1, -2),
    ]
    for k, made in enumerate(cases):
        with config.override(eager=True):
            apart = made().numpy()
        np.testing.assert_array_equal(made().numpy(), apart, err_msg=str(k))


def _launches(made: Callable[[], Any]) -> int:
    recorder.flush()
    watch.reset()
    result = made()
    recorder.flush()
    del result
    return watch.reset().launches


def test_what_a_product_makes_itself_costs_no_launch(device: Any) -> None:
    x = clgrad.tensor(np.ones((4, 64), "f"), device=device)
    w = clgrad.tensor(np.ones((64, 64), "f"), device=device)
    q = clgrad.tensor(np.ones((64, 64), np.int8), device=device)
    s = clgrad.tensor(np.ones(64, "f"), device=device)
    assert _launches(lambda: x @ (q.float() * s)) == _launches(lambda: x @ w)
    assert _launches(lambda: x @ (q.float() * s[:, None]).T) == _launches(lambda: x @ w.T)


def test_what_others_read_or_two_arrays_make_is_stored(device: Any) -> None:
    x = clgrad.tensor(np.full((4, 32), 2, "f"), device=device)
    w = clgrad.tensor(np.arange(32 * 32, dtype="f").reshape(32, 32), device=device)
    scaled = w * 0.5
    first, second = x @ scaled, scaled @ w
    np.testing.assert_array_equal(first.numpy(), x.numpy() @ (w.numpy() * 0.5))
    np.testing.assert_allclose(second.numpy(), (w.numpy() * 0.5) @ w.numpy(), rtol=1e-6)
    np.testing.assert_array_equal((x @ (w * w)).numpy(), x.numpy() @ (w.numpy() * w.numpy()))


def test_an_operand_written_later_was_read_before(device: Any) -> None:
    x = clgrad.tensor(np.full((4, 32), 2, "f"), device=device)
    w = clgrad.tensor(np.ones((32, 32), "f"), device=device)
    product = x @ (w * 0.5)
    w.mul_(100)
    np.testing.assert_array_equal(product.numpy(), np.full((4, 32), 32))


def test_gradients_pass_through_a_prologue(device: Any) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(s).astype("f") for s in ((6, 40), (24, 40), (24, 1))]
    results = []
    for library, options in ((clgrad, {"device": device}), (torch, {})):
        x, w, s = (library.tensor(a, requires_grad=True, **options) for a in arrays)
        product = (x * 0.3) @ (w * s).T
        (gx,) = library.autograd.grad((product * product).sum(), [x], create_graph=True)
        (gx * gx).sum().backward()
        results.append([t.detach().cpu().numpy() for t in (product, gx, x.grad, w.grad, s.grad)])
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-3)
