"""How exact the float32 functions are: the largest errors measured, in units in the last place.

Measured against float64 references over random floats of the whole range (uniform in bits) and
over the ranges where each function bends, on Intel's CPU runtime and on PoCL, which agree bit for
bit. `tests/device` holds them; a device with inexact division or sqrt may lie a little above.
Results below the normal range may be flushed to zero and do not count.
"""

from __future__ import annotations

ULP: dict[str, float] = {
    "exp": 1.0, "exp2": 1.0, "expm1": 1.6, "log": 0.8, "log2": 1.4, "log10": 1.8, "log1p": 0.9,
    "sin": 1.6, "cos": 1.6, "tan": 2.7, "asin": 2.1, "acos": 1.2, "atan": 2.1, "atan2": 2.4,
    "sinh": 2.7, "cosh": 1.9, "tanh": 1.4, "asinh": 1.8, "acosh": 2.4, "atanh": 1.7,
    "erf": 2.2, "erfc": 6.0, "erfinv": 3.2, "erfcx": 4.0, "i0e": 5.0, "i1e": 5.0,
    "sigmoid": 2.4, "pow": 1.1, "hypot": 1.2,
    "sqrt": 0.5, "rsqrt": 1.5, "reciprocal": 0.5, "div": 0.5,
}  # fmt: skip
