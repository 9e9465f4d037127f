"""Matrix products: squares, transposed operands, thin ones, batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from records import Workload, formula, nbytes, normal


def _work(m: int, k: int, n: int, batch: int = 1, layout: str = "NN") -> Workload:
    """C = A B with A (m, k), B (k, n), `batch` times; `layout` as BLAS has it."""
    lead = (batch,) if batch > 1 else ()
    ta, tb = (letter == "T" for letter in layout)

    def arrays() -> list[Any]:
        a = normal(0, *lead, *((k, m) if ta else (m, k)))
        return [a, normal(1, *lead, *((n, k) if tb else (k, n)), scale=k**-0.5)]

    def product(library: Any, a: Any, b: Any) -> Any:
        return (a.swapaxes(-1, -2) if ta else a) @ (b.swapaxes(-1, -2) if tb else b)

    def tinygrad(library: Any, a: Any, b: Any) -> Any:
        return (a.transpose(-1, -2) if ta else a) @ (b.transpose(-1, -2) if tb else b)

    stack = f"{batch} x " if batch > 1 else ""
    name = f"{stack}{m} x {k} x {n} {layout}"
    others: dict[str, Callable[..., Any]] = {"jax": product, "numpy": product}
    jobs = formula(product, arrays, tinygrad=tinygrad, **others)
    moved = nbytes(batch * (m * k + k * n + m * n))
    return Workload(name, "products", jobs, 2.0 * batch * m * k * n, moved, large=m * n > 1 << 20)


_LAYOUTS = ("NN", "NT", "TN", "TT")
WORKLOADS = [
    *(_work(s, s, s, 1, x) for s in (64, 128) for x in ("NN", "NT")),
    *(_work(s, s, s, 1, x) for s in (256, 512, 1024, 2048) for x in _LAYOUTS),
    *(_work(s, s, s, 1, x) for s in (257, 500, 777, 1000, 1531) for x in _LAYOUTS),
    *(_work(8, 784, 512, 1, x) for x in _LAYOUTS),
    *(_work(128, 512, 10, 1, x) for x in _LAYOUTS),
    *(_work(128, 64, 128, 64, x) for x in _LAYOUTS),
    _work(128, 784, 512, 1, "NT"), _work(784, 128, 512, 1, "TN"), _work(4, 100000, 4),
    _work(1, 1024, 1024), _work(1, 1024, 1024, 1, "NT"), _work(1024, 1024, 1),
    _work(1024, 1024, 1, 1, "TN"), _work(4096, 4096, 1),
]  # fmt: skip
