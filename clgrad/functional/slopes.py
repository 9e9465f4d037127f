"""Slopes of sampled functions by differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.errors import ClgradRuntimeError, ShapeError
from clgrad.functional.joining import cat
from clgrad.layout import wrap_dim
from clgrad.tensor import Tensor


def _gaps(spacing: Any, x: Tensor, d: int) -> Any:
    """Return the distance of neighbours along `d`: a number, or a tensor that broadcasts."""
    if not isinstance(spacing, Tensor):
        return spacing
    if spacing.ndim != 1 or spacing.shape[0] != x.shape[d]:
        raise ShapeError(
            f"gradient: expected coordinates of dimension {d} as a vector of {x.shape[d]}, got "
            f"{list(spacing.shape)}."
        )
    count = x.shape[d] - 1
    gaps = spacing.narrow(0, 1, count) - spacing.narrow(0, 0, count)
    return gaps.reshape([-1 if k == d else 1 for k in range(x.ndim)])


def _slope(x: Any, d: int, spacing: Any, edge_order: int) -> Any:
    """Source: B. Fornberg, Math. Comp. 51 (1988), 699-706: second order, unequal distances."""
    n = x.shape[d]
    gaps = _gaps(spacing, x, d)

    def at(k: int, length: int = 1) -> Any:
        return x.narrow(d, k, length)

    def gap(k: int, length: int = 1) -> Any:
        return gaps.narrow(d, k, length) if isinstance(gaps, Tensor) else gaps

    def ends(near: int, first: int, step: int) -> Any:
        h = gap(first)
        if edge_order == 1:
            return (at(near + step) - at(near)) / h * step
        k = gap(first + step)
        a, b = -(2 * h + k) / (h * (h + k)), (h + k) / (h * k)
        c = -h / (k * (h + k))
        return (a * at(near) + b * at(near + step) + c * at(near + 2 * step)) * step

    left, right = gap(0, n - 2), gap(1, n - 2)
    middle = (
        left * left * at(2, n - 2)
        + (right * right - left * left) * at(1, n - 2)
        - right * right * at(0, n - 2)
    ) / (left * right * (left + right))
    return cat([ends(0, 0, 1), middle, ends(n - 1, n - 2, -1)], d)


def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Return the slope along each dim, of second order inside.

    Args:
        input: values of a function on a grid.
        spacing: the distance of neighbours, one for each dim, or their coordinates as vectors.
        dim: along which; default: all.
        edge_order: 1 or 2, the order at both ends.

    Raises:
        ClgradRuntimeError: too few entries, another order, numbers that do not fit.
    """
    if edge_order not in (1, 2):
        raise ClgradRuntimeError(
            f"torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}."
        )
    given = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = [wrap_dim(d, input.ndim, "gradient") for d in given]
    if len(set(dims)) != len(dims):
        raise ClgradRuntimeError(f"gradient: dim {list(given)} appears multiple times.")
    spacing = 1 if spacing is None else spacing
    many = isinstance(spacing, Sequence)
    if many and len(spacing) != len(dims):
        raise ClgradRuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar or a list of length "
            f"{len(dims)}, but got a list of length {len(spacing)}."
        )
    if isinstance(spacing, Tensor) and spacing.ndim and len(dims) != 1:
        raise ClgradRuntimeError("torch.gradient expected coordinates for each dim as a list.")
    x: Any = input if input.is_floating_point() else input.float()
    made = []
    for k, d in enumerate(dims):
        if input.shape[d] < edge_order + 1:
            raise ClgradRuntimeError(
                f"torch.gradient expected each dimension size to be at least edge_order+1, got "
                f"{input.shape[d]} in dimension {d}."
            )
        one = spacing[k] if many else spacing
        made.append(_slope(x, d, one.item() if isinstance(one, Tensor) and not one.ndim else one,
                           edge_order))  # fmt: skip
    return tuple(made)


__all__ = ["gradient"]
METHODS: tuple[str, ...] = ()
