"""Max pooling with windows at random distances.

Source: B. Graham, "Fractional max-pooling" (arXiv 1412.6071), pseudorandom and overlapping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from clgrad.calls import function
from clgrad.creation import arange
from clgrad.errors import ClgradRuntimeError, ClgradValueError, ShapeError
from clgrad.functional.sampling import rand
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

__all__ = [
    "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]  # fmt: skip

_where = function(OPS["where"])


def _each(op: str, name: str, value: Any, dims: int) -> tuple[Any, ...]:
    values = (value,) * dims if isinstance(value, int | float) else tuple(value)
    if len(values) != dims:
        raise ClgradValueError(f"{op}: expected {name} to have {dims} entries, got {len(values)}.")
    return values


def _starts(sample: Any, size: int, out: int, kernel: int) -> Any:
    """Return where windows along one dim begin, shape (*, out); `sample` has shape (*)."""
    if out == 1:
        return (sample.unsqueeze(-1) * 0 + size - kernel).long()
    alpha = (size - kernel) / (out - 1)
    place = arange(out, dtype=sample.dtype, device=sample.device)
    shift = sample.unsqueeze(-1)
    found = ((place + shift) * alpha).long() - (shift * alpha).long()
    return _where(place > out - 1.5, size - kernel, found)


def _pool(
    op: str, dims: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any,
    samples: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if output_size is None and output_ratio is None:
        raise ClgradValueError(f"{op} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (dims + 1, dims + 2) or not prod(input.shape[-dims - 1 :]):
        raise ShapeError(
            f"{op}(): Expected {dims + 1}D or {dims + 2}D tensor with sizes above 0, but for "
            f"the batch's, but got: {list(input.shape)}."
        )
    size = tuple(input.shape[-dims:])
    if output_size is None:
        ratios = _each(op, "output_ratio", output_ratio, dims)
        output_size = [int(n * r) for n, r in zip(size, ratios, strict=True)]
    out = _each(op, "output_size", output_size, dims)
    kernel = _each(op, "kernel_size", kernel_size, dims)
    for n, m, k in zip(size, out, kernel, strict=True):
        if m < 1 or m + k - 1 > n:
            raise ClgradRuntimeError(
                f"{op}: pool size {k} and output size {m} are too large for an input of size {n}."
            )
    x: Any = input if input.ndim == dims + 2 else input.unsqueeze(0)
    if samples is None:
        samples = rand(*x.shape[:2], dims, dtype=x.dtype, device=x.device)
    have = tuple(samples.shape)
    if len(have) != 3 or have[0] < x.shape[0] or have[1:] != (x.shape[1], dims):
        raise ShapeError(
            f"{op}: expected _random_samples of shape {[*x.shape[:2], dims]}, got {list(have)}."
        )
    samples = samples[: x.shape[0]]
    index: Any = 0
    for d in range(dims):
        # in two dims the first sample is of the columns
        which = dims - 1 - d if dims == 2 else d
        begin = _starts(samples[..., which], size[d], out[d], kernel[d])
        rows = begin.unsqueeze(-1) + arange(kernel[d], device=x.device)  # (N, C, out, kernel)
        shape = [1] * (2 * dims)
        shape[d], shape[dims + d] = out[d], kernel[d]
        index = index * size[d] + rows.reshape(*x.shape[:2], *shape)
    # of each window (N, C, *out) its elements' places in the image, (…, prod(kernel))
    lead = tuple(x.shape[:2])
    index = index.expand(*lead, *out, *kernel).reshape(*lead, prod(out) * prod(kernel))
    flat = x.reshape(*lead, prod(size))
    windows = flat.detach().gather(-1, index).reshape(*lead, prod(out), prod(kernel))
    best = windows.argmax(-1, keepdim=True)
    place = index.reshape(windows.shape).gather(-1, best).squeeze(-1)
    shape_out = (*lead, *out) if input.ndim == dims + 2 else (*lead[1:], *out)
    return flat.gather(-1, place).reshape(shape_out), place.reshape(shape_out)


def _function(dims: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    op = f"fractional_max_pool{dims}d"

    def with_indices(
        input: Tensor, kernel_size: int | Sequence[int], output_size: Any = None,
        output_ratio: Any = None, return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        return _pool(op, dims, input, kernel_size, output_size, output_ratio, _random_samples)

    def call(
        input: Tensor, kernel_size: int | Sequence[int], output_size: Any = None,
        output_ratio: Any = None, return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> Any:  # fmt: skip
        made = with_indices(
            input, kernel_size, output_size, output_ratio, True, _random_samples=_random_samples
        )
        return made if return_indices else made[0]

    with_indices.__name__ = with_indices.__qualname__ = f"{op}_with_indices"
    call.__name__ = call.__qualname__ = op
    call.__doc__ = f"""Return the largest element of windows at random distances, {dims} dims.

    Args:
        input: shape (N, C, *), or (C, *).
        kernel_size: of a window, one number or one for each dim.
        output_size: how many windows; or `output_ratio`, their share of the input's size.
        return_indices: return where in its image each element was, too.

    Raises:
        ClgradValueError: neither size nor ratio. ClgradRuntimeError: windows that do not fit.
    """
    with_indices.__doc__ = f"Return `{op}(…, return_indices=True)`."
    return call, with_indices


fractional_max_pool2d, fractional_max_pool2d_with_indices = _function(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _function(3)
