"""What works along rows: LayerNorm, softmax, cross-entropy, attention."""

from __future__ import annotations

import math
from typing import Any

from records import Workload, formula, integers, nbytes, normal

ROWS, COLUMNS, CLASSES = 4096, 1024, 1000


def _norm_of_primitives(m: Any, x: Any, weight: Any, bias: Any) -> Any:
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = ((centred * centred).mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * weight + bias


def _norm(m: Any, x: Any, weight: Any, bias: Any) -> Any:
    return m.nn.functional.layer_norm(x, (COLUMNS,), weight, bias)


def _norm_jax(m: Any, x: Any, weight: Any, bias: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred * m.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def _norm_tinygrad(m: Any, x: Any, weight: Any, bias: Any) -> Any:
    return x.layernorm(eps=1e-5) * weight + bias


def _loss(m: Any, x: Any, target: Any) -> Any:
    return m.nn.functional.cross_entropy(x, target)


def _loss_jax(m: Any, x: Any, target: Any) -> Any:
    chosen = m.numpy.take_along_axis(m.nn.log_softmax(x), target[:, None], axis=1)
    return -chosen.mean()


def _attention(m: Any, q: Any, k: Any, v: Any, causal: bool) -> Any:
    return m.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def _attention_jax(m: Any, q: Any, k: Any, v: Any, causal: bool) -> Any:
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        length = q.shape[-2]
        scores = m.numpy.where(m.numpy.tri(length, dtype=bool), scores, -math.inf)
    return m.nn.softmax(scores) @ v


def _attention_tinygrad(m: Any, q: Any, k: Any, v: Any, causal: bool) -> Any:
    return q.scaled_dot_product_attention(k, v, is_causal=causal)


def _attention_work(batch: int, heads: int, length: int, depth: int, causal: bool) -> Workload:
    shape = (batch, heads, length, depth)

    def bound(code: Any) -> Any:
        return lambda m, *args: code(m, *args, causal)

    jobs = formula(
        bound(_attention), lambda: [normal(k, *shape) for k in range(3)], (0, 1, 2),
        jax=bound(_attention_jax), tinygrad=bound(_attention_tinygrad),
    )  # fmt: skip
    name = f"attention {batch} x {heads} x {length} x {depth}{', causal' if causal else ''}"
    n = batch * heads * length * depth
    # seven products: two forward, five backward, of which one is computed again
    flops = 14.0 * n * length / (2 if causal else 1)
    return Workload(f"{name}, forward + backward", "rows", jobs, flops, nbytes(12 * n), 1e-3)


def _softmax(m: Any, x: Any) -> Any:
    return m.nn.functional.softmax(x, -1)


def _softmax_work(columns: int) -> Workload:
    """Four million elements in rows of `columns`."""
    n = 4_000_000
    jobs = formula(
        _softmax, lambda: [normal(6, n // columns, columns)], (0,),
        jax=lambda m, x: m.nn.softmax(x), tinygrad=lambda m, x: x.softmax(),
    )  # fmt: skip
    name = f"softmax ({n // columns}, {columns}), forward + backward"
    return Workload(name, "rows", jobs, 10.0 * n, nbytes(4 * n))


def _norm_arrays() -> list[Any]:
    return [normal(0, ROWS, COLUMNS), normal(1, COLUMNS), normal(2, COLUMNS)]


_N = ROWS * COLUMNS
WORKLOADS = [
    Workload(
        f"LayerNorm ({ROWS}, {COLUMNS}) from primitives, forward + backward", "rows",
        formula(_norm_of_primitives, _norm_arrays, (0, 1, 2)), 20 * _N, nbytes(5 * _N), 1e-3,
    ),
    Workload(
        f"LayerNorm ({ROWS}, {COLUMNS}), forward + backward", "rows",
        formula(_norm, _norm_arrays, (0, 1, 2), jax=_norm_jax, tinygrad=_norm_tinygrad),
        20 * _N, nbytes(5 * _N), 1e-3,
    ),
    Workload(
        f"cross-entropy ({ROWS}, {CLASSES}), forward + backward", "rows",
        formula(
            _loss, lambda: [normal(4, ROWS, CLASSES), integers(5, CLASSES, ROWS)], (0,),
            jax=_loss_jax,
        ),
        10.0 * ROWS * CLASSES, nbytes(3 * ROWS * CLASSES),
    ),
    *(_softmax_work(columns) for columns in (100, 1000, 5000)),
    _attention_work(16, 4, 128, 64, causal=False),
    _attention_work(16, 4, 128, 64, causal=True),
    _attention_work(2, 8, 1024, 64, causal=True),
]  # fmt: skip
