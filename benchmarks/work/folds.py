"""Reductions, scans and sorts."""

from __future__ import annotations

from typing import Any

import numpy as np
from records import Workload, formula, nbytes, normal

SIDE = 4096


def _sum(dim: int | None, name: str) -> Workload:
    def code(m: Any, x: Any) -> Any:
        return x.sum() if dim is None else x.sum(dim)

    jobs = formula(code, lambda: [normal(13, SIDE, SIDE)], jax=code, numpy=code, tinygrad=code)
    n = SIDE * SIDE
    return Workload(f"sum of ({SIDE}, {SIDE}): {name}", "folds", jobs, n, nbytes(n))


def _scan(rows: int, columns: int) -> Workload:
    n = rows * columns
    jobs = formula(
        lambda m, x: x.cumsum(1), lambda: [normal(14, rows, columns)],
        jax=lambda m, x: x.cumsum(1), numpy=lambda m, x: x.cumsum(1),
    )  # fmt: skip
    return Workload(f"running sums of ({rows}, {columns})", "folds", jobs, n, nbytes(2 * n), 1e-3)


def _sort(rows: int, columns: int) -> Workload:
    def jax(m: Any, x: Any) -> Any:
        places = m.lax.broadcasted_iota("int32", x.shape, 1)
        return m.lax.sort((x, places), dimension=1, num_keys=1)

    jobs = formula(
        lambda m, x: m.sort(x), lambda: [normal(12, rows, columns)],
        jax=jax, numpy=lambda m, x: np.sort(x),
    )  # fmt: skip
    return Workload(f"sort of ({rows}, {columns})", "folds", jobs)


WORKLOADS = [
    _sum(None, "everything"), _sum(0, "columns"), _sum(1, "rows"),
    _scan(1024, 1024), _scan(1, 1 << 20), _sort(1, 1_000_000), _sort(1024, 1024),
]  # fmt: skip
