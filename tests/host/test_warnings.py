"""What warns although it goes on, as in PyTorch, and where the warning points."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import clgrad
from clgrad import host
from clgrad.testing.interpreter import interpreted


@pytest.fixture(autouse=True)
def _on_the_host() -> Any:
    with interpreted():
        yield


def test_a_number_of_a_tensor_that_requires_grad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host._Warned, "yet", False)
    x = clgrad.tensor(2.0, requires_grad=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with clgrad.no_grad():
            numbers = [float(x)]
        numbers += [x.item(), int(x), bool(x), float(x.detach())]
        assert not caught
        numbers += [float(x * 1), float(x)]
    assert numbers == [2.0] * 3 + [1.0] + [2.0] * 3
    assert [w.filename for w in caught] == [__file__]
    assert "Converting a tensor with requires_grad=True to a scalar" in str(caught[0].message)


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_too_few_degrees_of_freedom(name: str) -> None:
    function = getattr(clgrad, name)
    for shape, options in (
        ((1,), {}), ((3, 1), {"dim": 1}), ((0,), {"correction": 0}), ((3,), {"correction": 5}),
        ((0, 2), {"dim": 0}), ((2, 0), {"dim": 0, "unbiased": False}),
    ):  # fmt: skip
        with pytest.warns(UserWarning, match=rf"{name}\(\): degrees of freedom is <= 0") as caught:
            function(clgrad.ones(shape), **options)
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(clgrad.ones(1), correction=0)
        function(clgrad.ones(3, 2), dim=1)
        function(clgrad.ones(2, 3), dim=0, correction=1.5)
