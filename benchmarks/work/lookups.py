"""Reading and adding at indices."""

from __future__ import annotations

from typing import Any

from records import Workload, formula, integers, nbytes, normal

ROWS, COLUMNS, TOKENS = 30000, 256, 4096


def _embedding(m: Any, index: Any, table: Any) -> Any:
    return m.nn.functional.embedding(index, table)


def _gather(m: Any, x: Any, index: Any) -> Any:
    return m.gather(x, 1, index)


def _gather_jax(m: Any, x: Any, index: Any) -> Any:
    return m.numpy.take_along_axis(x, index, axis=1)


def _index_add(m: Any, x: Any, index: Any, source: Any) -> Any:
    return x.index_add(0, index, source)


_POINTS = 1024 * 1024
WORKLOADS = [
    Workload(
        f"embedding of {TOKENS:,} tokens, {ROWS:,} x {COLUMNS}, forward + backward", "lookups",
        formula(
            _embedding, lambda: [integers(10, ROWS, TOKENS), normal(9, ROWS, COLUMNS)], (1,),
            jax=lambda m, index, table: table[index],
        ),
        0, nbytes(ROWS * COLUMNS, 3 * TOKENS * COLUMNS),
    ),
    Workload(
        "gather of 1M of 1M, forward + backward", "lookups",
        formula(
            _gather, lambda: [normal(11, 1024, 1024), integers(12, 1024, 1024, 1024)], (0,),
            jax=_gather_jax,
        ),
        0, nbytes(8 * _POINTS),
    ),
    Workload(
        "index_add of 16,384 rows of 64 to 1,000", "lookups",
        formula(
            _index_add,
            lambda: [normal(13, 1000, 64), integers(14, 1000, 16384), normal(15, 16384, 64)],
            jax=lambda m, x, index, source: x.at[index].add(source),
        ),
        16384 * 64, nbytes(16384 * 64, 2 * 1000 * 64),
    ),
]  # fmt: skip
