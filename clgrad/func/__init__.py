"""Transforms of functions: gradients, Jacobians and products with them, as functions again.

They nest in any order, take nested dicts, lists and tuples of tensors, and leave no graph behind
unless something outside of them requires grad.
"""

from __future__ import annotations

from clgrad.func.batching import debug_unwrap, vmap
from clgrad.func.modules import (
    functional_call,
    replace_all_batch_norm_modules_,
    stack_module_state,
)
from clgrad.func.transforms import (
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    value_and_grad,
    vjp,
)

__all__ = [
    "debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian",
    "jacfwd", "jacrev", "jvp", "linearize", "replace_all_batch_norm_modules_", "stack_module_state",
    "value_and_grad", "vjp", "vmap",
]  # fmt: skip
