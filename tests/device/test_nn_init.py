"""Initialisation on every device: distributions, fans and exact fillings as PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.nn import init


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    clgrad.manual_seed(3)
    yield
    clgrad.set_default_device(None)


def moments(x: Any) -> tuple[float, float, float, float]:
    a = x.detach().numpy().astype(np.float64)
    return a.mean(), a.std(), a.min(), a.max()


WEIGHT = (96, 24, 5, 5)  # fan in 600, fan out 2,400
UNIFORM = [
    ("uniform_", (-0.5, 1.5), {}),
    ("xavier_uniform_", (), {}),
    ("xavier_uniform_", (), {"gain": 2.0}),
    ("kaiming_uniform_", (), {}),
    ("kaiming_uniform_", (), {"a": math.sqrt(5)}),
    ("kaiming_uniform_", (), {"mode": "fan_out", "nonlinearity": "relu"}),
]
NORMAL = [
    ("normal_", (1.5, 0.25), {}),
    ("xavier_normal_", (), {"gain": 0.5}),
    ("kaiming_normal_", (), {"nonlinearity": "tanh"}),
    ("kaiming_normal_", (), {"mode": "fan_out", "nonlinearity": "selu"}),
]


def test_distributions_are_pytorchs() -> None:
    for name, args, named in UNIFORM + NORMAL:
        x = clgrad.nn.Parameter(clgrad.empty(*WEIGHT))
        assert getattr(init, name)(x, *args, **named) is x
        assert x.grad_fn is None and x.requires_grad
        mine = moments(x)
        theirs = moments(getattr(torch.nn.init, name)(torch.empty(*WEIGHT), *args, **named))
        assert mine[0] == pytest.approx(theirs[0], abs=0.02 * theirs[1]), name
        assert mine[1] == pytest.approx(theirs[1], rel=0.02), name
        if (name, args, named) in UNIFORM:
            assert mine[2:] == pytest.approx(theirs[2:], abs=0.01 * theirs[1]), name


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"), [(0.0, 1.0, -2.0, 2.0), (0.5, 2.0, -0.25, 0.75), (0.0, 1.0, 3, 4)]
)
@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
def test_truncated_normal(mean: float, std: float, a: float, b: float) -> None:
    mine = moments(init.trunc_normal_(clgrad.empty(200, 200), mean, std, a, b))
    theirs = moments(torch.nn.init.trunc_normal_(torch.empty(200, 200), mean, std, a, b))
    assert a <= mine[2] <= mine[3] <= b
    np.testing.assert_allclose(mine, theirs, rtol=0.03, atol=0.03 * theirs[1])


def test_fillings_are_exact() -> None:
    for name, shape, args in (
        ("eye_", (3, 5), ()), ("eye_", (5, 3), ()), ("ones_", (5, 3), ()), ("zeros_", (5, 3), ()),
        ("constant_", (5, 3), (0.25,)), ("dirac_", (6, 3, 5), ()), ("dirac_", (6, 2, 4, 3), (3,)),
        ("dirac_", (2, 4, 3, 3, 1), (2,)),
    ):  # fmt: skip
        mine = getattr(init, name)(clgrad.empty(*shape), *args)
        theirs = getattr(torch.nn.init, name)(torch.empty(*shape), *args)
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=name)


def test_orthogonal_rows_or_columns() -> None:
    for shape in ((4, 7), (7, 4), (5, 5), (3, 2, 4)):
        x = init.orthogonal_(clgrad.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1)
        product = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    assert not np.array_equal(
        init.orthogonal_(clgrad.empty(4, 4)).numpy(), init.orthogonal_(clgrad.empty(4, 4)).numpy()
    )


def test_sparse_columns() -> None:
    x = init.sparse_(clgrad.empty(20, 30), 0.33, std=0.5).numpy()
    assert ((x == 0).sum(axis=0) == 7).all()
    assert x[x != 0].std() == pytest.approx(0.5, rel=0.15)
    assert len({tuple(column) for column in (x == 0).T}) > 20


@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_mistakes(m: Any) -> None:
    nn, one = m.nn.init, m.ones(3)
    for call in (
        lambda: nn.xavier_uniform_(one), lambda: nn.kaiming_normal_(one), lambda: nn.eye_(one),
        lambda: nn.dirac_(one), lambda: nn.dirac_(m.ones(3, 3, 3), 2), lambda: nn.orthogonal_(one),
        lambda: nn.sparse_(one, 0.1), lambda: nn.calculate_gain("none"),
        lambda: nn.calculate_gain("leaky_relu", True),
        lambda: nn.kaiming_uniform_(m.ones(3, 3), mode="fan"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"\w+"):
            call()
    with pytest.warns(UserWarning, match="zero-element"):
        nn.kaiming_uniform_(m.ones(0, 3))
    with pytest.warns(FutureWarning, match="deprecated"):
        nn.uniform(one)
    assert nn.calculate_gain("leaky_relu", 0.2) == pytest.approx(math.sqrt(2 / 1.04))
