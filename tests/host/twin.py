"""Run one program with clgrad and with PyTorch and compare what comes out.

A case is a function of the library, so that it reads like a program: `lambda m: m.ones(2) * 3`.
What it returns is made comparable: tensors by values, shape and flags, nodes by name, errors by
the built-in class that they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.testing.interpreter import interpreted

Case = Callable[[Any], Any]
_BUILTIN = (
    IndexError, TypeError, ValueError, NotImplementedError, AssertionError, RuntimeError,
)  # fmt: skip


def cases() -> tuple[list[Any], Callable[..., Callable[[Case], Case]]]:
    """Return a list of test parameters and the decorator `case(words)` that enters a program."""
    entered: list[Any] = []

    def case(words: str = "") -> Callable[[Case], Case]:
        def enter(program: Case) -> Case:
            entered.append(pytest.param(program, words, id=program.__name__))
            return program

        return enter

    return entered, case


def plain(value: Any) -> Any:
    """Return a result without its library."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "next_functions"):
        # overloads and namespaces of C++ are no part of the mechanics
        return ("node", value.name().split("::")[-1].rstrip("0123456789"))
    if hasattr(value, "requires_grad"):
        array = value.detach().numpy()
        return ("tensor", str(value.dtype).split(".")[-1], array.tolist(), value.requires_grad)
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise AssertionError(f"cannot compare a {type(value).__name__}")


def outcome(case: Case, library: Any) -> Any:
    """Return what a case comes to: ("ok", result) or ("error", built-in class, text)."""
    try:
        return ("ok", plain(case(library)))
    except _BUILTIN as error:
        return ("error", next(c.__name__ for c in _BUILTIN if isinstance(error, c)), str(error))


def close(a: Any, b: Any) -> bool:
    """Whether two plain results agree, floats to single precision."""
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, 1e-5, 1e-6, equal_nan=True))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    return bool(a == b)


def same(case: Case, words: str = "") -> None:
    """Assert that both libraries give the same result, or raise the same error with `words`."""
    import torch

    theirs = outcome(case, torch)
    with interpreted():
        ours = outcome(case, clgrad)
    if theirs[0] == "error":
        assert ours[0] == "error", f"torch raises {theirs[1:]}, clgrad gives {ours[1]}"
        assert ours[1] == theirs[1], f"torch {theirs}, clgrad {ours}"
        assert words, f"a case that raises names the words to look for: {theirs[2]}"
        assert words in theirs[2], f"torch says {theirs[2]!r}"
        assert words in ours[2], f"clgrad says {ours[2]!r}, torch {theirs[2]!r}"
    else:
        assert ours[0] == "ok", f"clgrad raises {ours[2]!r}, torch gives {theirs[1]}"
        assert not words, f"expected an error with {words!r}, both give {theirs[1]}"
        assert close(ours[1], theirs[1]), f"\nclgrad {ours[1]}\ntorch  {theirs[1]}"
