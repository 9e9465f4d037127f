"""Padding of sequences, images and volumes by a constant, by reflection, repetition or wrapping.

`padding` is one number for all sides, or (left, right, top, bottom, front, back), the last dim
first; negative numbers cut off.
"""

from __future__ import annotations

from typing import Any

from clgrad.nn import functional
from clgrad.nn.modules.batchnorm import expect_dims
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import _ntuple, described
from clgrad.tensor import Tensor


class _Pad(Module):
    _dims: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self._dims)(padding)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (N, C, *) or (C, *), padded."""
        return functional.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        """Return the padding."""
        return str(self.padding)


class _ConstantPadNd(_Pad):
    """Adds a number on each side."""

    _mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` padded."""
        return functional.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        """Return padding and value."""
        return described(self, "padding", "value")


class ConstantPad1d(_ConstantPadNd):
    """Adds a number on both sides of sequences."""

    _dims = 1


class ConstantPad2d(_ConstantPadNd):
    """Adds a number on the sides of images."""

    _dims = 2


class ConstantPad3d(_ConstantPadNd):
    """Adds a number on the sides of volumes."""

    _dims = 3


class _Zero(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Return the padding."""
        return str(self.padding)


class ZeroPad1d(_Zero, ConstantPad1d):
    """Adds zeros on both sides of sequences."""


class ZeroPad2d(_Zero, ConstantPad2d):
    """Adds zeros on the sides of images."""


class ZeroPad3d(_Zero, ConstantPad3d):
    """Adds zeros on the sides of volumes."""


class ReflectionPad1d(_Pad):
    """Adds sequences mirrored at their ends."""

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Adds images mirrored at their borders."""

    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """Adds volumes mirrored at their borders."""

    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Repeats the ends of sequences."""

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Repeats the borders of images."""

    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """Repeats the borders of volumes."""

    _dims = 3
    _mode = "replicate"


class _CircularPadNd(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (N, C, *) or (C, *), padded."""
        expect_dims(input, self._dims + 1, self._dims + 2)
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """Adds the other end of sequences."""

    _dims = 1


class CircularPad2d(_CircularPadNd):
    """Adds the opposite sides of images."""

    _dims = 2


class CircularPad3d(_CircularPadNd):
    """Adds the opposite sides of volumes."""

    _dims = 3
