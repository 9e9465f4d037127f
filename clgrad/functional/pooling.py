"""Pooling: the largest element, the mean or the norm of each window of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from clgrad.dispatch import apply
from clgrad.dtypes import bool_, int64
from clgrad.errors import (
    ClgradIndexError,
    ClgradTypeError,
    ClgradValueError,
    ShapeError,
    UnsupportedDTypeError,
)
from clgrad.functional._out import with_out
from clgrad.functional.shaping import squeeze, unsqueeze
from clgrad.ops.meta import Meta
from clgrad.ops.pooling import Windows, window_argmax, window_max, window_mean, window_take
from clgrad.shapes import dims_of
from clgrad.tape.tangents import differentiated
from clgrad.tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "avg_pool1d", "max_pool1d",
    "max_pool1d_with_indices", "max_pool2d", "max_pool3d",
]  # fmt: skip
METHODS: tuple[str, ...] = ()

Sizes = int | Sequence[int]
Pooled = Tensor | tuple[Tensor, Tensor]


# ---- arguments ---------------------------------------------------------------------------------


def hashable(value: Any) -> Any:
    """Return a setting as something that a table can be asked for: numbers and tuples."""
    if isinstance(value, Tensor):
        return dims_of(value)
    return tuple(value) if isinstance(value, list) else value


def each(op: str, name: str, value: Any, count: int) -> tuple[int, ...]:
    """Return a setting as one integer for each spatial dim.

    Raises:
        ShapeError: neither one number nor `count` of them. ClgradTypeError: no integers.
    """
    values = (value,) * count if isinstance(value, int) else tuple(value)
    if len(values) == 1:
        values *= count
    words = {1: "one int", 2: "two ints", 3: "three ints"}[count]
    if len(values) != count:
        raise ShapeError(
            f"{op}: {name} must either be a single int, or a tuple of {words}, got {list(values)}."
        )
    for one in values:
        if isinstance(one, bool) or not isinstance(one, int):
            raise ClgradTypeError(f"{op}: {name} has {one!r}. Expected integers.")
    return values


def _check_input(op: str, rank: int, x: Meta) -> None:
    if x.ndim not in (rank + 1, rank + 2):
        names = f"{rank + 1}D or {rank + 2}D (batch mode) tensor expected for input"
        if rank == 1:
            names = "Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input"
        raise ShapeError(f"{op}: non-empty {names}, but got shape {list(x.shape)}."
                         if rank > 1 else f"{op}: {names}, but got:{list(x.shape)}.")  # fmt: skip
    if not all(x.shape[-rank - 1 :]):
        raise ShapeError(
            f"{op}: Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with optional 0 dim "
            f"batch size for input, but got:{list(x.shape)}."
        )


def _outputs(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...],
    padding: tuple[int, ...], dilation: tuple[int, ...], ceil_mode: bool,
) -> tuple[int, ...]:  # fmt: skip
    """Return how many windows there are; with `ceil_mode` also those that leave the image."""
    counts = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        count = (room + s - 1 if ceil_mode else room) // s + 1
        if ceil_mode and (count - 1) * s >= n + p:  # it would start in the padding at the end
            count -= 1
        counts.append(count)
    return tuple(counts)


def _by(sizes: Sequence[int]) -> str:
    return f"({'x'.join(map(str, sizes))})"


@lru_cache(maxsize=4096)
def _windows(
    op: str, rank: int, x: Meta, kernel: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool, padded: bool = True, divisor: int | None = None,
) -> Windows:  # fmt: skip
    """Return the windows of a call.

    Raises:
        ShapeError, ClgradTypeError: a setting that has no meaning, or windows that do not fit.
    """
    _check_input(op, rank, x)
    k = each(op, "kernel_size", kernel, rank)
    s = k if stride in (None, ()) else each(op, "stride", stride, rank)
    p = each(op, "padding", padding, rank)
    d = each(op, "dilation", dilation, rank)
    for name, values in (("kernel_size", k), ("stride", s), ("dilation", d)):
        if min(values) < 1:
            raise ShapeError(
                f"{op}: {name} should be greater than zero, but got {name}={list(values)}."
            )
    for n, one, step in zip(p, k, d, strict=True):
        if n < 0 or n > ((one - 1) * step + 1) // 2:
            raise ShapeError(
                f"{op}: pad should be at most half of effective kernel size, but got pad={n}, "
                f"kernel_size={one} and dilation={step}. Hint: pad the image itself for more."
            )
    if divisor == 0:
        raise ShapeError(f"{op}: divisor must be not zero.")
    size = x.shape[-rank:]
    out = _outputs(size, k, s, p, d, bool(ceil_mode))
    if min(out) < 1:
        channels = x.shape[-rank - 1]
        raise ShapeError(
            f"{op}: Given input size: {_by((channels, *size))}. Calculated output size: "
            f"{_by((channels, *(max(n, 0) for n in out)))}. Output size is too small. "
            "Hint: a smaller kernel, or a larger padding."
        )
    return Windows(size, out, k, s, p, d, divisor or 0, padded)


@lru_cache(maxsize=4096)
def _adaptive(op: str, rank: int, x: Meta, output_size: Any) -> Windows:
    """Return windows that divide an image evenly; None keeps a size."""
    if x.ndim not in (rank + 1, rank + 2):
        several = rank > 1 and not isinstance(output_size, int)
        error = ClgradValueError if several and x.ndim <= rank else ShapeError
        raise error(
            f"{op}(): Expected {rank + 1}D or {rank + 2}D tensor, but got: {list(x.shape)}."
        )
    size = x.shape[-rank:]
    values = (output_size,) * rank if isinstance(output_size, int | None) else tuple(output_size)
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        raise ShapeError(f"{op}: output_size must be {rank} numbers, got {list(values)}.")
    out = tuple(n if o is None else o for n, o in zip(size, values, strict=True))
    if min(out) < 0:
        raise ShapeError(
            f"{op}: elements of output_size must be greater than or equal to 0 but received "
            f"{list(out)}."
        )
    for d, n in enumerate(x.shape[-rank - 1 :], x.ndim - rank - 1):
        if not n:
            raise ShapeError(
                f"{op}(): Expected input to have non-zero size for non-batch dimensions, but input "
                f"has sizes {list(x.shape)} with dimension {d} being empty."
            )
    return Windows(size, out)


def _pool(windows: Windows) -> str:
    return f"{'' if windows.kernel else 'adaptive_'}{len(windows.size)}d"


def _widen(op: str, x: Tensor, value: Any, fill: Any) -> Any:
    """Return the setting of a pool of one dim as that of two, of which the first does nothing."""
    if value is None or value == ():
        return value
    return (fill, value if isinstance(value, int) else each(op, "a setting", value, 1)[0])


# ---- the largest element -----------------------------------------------------------------------


def _largest(op: str, x: Tensor, windows: Windows, return_indices: bool) -> Pooled:
    if x._meta.dtype is bool_:
        raise UnsupportedDTypeError(
            f"{op}: not implemented for bool. Hint: cast with .to(clgrad.uint8)."
        )
    if not return_indices and not differentiated(x):
        largest: Tensor = apply(window_max, (x,), (windows,))
        return largest
    indices: Tensor = apply(window_argmax, (x,), (windows,))
    taken: Tensor = apply(window_take[_pool(windows)], (x, indices), (windows,))
    return (taken, indices.to(int64)) if return_indices else taken


def _max_pool(
    op: str, rank: int, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool, return_indices: bool,
) -> Pooled:  # fmt: skip
    windows = _windows(
        op, rank, x._meta, hashable(kernel_size), hashable(stride), hashable(padding),
        hashable(dilation), ceil_mode,
    )  # fmt: skip
    return _largest(op, x, windows, return_indices)


def max_pool1d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """Return the largest element of each window of images of one dimension.

    Args:
        input: shape (N, C, L) or (C, L); NaN counts as the largest.
        kernel_size, stride, padding, dilation: of the windows; `stride` None is `kernel_size`.
        ceil_mode: also take windows that begin in the image and leave it.
        return_indices: also return where in its image each element is, int64.

    Raises:
        ShapeError: windows that do not fit.
    """
    op = "max_pool1d"
    _check_input(op, 1, input._meta)
    found = _max_pool(
        op, 2, unsqueeze(input, -2), _widen(op, input, kernel_size, 1),
        _widen(op, input, stride, 1), _widen(op, input, padding, 0),
        _widen(op, input, dilation, 1), ceil_mode, return_indices,
    )  # fmt: skip
    return _narrowed(found)


def _narrowed(found: Pooled) -> Pooled:
    if isinstance(found, tuple):
        return squeeze(found[0], -2), squeeze(found[1], -2)
    return squeeze(found, -2)


def _max_function(rank: int) -> Callable[..., Any]:
    name = f"max_pool{rank}d"
    shape = "(N, C, H, W) or (C, H, W)" if rank == 2 else "(N, C, D, H, W) or (C, D, H, W)"

    def call(
        input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        return _max_pool(
            name, rank, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
        )

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""Return the largest element of each window of images of {rank} dimensions.

    Args:
        input: shape {shape}; NaN counts as the largest.
        kernel_size, stride, padding, dilation: one number or one for each dimension; `stride` None
            is `kernel_size`.
        ceil_mode: also take windows that begin in the image and leave it.
        return_indices: also return where in its image each element is, int64.

    Raises:
        ShapeError: windows that do not fit.
    """
    return call


max_pool2d = _max_function(2)
max_pool3d = _max_function(3)


def _with_indices(pool: Callable[..., Any]) -> Callable[..., Any]:
    def call(
        input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        return pool(input, kernel_size, stride, padding, dilation, ceil_mode, True)

    call.__name__ = call.__qualname__ = f"{pool.__name__}_with_indices"
    call.__doc__ = f"Return what `{pool.__name__}` does with `return_indices=True`."
    return call


max_pool1d_with_indices = _with_indices(max_pool1d)
max_pool2d_with_indices = _with_indices(max_pool2d)
max_pool3d_with_indices = _with_indices(max_pool3d)


def adaptive_max_pool(rank: int, input: Tensor, output_size: Any, return_indices: bool) -> Pooled:
    """Return the largest element of each of `output_size` windows that divide an image evenly."""
    op = f"adaptive_max_pool{rank}d"
    windows = _adaptive(op, rank, input._meta, hashable(output_size))
    if rank > 1:
        return _largest(op, input, windows, return_indices)
    found = adaptive_max_pool(2, unsqueeze(input, -2), (1, *windows.out), return_indices)
    return _narrowed(found)


def adaptive_max_pool1d(input: Tensor, output_size: Sizes) -> Any:
    """Return `(values, indices)` of `nn.functional.adaptive_max_pool1d`."""
    return adaptive_max_pool(1, input, output_size, True)


# ---- the mean ----------------------------------------------------------------------------------


def _mean(op: str, x: Tensor, windows: Windows) -> Tensor:
    if not x._meta.dtype.is_floating_point and x._meta.dtype is not int64:
        raise UnsupportedDTypeError(
            f"{op}: not implemented for {x.dtype.name}. Expected a floating-point dtype. "
            "Hint: input.float()."
        )
    made: Tensor = apply(window_mean[_pool(windows)], (x,), (windows,))
    return made


def avg_pool1d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    ceil_mode: bool = False, count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """Return the mean of each window of images of one dimension.

    Args:
        input: shape (N, C, L) or (C, L).
        kernel_size, stride, padding: of the windows; `stride` None is `kernel_size`.
        ceil_mode: also take windows that begin in the image and leave it.
        count_include_pad: whether padding counts as elements, of value 0.

    Raises:
        ShapeError: windows that do not fit.
    """
    op = "avg_pool1d"
    if input._meta.ndim not in (2, 3):
        raise ShapeError(
            f"{op}: Expected 2 to 3 dimensions, but got {input._meta.ndim}-dimensional tensor."
        )
    windows = _windows(
        op, 2, unsqueeze(input, -2)._meta, _widen(op, input, kernel_size, 1),
        _widen(op, input, stride, 1), _widen(op, input, padding, 0), 1, ceil_mode,
        count_include_pad,
    )  # fmt: skip
    return squeeze(_mean(op, unsqueeze(input, -2), windows), -2)


def _avg_function(rank: int) -> Callable[..., Tensor]:
    name = f"avg_pool{rank}d"
    shape = "(N, C, H, W) or (C, H, W)" if rank == 2 else "(N, C, D, H, W) or (C, D, H, W)"

    def call(
        input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:  # fmt: skip
        if input._meta.ndim < rank + 1 and rank == 2:
            raise ClgradIndexError(
                f"{name}: Dimension out of range: input has shape {list(input.shape)}. Expected "
                f"{shape}."
            )
        windows = _windows(
            name, rank, input._meta, hashable(kernel_size), hashable(stride), hashable(padding), 1,
            ceil_mode, count_include_pad, divisor_override,
        )  # fmt: skip
        return _mean(name, input, windows)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""Return the mean of each window of images of {rank} dimensions.

    Args:
        input: shape {shape}.
        kernel_size, stride, padding: one number or one for each dimension; `stride` None is
            `kernel_size`.
        ceil_mode: also take windows that begin in the image and leave it.
        count_include_pad: whether padding counts as elements, of value 0.
        divisor_override: what to divide by instead of the number of elements.

    Raises:
        ShapeError: windows that do not fit.
    """
    return call


avg_pool2d = with_out(_avg_function(2))
avg_pool3d = with_out(_avg_function(3))


def _adaptive_avg_function(rank: int) -> Callable[..., Tensor]:
    name = f"adaptive_avg_pool{rank}d"

    def call(input: Tensor, output_size: Any) -> Tensor:
        windows = _adaptive(name, rank, input._meta, hashable(output_size))
        if rank == 1:
            wide = unsqueeze(input, -2)
            windows = _adaptive("adaptive_avg_pool2d", 2, wide._meta, (1, *windows.out))
            return squeeze(_mean(name, wide, windows), -2)
        if max(windows.out) == 1 == min(windows.out):
            whole: Tensor = input.mean(dim=tuple(range(-rank, 0)), keepdim=True)
            return whole
        return _mean(name, input, windows)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""Return the means of windows that divide images of {rank} dimensions evenly.

    Args:
        input: shape (N, C, *) or (C, *).
        output_size: windows along each dimension, one number or one for each; None keeps a size.

    Raises:
        ShapeError: an input of another rank, or empty.
    """
    return call


adaptive_avg_pool1d = _adaptive_avg_function(1)
adaptive_avg_pool2d = _adaptive_avg_function(2)
adaptive_avg_pool3d = _adaptive_avg_function(3)


# ---- the norm ----------------------------------------------------------------------------------


def _lp_function(rank: int) -> Callable[..., Tensor]:
    name = f"lp_pool{rank}d"
    mean = (avg_pool1d, avg_pool2d, avg_pool3d)[rank - 1]

    def call(
        input: Tensor, norm_type: int | float, kernel_size: Sizes, stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> Tensor:  # fmt: skip
        taps = 1
        for k in each(name, "kernel_size", hashable(kernel_size), rank):
            taps *= k
        out = mean(input**norm_type, kernel_size, stride, 0, ceil_mode)
        made: Tensor = (out.sign() * out.abs().relu() * taps) ** (1.0 / norm_type)
        return made

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""Return (sum of x ** p) ** (1 / p) over windows of images of {rank} dims.

    Args:
        input: shape (N, C, *) or (C, *).
        norm_type: the power p; 1 gives sums.
        kernel_size, stride: of the windows; `stride` None is `kernel_size`.
        ceil_mode: also take windows that begin in the image and leave it.

    Raises:
        ShapeError: windows that do not fit.
    """
    return call


lp_pool1d = _lp_function(1)
lp_pool2d = _lp_function(2)
lp_pool3d = _lp_function(3)
