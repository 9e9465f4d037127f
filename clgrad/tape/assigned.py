"""What is put into `.grad` by others than the node of a leaf: by the user, by `retain_grad`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from clgrad.dtypes import DType
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
    expected = mine.dtype if tensor._hooks is None else tensor._hooks.dtype_for(mine)
    if expected is not other.dtype and expected is not None:
        raise AutogradError(
            f"attempting to assign a gradient with dtype '{other.dtype.name}' to a tensor with "
            f"grad_dtype '{expected.name}'. Expected equal dtypes. Hint: cast it with .to(dtype), "
            "or set grad_dtype to that dtype, or to None for any."
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


def not_a_leaf(tensor: Any, value: bool) -> AutogradError:
    """Return the error for setting `requires_grad` of a result."""
    hint = (
        "It does require grad."
        if value
        else "Hint: If you want to use a computed variable in a subgraph that doesn't require "
        "differentiation use var_no_grad = var.detach()."
    )
    return AutogradError(
        "you can only change requires_grad flags of leaf variables. This one is a result of "
        f"{type(tensor.grad_fn).__name__}. {hint}"
    )


def grad_dtype(tensor: Any) -> DType | None:
    """The dtype in which gradients of this leaf are added up: its own at first; None is any."""
    if tensor.grad_fn is not None:
        raise AutogradError("grad_dtype can only be accessed on leaf tensors. Hint: detach() it.")
    mine: DType = tensor._meta.dtype
    if tensor._hooks is None:
        return mine
    found: DType | None = tensor._hooks.dtype_for(tensor._meta)
    return found


def set_grad_dtype(tensor: Any, dtype: DType | None) -> None:
    """Let gradients of this leaf be cast to another dtype, or with None to none.

    Raises:
        AutogradError: it is no leaf, or has a gradient of another dtype already.
    """
    if dtype is not None and not isinstance(dtype, DType):
        raise AutogradError(
            f"grad_dtype must be a clgrad.dtype or None, but got {type(dtype).__name__}."
        )
    if tensor.grad_fn is not None:
        raise AutogradError("grad_dtype can only be set on leaf tensors. Hint: detach() it.")
    grad = tensor._grad
    if grad is not None and dtype is not None and grad._meta.dtype is not dtype:
        raise AutogradError(
            f"Cannot set grad_dtype to '{dtype.name}' because there is already a gradient with "
            f"dtype '{grad._meta.dtype.name}'. Hint: clear it first: tensor.grad = None."
        )
    tensor._leaf_hooks().dtype = dtype


def reset_grad_dtype(tensor: Any) -> None:
    """Let gradients of this leaf have its own dtype again."""
    set_grad_dtype(tensor, tensor._meta.dtype)


def undeletable(name: str, hint: str) -> Callable[[Any], None]:
    """Return what happens when somebody deletes an attribute that a tensor cannot be without."""

    def delete(tensor: Any) -> None:
        raise AutogradError(f"{name} cannot be deleted. Hint: {hint}.")

    return delete
