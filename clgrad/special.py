"""Special functions, under the names of `torch.special`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.calls import function
from clgrad.dispatch import apply
from clgrad.functional._forms import choice
from clgrad.functional._given import check_tensor
from clgrad.functional._out import with_out
from clgrad.functional.arithmetic import round
from clgrad.functional.polynomials import (
    chebyshev_polynomial_t,
    chebyshev_polynomial_u,
    chebyshev_polynomial_v,
    chebyshev_polynomial_w,
    hermite_polynomial_h,
    hermite_polynomial_he,
    laguerre_polynomial_l,
    legendre_polynomial_p,
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
)
from clgrad.functional.softmax import log_softmax, logsumexp, softmax
from clgrad.functional.special import logit, mvlgamma, polygamma
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

Call = Callable[..., Any]


def _of(name: str) -> Call:
    """Return the function of an op, under its name here."""
    call = function(OPS[name])
    call.__name__ = call.__qualname__ = name.strip("_")
    return call


digamma = psi = _of("digamma")
erf, erfc, erfinv, erfcx = _of("erf"), _of("erfc"), _of("erfinv"), _of("_erfcx")
exp2, expm1, log1p, sinc = _of("exp2"), _of("expm1"), _of("log1p"), _of("sinc")
expit, gammaln = _of("sigmoid"), _of("lgamma")
gammainc, gammaincc = _of("igamma"), _of("igammac")
i0, i0e, i1, i1e = _of("i0"), _of("_i0e"), _of("_i1"), _of("_i1e")
entr, log_ndtr, ndtri = _of("_entr"), _of("_log_ndtr"), _of("_ndtri")
xlogy, xlog1py, zeta = _of("xlogy"), _of("_xlog1py"), _of("_zeta")
multigammaln = mvlgamma


def _constant(name: str, op: str = "") -> Call:
    """Return the function of an op that takes its operand as a constant, as PyTorch's does."""
    computed = _of(op or f"_{name}")

    def call(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        check_tensor(name, input)
        made: Tensor = computed(input.detach(), out=out)
        return made

    call.__name__ = call.__qualname__ = name
    call.__doc__ = computed.__doc__
    return call


bessel_j0, bessel_j1 = _constant("bessel_j0"), _constant("bessel_j1")
bessel_y0, bessel_y1 = _constant("bessel_y0"), _constant("bessel_y1")
modified_bessel_i0 = _constant("modified_bessel_i0", "i0")
modified_bessel_i1 = _constant("modified_bessel_i1", "_i1")
modified_bessel_k0 = _constant("modified_bessel_k0")
modified_bessel_k1 = _constant("modified_bessel_k1")
scaled_modified_bessel_k0 = _constant("scaled_modified_bessel_k0")
scaled_modified_bessel_k1 = _constant("scaled_modified_bessel_k1")
spherical_bessel_j0 = _constant("spherical_bessel_j0")


@with_out
def ndtr(input: Tensor) -> Tensor:
    """Return the probability that a normal variable lies below `input`."""
    made: Tensor = apply(*choice("erfc", input * -0.7071067811865476)) * 0.5
    return made


__all__ = [
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t",
    "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma",
    "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc",
    "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e", "i1", "i1e",
    "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit",
    "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
    "modified_bessel_k1", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0", "xlog1py", "xlogy",
    "zeta",
]  # fmt: skip
