"""Anomaly mode: NaN in backward, and the line of the forward op that led there."""

from __future__ import annotations

import gc
import math
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import clgrad
from clgrad.autograd import Function, detect_anomaly, set_detect_anomaly
from clgrad.tape import noting
from clgrad.testing.interpreter import interpreted


@pytest.fixture(autouse=True)
def _nothing_is_left_on() -> Iterator[None]:
    yield
    assert not clgrad.autograd.is_anomaly_enabled()
    assert noting.Switch.open == 0


def program(m: Any) -> Any:
    x = m.tensor([0.0, 1.0], requires_grad=True)
    y = (x * 0).sqrt()  # this line
    return x, y * 0


LINE = program.__code__.co_firstlineno + 2


class NanAt(Function):
    """Identity whose gradient for one of its two inputs is NaN."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, place: int) -> Any:
        ctx.place = place
        return x + y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        grads = [g, g, None]
        grads[ctx.place] = g * math.nan
        return tuple(grads)


class Outer(Function):
    """Its derivative is itself a custom function."""

    @staticmethod
    def forward(ctx: Any, x: Any, place: int) -> Any:
        ctx.place = place
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return NanAt.apply(g * x, g + x, ctx.place), None


@contextmanager
def recorded() -> Iterator[list[Any]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield seen


def texts(seen: list[Any]) -> list[str]:
    return [str(w.message) for w in seen]


def test_nan_is_found_where_it_arises() -> None:
    with interpreted(), recorded() as seen, detect_anomaly():
        _, y = program(clgrad)
        with pytest.raises(RuntimeError) as caught:
            y.sum().backward()
    assert "Function 'SqrtBackward0' returned nan values in its 0th output." in str(caught.value)
    enabled, error = texts(seen)
    assert enabled.startswith("Anomaly Detection has been enabled.")
    assert error.startswith(
        "Error detected in SqrtBackward0. Traceback of forward call that caused the error:\n"
    )
    assert f'File "{__file__}", line {LINE}, in program\n    y = (x * 0).sqrt()' in error


def test_the_first_words_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    with torch.autograd.set_detect_anomaly(True):
        _, y = program(torch)
        with (
            pytest.warns(UserWarning, match="Error detected in SqrtBackward0. Traceback of forw"),
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
    with interpreted(), set_detect_anomaly(True, check_nan=False):
        assert clgrad.autograd.is_anomaly_enabled()
        assert not clgrad.autograd.is_anomaly_check_nan_enabled()
        x = clgrad.rand(2, requires_grad=True)
        y = NanAt.apply(x, x, 0).sum()
        y.backward(retain_graph=True)
        with (
            set_detect_anomaly(True),
            pytest.warns(UserWarning, match="Error detected in NanAtBackward"),
            pytest.raises(RuntimeError, match="Function 'NanAtBackward' returned nan values"),
        ):
            y.backward(retain_graph=True)
        y.backward()


@pytest.mark.parametrize("place", [0, 1])
def test_which_gradient_it_is(place: int) -> None:
    with interpreted(), set_detect_anomaly(True):
        x = clgrad.rand(3, requires_grad=True)
        y = NanAt.apply(x, x, place).sum()
        with (
            pytest.warns(UserWarning, match=r"y = NanAt.apply\(x, x, place\)"),
            pytest.raises(RuntimeError, match=f"returned nan values in its {place}th output"),
        ):
            y.backward()


def test_what_was_made_before_has_no_trace() -> None:
    with interpreted():
        x = clgrad.rand(3, requires_grad=True)
        y = NanAt.apply(x, x, 0).sum()
        with (
            set_detect_anomaly(True),
            pytest.warns(UserWarning, match="Backward. No forward pass information available"),
            pytest.raises(RuntimeError, match="NanAtBackward"),
        ):
            y.backward()


def test_second_derivatives_name_both_calls() -> None:
    with interpreted(), set_detect_anomaly(True):
        x = clgrad.rand(3, requires_grad=True)
        y = Outer.apply(x, 1).sum()
        (slope,) = clgrad.autograd.grad(y, x, create_graph=True)
        with (
            recorded() as seen,
            pytest.raises(RuntimeError, match="NanAtBackward' returned nan values in its 1th"),
        ):
            slope.sum().backward()
    first, second = texts(seen)
    assert "return NanAt.apply(" in first
    assert "Previous calculation was induced by OuterBackward." in second
    assert "y = Outer.apply(x, 1).sum()" in second


def test_a_node_holds_the_one_that_asked_for_it_and_no_longer() -> None:
    gc.collect()
    gc.disable()
    try:
        with interpreted():
            x = clgrad.rand(2, requires_grad=True)
            y = x.exp()
            with set_detect_anomaly(True):
                grad = clgrad.autograd.grad(y.sum(), x, create_graph=True)
            node = weakref.ref(y.grad_fn)
            del y
            assert node() is not None
            del grad
            assert node() is None
    finally:
        gc.enable()


def overwritten() -> None:
    x = clgrad.ones(2, requires_grad=True)
    y = x.tanh()
    y.add_(1)
    y.sum().backward()


def test_an_error_says_where_its_node_was_made() -> None:
    with (
        interpreted(),
        set_detect_anomaly(True),
        pytest.warns(UserWarning, match=r"in TanhBackward0[^$]*y = x.tanh\(\)"),
        pytest.raises(clgrad.VersionError),
    ):
        overwritten()


def test_a_warning_that_is_an_error_does_not_hide_the_error(capsys: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with interpreted(), set_detect_anomaly(True), pytest.raises(clgrad.VersionError):
            overwritten()
    assert "Error detected in TanhBackward0." in capsys.readouterr().err
