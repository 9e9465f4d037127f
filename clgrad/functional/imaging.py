"""Images rearranged: pixels and channels shuffled, windows as columns, local normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

from clgrad.dispatch import apply
from clgrad.errors import ClgradIndexError, ClgradValueError, ShapeError
from clgrad.functional.pooling import avg_pool2d, avg_pool3d, each, hashable
from clgrad.ops.meta import Meta
from clgrad.ops.pooling import Windows, columns, fold_columns
from clgrad.ops.registry import REQUIRED, composite
from clgrad.tensor import Tensor

__all__ = ["channel_shuffle", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]
METHODS: tuple[str, ...] = ()

Sizes = int | Sequence[int]


# ---- pixels and channels -----------------------------------------------------------------------


def _shuffle(x: Tensor, factor: int) -> Any:
    *lead, c, h, w = x.shape
    apart = x.reshape(*lead, c // factor**2, factor, factor, h, w)
    n = len(lead)
    mixed = apart.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return mixed.reshape(*lead, c // factor**2, h * factor, w * factor).clone()


def _unshuffle(x: Tensor, factor: int) -> Any:
    *lead, c, h, w = x.shape
    apart = x.reshape(*lead, c, h // factor, factor, w // factor, factor)
    n = len(lead)
    mixed = apart.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return mixed.reshape(*lead, c * factor**2, h // factor, w // factor).clone()


_pixel_shuffle = composite(
    "_pixel_shuffle", "x", _shuffle, params=(("factor", REQUIRED),),
    backward=lambda ctx, g: (pixel_unshuffle(g, ctx.param("factor")),),
    node_name="PixelShuffleBackward0", doc="Channels become pixels.",
)  # fmt: skip
_pixel_unshuffle = composite(
    "_pixel_unshuffle", "x", _unshuffle, params=(("factor", REQUIRED),),
    backward=lambda ctx, g: (pixel_shuffle(g, ctx.param("factor")),),
    node_name="PixelUnshuffleBackward0", doc="Pixels become channels.",
)  # fmt: skip


def _check_shuffle(op: str, name: str, x: Tensor, factor: int) -> None:
    if x._meta.ndim < 3:
        raise ShapeError(
            f"{op}: {op} expects input to have at least 3 dimensions, but got input with "
            f"{x._meta.ndim} dimension(s)."
        )
    if factor < 1:
        raise ShapeError(f"{op}: {op} expects a positive {name}, but got {factor}.")


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Return (*, C r², H, W) as (*, C, H r, W r).

    Raises:
        ShapeError: fewer than 3 dims, or channels that r² does not divide.
    """
    _check_shuffle("pixel_shuffle", "upscale_factor", input, upscale_factor)
    channels = input._meta.shape[-3]
    if channels % upscale_factor**2:
        raise ShapeError(
            "pixel_shuffle: pixel_shuffle expects its input's 'channel' dimension to be divisible "
            f"by the square of upscale_factor, but input.size(-3)={channels} is not divisible by "
            f"{upscale_factor**2}."
        )
    made: Tensor = apply(_pixel_shuffle, (input,), (upscale_factor,))
    return made


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Return (*, C, H r, W r) as (*, C r², H, W).

    Raises:
        ShapeError: fewer than 3 dims, or a height or width that r does not divide.
    """
    _check_shuffle("pixel_unshuffle", "downscale_factor", input, downscale_factor)
    for d, name in ((-2, "height"), (-1, "width")):
        if input._meta.shape[d] % downscale_factor:
            raise ShapeError(
                f"pixel_unshuffle: pixel_unshuffle expects {name} to be divisible by "
                f"downscale_factor, but input.size({d})={input._meta.shape[d]} is not divisible by "
                f"{downscale_factor}."
            )
    made: Tensor = apply(_pixel_unshuffle, (input,), (downscale_factor,))
    return made


def _shuffle_channels(x: Tensor, groups: int) -> Any:
    b, c, *rest = x.shape
    mixed = x.reshape(b, groups, c // groups, *rest).transpose(1, 2)
    return mixed.reshape(b, c, *rest).clone()


_channel_shuffle = composite(
    "_channel_shuffle", "x", _shuffle_channels, params=(("groups", REQUIRED),),
    backward=lambda ctx, g: (channel_shuffle(g, g.shape[1] // ctx.param("groups")),),
    node_name="ChannelShuffleBackward0", doc="Channels of groups, taken in turns.",
)  # fmt: skip


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Return (N, C, *) with the channels of `groups` groups taken in turns.

    Raises:
        ShapeError: fewer than 3 dims, or channels that `groups` does not divide.
    """
    shape = input._meta.shape
    if len(shape) < 3:
        raise ShapeError(
            "channel_shuffle: channel_shuffle expects input with > 2 dims, but got input with "
            f"sizes {list(shape)}."
        )
    if groups < 1:
        raise ShapeError(
            "channel_shuffle: Number of groups to divide channels in must be positive. "
            f"Value of groups:{groups}."
        )
    if shape[1] % groups:
        raise ShapeError(
            "channel_shuffle: Number of channels must be divisible by groups. "
            f"Got {shape[1]} channels and {groups} groups."
        )
    made: Tensor = apply(_channel_shuffle, (input,), (groups,))
    return made


native_channel_shuffle = channel_shuffle


# ---- windows as columns ------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _windows(
    op: str, size: tuple[int, ...], kernel: Any, dilation: Any, padding: Any, stride: Any
) -> Windows:
    k, d, p, s = (
        each(op, name, value, 2)
        for name, value in zip(
            ("kernel_size", "dilation", "padding", "stride"), (kernel, dilation, padding, stride),
            strict=True,
        )
    )  # fmt: skip
    for name, values in (("kernel size", k), ("dilation", d), ("stride", s)):
        if min(values) < 1:
            word = name.replace(" size", "")
            raise ShapeError(
                f"{op}: {name} should be greater than zero, but got {word}_height: {values[0]} "
                f"{word}_width: {values[1]}."
            )
    if min(p) < 0:
        raise ShapeError(
            f"{op}: padding should be non-negative, but got pad_height: {p[0]} pad_width: {p[1]}."
        )
    out = tuple(
        (n + 2 * pad - step * (taps - 1) - 1) // stride + 1
        for n, taps, step, pad, stride in zip(size, k, d, p, s, strict=True)
    )
    if min(out) < 1:
        raise ShapeError(
            f"{op}: Given input with spatial size {size}, kernel_size={k}, dilation={d}, "
            f"padding={p}, calculated shape of the array of sliding blocks as {out}, but its "
            "components must be at least one."
        )
    return Windows(size, out, k, s, p, d)


def unfold(
    input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """Return the windows of images as columns, (N, C * taps, windows).

    Args:
        input: shape (N, C, H, W) or (C, H, W).
        kernel_size, dilation, padding, stride: of the windows, one number or two.

    Raises:
        ShapeError: another number of dims, or no window fits.
    """
    shape = input._meta.shape
    if len(shape) not in (3, 4):
        kind = ClgradIndexError if len(shape) < 3 else ShapeError
        raise kind(
            "unfold: Dimension out of range: Expected 3D or 4D (batch mode) tensor with possibly 0 "
            f"batch size and other non-zero dimensions for input, but got: {list(shape)}."
        )
    settings = map(hashable, (kernel_size, dilation, padding, stride))
    made: Tensor = apply(columns, (input,), (_windows("unfold", shape[-2:], *settings),))
    return made


@lru_cache(maxsize=4096)
def _folded(x: Meta, size: Any, *settings: Any) -> Windows:
    shape = x.shape
    if len(shape) not in (2, 3) or not all(shape[-2:]):
        raise ShapeError(
            "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(shape)}."
        )
    windows = _windows("fold", each("fold", "output_size", size, 2), *settings)
    rows = len(shape) - 2
    if shape[rows] % prod(windows.kernel):
        raise ShapeError(
            f"fold: Expected size of input's dimension {rows} to be divisible by the product of "
            f"kernel_size, but got input.size({rows})={shape[rows]} and "
            f"kernel_size={windows.kernel}."
        )
    count = prod(windows.out)
    if shape[-1] != count:
        raise ShapeError(
            f"fold: Given output_size={windows.size}, kernel_size={windows.kernel}, "
            f"dilation={windows.dilation}, padding={windows.padding}, stride={windows.stride}, "
            f"expected size of input's dimension {rows + 1} to match the calculated number of "
            f"sliding blocks {windows.out[0]} * {windows.out[1]} = {count}, but got "
            f"input.size({rows + 1})={shape[-1]}."
        )
    return windows


def fold(
    input: Tensor, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1,
    padding: Sizes = 0, stride: Sizes = 1,
) -> Tensor:  # fmt: skip
    """Return images of which each element is the sum of the windows that hold it.

    Args:
        input: shape (N, C * taps, windows) or (C * taps, windows), as `unfold` makes them.
        output_size: height and width of the images.
        kernel_size, dilation, padding, stride: of the windows, one number or two.

    Raises:
        ShapeError: sizes that do not fit one another.
    """
    settings = map(hashable, (output_size, kernel_size, dilation, padding, stride))
    made: Tensor = apply(fold_columns, (input,), (_folded(input._meta, *settings),))
    return made


# ---- normalisation -----------------------------------------------------------------------------


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Return `input / (k + alpha * mean of squares over `size` channels) ** beta`.

    Args:
        input: shape (N, C, *) with at least one dim more.

    Raises:
        ClgradValueError: fewer than 3 dims.
    """
    if input.ndim < 3:
        raise ClgradValueError(
            f"local_response_norm: Expected 3D or higher dimensionality input (got {input.ndim} "
            "dimensions)."
        )
    if not input.numel():
        return input
    n, c, *rest = input.shape
    squares = input * input
    # padded by size // 2 before and (size - 1) // 2 after: with one window too many for even sizes
    pad = size // 2
    if not rest[1:]:
        mean = avg_pool2d(squares.unsqueeze(1), (size, 1), 1, (pad, 0))
    else:
        flat = squares.reshape(n, 1, c, rest[0], -1)
        mean = avg_pool3d(flat, (size, 1, 1), 1, (pad, 0, 0))
    mean = mean.narrow(2, 0, c).squeeze(1).reshape(n, c, *rest)
    made: Tensor = input / (mean * alpha + k) ** beta
    return made
