"""Softmax, softmin and log-softmax as `nn.functional` has them: `dim` may be left out."""

from __future__ import annotations

import warnings
from typing import Any

from clgrad.creation import arange
from clgrad.functional import softmax as _softmax
from clgrad.functional.sampling import check_float, draw
from clgrad.layout import wrap_dim
from clgrad.ops.creation import exponential
from clgrad.tensor import Tensor


def _dim_of(name: str, input: Tensor, dim: int | None, stacklevel: int) -> int:
    """Return `dim`, or what PyTorch takes where none is given, with its warning."""
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        UserWarning,
        stacklevel=stacklevel,
    )
    return 0 if input.ndim in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return exponentials that sum to 1 along `dim`.

    Args:
        input: any shape.
        dim: where they sum to 1; must be given.
        dtype: cast `input` to this first.
    """
    made: Tensor = _softmax.softmax(input, _dim_of("softmax", input, dim, _stacklevel), dtype)
    return made


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return the softmax of `-input` along `dim`; see `softmax`."""
    made: Tensor = _softmax.softmax(-input, _dim_of("softmin", input, dim, _stacklevel), dtype)
    return made


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return the logarithm of the softmax along `dim`; see `softmax`."""
    made: Tensor = _softmax.log_softmax(
        input, _dim_of("log_softmax", input, dim, _stacklevel), dtype
    )
    return made


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Return a sample of the Gumbel-softmax distribution along `dim`.

    Args:
        logits: unnormalized logarithms of probabilities, any shape.
        tau: temperature.
        hard: return a one and zeros, with the gradient of the soft sample.
        eps: without effect, as in PyTorch.
        dim: where the sample sums to 1.

    Raises:
        DTypeError: no floats.

    Source: Jang et al. 2017; Maddison et al. 2017.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    check_float("gumbel_softmax", logits.dtype)
    where = wrap_dim(dim, max(logits.ndim, 1), "gumbel_softmax")
    drawn = draw(exponential, logits._meta.shape, logits.dtype, logits.device, None, 1.0)
    soft: Tensor = _softmax.softmax((logits - drawn.log()) / tau, where, None)
    if not hard:
        return soft
    shape = [1] * logits.ndim
    if logits.ndim:
        shape[where] = -1
    place = arange(logits.shape[where] if logits.ndim else 1, device=logits.device).reshape(shape)
    chosen = soft.detach().argmax(dim=where, keepdim=True).eq(place).to(soft.dtype)
    made: Tensor = chosen - soft.detach() + soft
    return made
