"""Anomaly mode: NaN in backward, and the line of the forward op that led there."""

from __future__ import annotations

import math
from typing import Any

import pytest

import clgrad
from clgrad.testing.interpreter import interpreted


def program(m: Any) -> Any:
    x = m.tensor([0.0, 1.0], requires_grad=True)
    y = (x * 0).sqrt()  # this line
    return x, y * 0


def test_nan_is_found_where_it_arises() -> None:
    with interpreted():
        with clgrad.autograd.detect_anomaly():
            _, y = program(clgrad)
            with pytest.raises(RuntimeError) as caught:
                y.sum().backward()
        text = str(caught.value)
        line = program.__code__.co_firstlineno + 2
        assert "Function 'SqrtBackward0' returned nan values in its 0th output." in text
        assert f"{__file__}:{line}," in text
        assert not clgrad.autograd.is_anomaly_enabled()


def test_the_first_words_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    with torch.autograd.set_detect_anomaly(True):
        _, y = program(torch)
        with (
            pytest.warns(UserWarning, match="Error detected in SqrtBackward0"),
            pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values"),
        ):
            y.sum().backward()


def test_without_it_nan_passes() -> None:
    with interpreted():
        x, y = program(clgrad)
        y.sum().backward()
        assert x.grad is not None
        assert math.isnan(x.grad.tolist()[0])


def test_nan_may_be_let_through() -> None:
    with interpreted(), clgrad.autograd.set_detect_anomaly(True, check_nan=False):
        assert clgrad.autograd.is_anomaly_enabled()
        assert not clgrad.autograd.is_anomaly_check_nan_enabled()
        _, y = program(clgrad)
        y.sum().backward()


def test_an_error_says_where_its_node_was_made() -> None:
    with interpreted(), clgrad.autograd.detect_anomaly():
        x = clgrad.ones(2, requires_grad=True)
        y = x.tanh()
        y.add_(1)
        with (
            pytest.warns(UserWarning, match=r"Error detected in TanhBackward0.*in test_an_error"),
            pytest.raises(clgrad.VersionError),
        ):
            y.sum().backward()
