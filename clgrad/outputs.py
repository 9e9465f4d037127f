"""`out=`: what may be written into a tensor that the user gave, and the writing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from clgrad.errors import AutogradError, ClgradTypeError, ClgradWarning, DeviceError
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import requires_grad_of
from clgrad.tape.tangents import check_out as no_tangents
from clgrad.tape.tangents import forward
from clgrad.tensor import Tensor
from clgrad.writing import check_cast, check_overlap, copy_, resize


class OutRequiresGradError(AutogradError):
    """`out=` was given although a gradient would be lost."""


def check_outs(name: str, outs: Sequence[Any], given: Sequence[Any]) -> None:
    """Check that each of `outs` can take a result of `given`: tensors, sequences of them, others.

    Raises:
        ClgradTypeError: an `out` is no tensor.
        OutRequiresGradError: writing would lose a gradient.
        AutogradError: elements of an `out` coincide, or it overlaps an operand partly.
    """
    operands = [t for a in given for t in (a if isinstance(a, list | tuple) else (a,))]
    operands = [t for t in operands if isinstance(t, Tensor)]
    for out in outs:
        _check_out(name, out, operands)
    for out in outs:
        if out._meta.layout.has_overlap or any(t._storage is out._storage for t in operands):
            check_overlap(name, out, operands)


def _check_out(name: str, out: Any, operands: Sequence[Tensor]) -> None:
    """Raise `OutRequiresGradError` where writing into `out` would lose a gradient."""
    if not isinstance(out, Tensor):
        raise ClgradTypeError(
            f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}. "
            "Hint: out=clgrad.empty(0) takes any shape."
        )
    if forward.open and mode.forward:
        no_tangents(name, (out, *operands))
    if mode.grad and any(requires_grad_of(o) for o in (out, *operands)):
        raise OutRequiresGradError(
            f"{name}(): functions with out=... arguments don't support automatic "
            "differentiation, but one of the arguments requires grad. Hint: assign the result."
        )


def store_out(name: str, out: Tensor, result: Tensor) -> Tensor:
    """Write `result` into `out` and return that; `out` takes its shape, with a warning.

    Raises:
        DTypeError: the cast would lose more than precision. DeviceError: the devices differ.
    """
    have, want = out._meta, result._meta
    check_cast(name, want.dtype, have.dtype)
    if have.device != want.device:
        raise DeviceError(
            f"{name}: out is on {have.device}, the operands on {want.device}. Expected one "
            "device. Hint: clgrad.empty(0, device=…)."
        )
    if want.shape != have.shape:
        if have.numel:
            warnings.warn(
                f"{name}: An output with one or more elements was resized since it had shape "
                f"{list(have.shape)}, which does not match the required output shape "
                f"{list(want.shape)}. Hint: out=clgrad.empty(0) takes any shape.",
                ClgradWarning,
                stacklevel=4,
            )
        resize(out, want.shape)
    copy_(out, result)
    return out
