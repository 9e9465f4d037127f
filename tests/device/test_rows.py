"""Functions built on row kernels: values and gradients as PyTorch's, and how many kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from derivatives import differences

import clgrad
from clgrad import config
from clgrad.runtime.profile import counters

RNG = np.random.default_rng(5)
ROWS = RNG.standard_normal((5, 83)).astype(np.float32)
WEIGHT, BIAS = (RNG.standard_normal(83).astype(np.float32) for _ in range(2))
CLASSES = np.array([0, 82, 7, 7, 40])
IMAGE = (3 + RNG.standard_normal((3, 4, 5, 7))).astype(np.float32)
FOUR = RNG.standard_normal(4).astype(np.float32)


def F(name: str, *rest: Any, **options: Any) -> Any:
    return lambda m, *x: getattr(m.nn.functional, name)(*x, *rest, **options)


def _batch_norm(m: Any, x: Any, w: Any, b: Any) -> Any:
    named = {"device": x.device} if m is clgrad else {}
    mean, var = m.zeros(4, **named), m.ones(4, **named)
    return m.nn.functional.batch_norm(x, mean, var, w, b, training=True), mean, var


def _none_beside_a_column(m: Any, x: Any) -> Any:
    y = x * 2
    column = y.narrow(1, 1, 1)
    return (x.expand(2, 5, 7)[:0] * column).sum() + column.square().sum() + y.sum(1)


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "softmax": (F("softmax", 1), (ROWS,)),
    "log_softmax_of_columns": (F("log_softmax", 0), (ROWS,)),
    "log_softmax_transposed": (lambda m, x: m.log_softmax(x.t(), 0), (ROWS,)),
    "logsumexp": (lambda m, x: m.logsumexp(x, 1), (ROWS,)),
    "layer_norm": (lambda m, x, w, b: m.layer_norm(x, (83,), w, b), (ROWS, WEIGHT, BIAS)),
    "group_norm": (F("group_norm", 2), (IMAGE,)),
    "batch_norm": (_batch_norm, (IMAGE, FOUR, FOUR)),
    "instance_norm": (F("instance_norm"), (IMAGE,)),
    "cross_entropy": (F("cross_entropy"), (ROWS, CLASSES)),
    "cross_entropy_weighted": (
        lambda m, x, t, w: m.nn.functional.cross_entropy(
            x, t, w.detach().abs(), ignore_index=7, label_smoothing=0.1
        ),
        (ROWS, CLASSES, WEIGHT),
    ),
    "smooth_l1": (F("smooth_l1_loss"), (ROWS, ROWS[::-1].copy())),
    "bce_logits": (F("binary_cross_entropy_with_logits"), (ROWS, abs(np.tanh(ROWS)))),
    "norm": (lambda m, x: m.norm(x, 3, 1), (ROWS,)),
    "norm_inf": (lambda m, x: m.linalg.vector_norm(x, np.inf), (ROWS,)),
    "cosine_similarity": (F("cosine_similarity"), (ROWS, ROWS[:1])),
    "cdist": (lambda m, x, y: m.cdist(x, y), (ROWS, ROWS[:2] + 1)),
    "sum_of_none_beside_a_column": (_none_beside_a_column, (ROWS[:, :7],)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rows(device: Any, name: str) -> None:
    call, arrays = CASES[name]
    fault = differences(call, arrays, device, second=False, rtol=2e-5)
    assert not fault, fault


def test_batch_norm_of_many(device: Any) -> None:
    """A batch long enough to be cut into chunks, far from zero and with an outlier in front."""
    values = (1000 + RNG.standard_normal((64, 3, 40, 40))).astype(np.float32)
    values[0, :, 0, 0] = -1000
    x = clgrad.tensor(values, device=device)
    y = clgrad.nn.functional.batch_norm(x, None, None, training=True)
    want = torch.nn.functional.batch_norm(
        torch.from_numpy(values.astype(np.float64)), None, None, training=True
    )
    # a float32 near 1000 has steps of 6e-5, divided by a deviation of 6
    np.testing.assert_allclose(y.numpy(), want.numpy(), rtol=1e-6, atol=1e-4)


def _launches(call: Any, *arrays: Any, device: Any) -> tuple[int, int]:
    """Return the kernels of a call, and of its backward with the gradient given."""
    leaves = [clgrad.tensor(a, device=device, requires_grad=a.dtype.kind == "f") for a in arrays]
    g = clgrad.ones_like(call(*leaves).detach())
    clgrad.synchronize()
    before = counters.launches
    y = call(*leaves)
    clgrad.synchronize()
    forward = counters.launches - before
    y.backward(g)
    clgrad.synchronize()
    return forward, counters.launches - before - forward


def test_how_many_kernels(device: Any) -> None:
    nn, rows = clgrad.nn.functional, RNG.standard_normal((70, 300)).astype(np.float32)
    weight = RNG.standard_normal(300).astype(np.float32)
    images = RNG.standard_normal((64, 3, 40, 40)).astype(np.float32)
    three = RNG.standard_normal(3).astype(np.float32)
    running = [clgrad.zeros(3, device=device), clgrad.ones(3, device=device)]
    seen = {
        "softmax": _launches(lambda x: nn.softmax(x, 1), rows, device=device),
        "log_softmax": _launches(lambda x: nn.log_softmax(x, 1), rows, device=device),
        "layer_norm": _launches(
            lambda x, w, b: nn.layer_norm(x, (300,), w, b), rows, weight, weight, device=device
        ),
        "batch_norm": _launches(
            lambda x, w, b: nn.batch_norm(x, *running, w, b, training=True),
            images, three, three, device=device,
        ),
    }  # fmt: skip
    most = {"softmax": (1, 1), "log_softmax": (1, 1), "layer_norm": (1, 2), "batch_norm": (3, 3)}
    assert all(a <= b for k in most for a, b in zip(seen[k], most[k], strict=True)), seen


def _normalised(x: Any, w: Any, b: Any) -> Any:
    centred = x - x.mean(dim=1, keepdim=True)
    return centred / ((centred * centred).mean(dim=1, keepdim=True) + 1e-5).sqrt() * w + b


def _softmax_of_primitives(x: Any) -> Any:
    e = (x - x.amax(1, keepdim=True).detach()).exp()
    return e / e.sum(1, keepdim=True)


def test_forward_and_backward_together(device: Any) -> None:
    """Both in one flush: a row kernel, and one down the columns for all gradients of parameters."""
    nn, rows = clgrad.nn.functional, RNG.standard_normal((70, 300)).astype(np.float32)
    weight, target = rows[0].copy(), np.arange(70)
    cases: dict[str, tuple[Any, tuple[Any, ...], int]] = {
        "softmax": (lambda x: nn.softmax(x, 1), (rows,), 1),
        "softmax of primitives": (_softmax_of_primitives, (rows,), 1),
        "cross_entropy": (lambda x, t: nn.cross_entropy(x, t), (rows, target), 2),
        "layer_norm": (lambda x, w, b: nn.layer_norm(x, (300,), w, b), (rows, weight, weight), 2),
        "layer_norm of primitives": (_normalised, (rows, weight, weight), 2),
        "cosine_similarity": (lambda x, y: nn.cosine_similarity(x, y), (rows, rows), 3),
    }
    seen = {}
    for name, (call, arrays, _) in cases.items():
        leaves = [
            clgrad.tensor(a, device=device, requires_grad=a.dtype.kind == "f") for a in arrays
        ]
        g = clgrad.ones_like(call(*leaves).detach())
        clgrad.synchronize()
        before = counters.launches
        call(*leaves).backward(g)
        clgrad.synchronize()
        seen[name] = counters.launches - before
    assert all(seen[name] <= most for name, (_, _, most) in cases.items()), seen


def test_equal_folds_are_one(device: Any) -> None:
    """An extremum and its position, or all statistics of a batch, are one kernel or two."""
    x = clgrad.tensor(RNG.standard_normal((70, 300)).astype(np.float32), device=device)
    large = clgrad.tensor(RNG.standard_normal(300000).astype(np.float32), device=device)
    for call, most in (
        (lambda: x.max(1), 1), (lambda: large.max(0), 2), (lambda: (x.sum(1), x.mean(1)), 1),
        (lambda: clgrad.var_mean(large), 2), (lambda: (large.amax(), large.amin(), large.sum()), 2),
    ):  # fmt: skip
        before = counters.launches
        found = call()
        clgrad.synchronize()
        assert counters.launches - before <= most
        del found
    values, position = large.max(0)
    assert values.item() == large.numpy().max()
    assert position.item() == large.numpy().argmax()


@pytest.mark.parametrize("columns", [3, 16, 21, 28, 47, 79])
def test_the_ends_of_rows(device: Any, columns: int) -> None:
    """Every length of what is left of a row after its vectors, with the bits of op by op."""
    values = RNG.standard_normal((6, columns)).astype(np.float32)
    up = RNG.standard_normal((6, columns)).astype(np.float32)

    def results() -> list[Any]:
        x = clgrad.tensor(values, device=device, requires_grad=True)
        g = clgrad.tensor(up, device=device)
        moved = x - x.amax(1, keepdim=True)
        weights = moved.exp() / moved.exp().sum(1, keepdim=True)
        centred = x - x.mean(1, keepdim=True)
        normed = centred / ((centred * centred).mean(1, keepdim=True) + 1e-5).sqrt()
        made = [weights, normed.tanh(), x.log_softmax(1), (x.sigmoid() * g).cumsum(1)]
        grads = [clgrad.autograd.grad(y, [x], g, retain_graph=True)[0] for y in made]
        return [t.detach().numpy() for t in (*made, *grads)]

    fused = results()
    with config.override(eager=True):
        alone = results()
    for a, b in zip(fused, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_row_whose_memory_its_result_takes_over(device: Any) -> None:
    """Half of the result lies in the operand's memory while the other half is still read."""
    values = RNG.standard_normal((40, 1100)).astype(np.float32)
    want = torch.softmax(torch.from_numpy(values), 1).numpy()
    x = clgrad.tensor(values, device=device) * 1
    clgrad.synchronize()
    device.pool.reset_peak()
    before = device.pool.stats()["allocated.current"]
    x = clgrad.softmax(x, 1)
    clgrad.synchronize()
    assert device.pool.stats()["allocated.peak"] == before
    np.testing.assert_allclose(x.numpy(), want, rtol=3e-6)
    y = clgrad.tensor(values, device=device) * 1
    clgrad.synchronize()
    z = y + clgrad.softmax(y, 1)
    np.testing.assert_allclose(z.numpy(), values + want, rtol=3e-6, atol=1e-6)
