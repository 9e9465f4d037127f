"""Chains of pointwise ops, which fuse."""

from __future__ import annotations

import math
from typing import Any

from records import Workload, formula, nbytes, normal

_SLOPE, _CUBIC = math.sqrt(2 / math.pi), 0.044715


def _gelu(m: Any, x: Any, bias: Any, residual: Any) -> Any:
    """tanh-GELU of x + bias, plus a residual, in primitive ops; the mean of its squares."""
    h = x + bias
    inner = (h + h * h * h * _CUBIC) * _SLOPE
    y = h * 0.5 * (m.tanh(inner) + 1.0) + residual
    return (y * y).mean()


def _gelu_work(millions: int) -> Workload:
    rows, n = millions * 1024, millions * 1024 * 1024
    jobs = formula(
        _gelu, lambda: [normal(0, rows, 1024), normal(2, 1024), normal(1, rows, 1024)],
        (0, 1, 2), jax=lambda m, *arrays: _gelu(m.numpy, *arrays),
        tinygrad=lambda m, *arrays: _gelu(m.Tensor, *arrays),
    )  # fmt: skip
    name = f"GELU + bias + residual from primitives, {millions}M, forward + backward"
    # x and the residual are read in both passes; two gradients are written
    return Workload(name, "pointwise", jobs, 60 * n, nbytes(6 * n), 1e-3, millions > 4)


def _polynomial(m: Any, x: Any, y: Any) -> Any:
    """Ten multiplications and additions."""
    r = x * y
    for k in range(3):
        r = (r + x) * 0.5 + y * (0.25 * k)
    return r - x


def _transposed(m: Any, x: Any, y: Any) -> Any:
    return x.T + y


_N = 4 << 20
_TWO = lambda: [normal(3, 2048, 2048), normal(4, 2048, 2048)]  # noqa: E731
WORKLOADS = [
    _gelu_work(1),
    _gelu_work(16),
    Workload(
        "ten multiplications and additions, 4M", "pointwise",
        formula(_polynomial, _TWO, jax=_polynomial, tinygrad=_polynomial, numpy=_polynomial),
        13 * _N, nbytes(3 * _N),
    ),
    Workload(
        "a transposed plus a straight operand, 2048 x 2048", "pointwise",
        formula(_transposed, _TWO, jax=_transposed, tinygrad=_transposed, numpy=_transposed),
        _N, nbytes(3 * _N),
    ),
]  # fmt: skip
