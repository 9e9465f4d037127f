"""Derivatives of the pointwise ops: numerically, and PyTorch's where convention decides.

They are formulas, which the interpreter evaluates in NumPy: no device is needed, and every op of
these tables is tried as soon as it is there. That kernels compute the same, `tests/device` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import dtypes
from clgrad.autograd import gradcheck, gradgradcheck
from clgrad.dispatch import apply
from clgrad.ops import activation, pointwise, rounding, scaled, special, trigonometric
from clgrad.ops.registry import Op
from clgrad.testing.interpreter import interpreted
from clgrad.testing.samples import smooth

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    with interpreted():
        yield


TABLES = (activation, pointwise, rounding, scaled, special, trigonometric)
# Those whose names begin with _ are reached by functions; their numbers are parameters like others.
DIFFERENTIABLE = [
    op for table in TABLES for op in vars(table).values()
    if isinstance(op, Op) and op.differentiable and op.name != "to" and "float16" not in op.name
]  # fmt: skip
# (what the function of the op is, values of its numeric parameters without default)
NUMBERS = {
    "_round_decimals": (10.0,), "_round_tens": (10.0,), "nan_to_num": (0.0, 9.0, -9.0),
    "_threshold": (0.3, -1.5), "_rrelu": (0.2,), "_logit_clamped": (0.05,), "_softplus": (2.0, 3.0),
    "_elu": (1.5, 0.8, 1.2), "_celu": (1.5,), "_polygamma": (2.0, -2.0), "addcmul": (1.5,),
    "addcdiv": (1.5,), "_add_scaled": (1.5,), "_sub_scaled": (1.5,), "_rsub_scaled": (1.5,),
}  # fmt: skip


def _numbers(op: Op) -> tuple[float, ...]:
    if op.name in NUMBERS:
        return NUMBERS[op.name]
    return tuple([default for name, default in op.params if name in op.numeric])


def _called(op: Op) -> Callable[..., Any]:
    """Return a function of an op's smooth operands alone."""
    masks = {n: clgrad.tensor(smooth(op, n, (2, 3)) > 0) for n in op.masks}

    def call(*x: Any) -> Any:
        given = iter(x)
        operands = [masks[n] if n in masks else next(given) for n in op.inputs]
        return apply(op, (*operands, *_numbers(op)))

    return call


def _operands(op: Op, *shapes: tuple[int, ...]) -> list[Any]:
    names = [n for n in op.inputs if n not in op.masks]
    return [
        clgrad.tensor(smooth(op, n, s), dtype=dtypes.float64, requires_grad=n in op.derivatives)
        for n, s in zip(names, (*shapes, *shapes), strict=False)
    ]


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_first_and_second_derivatives(op: Op) -> None:
    inputs = _operands(op, (2, 3), (2, 3))
    assert gradcheck(_called(op), inputs)
    assert gradgradcheck(_called(op), inputs)


@pytest.mark.parametrize(
    "op", [o for o in DIFFERENTIABLE if len(o.inputs) > 1], ids=lambda op: op.name
)
def test_gradients_of_what_is_broadcast_are_summed(op: Op) -> None:
    for shapes in (((1, 3), (2, 1)), ((), (2, 3))):
        assert gradcheck(_called(op), _operands(op, *shapes), fast_mode=True)


KINKS = np.array([-1.0, -0.0, 0.0, 1.0, np.inf, -np.inf, np.nan])


def _torch(name: str) -> Any:
    for place in (torch, torch.nn.functional, torch.special):
        found = getattr(place, name.strip("_"), None)
        if found is not None:
            return found
    return None


# PyTorch's sixth in hardsigmoid is a float32, its trigamma is finite at -1, and what becomes of NaN
# in hardshrink and its kind depends there on whether a vector register is full.
UNARY = [
    op for op in DIFFERENTIABLE
    if len(op.inputs) == 1 and _torch(op.name) is not None and not op.numeric
    and op.name not in ("_hardsigmoid", "digamma")
]  # fmt: skip
BINARY = [
    op for op in DIFFERENTIABLE
    if len(op.inputs) == 2 and not op.masks and not op.numeric and _torch(op.name) is not None
    and op.name != "_prelu_kernel" and len(op.derivatives) == 2
]  # fmt: skip


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_kinks(op: Op) -> None:
    """At zero, infinity and NaN the gradient is what PyTorch says."""
    x = torch.from_numpy(KINKS.copy()).requires_grad_()
    _torch(op.name)(x).backward(torch.ones(KINKS.size, dtype=torch.float64))
    ours = clgrad.tensor(KINKS, requires_grad=True)
    apply(op, (ours,)).backward(clgrad.ones_like(ours))
    np.testing.assert_allclose(ours.grad.numpy(), x.grad.numpy(force=True), rtol=1e-13)


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.name)
def test_kinks_of_two(op: Op) -> None:
    """All pairs of special numbers: ties, zero to the power of zero, NaN on either side."""
    a, b = (m.reshape(-1) for m in np.meshgrid(KINKS, KINKS))
    theirs = [torch.from_numpy(v.copy()).requires_grad_() for v in (a, b)]
    _torch(op.name)(*theirs).backward(torch.ones(a.size, dtype=torch.float64))
    ours = [clgrad.tensor(v, requires_grad=True) for v in (a, b)]
    apply(op, tuple(ours)).backward(clgrad.ones(a.size, dtype=dtypes.float64))
    for which, x, y in zip("ab", ours, theirs, strict=True):
        got, want = x.grad.numpy(), y.grad.numpy()
        same = np.isclose(got, want, rtol=1e-13) | (np.isnan(got) & np.isnan(want))
        pairs = [
            f"{which} at {(a[k], b[k])}: {got[k]}, PyTorch {want[k]}" for k in np.flatnonzero(~same)
        ]
        assert not pairs, "\n".join(pairs)
