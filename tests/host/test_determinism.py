"""PyTorch's switches for determinism, beside PyTorch's own."""

from __future__ import annotations

import pytest

import clgrad

torch = pytest.importorskip("torch")


def test_exact_products_are_remembered():
    assert clgrad.get_float32_matmul_precision() == torch.get_float32_matmul_precision()
    clgrad.set_float32_matmul_precision("high")
    assert clgrad.get_float32_matmul_precision() == "high"
    clgrad.set_float32_matmul_precision("highest")
    with pytest.raises(RuntimeError):
        clgrad.set_float32_matmul_precision("exact")


@pytest.fixture(autouse=True)
def _restored():
    yield
    for library in (clgrad, torch):
        library.use_deterministic_algorithms(False)


def state(library):
    return (
        library.are_deterministic_algorithms_enabled(),
        library.is_deterministic_algorithms_warn_only_enabled(),
        library.get_deterministic_debug_mode(),
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda lib: lib.use_deterministic_algorithms(True),
        lambda lib: lib.use_deterministic_algorithms(True, warn_only=True),
        lambda lib: lib.use_deterministic_algorithms(False, warn_only=True),
        *(
            lambda lib, mode=mode: lib.set_deterministic_debug_mode(mode)
            for mode in (0, 1, 2, "default", "warn", "error")
        ),
    ],
)
def test_what_was_asked_for_is_remembered(ask):
    for library in (clgrad, torch):
        ask(library)
    assert state(clgrad) == state(torch)


@pytest.mark.parametrize("mode", [3, "sometimes", 1.5])
def test_other_modes_are_refused(mode):
    errors = []
    for library in (clgrad, torch):
        with pytest.raises((RuntimeError, TypeError)) as caught:
            library.set_deterministic_debug_mode(mode)
        errors.append(caught.type)
    assert issubclass(*errors)
    assert state(clgrad) == (False, False, 0)
