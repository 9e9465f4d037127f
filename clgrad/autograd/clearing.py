"""Clearing gradients before the next backward pass; what modules and optimizers share."""

from __future__ import annotations

from collections.abc import Iterable

from clgrad.tensor import Tensor


def clear_grads(leaves: Iterable[Tensor], set_to_none: bool) -> None:
    """Drop gradients, or fill them with zeros.

    Args:
        leaves: those without a gradient are passed over.
        set_to_none: drop; else keep the memory, without history, and overwrite it.
    """
    for leaf in leaves:
        grad = leaf.grad
        if grad is None:
            continue
        if set_to_none:
            leaf.grad = None
            continue
        if grad.grad_fn is not None:
            grad.detach_()
        else:
            grad.requires_grad_(False)
        grad.zero_()
