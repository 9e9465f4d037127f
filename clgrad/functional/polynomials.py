"""Orthogonal polynomials by their recurrences.

Source: NIST Digital Library of Mathematical Functions, section 18.9. They have no derivatives, as
in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.calls import function
from clgrad.creation import tensor
from clgrad.dtypes import get_default_dtype
from clgrad.errors import ClgradRuntimeError
from clgrad.functional._out import with_out
from clgrad.ops.registry import OPS
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

_where = function(OPS["where"])

Step = Callable[[Any, int, Any, Any], Any]
"""Returns the polynomial of degree k + 1 of: x, k, that of degree k, that of degree k - 1."""
_MOST = 10_000
"""The highest degree that is computed."""


def _declare(name: str, first: Callable[[Any], Any], step: Step, shifted: bool = False) -> Any:
    @with_out
    def call(x: Any, n: Any) -> Tensor:
        like = x if isinstance(x, Tensor) else n
        if not isinstance(like, Tensor):
            raise ClgradRuntimeError(
                f"special.{name}: got numbers alone. Hint: clgrad.tensor(...)."
            )
        kind = like.dtype if like.is_floating_point() else get_default_dtype()
        both = [
            (t if isinstance(t, Tensor) else tensor(t, device=like.device)).to(kind) for t in (x, n)
        ]
        with no_grad():
            return _evaluated(both[0], both[1])

    def _evaluated(x: Any, n: Any) -> Tensor:
        degree = n.trunc()
        most = int(degree.amax()) if degree.numel() else -1
        if most > _MOST:
            raise ClgradRuntimeError(
                f"special.{name}: got degree {most}. Expected at most {_MOST}."
            )
        t = 2 * x - 1 if shifted else x
        before, now = t * 0 + 1, first(t)
        made = _where(degree < 0, 0.0 * t, _where(degree == 0, before, now))
        for k in range(1, most):
            before, now = now, step(t, k, now, before)
            made = _where(degree == k + 1, now, made)
        return made  # type: ignore[no-any-return]  # a Tensor

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Return the {name.replace('_', ' ')} of degree `n` at `x`."
    return call


def _chebyshev(x: Any, k: int, now: Any, before: Any) -> Any:
    return 2 * x * now - before


chebyshev_polynomial_t = _declare("chebyshev_polynomial_t", lambda x: x, _chebyshev)
chebyshev_polynomial_u = _declare("chebyshev_polynomial_u", lambda x: 2 * x, _chebyshev)
chebyshev_polynomial_v = _declare("chebyshev_polynomial_v", lambda x: 2 * x - 1, _chebyshev)
chebyshev_polynomial_w = _declare("chebyshev_polynomial_w", lambda x: 2 * x + 1, _chebyshev)
shifted_chebyshev_polynomial_t = _declare(
    "shifted_chebyshev_polynomial_t", lambda x: x, _chebyshev, True
)
shifted_chebyshev_polynomial_u = _declare(
    "shifted_chebyshev_polynomial_u", lambda x: 2 * x, _chebyshev, True
)
shifted_chebyshev_polynomial_v = _declare(
    "shifted_chebyshev_polynomial_v", lambda x: 2 * x - 1, _chebyshev, True
)
shifted_chebyshev_polynomial_w = _declare(
    "shifted_chebyshev_polynomial_w", lambda x: 2 * x + 1, _chebyshev, True
)
hermite_polynomial_h = _declare(
    "hermite_polynomial_h", lambda x: 2 * x, lambda x, k, now, before: 2 * (x * now - k * before)
)
hermite_polynomial_he = _declare(
    "hermite_polynomial_he", lambda x: x, lambda x, k, now, before: x * now - k * before
)
laguerre_polynomial_l = _declare(
    "laguerre_polynomial_l", lambda x: 1 - x,
    lambda x, k, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1),
)  # fmt: skip
legendre_polynomial_p = _declare(
    "legendre_polynomial_p", lambda x: x,
    lambda x, k, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1),
)  # fmt: skip
