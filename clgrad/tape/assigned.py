"""What is put into `.grad` by others than the node of a leaf: by the user, by `retain_grad`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from clgrad.errors import AutogradError, ClgradTypeError, ShapeError
from clgrad.tape.handed import handed


def check_grad(tensor: Any, value: Any) -> None:
    """Raise if `value` may not become the `.grad` of `tensor`."""
    if not isinstance(value, handed.tensor):
        raise ClgradTypeError(
            f"assigned grad expected to be a Tensor or None but got {type(value).__name__}."
        )
    if value is tensor:
        raise AutogradError("can't assign Variable as its own grad.")
    mine, other = tensor._meta, value._meta
    if mine.dtype is not other.dtype:
        raise AutogradError(
            f"attempting to assign a gradient with dtype '{other.dtype.name}' to a tensor with "
            f"dtype '{mine.dtype.name}'. Expected equal dtypes. Hint: cast it with .to(dtype)."
        )
    if mine.device != other.device:
        raise AutogradError(
            f"attempting to assign a gradient with device '{other.device}' to a tensor with "
            f"device '{mine.device}'. Expected one device. Hint: move it with .to(device)."
        )
    if mine.shape != other.shape:
        raise ShapeError(
            f"attempting to assign a gradient of size '{list(other.shape)}' to a tensor of "
            f"size '{list(mine.shape)}'. Expected equal sizes."
        )


def retainer(tensor: Any) -> Callable[[Any], None]:
    """Return what puts a gradient into the `.grad` of `tensor`, as long as that is alive."""
    weak = weakref.ref(tensor)

    def retain(grad: Any) -> None:
        alive = weak()
        if alive is None or grad is None:
            return
        if alive._grad is None:
            alive._grad = grad.clone() if grad.requires_grad else grad.detach().clone()
        else:
            alive._grad = alive._grad + grad

    return retain


def undeletable(name: str, hint: str) -> Callable[[Any], None]:
    """Return what happens when somebody deletes an attribute that a tensor cannot be without."""

    def delete(tensor: Any) -> None:
        raise AutogradError(f"{name} cannot be deleted. Hint: {hint}.")

    return delete
