"""Expressions evaluated twice, by PyTorch and by clgrad: results, their kinds, gradients, errors.

A case is Python text over the tensors of `TENSORS`, the module `M`, `F` for its `nn.functional`,
and `T(data, dtype=None)` for more tensors; statements before the last `;` are run first.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import clgrad
import clgrad.nn.functional

torch = pytest.importorskip("torch")

_rng = np.random.default_rng(0)


def _floats(*shape: int) -> Any:
    """Return floats that all differ, some of them negative."""
    count = int(np.prod(shape))
    return _rng.permutation(count).reshape(shape).astype(np.float32) / 4 - 1


TENSORS: dict[str, Any] = {
    "x": _floats(3, 4), "v": _floats(4), "u": _floats(3), "s": _floats(3, 3),
    "b": _floats(2, 3, 4), "q": _floats(4, 3, 2, 5), "w": _floats(6), "z": np.float32(2.5),
    "o": _floats(1, 1), "e": np.zeros((0, 4), np.float32),
    "d": _floats(3, 4).astype(np.float64), "h": _floats(3, 4).astype(np.float16),
    "n": _rng.integers(-5, 5, (3, 4)), "p": _rng.integers(0, 2, (3, 4)).astype(bool),
    "m": _rng.integers(0, 2, (3, 4)).astype(bool), "mu": np.array([True, False, True]),
    "mv": np.array([True, False, True, True]),
    "i": np.array([2, 0, 2]), "j": np.array([1, 3, 1]), "k": np.arange(3, dtype=np.int32),
    "I": _rng.integers(0, 3, (2, 4)), "J": _rng.integers(0, 4, (3, 3)),
    "K": _rng.integers(0, 12, (2, 3)), "i0": np.array(1), "ie": np.zeros(0, np.int64),
}  # fmt: skip
"""Operands; those of float32 and float64 require grad."""

_ERRORS = (IndexError, TypeError, ValueError, NotImplementedError, RuntimeError)


class Outcome:
    """What a case came to.

    Attributes:
        error: what it raised, or None.
        values, kinds: of each result: an array; dtype, shape and whether it is a view.
        gradients: of each operand that got one.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.values: list[Any] = []
        self.kinds: list[Any] = []
        self.gradients: dict[str, Any] = {}


def evaluate(case: str, module: Any) -> Outcome:
    """Evaluate a case by one of the two libraries, and the gradients of a sum of its results."""
    names: dict[str, Any] = {"M": module, "F": module.nn.functional, "np": np, "inf": float("inf")}
    names["T"] = lambda data, dtype=None: module.tensor(
        data, dtype=None if dtype is None else getattr(module, dtype)
    )
    for name, array in TENSORS.items():
        made = module.tensor(np.array(array))
        if made.dtype in (module.float32, module.float64):
            made.requires_grad_()
        names[name] = made
    outcome = Outcome()
    *before, last = (part.strip() for part in case.split(";"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for statement in before:
                exec(statement, names)
            results = _flat(eval(last, names))
        outcome.values = [_array(r) for r in results]
        _differentiate(outcome, results, names, module)
    except Exception as error:
        outcome.error = error
    return outcome


def _differentiate(
    outcome: Outcome, results: list[Any], names: dict[str, Any], module: Any
) -> None:
    """Note what the results are, and the gradients of their sum with varying weights."""
    total: Any = None
    for result in results:
        if not hasattr(result, "is_leaf"):
            outcome.kinds.append(None)
            continue
        dtype = str(result.dtype).rpartition(".")[2].rstrip("_")
        outcome.kinds.append((dtype, tuple(result.shape), result._is_view()))
        if result.requires_grad:
            weights = np.cos(np.arange(result.numel(), dtype=np.float64))
            weight = module.tensor(weights.reshape(tuple(result.shape))).to(result.dtype)
            part = (result * weight).sum().to(module.float64)
            total = part if total is None else total + part
    if total is not None:
        total.backward()
        for name in TENSORS:
            if names[name].grad_fn is None and names[name].grad is not None:
                outcome.gradients[name] = _array(names[name].grad)


def _flat(result: Any) -> list[Any]:
    if type(result) in (tuple, list):
        return [item for part in result for item in _flat(part)]
    return [result]


def _array(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        return result.detach().numpy()
    return result.numpy(force=True) if isinstance(result, clgrad.Tensor) else result


def _assert_close(what: str, ours: Any, theirs: Any) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    tolerance = 2e-3 if theirs.dtype == np.float16 else 2e-5 if theirs.dtype.kind == "f" else 0
    np.testing.assert_allclose(
        ours.astype(np.float64), theirs.astype(np.float64), rtol=tolerance, atol=tolerance,
        err_msg=what,
    )  # fmt: skip


def check(case: str, views: bool = True) -> None:
    """Assert that both libraries come to the same, in who is a view of whom, too, if `views`."""
    theirs, ours = evaluate(case, torch), evaluate(case, clgrad)
    if theirs.error is not None:
        assert isinstance(ours.error, clgrad.ClgradError), f"{theirs.error!r} but {ours.error!r}"
        for kind in _ERRORS:
            if isinstance(theirs.error, kind):
                assert isinstance(ours.error, kind), f"{theirs.error!r} but {ours.error!r}"
        return
    if ours.error is not None:
        raise ours.error
    assert len(ours.values) == len(theirs.values)
    count = None if views else 2
    assert [k and k[:count] for k in ours.kinds] == [k and k[:count] for k in theirs.kinds]
    for k, (mine, other) in enumerate(zip(ours.values, theirs.values, strict=True)):
        _assert_close(f"result {k}", mine, other)
    assert sorted(ours.gradients) == sorted(theirs.gradients)
    for name, gradient in theirs.gradients.items():
        _assert_close(f"gradient of {name}", ours.gradients[name], gradient)


def lines(text: str) -> list[str]:
    """Return the cases of a text, one a line."""
    return [line.strip() for line in text.strip().splitlines() if line.strip()]
