"""How exact the float32 functions are: the largest errors measured, in units in the last place.

Measured against float64 references over random floats of the whole range (uniform in bits) and
over the ranges where each function bends, on Intel's CPU runtime and on PoCL, which agree bit for
bit. `tests/device` holds them; a device with inexact division or sqrt may lie a little above.
Results below the normal range may be flushed to zero and do not count.
"""

from __future__ import annotations

ULP: dict[str, float] = {
    "exp": 1.0, "exp2": 1.0, "expm1": 1.6, "log": 0.9, "log2": 1.3, "log10": 1.7, "log1p": 0.9,
    "sin": 1.6, "cos": 1.5, "tan": 2.6, "asin": 2.0, "acos": 1.3, "atan": 2.0, "atan2": 2.5,
    "sinh": 2.6, "cosh": 1.9, "tanh": 1.3, "asinh": 1.8, "acosh": 2.1, "atanh": 1.8,
    "erf": 2.3, "erfc": 5.8, "sigmoid": 2.1, "pow": 1.1, "hypot": 1.2,
    "sqrt": 0.51, "rsqrt": 1.5, "reciprocal": 0.51, "div": 0.51,
}  # fmt: skip
