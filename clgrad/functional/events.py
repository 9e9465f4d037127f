"""Random numbers of events."""

from __future__ import annotations

from typing import Any

from clgrad.batching import whole
from clgrad.creation import wide_float
from clgrad.dispatch import apply
from clgrad.errors import ClgradRuntimeError
from clgrad.functional.sampling import check_float, draw
from clgrad.generator import Generator
from clgrad.ops import creation as _ops
from clgrad.ops.registry import composite
from clgrad.ops.special import poisson as _quantile
from clgrad.tensor import Tensor

_poisson = composite(
    "poisson", "rate, drawn",
    lambda rate, drawn: apply(_quantile, (rate.to(drawn.dtype), drawn)).to(rate.dtype),
    backward=lambda ctx, g: (g._zeros(ctx.shape("rate")), None), add=False,
)  # fmt: skip


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Return how many events happen where so many are expected, of Poisson's distribution.

    Args:
        input: expected numbers, floats of 0 or more. generator: default: the default one.

    Raises:
        ClgradRuntimeError: a negative number; this waits for the device. DTypeError: no floats.
    """
    check_float("poisson", input.dtype)
    if bool((whole(input) < 0).any()):
        raise ClgradRuntimeError("poisson: invalid Poisson rate, expected rate to be non-negative")
    where: Any = input.device
    drawn = draw(_ops.rand, input._meta.shape, wide_float(where), where, generator)
    made: Tensor = apply(_poisson, (input, drawn))
    return made


__all__ = ["poisson"]
METHODS: tuple[str, ...] = ()
