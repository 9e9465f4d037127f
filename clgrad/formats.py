"""Names of memory layouts that PyTorch's functions take.

Results here are always strided, and contiguous where an op makes new memory. `to`, `contiguous` and
`clone` also put elements into the order of `channels_last`; elsewhere the names exist so that calls
written for PyTorch can pass them, and what would ask for something else is an error.
"""

from __future__ import annotations

from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradTypeError, DTypeError


class Name:
    """A constant that prints as `clgrad.<name>`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"clgrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name


strided = Name("strided")
contiguous_format = Name("contiguous_format")
preserve_format = Name("preserve_format")
channels_last = Name("channels_last")
channels_last_3d = Name("channels_last_3d")


_ORDERS = {channels_last.name: (0, 2, 3, 1), channels_last_3d.name: (0, 2, 3, 4, 1)}


def order_of(memory_format: Any) -> tuple[int, ...] | None:
    """Return the dims of a format from the outermost in memory; None for any but channels last."""
    return _ORDERS.get(memory_format.name) if isinstance(memory_format, Name) else None


def lies_in(layout: Any, memory_format: Any) -> bool:
    """Whether a tensor's elements lie without gaps in row-major order, or in that of a format."""
    order = order_of(memory_format)
    if order is None:
        check_memory_format("is_contiguous", memory_format)
        return bool(layout.is_contiguous)
    return layout.ndim == len(order) and bool(layout.permute(order).is_contiguous)


def memory_order(op: str, memory_format: Any, ndim: int) -> tuple[int, ...] | None:
    """Return the dims from the outermost to the innermost in memory; None for row-major.

    Raises:
        ClgradRuntimeError: a tensor of another number of dims. ClgradTypeError: no memory format.
    """
    order = order_of(memory_format)
    if order is None:
        check_memory_format(op, memory_format)
    elif len(order) != ndim:
        raise ClgradRuntimeError(
            f"{op}: required rank {len(order)} tensor to use {memory_format.name} format, but got "
            f"{ndim} dims."
        )
    return order


def check_layout(op: str, layout: Any) -> None:
    """Raise `DTypeError` for a layout that is not there (the sparse ones)."""
    if layout is not None and layout is not strided:
        raise DTypeError(
            f"{op}: layout {layout!r} is not there. Expected clgrad.strided: every tensor is dense."
        )


def check_memory_format(op: str, memory_format: Any) -> None:
    """Raise for a memory format other than the two that ask for nothing special."""
    if memory_format is None or memory_format in (contiguous_format, preserve_format):
        return
    if isinstance(memory_format, Name):
        raise DTypeError(
            f"{op}: memory format {memory_format!r} is not there. Expected contiguous_format or "
            "preserve_format. Hint: permute() makes a view in another order."
        )
    raise ClgradTypeError(
        f"{op}(): argument 'memory_format' must be a memory format, not "
        f"{type(memory_format).__name__}."
    )
