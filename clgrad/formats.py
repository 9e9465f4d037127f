"""Names of memory layouts that PyTorch's functions take.

Results here are always strided, and contiguous where an op makes new memory. The names exist so
that calls written for PyTorch can pass them; what would ask for something else is an error.
"""

from __future__ import annotations

from typing import Any

from clgrad.errors import ClgradTypeError, DTypeError


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
