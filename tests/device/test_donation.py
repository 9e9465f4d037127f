"""Buffers that are written in place, copied, and values that are computed again, by number.

A donation that is lost shows in no value, so it is counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.creation import current
from clgrad.errors import VersionError
from clgrad.graph import recorder, watch


@pytest.fixture(autouse=True)
def _device(device: Any) -> Iterator[None]:
    former, current.device = current.device, device
    yield
    recorder.flush()
    current.device = former


def counted(work: Callable[[], Any]) -> watch.Statistics:
    """Return what the flushes of `work` did."""
    recorder.flush()
    watch.reset()
    kept = work()  # results live until they are flushed
    recorder.flush()
    del kept
    return watch.reset()


def made(*shape: int, grad: bool = False) -> Any:
    rng = np.random.default_rng(0)
    x = clgrad.tensor(rng.uniform(-1, 1, shape).astype("float32"))
    return x.requires_grad_() if grad else x


def test_write_donates_what_nobody_needs() -> None:
    x = made(64)
    want = x.numpy() + 1
    counts = counted(lambda: x.add_(1))
    assert (counts.donations, counts.copies, counts.launches) == (1, 0, 1)
    assert np.array_equal(x.numpy(), want)


def test_chain_of_writes_is_one_kernel_in_place() -> None:
    x = made(64)

    def work() -> None:
        x.add_(1)
        x.mul_(2)
        x.tanh_()

    counts = counted(work)
    assert (counts.donations, counts.copies, counts.launches) == (1, 0, 1)


def test_clone_shares_until_written() -> None:
    x = made(64)
    y = x.clone()
    before = y.numpy()
    counts = counted(lambda: x.add_(1))
    assert (counts.donations, counts.copies) == (0, 0)
    assert np.array_equal(y.numpy(), before)
    again = counted(lambda: x.add_(1))
    assert again.donations == 1


def test_part_of_a_shared_value_copies_once() -> None:
    x = made(8, 8)
    y = x.clone()
    before = y.numpy()
    first = counted(lambda: x[2].mul_(2))
    second = counted(lambda: x[3].mul_(2))
    assert (first.copies, second.copies) == (1, 0)
    assert np.array_equal(y.numpy(), before)
    assert np.array_equal(x.numpy()[2], before[2] * 2)


@pytest.mark.parametrize("flushing", [False, True])
def test_rows_are_written_without_copies(flushing: bool) -> None:
    x, row = made(32, 8), made(8)

    def work() -> None:
        for k in range(32):
            x[k] = row * k
            if flushing:
                recorder.flush()

    counts = counted(work)
    assert counts.copies == 0
    assert np.array_equal(x.numpy(), np.arange(32, dtype="f")[:, None] * row.numpy())


def test_rows_that_a_doomed_save_was_holding_are_written_without_copies() -> None:
    """After a write the save can only raise, so it must not hold memory."""
    w, x = made(8, grad=True), made(16, 8)
    losses = []

    def work() -> None:
        for k in range(16):
            losses.append((w * x).sum())
            x[k] = 0.5
            recorder.flush()

    counts = counted(work)
    assert counts.copies == 0
    with pytest.raises(VersionError, match="modified by an inplace operation"):
        losses[0].backward()
    losses[-1] = (w * x).sum()
    losses[-1].backward()


def test_write_that_a_save_needs_takes_a_new_buffer() -> None:
    """`mul_` needs its old self for the gradient of the other operand."""
    w = made(64, grad=True)
    y = made(64)
    before = y.numpy()
    counts = counted(lambda: y.mul_(w))
    assert (counts.donations, counts.copies) == (0, 0)
    y.sum().backward()
    assert np.array_equal(w.grad.numpy(), before)


def test_an_optimizer_step_donates_everything() -> None:
    params = [made(8, 4, grad=True), made(4, grad=True), made(4, 2, grad=True)]
    x = made(16, 8)

    def train() -> None:
        h = (x @ params[0] + params[1]).tanh() @ params[2]
        (h * h).mean().backward()
        with clgrad.no_grad():
            for p in params:
                p.sub_(p.grad * 0.1)
                p.grad = None

    train()
    recorder.flush()
    loss = ((x @ params[0] + params[1]).tanh() @ params[2]).sum()
    loss.backward()
    recorder.flush()

    def step() -> None:
        with clgrad.no_grad():
            for p in params:
                p.sub_(p.grad * 0.1)

    del loss
    counts = counted(step)
    assert (counts.donations, counts.copies) == (3, 0)


def test_gradients_accumulate_in_place() -> None:
    w, x = made(64, grad=True), made(64)
    (w * x).sum().backward()

    def again() -> None:
        (w * x).sum().backward()

    counts = counted(again)
    assert counts.copies == 0
    assert counts.donations >= 1
    assert np.allclose(w.grad.numpy(), 2 * x.numpy())


def test_saved_pointwise_work_is_a_recipe() -> None:
    x = made(8192, grad=True)  # where a value is worth the trouble
    before = device_bytes(x)

    def forward() -> Any:
        return ((x * 2).sigmoid() * 3).tanh().sum()

    counts = counted(forward)
    assert counts.recipes >= 1
    loss = forward()
    recorder.flush()
    # nothing but x and the sum lies in memory, although backward needs three values more
    assert device_bytes(x) - before < 4 * 8192
    loss.backward()
    s = 1 / (1 + np.exp(-2.0 * x.detach().numpy().astype("d")))
    t = np.tanh(3 * s)
    want = (1 - t * t) * 3 * s * (1 - s) * 2
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-4, atol=1e-6)


def device_bytes(x: Any) -> int:
    return int(x.device.pool.stats()["allocated.current"])


def test_recipe_survives_the_write_of_its_leaf() -> None:
    x = made(64, grad=True)
    y = (x * 2).sigmoid()
    z = (y * y).sum()
    recorder.flush()
    del y
    before = x.detach().numpy().astype("d")
    with clgrad.no_grad():
        x.zero_()
    z.backward()
    s = 1 / (1 + np.exp(-2 * before))
    np.testing.assert_allclose(x.grad.numpy(), 4 * s * s * (1 - s), rtol=1e-4, atol=1e-6)


def test_a_row_of_constants_does_not_take_the_buffer_that_its_rows_read() -> None:
    """The gradient of `round` is 0, whatever the sum is that it comes of: nothing is folded."""

    def step(read: bool) -> Any:
        x, g = made(2, 3, 6, grad=True), made(2, 1, 6, grad=True)
        y = x * ((g * 2 + 2).round().clamp(0, 0) + 1)
        if read:
            y.detach().numpy()
        (y * 2).sum().backward()
        return y.detach().numpy()

    np.testing.assert_array_equal(step(False), step(True))


def test_buffer_is_not_taken_by_another_dtype_of_its_width() -> None:
    x = made(64)

    def work() -> Any:
        y = x + 1
        recorder.flush()
        parts = (y * 2, y.to(clgrad.int32))
        del y
        return parts

    counts = counted(lambda: work()[1])  # C may move a load of a float behind a store of an int
    assert counts.donations == 0


def test_determinants_of_single_numbers() -> None:
    for _ in range(4):
        matrices = [made(1, 1), made(1, 1) - 2]
        made_of = [clgrad.linalg.det(m) for m in matrices]
        for m, det in zip(matrices, made_of, strict=True):
            assert det.item() == m.item()
