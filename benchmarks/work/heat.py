"""The heat equation on a square of points, differentiated with respect to where it starts."""

from __future__ import annotations

from typing import Any

from records import Workload, formula, nbytes, normal

UNROLLED = ("compile",)  # it takes minutes to compile what is unrolled
SIDE, STEPS, RATE = 512, 200, 0.1


def _around(m: Any, u: Any) -> Any:
    """Steps on a torus."""
    for _ in range(STEPS):
        beside = m.roll(u, 1, 0) + m.roll(u, -1, 0) + m.roll(u, 1, 1) + m.roll(u, -1, 1)
        u = u + RATE * (beside - 4 * u)
    return (u * u).sum()


def _inside(pad: Any, u: Any) -> Any:
    """Steps inside of a cold rim."""
    for _ in range(STEPS):
        centre = u[1:-1, 1:-1]
        beside = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
        u = pad(centre + RATE * (beside - 4 * centre))
    return (u * u).sum()


def _rim(m: Any, u: Any) -> Any:
    return _inside(lambda x: m.nn.functional.pad(x, (1, 1, 1, 1)), u)


_N = SIDE * SIDE
WORKLOADS = [
    Workload(
        f"heat equation {SIDE} x {SIDE}, {STEPS} steps, {name}: forward + backward", "heat",
        formula(code, lambda: [normal(0, SIDE, SIDE)], (0,), jax=jax),
        13.0 * STEPS * _N, nbytes(4 * STEPS * _N), 1e-3, without=UNROLLED,
    )
    for name, code, jax in (
        ("on a torus", _around, lambda m, u: _around(m.numpy, u)),
        ("in a rim", _rim, lambda m, u: _inside(lambda x: m.numpy.pad(x, 1), u)),
    )
]  # fmt: skip
