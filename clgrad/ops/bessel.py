"""Bessel functions: sums that are written out as formulas.

PyTorch has no derivatives of them; `clgrad.special` calls these ops without.

Source: DLMF (https://dlmf.nist.gov) 10.9.1 (Bessel's integral, by the trapezoid rule, whose error
at N points is of the size of J of order 2 N), 10.17.3 (large x), 10.31.1 and 10.31.2 (series of K),
10.32.9 (K as an integral over t; with v = sqrt(2 x) sinh(t / 2) it is a bell curve in v over
sqrt(1 + v * v / (2 x)), for which the trapezoid rule converges exponentially).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from clgrad.ops.registry import Op, pointwise

_FAR = 25.0
_POINTS = 36
_EULER = 0.5772156649015329

_REST = {
    0: (
    0.004661800160904246, -0.08913300661609584, -0.02367819404727853, -0.1444038920619865,
    -0.07379910951796798, -0.1283959362621503, 0.05763643561772106, 0.08274924941044445,
    0.117653133866716, -0.1460751985313817, -0.06174596028528065, 0.1825294124361712,
    -0.1498263668313289, 0.07577199015530435, -0.02772913231289626, 0.007891278961614774,
    -0.001821331782058488, 0.0003506363681969955, -5.746460190511956e-05, 8.143316795256496e-06,
    -1.010329064818089e-06, 1.108703953423511e-07, -1.085361931222033e-08, 9.547954769103129e-10,
    -7.59572439234385e-11, 5.495089832382311e-12, -3.630954152795962e-13, 2.191297815944127e-14,
    -7.121907230622782e-16,
    ),
    1: (
    0.00841078761164141, -0.004237365156111636, 0.007930900117618827, 0.002438189911868825,
    -0.004552408286602484, 0.005082446191459449, -0.01876587174953658, 0.0151745400088182,
    -0.01628329750478813, 0.03171719009870824, -0.03738349440340317, 0.02725329065858014,
    -0.01380432309033673, 0.005239810551057766, -0.0015654150794629, 0.0003807811636390079,
    -7.730539950873459e-05, 1.334910555317071e-05, -1.990242805594689e-06, 2.593347440787014e-07,
    -2.983412924745363e-08, 3.056229238066104e-09, -2.808507269574847e-10, 2.330036058911214e-11,
    -1.755055986879615e-12, 1.20621903714228e-13, -7.578857449930774e-15, 4.127002017038917e-16,
    7.257920393161089e-17, -1.463015635288362e-16,
    ),
}  # fmt: skip
"""Chebyshev coefficients in 2 (x / 25)**2 - 1 of what Y adds to its logarithm (and its pole), for
order 1 divided by x: values by Neumann's series (Abramowitz and Stegun 9.1.88).
"""


def _power_series(coefficients: Sequence[float], variable: str) -> str:
    """Return a polynomial as a formula, by Horner's rule."""
    text = repr(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        text = f"({c!r} + {variable} * {text})"
    return text


def _near(order: int) -> str:
    """Return the mean of cos(order * t - x sin(t)) over a period."""
    terms = []
    for k in range(_POINTS // 2):
        s = math.sin(math.pi * (k + 0.5) / _POINTS)
        wave = f"cos(x * {s!r})" if order == 0 else f"{s!r} * sin(x * {s!r})"
        terms.append(wave)
    return f"({' + '.join(terms)}) * {2 / _POINTS!r}"


def _far(order: int, second: bool = False) -> str:
    """Return sqrt(2 / (pi x)) (P cos(w) - Q sin(w)), with w = x - (order / 2 + 1 / 4) pi.

    Of the second kind it is P sin(w) + Q cos(w).
    """
    terms = [1.0]
    for k in range(1, 24):
        terms.append(terms[-1] * (4 * order - (2 * k - 1) ** 2) / (8 * k))
    inverse = f"(1 / maximum(abs(x), {_FAR}))"
    square = f"({inverse} * {inverse})"
    p = _power_series([(-1) ** k * t for k, t in enumerate(terms[::2])], square)
    q = _power_series([(-1) ** k * t for k, t in enumerate(terms[1::2])], square)
    q = f"{inverse} * {q}"
    size = f"{1 / math.sqrt(math.pi)!r} * sqrt({inverse})"
    total, less = "(sin(abs(x)) + cos(x))", "(sin(abs(x)) - cos(x))"
    # cos(w) and sin(w) times sqrt(2)
    cosine, sine = (total, less) if order == 0 else (less, f"(-{total})")
    if second:
        return f"{size} * ({p} * {sine} + {q} * {cosine})"
    sign = "" if order == 0 else " * sign(x)"
    return f"{size} * ({p} * {cosine} - {q} * {sine}){sign}"


def _first_kind(order: int) -> Op:
    return pointwise(
        f"_bessel_j{order}", "x", f"{_near(order)} if abs(x) <= {_FAR} else {_far(order)}",
        promote="float", doc=f"Bessel function of the first kind, order {order}.",
    )  # fmt: skip


def _second_kind(order: int) -> Op:
    angle = f"(2 * acos(minimum(x, {_FAR}) / {_FAR}))"
    rest = " + ".join(f"{c!r} * cos({k} * {angle})" for k, c in enumerate(_REST[order]))
    near = f"{2 / math.pi!r} * (log(x * 0.5) + {_EULER!r}) * ({_near(order)})"
    near += f" + ({rest})" if order == 0 else f" + x * ({rest}) - {2 / math.pi!r} / x"
    return pointwise(
        f"_bessel_y{order}", "x",
        f"-inf if x == 0 else (nan if x < 0 else ({near} if x <= {_FAR} "
        f"else {_far(order, second=True)}))",
        promote="float", domain={"x": (0.1, 40)},
        doc=f"Bessel function of the second kind, order {order}.",
    )  # fmt: skip


def _small(order: int) -> str:
    """Return K for x up to 2, as a series in x * x / 4."""
    square, log = "(x * x * 0.25)", f"(log(x * 0.5) + {_EULER!r})"
    plain, weighted, factor, harmonic = [], [], 1.0, 0.0
    for k in range(16):
        if k:
            factor /= k * (k + order)
            harmonic += 1 / k
        plain.append(factor)
        weighted.append(factor * (harmonic if order == 0 else 2 * harmonic + 1 / (k + 1)))
    i, rest = _power_series(plain, square), _power_series(weighted, square)
    if order == 0:
        return f"({rest} - {log} * {i})"
    return f"(1 / x + x * 0.5 * ({log} * {i} - 0.5 * {rest}))"


def _large(order: int) -> str:
    """Return exp(x) K for x from 2 on, by the trapezoid rule over v."""
    step = 0.35
    inverse = "(1 / maximum(x, 2))"
    terms = ["0.5"]
    for k in range(1, 19):
        v = (k * step) ** 2
        height = f"{math.exp(-v)!r} * rsqrt(1 + {v / 2!r} * {inverse})"
        terms.append(height if order == 0 else f"{height} * (1 + {v!r} * {inverse})")
    return f"({' + '.join(terms)}) * {step * math.sqrt(2)!r} * sqrt({inverse})"


def _third_kind(order: int, scaled: bool) -> Op:
    small, large = _small(order), _large(order)
    near = f"{small} * exp(x)" if scaled else small
    far = large if scaled else f"{large} * exp(-x)"
    return pointwise(
        f"_{'scaled_' if scaled else ''}modified_bessel_k{order}", "x",
        f"inf if x == 0 else (nan if x < 0 else ({near} if x <= 2 else {far}))",
        promote="float", domain={"x": (0.1, 6)},
        doc=f"Modified Bessel function of the second kind, order {order}"
        f"{', times exp(x)' if scaled else ''}.",
    )  # fmt: skip


bessel_j0, bessel_j1 = _first_kind(0), _first_kind(1)
bessel_y0, bessel_y1 = _second_kind(0), _second_kind(1)
modified_bessel_k0, modified_bessel_k1 = _third_kind(0, False), _third_kind(1, False)
scaled_modified_bessel_k0, scaled_modified_bessel_k1 = _third_kind(0, True), _third_kind(1, True)
spherical_bessel_j0 = pointwise(
    "_spherical_bessel_j0", "x", "1 if x == 0 else (0 if abs(x) == inf else sin(x) / x)",
    promote="float", doc="sin(x) / x.",
)  # fmt: skip
