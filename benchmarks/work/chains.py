"""Chains of tiny ops: what recording, differentiating and launching cost by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from records import Workload, formula, normal


def _chain(ops: int) -> Callable[..., Any]:
    def code(m: Any, x: Any, w: Any) -> Any:
        y = x
        for k in range(ops - 1):
            kind = k % 4
            y = y * w if kind == 0 else y + x if kind == 1 else m.tanh(y) if kind == 2 else y - w
        return y.sum()

    return code


UNROLLED = ("compile",)  # it takes minutes to compile what is unrolled


def _square(m: Any, c: Any) -> Any:
    return (c * c).sum()


def _work(ops: int) -> Workload:
    def arrays() -> list[Any]:
        return [normal(3, 16), normal(4, 16, scale=0.1)]

    code = _chain(ops)
    jobs = formula(code, arrays, (0, 1), jax=lambda m, *given: code(m.numpy, *given))
    return Workload(
        f"{ops:,} ops on 16 elements, forward + backward",
        "chains",
        jobs,
        rtol=1e-3,
        without=UNROLLED if ops > 100 else (),
    )


WORKLOADS = [
    Workload(
        "(c * c).sum().backward() on 16 elements", "chains",
        formula(_square, lambda: [normal(5, 16)], (0,), jax=_square),
    ),
    _work(12),
    _work(1000),
]  # fmt: skip
