"""Activations and functions that choose among ops, on devices: values, gradients, dtypes, layouts.

Everything of one dtype is recorded first and read afterwards, so that its kernels are few programs.
Derivatives are checked numerically, and at kinks, in `tests/host/test_pointwise_gradients.py`.
"""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np
import pytest

import clgrad
import clgrad.nn.functional
import clgrad.special
from clgrad import dtypes
from tests.device.family import Check, Family
from tests.device.op_cases import EPS, TORCH, bits_of, read, same_tensor, torch_tensor

torch = pytest.importorskip("torch")

# how to write the case for either library, of tensors x and y
CASES: dict[str, Any] = {
    "relu6": lambda m, x, y: m.nn.functional.relu6(x * 4),
    "leaky_relu": lambda m, x, y: m.nn.functional.leaky_relu(x, 0.2),
    "prelu": lambda m, x, y: m.nn.functional.prelu(x, y[0, :1]),
    "prelu of channels": lambda m, x, y: m.nn.functional.prelu(x, y[0]),
    "rrelu": lambda m, x, y: m.nn.functional.rrelu(x, 0.1, 0.3),
    "elu": lambda m, x, y: m.nn.functional.elu(x, 1.5),
    "selu": lambda m, x, y: m.nn.functional.selu(x),
    "celu": lambda m, x, y: m.nn.functional.celu(x, 1.5),
    "gelu": lambda m, x, y: m.nn.functional.gelu(x),
    "gelu tanh": lambda m, x, y: m.nn.functional.gelu(x, approximate="tanh"),
    "silu": lambda m, x, y: m.nn.functional.silu(x),
    "mish": lambda m, x, y: m.nn.functional.mish(x),
    "softplus": lambda m, x, y: m.nn.functional.softplus(x, 2.0, 3.0),
    "softsign": lambda m, x, y: m.nn.functional.softsign(x),
    "logsigmoid": lambda m, x, y: m.nn.functional.logsigmoid(x * 4),
    "tanhshrink": lambda m, x, y: m.nn.functional.tanhshrink(x),
    "hardshrink": lambda m, x, y: m.nn.functional.hardshrink(x),
    "softshrink": lambda m, x, y: m.nn.functional.softshrink(x),
    "hardtanh": lambda m, x, y: m.nn.functional.hardtanh(x, -0.75, 0.5),
    "hardsigmoid": lambda m, x, y: m.nn.functional.hardsigmoid(x * 2),
    "hardswish": lambda m, x, y: m.nn.functional.hardswish(x * 2),
    "threshold": lambda m, x, y: m.nn.functional.threshold(x, 0.3, -1.5),
    "glu": lambda m, x, y: m.nn.functional.glu(x, -1),
    "in place": lambda m, x, y: m.nn.functional.elu(x * 1, inplace=True),
    "clamp": lambda m, x, y: m.clamp(x, -0.7, 0.9),
    "clamp of tensors": lambda m, x, y: m.clamp(x, y - 0.5, y + 0.5),
    "clamp from": lambda m, x, y: m.clamp(x, min=y),
    "clamp to": lambda m, x, y: m.clamp(x, max=0.2),
    "square": lambda m, x, y: x**2,
    "cube": lambda m, x, y: x**3,
    "root": lambda m, x, y: (x.abs() + 0.5) ** 0.5,
    "inverse root": lambda m, x, y: (x.abs() + 0.5) ** -0.5,
    "inverse": lambda m, x, y: (x.abs() + 0.5) ** -1,
    "inverse square": lambda m, x, y: (x.abs() + 0.5) ** -2,
    "number ** x": lambda m, x, y: 2.5**x,
    "number / x": lambda m, x, y: 2 / (x.abs() + 0.5),
    "number - x": lambda m, x, y: 2 - x,
    "lerp": lambda m, x, y: m.lerp(x, y, 0.3),
    "add with alpha": lambda m, x, y: m.add(x, y, alpha=1.5),
    "addcmul": lambda m, x, y: m.addcmul(x, x, y, value=0.5),
    "nan_to_num": lambda m, x, y: m.nan_to_num(x, posinf=3.0),
    "div floor": lambda m, x, y: m.div(x, 0.25, rounding_mode="floor") * x,
    "div trunc": lambda m, x, y: m.div(x, 0.25, rounding_mode="trunc") * x,
    "logit": lambda m, x, y: m.logit(x.sigmoid(), 0.1),
    "where": lambda m, x, y: m.where(x > 0, x, y) + m.where(x > y, 2, x),
}  # fmt: skip
FLOAT32: dict[str, Any] = {
    "erfcx": lambda m, x, y: m.special.erfcx(x),
    "ndtri": lambda m, x, y: m.special.ndtri(x.sigmoid()),
    "log_ndtr": lambda m, x, y: m.special.log_ndtr(x * 4),
    "entr": lambda m, x, y: m.special.entr(x.abs() + 0.1),
    "zeta": lambda m, x, y: m.special.zeta(x.detach().abs() + 2, y.abs() + 0.5),
    "i0e": lambda m, x, y: m.special.i0e(x * 5),
    "i1": lambda m, x, y: m.special.i1(x),
    "i1e": lambda m, x, y: m.special.i1e(x * 5),
    "xlog1py": lambda m, x, y: m.special.xlog1py(x, y.abs()),
    "polygamma": lambda m, x, y: m.polygamma(3, x.abs() + 1),
    "mvlgamma": lambda m, x, y: m.mvlgamma(x.abs() + 1.5, 3),
    "frexp": lambda m, x, y: m.frexp(x * 100)[0],
}  # fmt: skip
"""Functions that PyTorch does not compute in 16 bits."""


def _leaves(dtype: Any, device: Any) -> tuple[list[Any], list[Any]]:
    """Return x, transposed in memory, and y for both libraries."""
    rng = np.random.default_rng(0)
    x = torch_tensor(rng.uniform(-2, 2, (6, 4)), dtype)
    y = torch_tensor(rng.uniform(-1, 1, (4, 6)), dtype)
    theirs = [x.double().requires_grad_(), y.double().requires_grad_()]
    ours = [same_tensor(t, device).requires_grad_() for t in (x, y)]
    return theirs, ours


# 16-bit floats compute in float32, so a few say that they do; float64 has functions of its own
PARTS = {
    "float32": [*CASES, *FLOAT32], "float64": ["gelu", "number ** x", *FLOAT32],
    "float16": [*CASES][::6], "bfloat16": [*CASES][3::6],
}  # fmt: skip


@pytest.mark.parametrize("dtype", PARTS)
def test_values_and_gradients(device: Any, dtype: str) -> None:
    """Against PyTorch in float64 on the same rounded numbers."""
    family = Family()
    for name in PARTS[dtype]:
        family.add(name, lambda name=name: _case(name, dtype, device))
    family.check()


def _case(name: str, dtype: str, device: Any) -> Check:
    kind = getattr(dtypes, dtype)
    theirs, ours = _leaves(kind, device)
    case = (CASES | FLOAT32)[name]
    want, got = (case(m, x.t(), y) for m, (x, y) in ((torch, theirs), (clgrad, ours)))
    weights = torch_tensor(np.cos(np.arange(want.numel())).reshape(want.shape), kind)
    want.backward(weights.double())
    got.backward(same_tensor(weights, device))

    def check() -> str | None:
        assert got.dtype is kind
        pairs = [("value", want, got)]
        for leaf, a, b in zip("xy", theirs, ours, strict=True):
            if a.grad is not None:
                pairs.append((f"gradient of {leaf}", a.grad, b.grad))
        for what, a, b in pairs:
            exact, mine = a.detach().numpy(force=True), read(b).astype(np.float64)
            # each step of a composition rounds, and a gradient of a sum cancels
            bound = 24 * EPS[dtype] * max(1.0, np.abs(exact).max())
            bound = max(bound, 1e-12 if "log_ndtr" in name else 0)  # PyTorch's is no better
            if not np.abs(exact - mine).max() <= bound:
                return f"{what} off by {np.abs(exact - mine).max():.3g}"
        return None

    return check


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 20.5, -20.5, 90.0, -90.0, 1e-30])
ONE: tuple[str, ...] = (
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "mish", "softplus",
    "softsign", "logsigmoid", "tanhshrink", "hardshrink", "softshrink", "hardtanh", "hardsigmoid",
    "hardswish",
)  # fmt: skip


def test_values_of_special_numbers(device: Any) -> None:
    results = []
    x = torch.from_numpy(SPECIAL).float()
    ours = same_tensor(x, device)
    for name in ONE:
        want = getattr(torch.nn.functional, name)(x)
        results.append((name, want, getattr(clgrad.nn.functional, name)(ours)))
    for name, want, got in results:
        np.testing.assert_allclose(read(got), want.numpy(), rtol=4e-6, atol=1e-37, err_msg=name)


def test_random_slopes(device: Any) -> None:
    """In training, slopes below zero are uniform; the gradient is the slope that was drawn."""
    x = clgrad.full((4000,), -2.0, device=device, requires_grad=True)
    y = clgrad.nn.functional.rrelu(x, 0.25, 0.75, training=True)
    y.sum().backward()
    slopes = read(y) / -2
    assert slopes.min() >= 0.25
    assert slopes.max() <= 0.75
    assert abs(slopes.mean() - 0.5) < 0.02
    assert abs(slopes.std() - 0.5 / np.sqrt(12)) < 0.01
    np.testing.assert_array_equal(read(x.grad), slopes.astype(np.float32))


NUMBERS = (-1, 300, -300, 2**40, 2**63 - 1, 1e30, 1e300, -1e39, float("inf"), 0.1)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float16", "float32"])
def test_numbers_that_do_not_fit(device: Any, dtype: str) -> None:
    """They wrap or become infinite as in PyTorch, and the launch does not fail."""
    kind = getattr(dtypes, dtype)
    x = torch.tensor([3, 2, 1]).to(TORCH[kind])
    ours = clgrad.tensor([3, 2, 1], device=device).to(kind)
    calls: Any = (operator.add, operator.mul, operator.lt, operator.eq)
    pairs = [(n, call(x, n), call(ours, n)) for n, call in itertools.product(NUMBERS, calls)]
    for number, want, got in pairs:
        assert TORCH[got.dtype] == want.dtype
        np.testing.assert_allclose(read(got), bits_of(want), rtol=1e-6, err_msg=str(number))


def test_integer_division_by_zero(device: Any) -> None:
    """A number that is zero raises; what only the device sees gives zero."""
    n = clgrad.tensor([5, -7, 0], device=device)
    for call in (lambda: n // 0, lambda: n % 0, lambda: n.fmod(0), lambda: n // False):
        with pytest.raises(RuntimeError, match="ZeroDivisionError") as caught:
            call()
        assert isinstance(caught.value, ZeroDivisionError)
    zeros = clgrad.tensor([0, 0, 2], device=device)
    assert (n // zeros).tolist() == [0, 0, 0]
    assert (n % zeros).tolist() == [0, 0, 0]
    assert (n // 0.0).tolist() == [float("inf"), float("-inf"), pytest.approx(np.nan, nan_ok=True)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_nextafter(device: Any, dtype: str) -> None:
    kind = getattr(dtypes, dtype)
    tiny = {"float16": 2.0**-24, "bfloat16": 2.0**-133}.get(dtype, 1e-37)
    values = [0.0, -0.0, 1.0, -1.0, 1.5, 2.0**-14, 3 * tiny, 65504.0, np.inf, -np.inf, np.nan, 2.0]
    a, b = (m.reshape(-1) for m in np.meshgrid(values, values))
    x, y = torch_tensor(a, kind), torch_tensor(b, kind)
    want = bits_of(torch.nextafter(x, y)).astype(np.float64)
    got = read(clgrad.nextafter(same_tensor(x, device), same_tensor(y, device))).astype(np.float64)
    # denormals may be flushed on some devices
    small = np.abs(want) < {"float16": 0, "bfloat16": 2.0**-126}.get(dtype, 1e-37)
    np.testing.assert_array_equal(got[~small], want[~small])
