"""Clipping gradients in place between `backward` and the optimizer's step.

Nothing here waits for the device unless `error_if_nonfinite` asks for it: the factor by which
gradients shrink is itself a tensor.
"""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Iterable
from functools import reduce

from clgrad.creation import tensor
from clgrad.dispatch import binary
from clgrad.errors import ClgradRuntimeError
from clgrad.ops.registry import OPS
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

Tensors = Tensor | Iterable[Tensor]

_maximum, _minimum = binary(OPS["maximum"]), binary(OPS["minimum"])


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _norm(x: Tensor, p: float) -> Tensor:
    """Return the p-norm of all elements, in the dtype of `x`."""
    made: Tensor
    if math.isinf(p):
        made = x.abs().amax() if p > 0 else x.abs().amin()
    elif p == 0:
        made = x.ne(0).sum().to(x.dtype)
    elif p == 1:
        made = x.abs().sum()
    elif p == 2:
        made = (x * x).sum().sqrt()
    else:
        made = (x.abs() ** p).sum() ** (1 / p)
    return made


def _joined(norms: list[Tensor], p: float) -> Tensor:
    """Return the p-norm of 0-d norms; one chain of scalar ops, without a tensor that holds them."""
    if len(norms) == 1 and p != 0:
        return norms[0]
    made: Tensor
    if math.isinf(p):
        made = reduce(_maximum if p > 0 else _minimum, norms)
    elif p == 0:
        first = norms[0]
        made = reduce(lambda a, b: a + b, [n.ne(0).to(first.dtype) for n in norms])
    elif p == 1:
        made = reduce(lambda a, b: a + b, norms)
    elif p == 2:
        made = reduce(lambda a, b: a + b, [n * n for n in norms]).sqrt()
    else:
        made = reduce(lambda a, b: a + b, [n**p for n in norms]) ** (1 / p)
    return made


def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Return the norm of tensors as if they were one vector.

    Args:
        tensors: one or several, of any shapes.
        norm_type: which p-norm; `inf` for the largest magnitude.
        error_if_nonfinite: wait for the norm, and raise if it is infinite or NaN.
        foreach: taken for PyTorch's sake; it changes nothing.

    Returns:
        Shape (), on the device of the first tensor.

    Raises:
        ClgradRuntimeError: the norm is not finite and `error_if_nonfinite` is set.
    """
    given = _listed(tensors)
    p = float(norm_type)
    if not given:
        return tensor(0.0)
    where = given[0].device
    with no_grad():
        total = _joined([_norm(x, p).to(where) for x in given], p)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise ClgradRuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it "
            "cannot be clipped. To disable this error and scale the gradients by the non-finite "
            "norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiply every gradient by `max_norm / total_norm` if that is less than 1.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: largest norm that the gradients may have together.
        total_norm: the norm that they have; shape ().
        foreach: taken for PyTorch's sake; it changes nothing.
    """
    grads = [p.grad for p in _listed(parameters) if p.grad is not None]
    with no_grad():
        factor: Tensor = _minimum(float(max_norm) / (total_norm + 1e-6), 1.0)
        for grad in grads:
            grad.mul_(factor.to(grad.device))


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale gradients in place so that their norm, as one vector, is at most `max_norm`.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: largest norm.
        norm_type: which p-norm; `inf` for the largest magnitude.
        error_if_nonfinite: wait for the norm, and raise if it is infinite or NaN.
        foreach: taken for PyTorch's sake; it changes nothing.

    Returns:
        The norm before; shape ().

    Raises:
        ClgradRuntimeError: the norm is not finite and `error_if_nonfinite` is set.
    """
    given = _listed(parameters)
    if not given and isinstance(parameters, types.GeneratorType):
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2
        )
    grads = [p.grad for p in given if p.grad is not None]
    total = get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(given, max_norm, total, foreach)
    return total


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every element of the gradients in place to [-clip_value, clip_value].

    Args:
        parameters: those without a gradient are passed over.
        clip_value: largest magnitude.
        foreach: taken for PyTorch's sake; it changes nothing.
    """
    limit = float(clip_value)
    with no_grad():
        for p in _listed(parameters):
            if p.grad is not None:
                p.grad.copy_(_minimum(_maximum(p.grad, -limit), limit))
