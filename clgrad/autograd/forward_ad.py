"""Forward-mode derivatives by PyTorch's interface: dual tensors within a level.

While a level is open, every op computes the tangent of its result beside it (`pushing`); what the
level knows of tensors is in `tape.tangents`. Grad mode has no part in it: tangents flow under
`no_grad` too, and have a history of their own where they depend on something that requires grad.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

from clgrad.autograd import pushing as _pushing  # noqa: F401  # hands itself to the tape
from clgrad.errors import AutogradError, ClgradValueError, ShapeError
from clgrad.tape.grad_mode import mode, set_forward_enabled
from clgrad.tape.tangents import Level, cut, forward, put, suspended, tangent_of
from clgrad.tensor import Tensor

_current_level = -1
_set_fwd_grad_enabled = set_forward_enabled


class UnpackedDualTensor(NamedTuple):
    """A primal and its tangent, or None where nothing depends on a dual."""

    primal: Tensor
    tangent: Tensor | None


def _is_fwd_grad_enabled() -> bool:
    """Return whether this thread's ops look for tangents, while a level is open."""
    return mode.forward


def enter_dual_level() -> int:
    """Begin a level; returns its number.

    Raises:
        AutogradError: there is one already.
    """
    global _current_level
    if _current_level >= 0:
        raise AutogradError(
            "Nested forward mode AD is not supported at the moment. Expected one dual level. Hint: "
            "func.jvp nests."
        )
    _current_level = 0
    forward.level = Level()
    forward.open = True
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level; its tangents are gone."""
    global _current_level
    if _current_level < 0 or level not in (None, _current_level):
        raise AutogradError(
            "Trying to exit a forward AD level that was not the last one that was created. This is "
            f"not supported: level {level}, where {_current_level} is the last. Hint: leave levels "
            "in the order opposite to that in which they were entered."
        )
    _current_level = -1
    forward.open = False
    forward.level = Level()


class dual_level:  # noqa: N801  # PyTorch's name
    """A `with` block in which `make_dual` may be called."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        exit_dual_level()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def within(*args: Any, **kwargs: Any) -> Any:
            with dual_level():
                return function(*args, **kwargs)

        return within


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """Return `tensor`, a view of it, with a tangent of its shape.

    Raises:
        AutogradError: no level, or one of them has a tangent already.
        ClgradValueError: a dtype without derivatives.
        ShapeError: the shapes differ.
    """
    if (_current_level if level is None else level) < 0:
        raise AutogradError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first. Hint: with clgrad.autograd.forward_ad.dual_level(): ..."
        )
    for what, one in (("primal", tensor), ("tangent", tangent)):
        if not one.dtype.is_floating_point:
            raise ClgradValueError(
                f"Expected {what} to be floating point or complex, but got: {one.dtype!r}"
            )
    if tangent_of(tensor) is not None:
        raise AutogradError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the "
            f"same level {_current_level} is not supported. Hint: unpack_dual(tensor).primal."
        )
    if tangent_of(tangent) is not None:
        raise AutogradError(
            "Cannot set a forward gradient that itself has a forward gradient at the same level "
            f"{_current_level}: this is not supported. Hint: unpack_dual(tangent).primal."
        )
    if tensor.shape != tangent.shape:
        raise ShapeError(
            "Trying to set a forward gradient that has a different size than that of the original "
            f"Tensor, this is not supported. Tensor is of size {list(tensor.shape)} while the "
            f"given forward gradient is of size {list(tangent.shape)}."
        )
    dual = _alias(tensor)
    put(dual, tangent)
    return dual


def _alias(tensor: Tensor) -> Tensor:
    with suspended():
        made: Tensor = tensor.view_as(tensor)
    cut(made)
    return made


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """Return the primal, a view, and the tangent; outside of a level there is no tangent."""
    if (_current_level if level is None else level) < 0:
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(_alias(tensor), tangent_of(tensor))
