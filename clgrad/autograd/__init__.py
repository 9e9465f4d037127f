"""Differentiation: `backward`, `grad`, custom functions, and checks of gradients."""

from clgrad.autograd.backward import backward, grad
from clgrad.tape.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
