"""What `nn.functional` has for images: convolution, pooling, resampling, rearranging.

All of it is in `clgrad.functional`; here are the names, and the functions that
`torch.nn.functional` has otherwise than `torch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from clgrad.functional.grids import affine_grid, grid_sample
from clgrad.functional.imaging import (
    channel_shuffle,
    fold,
    local_response_norm,
    native_channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
)
from clgrad.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from clgrad.functional.resampling import (
    interpolate,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from clgrad.functional.unpooling import max_unpool1d, max_unpool2d, max_unpool3d
from clgrad.tensor import Tensor


def _adaptive_max(rank: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    name = f"adaptive_max_pool{rank}d"

    def call(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return adaptive_max_pool(rank, input, output_size, return_indices)

    def both(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return adaptive_max_pool(rank, input, output_size, True)

    call.__name__ = call.__qualname__ = name
    both.__name__ = both.__qualname__ = f"{name}_with_indices"
    call.__doc__ = f"""Return the largest element of windows that divide an image evenly.

    Args:
        input: {rank} dimensions after (N, C) or (C).
        output_size: windows along each dimension, one number or one for each; None keeps a size.
        return_indices: also return where in its image each element is, int64.

    Raises:
        ShapeError: an input of another rank, or empty.
    """
    both.__doc__ = f"Return what `{name}` does with `return_indices=True`."
    return call, both


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive_max(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive_max(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive_max(3)

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "affine_grid", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "fold", "grid_sample", "interpolate",
    "local_response_norm", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d",
    "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices", "max_pool3d",
    "max_pool3d_with_indices", "max_unpool1d", "max_unpool2d", "max_unpool3d",
    "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "unfold", "upsample",
    "upsample_bilinear", "upsample_nearest",
]  # fmt: skip
