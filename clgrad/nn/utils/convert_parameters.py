"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from clgrad.errors import ClgradTypeError
from clgrad.functional.joining import cat
from clgrad.tensor import Tensor


def _same_device(param: Tensor, first: Tensor | None) -> Tensor:
    if first is not None and param.device != first.device:
        raise ClgradTypeError(
            f"Found two parameters on different devices, {first.device} and {param.device}. "
            "Expected all on one device: this is not supported yet."
        )
    return first if first is not None else param


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all elements of the parameters one after the other.

    Args:
        parameters: any shapes, one device.

    Returns:
        Shape (n,); gradients flow through it to the parameters.

    Raises:
        ClgradTypeError: parameters on different devices.
    """
    first: Tensor | None = None
    parts = []
    for param in parameters:
        first = _same_device(param, first)
        parts.append(param.reshape(-1))
    return cat(parts)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let parameters share the memory of consecutive parts of a vector.

    Args:
        vec: shape (n,), n being the number of all parameters' elements.
        parameters: any shapes, one device.

    Raises:
        ClgradTypeError: `vec` is no tensor, or parameters are on different devices.
    """
    if not isinstance(vec, Tensor):
        raise ClgradTypeError(
            f"expected a clgrad.Tensor, but got: {type(vec).__name__}. "
            "Hint: parameters_to_vector() makes one."
        )
    first: Tensor | None = None
    start = 0
    for param in parameters:
        first = _same_device(param, first)
        count = param.numel()
        param.data = vec[start : start + count].view_as(param).data
        start += count
