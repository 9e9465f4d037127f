"""Forward-mode derivatives by PyTorch's interface: dual tensors within a level.

A dual tensor is a leaf of the graph whose tangent the level knows. The tangent of a result is
computed when it is asked for: the pull-back of cotangents to the duals is linear, and its own
pull-back, applied to their tangents, is the push-forward. So every op that has a derivative has
this one too, from the same formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

from clgrad.autograd.backward import grad
from clgrad.autograd.reach import without_own
from clgrad.errors import AutogradError, ClgradTypeError, ShapeError
from clgrad.tape import grad_mode
from clgrad.tape.inplace import edge_of, requires_grad_of
from clgrad.tensor import Tensor


class UnpackedDualTensor(NamedTuple):
    """A primal and its tangent, or None where nothing depends on a dual."""

    primal: Tensor
    tangent: Tensor | None


class _Level:
    def __init__(self) -> None:
        self.duals: list[tuple[Tensor, Tensor]] = []
        self.leaves: set[Any] = set()


_levels: list[_Level] = []


def enter_dual_level() -> int:
    """Begin a level; returns its number.

    Raises:
        AutogradError: there is one already.
    """
    if _levels:
        raise AutogradError(
            "Nested forward mode AD is not supported at the moment. Expected one dual level. Hint: "
            "func.jvp nests."
        )
    _levels.append(_Level())
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level; its tangents are gone."""
    if not _levels or level not in (None, 0):
        raise AutogradError(
            f"exit_dual_level: level {level} is not the innermost one. Expected levels to be left "
            "in the order opposite to that in which they were entered."
        )
    _levels.pop()


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


def _level(what: str) -> _Level:
    if not _levels:
        raise AutogradError(
            f"Trying to {what} a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first. Hint: with clgrad.autograd.forward_ad.dual_level(): ..."
        )
    return _levels[-1]


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """Return `tensor` with a tangent of its shape and dtype.

    Raises:
        AutogradError: no level, or a dtype without derivatives.
        ShapeError: the shapes differ.
    """
    here = _level("create")
    if not tensor.dtype.is_floating_point or not tangent.dtype.is_floating_point:
        raise ClgradTypeError(
            f"Expected primal to be floating point, but got: {tensor.dtype.name}, with a tangent "
            f"of {tangent.dtype.name}."
        )
    if tensor.shape != tangent.shape:
        raise ShapeError(
            "Trying to set a forward gradient that has a different size than that of the original "
            f"Tensor, this is not supported. Tensor is of size {list(tensor.shape)} while the "
            f"given forward gradient is of size {list(tangent.shape)}."
        )
    if requires_grad_of(tensor):
        dual: Tensor = tensor.view_as(tensor)
    else:
        dual = tensor.detach().requires_grad_()
        edge = edge_of(dual)
        assert edge is not None
        here.leaves.add(edge[0])
    here.duals.append((dual, tangent))
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """Return the primal and the tangent of a tensor; outside of a level there is no tangent."""
    if not _levels:
        return UnpackedDualTensor(tensor, None)
    here = _levels[-1]
    for dual, tangent in here.duals:
        if tensor is dual:
            return UnpackedDualTensor(without_own(tensor, here.leaves), tangent)
    if not requires_grad_of(tensor) or not here.duals:
        return UnpackedDualTensor(tensor, None)
    with grad_mode.enable_grad():
        seed = tensor._zeros(tensor.shape).requires_grad_()
        sources = [dual for dual, _ in here.duals]
        pulled = grad(
            tensor, sources, seed, retain_graph=True, create_graph=True, allow_unused=True
        )
        pairs = [
            (p, tangent)
            for p, (_, tangent) in zip(pulled, here.duals, strict=True)
            if p is not None
        ]
        if not pairs:
            return UnpackedDualTensor(without_own(tensor, here.leaves), None)
        linear = [(p, tangent) for p, tangent in pairs if requires_grad_of(p)]
        found: Tensor | None = None
        if linear:
            (found,) = grad(
                [p for p, _ in linear], [seed], [t for _, t in linear], retain_graph=True,
                create_graph=True, allow_unused=True,
            )  # fmt: skip
    tangent = tensor._zeros(tensor.shape) if found is None else without_own(found, here.leaves)
    return UnpackedDualTensor(without_own(tensor, here.leaves), tangent)
