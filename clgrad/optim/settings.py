"""What optimizers ask of their settings, and settings of PyTorch's that change nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.tensor import Tensor

Number = Any
"""A Python number, or a tensor of one element."""


def check_rate(lr: Number) -> None:
    """Raise `ClgradValueError` for a learning rate below 0, or a tensor of several."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ClgradValueError(
            f"Tensor lr must be 1-element, this one has {lr.numel()}. Hint: give groups of "
            "parameters rates of their own."
        )
    check_least("learning rate", lr)


def check_least(name: str, value: Number, least: float = 0.0) -> None:
    """Raise `ClgradValueError` for a setting below `least`."""
    if not value >= least:
        raise ClgradValueError(f"Invalid {name}: {value}. Expected {least:g} or more.")


def check_modes(foreach: bool | None, fused: bool | None) -> None:
    """Raise `ClgradRuntimeError` where two ways of PyTorch's to step are asked for."""
    if foreach and fused:
        raise ClgradRuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_operands(lr: Number, betas: Sequence[Number], foreach: bool | None, graph: bool) -> None:
    """Raise `ClgradValueError` for tensors where PyTorch's `foreach` takes numbers.

    Args:
        graph: whether `capturable`, which allows them.
    """
    tensors = [isinstance(beta, Tensor) for beta in betas]
    if any(tensors) and not all(tensors):
        raise ClgradValueError("betas must be either both floats or both Tensors")
    for name, value in (("lr", lr), *((f"betas[{k}]", beta) for k, beta in enumerate(betas))):
        if isinstance(value, Tensor) and foreach and not graph:
            raise ClgradValueError(
                f"{name} as a Tensor is not supported for capturable=False and foreach=True"
            )


def check_betas(betas: Sequence[Number]) -> tuple[float, float]:
    """Return the two decay rates as floats; raises `ClgradValueError` outside of [0, 1)."""
    for k, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ClgradValueError(
                f"Invalid beta parameter at index {k}: {beta}. Expected 0 or more, below 1."
            )
    first, second = betas
    return float(first), float(second)


def rate(lr: Number) -> Number:
    """Return a learning rate as an operand: a number, or a tensor of shape ()."""
    return lr.reshape(()) if isinstance(lr, Tensor) and lr.ndim else lr


def lerp(start: Tensor, end: Tensor, weight: float) -> Tensor:
    """Return `start + weight * (end - start)`, from the nearer end."""
    way = end - start
    return start + way * weight if weight < 0.5 else end - way * (1 - weight)


def count(state: dict[str, Any]) -> float:
    """Count a step in a parameter's state and return its number, from 1."""
    step = state["step"] = float(state["step"]) + 1.0
    return step
