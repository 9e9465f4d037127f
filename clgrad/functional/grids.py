"""Images read at positions between their elements: `grid_sample`, and the grids of affine maps.

Everything is composed of gathers and arithmetic, so gradients of any order follow.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from clgrad.creation import arange, full
from clgrad.dtypes import int64
from clgrad.errors import (
    ClgradNotImplementedError,
    ClgradRuntimeError,
    ClgradValueError,
    ClgradWarning,
)
from clgrad.functional.joining import stack
from clgrad.functional.picking import gather
from clgrad.functional.products import matmul
from clgrad.tensor import Tensor

__all__ = ["affine_grid_generator", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d"]
METHODS: tuple[str, ...] = ()

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")
_CUBIC = -0.75
"""The parameter of cubic convolution, as in `resample.cl.j2`."""


def _aligned(name: str, align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            f"{name}: align_corners is False where it is not given (PyTorch before 1.3 took True). "
            "Hint: say which you mean.",
            ClgradWarning,
            stacklevel=3,
        )
    return bool(align_corners)


def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """Return images read at the positions in `grid`.

    Args:
        input: shape (N, C, H, W) or (N, C, D, H, W).
        grid: shape (N, Ho, Wo, 2) or (N, Do, Ho, Wo, 3): x, y (and z) from -1 to 1.
        mode: how elements between are made: bilinear, nearest, bicubic (2 dims only).
        padding_mode: what is outside of the images: zeros, border, reflection.
        align_corners: whether -1 and 1 are the centres of the corner elements, or the edges.

    Returns:
        Shape (N, C, Ho, Wo) or (N, C, Do, Ho, Wo).

    Raises:
        ClgradValueError: an unknown mode. ClgradRuntimeError: shapes or dtypes that do not fit.
    """
    if mode not in _MODES:
        raise ClgradValueError(
            "grid_sample: nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' "
            f"or 'bicubic', but got: '{mode}'."
        )
    if padding_mode not in _PADDINGS:
        raise ClgradValueError(
            "grid_sample: nn.functional.grid_sample(): expected padding_mode to be 'zeros', "
            f"'border', or 'reflection', but got: '{padding_mode}'."
        )
    return _sample(input, grid, mode, padding_mode, _aligned("grid_sample", align_corners))


def _check(x: Tensor, grid: Tensor, mode: str) -> int:
    """Return the number of spatial dims."""
    rank = x.ndim - 2
    if rank not in (2, 3) or grid.ndim != x.ndim:
        raise ClgradRuntimeError(
            "grid_sample: grid_sampler(): expected 4D or 5D input and grid with same number of "
            f"dimensions, but got input with sizes {list(x.shape)} and grid with sizes "
            f"{list(grid.shape)}."
        )
    if x.shape[0] != grid.shape[0] or grid.shape[-1] != rank:
        raise ClgradRuntimeError(
            f"grid_sample: grid_sampler(): expected grid to have size {rank} in last dimension and "
            f"the batch size of the input, but got input with sizes {list(x.shape)} and grid with "
            f"sizes {list(grid.shape)}."
        )
    if x.dtype is not grid.dtype:
        raise ClgradRuntimeError(
            "grid_sample: grid_sampler(): expected input and grid to have same dtype, but input "
            f"has {x.dtype.name} and grid has {grid.dtype.name}."
        )
    if not all(x.shape[2:]):
        raise ClgradRuntimeError(
            "grid_sample: grid_sampler(): expected input to have non-empty spatial dimensions, but "
            f"input has sizes {list(x.shape)}."
        )
    if mode == "bicubic" and rank != 2:
        raise ClgradRuntimeError(
            "grid_sample: grid_sampler(): bicubic interpolation only supports 4D input."
        )
    return rank


def _inside(at: Any, size: int, padding: str, align: bool) -> Any:
    """Return positions brought into the image, as the padding mode has it."""
    if padding == "reflection":
        low, high = (0, 2 * (size - 1)) if align else (-1, 2 * size - 1)
        if low == high:
            at = at * 0
        else:
            span = (high - low) / 2
            at = (at - low / 2).abs()
            turns = (at / span).floor().detach()
            rest = at - turns * span
            even = (turns / 2).floor() * 2 == turns
            at = rest.where(even, span - rest) + low / 2
    if padding != "zeros":
        at = at.clamp(0, size - 1)
    return at


def _taps(at: Any, size: int, mode: str, padding: str, align: bool) -> list[tuple[Any, Any]]:
    """Return (index, weight) of each tap along one dim; what lies outside has weight 0."""
    if mode != "bicubic":
        at = _inside(at, size, padding, align)
    if mode == "nearest":
        nearest = at.round()  # whose gradient is 0, as that of the weight
        found = [(nearest.detach(), nearest.clamp(0, 0) + 1)]
    elif mode == "bilinear":
        low = at.floor().detach()
        part = at - low
        found = [(low, 1 - part), (low + 1, part)]
    else:
        low = at.floor().detach()
        t = at - low
        found = [
            (_inside(low + k, size, padding, align).round().detach(), _cubic(t - k))
            for k in (-1, 0, 1, 2)
        ]
    taps = []
    for index, weight in found:
        valid = ((index >= 0) & (index <= size - 1)).to(at.dtype)
        taps.append((index.clamp(0, size - 1), weight * valid))
    return taps


def _cubic(distance: Any) -> Any:
    """Return the weight of cubic convolution at a distance (R. Keys, IEEE ASSP 29, 1981)."""
    a, d = _CUBIC, distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return near.where(d <= 1, far)


def _sample(x: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    rank = _check(x, grid, mode)
    n, c = x.shape[:2]
    size, out = x.shape[2:], grid.shape[1:-1]
    strides = [prod(size[d + 1 :]) for d in range(rank)]
    points = grid.reshape(n, 1, prod(out), rank)
    dims = []
    for d in range(rank):
        at = points[..., rank - 1 - d]  # the grid has x first, which is the last dim
        scaled = (at + 1) * ((size[d] - 1) / 2) if align else ((at + 1) * size[d] - 1) / 2
        dims.append(_taps(scaled, size[d], mode, padding, align))
    flat: Any = x.reshape(n, c, prod(size))
    total: Any = None
    for taps in product(*dims):
        index = sum(i.to(int64) * s for (i, _), s in zip(taps, strides, strict=True))
        weight = taps[0][1]
        for _, w in taps[1:]:
            weight = weight * w
        part = gather(flat, 2, index.expand(n, c, prod(out))) * weight
        total = part if total is None else total + part
    made: Tensor = total.reshape(n, c, *out)
    return made


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """Return `grid_sample` with its modes as numbers, as PyTorch's C++ has them."""
    return _sample(
        input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners
    )  # fmt: skip


grid_sampler_2d = grid_sampler_3d = grid_sampler


def _line(count: int, align: bool, like: Tensor) -> Any:
    """Return `count` positions from -1 to 1: of centres, or of corners."""
    step = arange(count, dtype=like.dtype, device=like.device)
    if align:
        return step * (2 / (count - 1)) - 1 if count > 1 else step * 0
    return (step * 2 + 1) / count - 1


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Return `affine_grid(theta, size, align_corners)` without its checks."""
    n, _, *space = size
    rank = len(space)
    lines = []
    for d, count in enumerate(space):
        shape = [1] * rank
        shape[d] = count
        lines.append(_line(count, align_corners, theta).reshape(shape).expand(space))
    ones = full(space, 1.0, dtype=theta.dtype, device=theta.device)
    base = stack([*reversed(lines), ones], -1).reshape(1, prod(space), rank + 1)
    made: Tensor = matmul(base.expand(n, prod(space), rank + 1), theta.transpose(1, 2)).reshape(
        n, *space, rank
    )
    return made


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Return the grid that `grid_sample` takes for a batch of affine maps.

    Args:
        theta: shape (N, 2, 3) or (N, 3, 4).
        size: of the images to be made, (N, C, H, W) or (N, C, D, H, W).
        align_corners: as of `grid_sample`.

    Raises:
        ClgradValueError: a dtype or a shape that does not fit.
    """
    align = _aligned("affine_grid", align_corners)
    if not theta.dtype.is_floating_point:
        raise ClgradValueError(
            f"affine_grid: Expected theta to have floating point type, but got {theta.dtype.name}."
        )
    if len(size) not in (4, 5):
        raise ClgradNotImplementedError(
            "affine_grid: affine_grid only supports 4D and 5D sizes, for 2D and 3D affine "
            f"transforms, respectively. Got size {size}."
        )
    rank = len(size) - 2
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (rank, rank + 1):
        raise ClgradValueError(
            f"affine_grid: Expected a batch of {rank}D affine matrices of shape "
            f"Nx{rank}x{rank + 1} for size {size}. Got {list(theta.shape)}."
        )
    if min(size) <= 0:
        raise ClgradValueError(f"affine_grid: Expected non-zero, positive output size. Got {size}.")
    return affine_grid_generator(theta, size, align)
