"""Softmax, softmin and log-softmax as `nn.functional` has them: `dim` may be left out."""

from __future__ import annotations

import warnings
from typing import Any

from clgrad.functional import softmax as _softmax
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
