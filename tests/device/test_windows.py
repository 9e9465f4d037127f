"""Reads through windows: padding, embedded gradients and rolls, without kernels of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import clgrad

torch = pytest.importorskip("torch")


def _pad(m: Any, x: Any, *pad: int) -> Any:
    return m.nn.functional.pad(x, pad)


def _torus(m: Any, u: Any) -> Any:
    for _ in range(3):
        beside = m.roll(u, 1, 0) + m.roll(u, -1, 0) + m.roll(u, 1, 1) + m.roll(u, -1, 1)
        u = u + 0.1 * (beside - 4 * u)
    return (u * u).sum()


def _rim(m: Any, u: Any) -> Any:
    for _ in range(3):
        beside = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
        u = _pad(m, u[1:-1, 1:-1] + 0.1 * (beside - 4 * u[1:-1, 1:-1]), 1, 1, 1, 1)
    return (u * u).sum()


Program = Callable[..., Any]
PROGRAMS: list[tuple[Program, tuple[tuple[int, ...], ...]]] = [
    (lambda m, x: m.roll(x, 3, 0) * 2 + x, ((7, 50),)),
    (lambda m, x: m.roll(x, -3, 1) + x, ((7, 50),)),
    (lambda m, x: m.roll(x, (2, -5), (0, 1)) + m.roll(x, 1, 1) - x, ((7, 50),)),
    (lambda m, x: m.roll(x, (2, 3), (1, 1)) + x, ((7, 50),)),
    (lambda m, x: m.roll(x.t(), (2, -5), (0, 1)) * x.t(), ((40, 50),)),
    (lambda m, x: m.roll(x, 17) + x, ((3, 4, 33),)),
    (lambda m, x: m.roll(x.expand(4, 40), (1, 3), (0, 1)) + 1, ((1, 40),)),
    (lambda m, x: m.roll(m.roll(x, 2, 1), 1, 0) + 1, ((7, 50),)),
    (lambda m, x: m.roll(m.roll(x, 2, 1), 3, 1) + 1, ((7, 50),)),
    (lambda m, x: _pad(m, x, 3, 2, 1, 0) * 2, ((7, 50),)),
    (lambda m, x: _pad(m, x * 2 + 1, 3, 2, 1, 0), ((7, 50),)),  # 0 outside, not 1
    (lambda m, x: _pad(m, m.ones_like(x) * 3, 1, 1) * _pad(m, x, 1, 1), ((7, 50),)),
    (lambda m, x: _pad(m, m.ones_like(x), 1, 1) * _pad(m, x, 1, 1), ((7, 50),)),
    (lambda m, x: _pad(m, _pad(m, x, 1, 20), 2, 1, 1, 1) + 1, ((7, 50),)),
    (lambda m, x: _pad(m, x, -1, 2, -2, 1) + 1, ((7, 50),)),
    (lambda m, x: _pad(m, x, 1, 2, -7, 3) + 1, ((7, 50),)),  # nothing inside
    (lambda m, x: m.roll(_pad(m, x, 4, 1), 2, 1) + 1, ((7, 50),)),
    (lambda m, x: _pad(m, m.roll(x, 2, 1), 4, 1) + 1, ((7, 50),)),
    (lambda m, x: _pad(m, x.expand(6, 50), 1, 2, 2, 1) + 1, ((1, 50),)),
    (lambda m, x: _pad(m, x.expand(6, 50), 1, 2, 2, 1) + 1, ((6, 1),)),
    (lambda m, x: _pad(m, x, 1, 2, 0, 0, 3, 1) + 1, ((2, 3, 40),)),
    (lambda m, x: _pad(m, x, 1, 2, 2, 1).sum(1), ((6, 50),)),
    (lambda m, x: m.softmax(m.roll(x, 1, 1), 1), ((6, 50),)),
    (lambda m, x: m.roll(x, 1, 0).sum(0), ((6, 50),)),
    (lambda m, x, w: _pad(m, x @ w, 1, 1) * 2, ((6, 50), (50, 33))),
    (lambda m, x, w: _pad(m, x, 1, 1) @ w, ((6, 50), (52, 33))),
    (lambda m, x: (x[1:-1, 2:] * x[:-2, :-2]).exp() + x[0, 3] * x[2:, 4:5], ((6, 50),)),
    (lambda m, x: x[:, 3] * x[:, ::2].sum(1) + x[1:, 40:41].sum(), ((6, 50),)),
    (lambda m, x: x[1, 2:5, 3] * x[2, 0:3, -1], ((6, 5, 50),)),
    # slices of what is computed
    (lambda m, x: m.roll((x * x)[0:3], 1, 0) + 1, ((6, 50),)),
    (lambda m, x: m.roll((x * x)[2:5], 1, 0) + 1, ((6, 50),)),
    (lambda m, x: m.roll((x * x).reshape(-1)[40:90], 7) * 2, ((6, 50),)),
    (lambda m, x: _pad(m, x.clone()[2:4], 1, 1, 1, 1) * 2, ((6, 50),)),
    (lambda m, x: _pad(m, x.clone()[2:5], 0, 0, -1, 1) * 2, ((6, 50),)),
    (lambda m, x: _pad(m, _pad(m, x, 1, 0, 1, 0)[2:4], 1, 1, 1, 1) * 2, ((6, 50),)),
    (lambda m, x: _pad(m, m.roll(x, 1, 0)[2:4], 1, 1, 1, 1) * 2, ((6, 50),)),
    (lambda m, x: m.roll(_pad(m, x, 1, 1, 0, 0)[2:4], 1, 0) * 2, ((6, 50),)),
    (lambda m, x: m.roll(m.roll(x, (1, 2), (0, 1))[2:4], 1, 0) * 2, ((6, 50),)),
    (lambda m, x: m.roll((x.t() + 1).t()[3:], 2, 0) * 2, ((6, 50),)),
    (lambda m, x: m.cat([x, x.narrow(0, 0, 3)]) * 2 + 1, ((3, 5),)),
    (lambda m, x: m.nn.functional.pad(x, (2, 3, 2, 2), "circular"), ((1, 2, 2, 3),)),
    (_torus, ((33, 50),)),
    (_rim, ((33, 50),)),
]


@pytest.mark.parametrize("k", range(len(PROGRAMS)))
def test_windows_are_read_as_pytorch_copies(device: Any, k: int) -> None:
    program, shapes = PROGRAMS[k]
    rng = np.random.default_rng(k)
    arrays = [rng.standard_normal(shape).astype("f4") for shape in shapes]
    ours = [clgrad.tensor(a, device=device, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    result, expected = program(clgrad, *ours), program(torch, *theirs)
    up = rng.standard_normal(tuple(expected.shape)).astype("f4")
    result.backward(clgrad.tensor(up, device=device))
    expected.backward(torch.tensor(up))
    pairs = [(result.detach(), expected.detach())]
    pairs += [(a.grad, b.grad) for a, b in zip(ours, theirs, strict=True)]
    for a, b in pairs:
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16"])
def test_windows_of_other_dtypes(device: Any, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 2, (5, 70)).astype(dtype)
    ours, theirs = clgrad.tensor(x, device=device), torch.tensor(x)
    for program in (
        lambda m, a: m.roll(a, (1, 7), (0, 1)), lambda m, a: _pad(m, a, 3, 30, 1, 0),
        lambda m, a: m.roll(a.t(), (1, 7), (0, 1)), lambda m, a: _pad(m, a.t(), 3, 30, 1, 0),
    ):  # fmt: skip
        np.testing.assert_array_equal(program(clgrad, ours).numpy(), program(torch, theirs).numpy())


def test_a_stencil_and_its_gradient_are_a_kernel_each(device: Any) -> None:
    u = clgrad.randn(64, 64, device=device, requires_grad=True)
    u.detach().numpy()
    for _ in range(2):
        before = clgrad.launch_count()
        y = clgrad.roll(u, 1, 0) + clgrad.roll(u, -1, 1) - 2 * u
        y.detach().numpy()
        assert clgrad.launch_count() - before == 1
        before = clgrad.launch_count()
        (g,) = clgrad.autograd.grad(y, u, clgrad.ones_like(y))
        g.numpy()
        assert clgrad.launch_count() - before == 1


def test_a_source_is_not_overwritten_while_neighbours_are_read(device: Any) -> None:
    x = np.arange(4096, dtype="f4").reshape(64, 64)
    u = clgrad.tensor(x, device=device)
    for _ in range(3):  # the old value is needed no more, but its buffer is still read
        u = u + clgrad.roll(u, 1, 0) * 0.5
        x = x + np.roll(x, 1, 0) * np.float32(0.5)
    np.testing.assert_array_equal(u.numpy(), x)


def test_minus_zero_and_nan_around(device: Any) -> None:
    x = clgrad.tensor([[-0.0, float("nan")]], device=device)
    zeros = clgrad.nn.functional.pad(x, (1, 2), value=-0.0).numpy()
    assert np.signbit(zeros)[0].tolist() == [True, True, False, True, True]
    zeros = clgrad.nn.functional.pad(x, (1, 2), value=0.0).numpy()  # an equal number, another sign
    assert np.signbit(zeros)[0].tolist() == [False, True, False, False, False]
    assert np.isnan(zeros[0, 2])
