"""Special functions whose arguments choose the op; `clgrad.special` has these and all others."""

from __future__ import annotations

import math
from typing import Any

from clgrad.dispatch import apply
from clgrad.errors import ClgradRuntimeError
from clgrad.functional._forms import Choice, choice, forms, in_place
from clgrad.functional._given import integer
from clgrad.functional._out import with_out
from clgrad.ops.registry import REQUIRED, composite
from clgrad.tensor import Tensor

__all__ = ["logit", "logit_", "mvlgamma", "polygamma"]
METHODS = ("logit", "logit_", "mvlgamma", "mvlgamma_")


def _polygamma(n: int, input: Tensor) -> Choice:
    """Return derivative `n` of the digamma function.

    Raises:
        ClgradRuntimeError: `n` is below zero.
    """
    n = integer("polygamma", n)
    if n < 0:
        raise ClgradRuntimeError(
            f"polygamma: polygamma(n, x) does not support negative n, got {n}."
        )
    if n < 2:
        return choice(f"_polygamma_{n}", input, n)
    return choice("_polygamma", input, n, -((-1.0) ** n) * math.factorial(n))


polygamma, _ = forms(_polygamma)


def _derived(input: Tensor, n: int) -> Choice:
    """Return derivative `n` of the digamma function of `input`."""
    return _polygamma(n, input)


polygamma_of, polygamma_of_ = forms(_derived)  # the methods: their tensor comes first


def _logit(input: Tensor, eps: float | None = None) -> Choice:
    """Return `log(input / (1 - input))`, of `input` clamped to [eps, 1 - eps] if `eps` is given."""
    if eps is None:
        return choice("_logit", input)
    return choice("_logit_clamped", input, float(eps))


logit, logit_ = forms(_logit)


@with_out
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """Return the logarithm of the multivariate gamma function of dimension `p`.

    Raises:
        ClgradRuntimeError: `p` is below one.
    """
    if p < 1:
        raise ClgradRuntimeError(f"mvlgamma: p has to be greater than or equal to 1, got {p}.")
    return apply(_mvlgamma, (input,), (p,))  # type: ignore[no-any-return]  # a Tensor


def _sum_of_lgammas(input: Tensor, p: int) -> Any:
    total: Any = p * (p - 1) * math.log(math.pi) / 4
    for j in range(p):
        total = apply(*choice("lgamma", input - j / 2)) + total
    return total


def _sum_of_digammas(ctx: Any, g: Any) -> tuple[Any]:
    x = ctx.saved("x")
    total = apply(*choice("digamma", x))
    for j in range(1, ctx.param("p")):
        total = apply(*choice("digamma", x - j / 2)) + total
    return (g * total,)


_mvlgamma = composite(
    "_mvlgamma", "x", _sum_of_lgammas, backward=_sum_of_digammas, saves=("x",),
    params=(("p", REQUIRED),), doc="Sum of lgamma(x - j / 2) over j below p, and a constant.",
)  # fmt: skip
mvlgamma_ = in_place(mvlgamma)
