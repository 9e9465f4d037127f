"""Pooling as modules; what they compute is in `functional`.

Sizes are one number or one for each spatial dim; inputs have shape (N, C, *) or (C, *).
"""

from __future__ import annotations

from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import BY_DIMS, described
from clgrad.tensor import Tensor

Sizes = int | tuple[int, ...]


class _Pool(Module):
    _settings: tuple[str, ...] = ("kernel_size", "stride", "padding")

    def extra_repr(self) -> str:
        """Return the settings."""
        return described(self, *self._settings)


class _MaxPoolNd(_Pool):
    """The largest element of each window.

    Args:
        kernel_size: size of a window.
        stride: from window to window; the kernel size if None.
        padding: -inf on both sides.
        dilation: from element to element of a window.
        return_indices: return their positions in the plane too.
        ceil_mode: count the last window also if it is not complete.
    """

    _settings = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        dilation: Sizes = 1, return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def _pooled(self, call: Any, input: Tensor) -> Any:
        return call(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )  # fmt: skip


class MaxPool1d(_MaxPoolNd):
    __doc__ = _MaxPoolNd.__doc__

    def forward(self, input: Tensor) -> Any:
        """Return what is pooled."""
        return self._pooled(functional.max_pool1d, input)


class MaxPool2d(_MaxPoolNd):
    __doc__ = _MaxPoolNd.__doc__

    def forward(self, input: Tensor) -> Any:
        """Return what is pooled."""
        return self._pooled(functional.max_pool2d, input)


class MaxPool3d(_MaxPoolNd):
    __doc__ = _MaxPoolNd.__doc__

    def forward(self, input: Tensor) -> Any:
        """Return what is pooled."""
        return self._pooled(functional.max_pool3d, input)


class _FractionalMaxPoolNd(Module):
    """The largest element of windows at random distances.

    Args:
        kernel_size: of a window, one number or one for each dim.
        output_size: how many windows; or `output_ratio`, their share of the input's size.
        return_indices: return where in its image each element was, too.

    Raises:
        ClgradValueError: neither size nor ratio, or both; a ratio that is not in (0, 1).
    """

    _dims: int

    def __init__(
        self, kernel_size: Sizes, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False, _random_samples: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        each = BY_DIMS[self._dims]
        name = type(self).__name__
        self.kernel_size = each(kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else each(output_size)
        self.output_ratio = None if output_ratio is None else each(output_ratio)
        if output_size is None and output_ratio is None:
            raise ClgradValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ClgradValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ClgradValueError(
                f"output_ratio must be between 0 and 1 (got {self.output_ratio})"
            )

    def forward(self, input: Tensor) -> Any:
        """Return what is pooled."""
        pool = getattr(functional, f"fractional_max_pool{self._dims}d")
        return pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    __doc__ = _FractionalMaxPoolNd.__doc__
    _dims = 2


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    __doc__ = _FractionalMaxPoolNd.__doc__
    _dims = 3


class _MaxUnpoolNd(_Pool):
    """Puts elements back to where max pooling found them, zeros elsewhere.

    Args:
        kernel_size, stride, padding: of the pooling.
    """

    _dims: int

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        each = BY_DIMS[self._dims]
        self.kernel_size = each(kernel_size)
        self.stride = each(kernel_size if stride is None else stride)
        self.padding = each(padding)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Return planes of `output_size`, or of the size that follows from the settings."""
        call = (functional.max_unpool1d, functional.max_unpool2d, functional.max_unpool3d)[
            self._dims - 1
        ]
        return call(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpoolNd):
    __doc__ = _MaxUnpoolNd.__doc__
    _dims = 1


class MaxUnpool2d(_MaxUnpoolNd):
    __doc__ = _MaxUnpoolNd.__doc__
    _dims = 2


class MaxUnpool3d(_MaxUnpoolNd):
    __doc__ = _MaxUnpoolNd.__doc__
    _dims = 3


class AvgPool1d(_Pool):
    """The mean of each window.

    Args:
        kernel_size: size of a window.
        stride: from window to window; the kernel size if None.
        padding: zeros on both sides.
        ceil_mode: count the last window also if it is not complete.
        count_include_pad: divide by the whole window, also where it lies outside.
    """

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        ceil_mode: bool = False, count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        each = BY_DIMS[1]
        self.kernel_size = each(kernel_size)
        self.stride = each(kernel_size if stride is None else stride)
        self.padding = each(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return functional.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad,
        )  # fmt: skip


class _AvgPoolNd(_Pool):
    """The mean of each window.

    Args:
        kernel_size: size of a window.
        stride: from window to window; the kernel size if None.
        padding: zeros on both sides.
        ceil_mode: count the last window also if it is not complete.
        count_include_pad: divide by the whole window, also where it lies outside.
        divisor_override: divide by this instead.
    """

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def _pooled(self, call: Any, input: Tensor) -> Tensor:
        made: Tensor = call(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip
        return made


class AvgPool2d(_AvgPoolNd):
    __doc__ = _AvgPoolNd.__doc__

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return self._pooled(functional.avg_pool2d, input)


class AvgPool3d(_AvgPoolNd):
    __doc__ = _AvgPoolNd.__doc__

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return self._pooled(functional.avg_pool3d, input)


class _LPPoolNd(_Pool):
    """The p-norm of each window.

    Args:
        norm_type: p.
        kernel_size: size of a window.
        stride: from window to window; the kernel size if None.
        ceil_mode: count the last window also if it is not complete.
    """

    _settings = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def _pooled(self, call: Any, input: Tensor) -> Tensor:
        made: Tensor = call(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )
        return made


class LPPool1d(_LPPoolNd):
    __doc__ = _LPPoolNd.__doc__

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return self._pooled(functional.lp_pool1d, input)


class LPPool2d(_LPPoolNd):
    __doc__ = _LPPoolNd.__doc__

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return self._pooled(functional.lp_pool2d, input)


class LPPool3d(_LPPoolNd):
    __doc__ = _LPPoolNd.__doc__

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return self._pooled(functional.lp_pool3d, input)


class _Adaptive(_Pool):
    _settings = ("output_size",)

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size


class AdaptiveAvgPool1d(_Adaptive):
    """The means of windows that make a result of `output_size`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return functional.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """The means of windows that make a result of `output_size`; None keeps a dim."""

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return functional.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_Adaptive):
    """The means of windows that make a result of `output_size`; None keeps a dim."""

    def forward(self, input: Tensor) -> Tensor:
        """Return what is pooled."""
        return functional.adaptive_avg_pool3d(input, self.output_size)


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest of windows that make a result of `output_size`; their positions too."""

    def forward(self, input: Tensor) -> Any:
        """Return what is pooled."""
        return functional.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The largest of windows that make a result of `output_size`; their positions too."""

    def forward(self, input: Tensor) -> Any:
        """Return what is pooled."""
        return functional.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """The largest of windows that make a result of `output_size`; their positions too."""

    def forward(self, input: Tensor) -> Any:
        """Return what is pooled."""
        return functional.adaptive_max_pool3d(input, self.output_size, self.return_indices)
