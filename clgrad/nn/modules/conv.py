"""Convolutions of one to three dimensions, and transposed ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from clgrad.creation import empty
from clgrad.errors import ClgradValueError
from clgrad.nn import functional, init
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import BY_DIMS, _reverse_repeat_tuple, described
from clgrad.nn.parameter import Parameter
from clgrad.tensor import Tensor

Sizes = int | tuple[int, ...]

_PADDINGS = ("same", "valid")
_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions have.

    Attributes:
        weight: shape (out, in / groups, *kernel), or (in, out / groups, *kernel) if transposed;
            uniform within ±1/sqrt(fan in).
        bias: shape (out), drawn likewise, or None.
    """

    _dims: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any,
        dilation: Any, transposed: bool, output_padding: Any, groups: int, bias: bool,
        padding_mode: str, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        each = BY_DIMS[self._dims]
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = each(kernel_size)
        self.stride = each(stride)
        self.padding: Any = padding if isinstance(padding, str) else each(padding)
        self.dilation = each(dilation)
        self.transposed = transposed
        self.output_padding = each(output_padding)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check()
        self._reversed_padding_repeated_twice = self._both_sides()
        self.weight = Parameter(empty(self._weight_shape(), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check(self) -> None:
        name = type(self).__name__
        if self.groups <= 0:
            raise ClgradValueError(f"{name}: groups must be a positive integer, got {self.groups}.")
        for what in ("in_channels", "out_channels"):
            if getattr(self, what) % self.groups:
                raise ClgradValueError(
                    f"{name}: {what} must be divisible by groups, got {getattr(self, what)} and "
                    f"{self.groups}."
                )
        if isinstance(self.padding, str):
            if self.padding not in _PADDINGS:
                raise ClgradValueError(
                    f"{name}: Invalid padding string {self.padding!r}, should be one of "
                    f"{', '.join(_PADDINGS)}."
                )
            if self.padding == "same" and any(s != 1 for s in self.stride):
                raise ClgradValueError(
                    f"{name}: padding='same' is not supported for strided convolutions, got "
                    f"stride={self.stride}."
                )
        if self.padding_mode not in _MODES:
            raise ClgradValueError(
                f"{name}: padding_mode must be one of {', '.join(_MODES)}, but got "
                f"padding_mode='{self.padding_mode}'"
            )

    def _weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def _both_sides(self) -> tuple[int, ...]:
        """Return the paddings before and after each dim, the last dim first."""
        if not isinstance(self.padding, str):
            return _reverse_repeat_tuple(self.padding, 2)
        sides: list[int] = []
        for d, k in zip(reversed(self.dilation), reversed(self.kernel_size), strict=True):
            total = d * (k - 1) if self.padding == "same" else 0
            sides += [total // 2, total - total // 2]
        return tuple(sides)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew. Source: PyTorch's defaults (He et al. 2015 with a = √5)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan, _ = init.fans(self.weight)
            bound = 1 / math.sqrt(fan) if fan else 0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Return channels and what differs from the defaults."""
        shown = [f"{self.in_channels}, {self.out_channels}"]
        shown.append(described(self, "kernel_size", "stride"))
        for name, plain in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, name)
            if value != (plain,) * len(value):
                shown.append(f"{name}={value}")
        if self.groups != 1:
            shown.append(f"groups={self.groups}")
        if self.bias is None:
            shown.append("bias=False")
        if self.padding_mode != "zeros":
            shown.append(f"padding_mode={self.padding_mode}")
        return ", ".join(shown)


class _Forward(_ConvNd):
    """A convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size, stride, dilation: one number, or one for each dim.
        padding: likewise, or `valid` for none, `same` for a result as large as the input.
        groups: into how many parts channels are split, each convolved for itself.
        bias: whether something is added to each channel.
        padding_mode: `zeros`, `reflect`, `replicate` or `circular`.
        device, dtype: of the parameters.

    Raises:
        ClgradValueError: settings that do not fit together.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1,
        padding: str | Sizes = 0, dilation: Sizes = 1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, False, 0, groups,
            bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        call = (functional.conv1d, functional.conv2d, functional.conv3d)[self._dims - 1]
        padding = self.padding
        if self.padding_mode != "zeros":
            sides = self._reversed_padding_repeated_twice
            input, padding = functional.pad(input, sides, mode=self.padding_mode), 0
        return call(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input`, shape (N, C, *) or (C, *)."""
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Forward):
    __doc__ = (_Forward.__doc__ or "").replace("A convolution.", "A convolution over sequences.")
    _dims = 1


class Conv2d(_Forward):
    __doc__ = (_Forward.__doc__ or "").replace("A convolution.", "A convolution over images.")
    _dims = 2


class Conv3d(_Forward):
    __doc__ = (_Forward.__doc__ or "").replace("A convolution.", "A convolution over volumes.")
    _dims = 3


class _ConvTransposeNd(_ConvNd):
    """A transposed convolution: the gradient of a convolution as a layer of its own.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size, stride, padding, dilation: of the convolution whose gradient it is.
        output_padding: by how much larger the result is than the smallest that fits.
        groups: into how many parts channels are split.
        bias: whether something is added to each channel.
        padding_mode: `zeros`.
        device, dtype: of the parameters.

    Raises:
        ClgradValueError: settings that do not fit together.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1,
        padding: Sizes = 0, output_padding: Sizes = 0, groups: int = 1, bias: bool = True,
        dilation: Sizes = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, True,
            output_padding, groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(
        self, input: Tensor, output_size: Sequence[int] | None
    ) -> tuple[int, ...] | list[int]:
        """Return the output padding that leads to a wanted size."""
        if output_size is None:
            return self.output_padding
        dims = self._dims
        wanted = list(output_size)
        if len(wanted) == input.ndim and input.ndim in (dims + 1, dims + 2):
            wanted = wanted[-dims:]
        if len(wanted) != dims:
            raise ClgradValueError(
                f"{type(self).__name__}: for {input.ndim}D input, output_size must have {dims} "
                f"or {input.ndim} elements (got {len(output_size)})"
            )
        extra = []
        for k, want in enumerate(wanted):
            s, p, f, d = (x[k] for x in (self.stride, self.padding, self.kernel_size,
                                         self.dilation))  # fmt: skip
            least = (input.shape[k - dims] - 1) * s - 2 * p + d * (f - 1) + 1
            if not least <= want < least + s:
                raise ClgradValueError(
                    f"{type(self).__name__}: requested an output size of {wanted}, but valid "
                    f"sizes range from {least} to {least + s - 1} in dim {k} (for an input of "
                    f"{list(input.shape[-dims:])})"
                )
            extra.append(want - least)
        return extra

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return the transposed convolution of `input`, shape (N, C, *) or (C, *).

        Args:
            input: what is spread.
            output_size: wanted size of the spatial dims of the result.

        Raises:
            ClgradValueError: a size that cannot be had, or a padding mode but `zeros`.
        """
        if self.padding_mode != "zeros":
            raise ClgradValueError(
                f"Only `zeros` padding mode is supported for {type(self).__name__}"
            )
        call = (
            functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d,
        )[self._dims - 1]  # fmt: skip
        extra = tuple(self._output_padding(input, output_size))
        return call(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip


class ConvTranspose1d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    _dims = 1


class ConvTranspose2d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    _dims = 2


class ConvTranspose3d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    _dims = 3
