"""Mean and variance in one pass: two ops that fold the same accumulators, hence one fold."""

from __future__ import annotations

from typing import Any

from clgrad.ops.registry import reduction

# Accumulators: count, mean, sum of squared distances from it. Source: T. F. Chan, G. H. Golub and
# R. J. LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
_SHARE = "(b0 / where(a0 + b0 > 0, a0 + b0, 1))"
_MOMENTS: dict[str, Any] = {
    "init": ("0", "0", "0"),
    "element": ("1", "x", "0"),
    "combine": (
        "a0 + b0",
        f"a1 + (b1 - a1) * {_SHARE}",
        f"a2 + b2 + (b1 - a1) * (b1 - a1) * (a0 * {_SHARE})",
    ),
    "accumulate": ("acc", "acc", "acc"),
    "promote": "float",
}
mean_of = reduction(
    "_mean_of", finish="a1 / where(a0 > 0, 1, 0)", doc="Mean, folded with the variance.", **_MOMENTS
)
variance_of = reduction(
    "_variance_of", finish="a2 / a0", doc="Mean squared distance from the mean.", **_MOMENTS
)
