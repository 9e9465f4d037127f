"""What PyTorch has only for the sake of old programs."""

from __future__ import annotations

import warnings
from typing import Any

from clgrad.creation import maker, number_of, resolve_device
from clgrad.dispatch import apply
from clgrad.dtypes import as_dtype, get_default_dtype
from clgrad.dtypes import number as as_number
from clgrad.errors import ClgradRuntimeError
from clgrad.functional import batch_norm as norms
from clgrad.ops import creation as _ops
from clgrad.tensor import Tensor


@maker
def range(
    start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return `start`, `start + step`, … up to `end`, which is included; `arange` leaves it out.

    Args:
        start: the first; if it is alone, the end, and the first is 0.
        dtype: default: the default float.

    Returns:
        Shape (floor((end - start) / step) + 1,).

    Raises:
        ClgradRuntimeError: the step is 0 or leads away from the end.
    """
    warnings.warn(
        "clgrad.range is deprecated, as PyTorch's is. Hint: arange(), which leaves the end out.",
        UserWarning,
        stacklevel=3,
    )
    if end is None:
        start, end = 0, start
    first, last, width = (
        number_of("range", n, v) for n, v in (("start", start), ("end", end), ("step", step))
    )
    if width == 0:
        raise ClgradRuntimeError("range: step must be nonzero")
    if (last - first) * width < 0:
        raise ClgradRuntimeError(
            f"range: upper bound and lower bound inconsistent with step sign: from {first} to "
            f"{last} by {width}."
        )
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    count = int((last - first) / width) + 1
    numbers = (as_number(first, kind), as_number(width, kind))
    made: Tensor = apply(_ops.arange, numbers, ((count,), kind), resolve_device(device))
    return made


def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """Return `nn.functional.batch_norm`, with its arguments in another order."""
    return norms.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, use_input_stats: bool, momentum: float, eps: float,
    cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """Return `nn.functional.instance_norm`, with its arguments in another order."""
    return norms.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


__all__ = ["batch_norm", "instance_norm", "range"]
METHODS: list[str] = []
