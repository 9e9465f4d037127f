"""Many reads and many writes of parts of one tensor: gradients are those of torch, joined once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.autograd import parts
from clgrad.layout import Layout
from clgrad.ops.slabs import slabs

torch = pytest.importorskip("torch")

N = 40


@pytest.fixture
def chosen(device: Any) -> Iterator[None]:
    """The device under test, as the one where tensors are made."""
    before = clgrad.get_default_device()
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(before)


def _rows(lib: Any, x: Any) -> Any:
    return sum((x[i] ** 2 * (i + 1)).sum() for i in range(N))


def _columns(lib: Any, x: Any) -> Any:
    return sum((x[:, i] ** 3 * (i + 1)).sum() for i in range(3) for _ in range(9))


def _every_other_and_all(lib: Any, x: Any) -> Any:
    return sum((x[i] ** 2 * (i + 1)).sum() for i in range(3, N, 2)) + (x**3).sum()


def _twice(lib: Any, x: Any) -> Any:
    return sum((x[i] * x[(i + 1) % N] * x[i]).sum() for i in range(N))


def _sliding(lib: Any, x: Any) -> Any:
    return sum((x[i : i + 3] ** 2).sum() * i for i in range(N - 3))


def _no_slabs(lib: Any, x: Any) -> Any:
    return sum((x.diagonal() ** 2).sum() * i for i in range(20))


def _hooked(lib: Any, x: Any) -> Any:
    total = 0
    for i in range(N):
        row = x[i]
        if i % 5 == 0:
            row.register_hook(lambda g: g * 2)
        total = total + (row**2).sum() * i
    return total


def _written_rows(lib: Any, x: Any) -> Any:
    y = lib.zeros(N, 3)
    for i in range(N):
        y[i] = x[i] ** 2
    return (y**2).sum()


def _written_columns(lib: Any, x: Any) -> Any:
    y = lib.zeros(3, N)
    for i in range(N):
        y[:, i] = x[i] ** 2
    return (y**2).sum()


def _written_twice(lib: Any, x: Any) -> Any:
    y = x * 2
    for i in range(2, N - 1):
        y[i] = x[i] ** 2
    y[5] = x[0] * 3
    y[5, 1:] = x[1, 1:]
    return (y**2).sum()


def _read_in_between(lib: Any, x: Any) -> Any:
    y = x * 2
    read = 0
    for i in range(2, N - 1):
        y[i] = x[i] ** 2
        if i % 20 == 0:
            read = read + (y * (i + 1)).sum()
        if i % 7 == 0:
            y[i].mul_(3)
    return (y**2).sum() + read


def _filled(lib: Any, x: Any) -> Any:
    y = x * 2
    for i in range(0, N, 2):
        y[i] = 0
    for i in range(1, N, 4):
        y[i].fill_(1)
    return (y**2).sum()


PROGRAMS = [
    _rows, _columns, _every_other_and_all, _twice, _sliding, _no_slabs, _hooked, _written_rows,
    _written_columns, _written_twice, _read_in_between, _filled,
]  # fmt: skip


def _gradient(lib: Any, program: Callable[..., Any], how: str, x: Any) -> Any:
    if how == "backward":
        program(lib, x).backward()
        return x.grad
    (grad,) = lib.autograd.grad(program(lib, x), x, create_graph=how == "twice")
    return grad if how == "grad" else lib.autograd.grad((grad**2).sum(), x)[0]


@pytest.mark.parametrize("how", ["backward", "grad", "twice"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_gradients_are_those_of_torch(chosen: None, program: Callable[..., Any], how: str) -> None:
    array = np.random.default_rng(0).standard_normal((N, 3)).astype(np.float32)
    want = _gradient(torch, program, how, torch.tensor(array, requires_grad=True))
    x = clgrad.tensor(array, requires_grad=True)
    for _ in range(3):  # node by node, taken down, and recorded again
        x.grad = None
        got = _gradient(clgrad, program, how, x).detach().numpy()
        np.testing.assert_allclose(got, want.numpy(), rtol=3e-5, atol=1e-5)


def test_captured_gradients_of_a_tensor_written_in_parts(chosen: None) -> None:
    array = np.random.default_rng(1).standard_normal((N, 3)).astype(np.float32)
    found = []
    for lib in (torch, clgrad):
        x = lib.tensor(array, requires_grad=True)
        y = x * 2
        for i in range(0, N, 2):
            y[i] = x[i] ** 2
        y.retain_grad()
        (y**2).sum().backward()
        found.append([x.grad.numpy(), y.grad.numpy()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=1e-5)


def test_work_grows_with_the_number_of_parts_alone(chosen: None) -> None:
    """Neither the reads nor the writes of n rows may take a pass over the tensor each."""
    noted: list[int] = []
    real = clgrad.Tensor._embed

    def counted(*args: Any) -> Any:
        noted.append(1)
        return real(*args)

    x = clgrad.ones(300, 4, requires_grad=True)
    y = clgrad.zeros(300, 4)
    for i in range(300):
        y[i] = x[i] * 2
    clgrad.Tensor._embed = counted  # type: ignore[method-assign]
    try:
        y.sum().backward()
    finally:
        clgrad.Tensor._embed = real  # type: ignore[method-assign]
    assert not noted
    assert x.grad is not None and x.grad.tolist() == [[2.0] * 4] * 300


def test_a_hole_is_taken_once() -> None:
    class Given:
        def __init__(self) -> None:
            self._meta = type("M", (), {"numel": 12})()

        def contiguous(self) -> Given:
            return self

    holed = parts.Holed(Given())
    whole = Layout.contiguous((4, 3))
    assert holed.take(whole.select(0, 1))
    assert holed.take(whole.select(0, 2))
    assert not holed.take(whole.select(1, 0))
    assert holed.layouts == [whole.select(0, 1), whole.select(0, 2)]


def test_slabs() -> None:
    whole = Layout.contiguous((10, 4))
    rows = tuple(whole.select(0, k) for k in range(1, 10))
    found = slabs(rows, (10, 4))
    assert found is not None and found.dim == 0
    assert found.layers == (((1, ()), *((1, (k,)) for k in range(9))),)
    columns = tuple(whole.narrow(1, k % 4, 1) for k in range(8))
    found = slabs(columns, (10, 4))
    assert found is not None and found.dim == 1
    assert found.layers == (tuple((1, (k, k + 4)) for k in range(4)),)
    assert slabs(rows[:3], (10, 4)) is None
    assert slabs((*rows, whole.diagonal(0, 0, 1)), (10, 4)) is None
    long = Layout.contiguous((100,))
    windows = tuple(long.narrow(0, k, 3) for k in range(98))
    found = slabs(windows, (100,))
    assert found is not None and len(found.layers) == 3
    assert slabs(tuple(long.narrow(0, k, 10) for k in range(90)), (100,)) is None
