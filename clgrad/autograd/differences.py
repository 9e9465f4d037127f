"""Central differences of a function of tensors: what gradients are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad.errors import AutogradError
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor

Array = Any


class ChangingOutputError(AutogradError, AssertionError):
    """A function whose outputs change their shape or dtype when its input changes a little."""


def _as_tuple(made: Any) -> tuple[Any, ...]:
    return tuple(made) if isinstance(made, tuple | list) else (made,)


def tensors(made: Any) -> list[Tensor]:
    """Return the floating-point tensors that a function returned."""
    return [t for t in _as_tuple(made) if isinstance(t, Tensor) and t.is_floating_point()]


def differentiable(made: Any) -> list[Tensor]:
    return [t for t in tensors(made) if requires_grad_of(t)]


def read(tensor: Tensor) -> Array:
    array: Array = tensor.numpy(force=True).astype(np.float64)
    return array


def like(array: Array, tensor: Tensor, requires_grad: bool = False) -> Tensor:
    made: Tensor = Tensor._construct(
        array.reshape(tuple(tensor.shape)), dtype=tensor.dtype, device=tensor.device
    )
    return made.requires_grad_(requires_grad)


def _moved(
    func: Callable[..., Any], args: Sequence[Any], which: int, at: Array, outputs: Sequence[Tensor]
) -> list[Array]:
    """Return the outputs of `func`, flat, with other elements of one of its inputs.

    They are written into the input itself, whoever else refers to it, and taken back.
    """
    source: Tensor = args[which]
    before = source._storage.value
    source.data.copy_(like(at, source))
    try:
        found = tensors(func(*args))
        arrays = [read(o).reshape(-1) for o in found]  # now: they may show the input's memory
    finally:
        source._storage.replace(before)
    for a, b in zip(found, outputs, strict=False):
        for what, one, other in (("shape", a.shape, b.shape), ("dtype", a.dtype, b.dtype)):
            if one != other:
                raise ChangingOutputError(
                    f"gradcheck: expected `func` to return outputs with the same {what} when "
                    f"inputs are perturbed by eps, but got {one} and {other}. Hint: check at a "
                    "point where nothing depends on the values."
                )
    return arrays


def numerical(
    func: Callable[..., Any], args: Sequence[Any], which: int, outputs: Sequence[Tensor], eps: float
) -> list[Array]:
    """Return for each output d(output) / d(input `which`), shape (input numel, output numel)."""
    point = read(args[which]).reshape(-1)
    steps = np.eye(point.size) * eps
    rows = [slopes(func, args, which, point, step, outputs, eps) for step in steps]
    return [
        np.stack([row[o] for row in rows]) if rows else np.zeros((0, out.numel()))
        for o, out in enumerate(outputs)
    ]


def slopes(
    func: Callable[..., Any], args: Sequence[Any], which: int, point: Array, step: Array,
    outputs: Sequence[Tensor], eps: float,
) -> list[Array]:  # fmt: skip
    """Return for each output how it changes with one input by `step`, and back, per `eps`."""
    up = _moved(func, args, which, point + step, outputs)
    down = _moved(func, args, which, point - step, outputs)
    return [(a - b) / (2 * eps) for a, b in zip(up, down, strict=True)]
