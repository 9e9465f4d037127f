"""Type promotion against PyTorch, for every pair of dtypes and kinds of operands; no kernels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import dtypes
from clgrad.errors import DTypeError
from clgrad.testing.interpreter import interpreted

torch = pytest.importorskip("torch")

TORCH = {d: getattr(torch, d.name) for d in dtypes.ALL}
NUMBERS = (True, 2, 2.5)
UNSIGNED = (dtypes.uint16, dtypes.uint32, dtypes.uint64)
# bool combines with the wide unsigned types in clgrad; PyTorch refuses (`test_bool_with_unsigned`)
PAIRS = [
    (a, b) for a, b in itertools.product(dtypes.ALL, repeat=2)
    if not (dtypes.bool_ in (a, b) and {a, b} & set(UNSIGNED))
]  # fmt: skip
FUNCTIONS = ("add", "mul", "div", "lt", "maximum")


def _outcome(work: Any) -> str:
    try:
        return str(work()).rsplit(".", 1)[-1]
    except (RuntimeError, TypeError) as error:
        # of few unsigned kernels in PyTorch, which is no rule of promotion
        return "no kernel" if "not implemented for" in str(error) else "error"


def test_promote_types() -> None:
    for a, b in PAIRS:
        want = _outcome(lambda a=a, b=b: torch.promote_types(TORCH[a], TORCH[b]))
        got = _outcome(lambda a=a, b=b: clgrad.promote_types(a, b))
        assert got == want, (a, b)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_of_ops(name: str) -> None:
    """Operands with dimensions, without, and Python numbers: each pair as PyTorch has it."""
    shapes = ((2,), ())
    with interpreted():
        for a, b in PAIRS:
            for left, right in itertools.product(shapes, shapes):
                x, y = torch.ones(left, dtype=TORCH[a]), torch.ones(right, dtype=TORCH[b])
                want = _outcome(lambda x=x, y=y: getattr(torch, name)(x, y).dtype)
                u = clgrad.tensor(np.ones(left), dtype=a)
                v = clgrad.tensor(np.ones(right), dtype=b)
                got = _outcome(lambda u=u, v=v: getattr(clgrad, name)(u, v).dtype)
                if want == "no kernel":
                    continue
                assert got == want, (name, a, left, b, right)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "maximum"])
def test_results_with_numbers(name: str) -> None:
    with interpreted():
        for a, number, shape in itertools.product(dtypes.ALL, NUMBERS, ((2,), ())):
            if a in UNSIGNED:
                continue  # PyTorch has few kernels for these
            want = _outcome(
                lambda a=a, s=shape, n=number: (
                    getattr(torch, name)(torch.ones(s, dtype=TORCH[a]), n).dtype
                )
            )
            got = _outcome(
                lambda a=a, s=shape, n=number: (
                    getattr(clgrad, name)(clgrad.tensor(np.ones(s), dtype=a), n).dtype
                )
            )
            assert got == want, (name, a, number, shape)


def test_bool_with_unsigned() -> None:
    for dtype in UNSIGNED:
        assert clgrad.promote_types(dtype, clgrad.bool) is dtype
        assert clgrad.promote_types(clgrad.bool, dtype) is dtype


def test_unsigned_that_have_nothing_in_common() -> None:
    with pytest.raises(DTypeError, match=r"uint32 and int8 have no common dtype.*Hint:"):
        clgrad.promote_types(clgrad.uint32, clgrad.int8)
