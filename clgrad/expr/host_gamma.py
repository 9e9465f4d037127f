"""The incomplete gamma functions and quantiles of Poisson's distribution, on arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any


def lower_part(a: float, x: float) -> tuple[float, float]:
    """Return P(a, x) and Q(a, x) for positive numbers; see `helpers_gamma` for the sources."""
    factor = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        total = term = 1.0
        n = a
        while term > total * 1e-17:
            n += 1
            term *= x / n
            total += term
        made = factor * total / a
        return made, 1 - made
    e = x + 1 - a
    c, f = 1e300, 1 / e
    h = f
    for k in range(1, 100_000):
        t = k * (a - k)
        e += 2
        f = 1 / ((t * f + e) or 1e-300)
        c = (e + t / c) or 1e-300
        h *= f * c
        if abs(f * c - 1) < 1e-16:
            break
    return 1 - factor * h, factor * h


def _igamma(a: float, x: float, which: int) -> float:
    if not (a >= 0 and x >= 0) or (a == x and a in (0, math.inf)):
        return math.nan
    if a == 0 or x == math.inf:
        return float(1 - which)
    if x == 0 or a == math.inf:
        return float(which)
    return lower_part(a, x)[which]


def igamma(a: Array, x: Array) -> Array:
    """Return the lower part P(a, x) of the gamma function, as a share."""
    made = np.frompyfunc(lambda p, q: _igamma(p, q, 0), 2, 1)
    return np.asarray(made(np.asarray(a, "f8"), np.asarray(x, "f8")), np.float64)


def igammac(a: Array, x: Array) -> Array:
    """Return the upper part Q(a, x) of the gamma function, as a share."""
    made = np.frompyfunc(lambda p, q: _igamma(p, q, 1), 2, 1)
    return np.asarray(made(np.asarray(a, "f8"), np.asarray(x, "f8")), np.float64)


def _poisson(rate: float, u: float) -> float:
    if not rate >= 0:
        return math.nan
    if rate in (0, math.inf):
        return rate
    low, high = -1.0, float(math.ceil(rate + 12 * math.sqrt(rate) + 30))
    while high - low > 1:
        middle = math.floor((low + high) / 2)
        low, high = (low, middle) if _igamma(middle + 1, rate, 1) >= u else (middle, high)
    return high


def poisson(rate: Array, u: Array) -> Array:
    """Return the least k with a probability of `u` or more of k events or fewer."""
    made = np.frompyfunc(_poisson, 2, 1)
    return np.asarray(made(np.asarray(rate, "f8"), np.asarray(u, "f8")), np.float64)
