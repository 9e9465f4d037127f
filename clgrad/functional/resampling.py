"""Images at another size: `interpolate` and the older names for it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from clgrad.dispatch import apply
from clgrad.dtypes import float32, uint8
from clgrad.errors import (
    ClgradNotImplementedError,
    ClgradTypeError,
    ClgradValueError,
    ClgradWarning,
    ShapeError,
)
from clgrad.functional import pooling
from clgrad.functional.averaging import averaged
from clgrad.ops.registry import REQUIRED, Op, composite
from clgrad.ops.resampling import resample, resample_back
from clgrad.tensor import Tensor

__all__: list[str] = []
METHODS: tuple[str, ...] = ()

_WORDS = {
    "nearest": "Nearest", "nearest-exact": "NearestExact", "linear": "Linear",
    "bilinear": "Bilinear", "trilinear": "Trilinear", "bicubic": "Bicubic",
}  # fmt: skip
_KERNELS = {"nearest": "nearest", "nearest-exact": "exact", "bicubic": "cubic"}
_DIMS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}
_MODES = "nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact"


def _between(x: Tensor) -> Any:
    """Return the dtype of intermediate images: 16-bit floats are rounded once, at the end."""
    dtype = x._meta.dtype
    return None if dtype.compute is dtype else dtype.compute


def _forward(x: Tensor, size: Any, scales: Any, mode: str, align: bool, given: Any) -> Any:
    """Resample dim after dim, the last first."""
    y, between = x.contiguous(), _between(x) if mode in ("linear", "cubic") else x._meta.dtype
    for d in reversed(range(len(size))):
        dtype = between if d else x._meta.dtype
        static = (x._meta.ndim - len(size) + d, size[d], mode, align, scales[d], dtype)
        y = apply(resample, (y,), static)
    return y


def _backward(ctx: Any, g: Any) -> tuple[Any]:
    scales, mode, align = ctx.param("scales"), ctx.param("mode"), ctx.param("align")
    shape = ctx.shape("x")
    y, between = g.contiguous(), _between(g)
    for d in range(len(scales)):
        dim = len(shape) - len(scales) + d
        dtype = between if d < len(scales) - 1 else ctx.dtype("x")
        y = apply(resample_back, (y,), (dim, shape[dim], mode, align, scales[d], dtype))
    return (y,)


def _record(mode: str, dims: int) -> Op:
    return composite(
        f"_upsample_{mode.replace('-', '_')}{dims}d", "x", _forward, backward=_backward,
        params=tuple((name, REQUIRED) for name in ("size", "scales", "mode", "align", "given")),
        node_name=f"Upsample{_WORDS[mode]}{dims}DBackward0", doc=f"Images at another size, {mode}.",
    )  # fmt: skip


_RECORDS = {
    (mode, dims): _record(mode, dims)
    for mode in _WORDS
    for dims in (1, 2, 3)
    if _DIMS.get(mode, dims + 2) == dims + 2
}


def _scale(size: int, new: int, factor: float | None, align: bool) -> float:
    """Return how many old elements one new element is away from the next."""
    if align:
        return (size - 1) / (new - 1) if new > 1 else 0.0
    return 1.0 / factor if factor is not None and factor > 0 else size / new


def _listed(name: str, value: Any, size: Sequence[int]) -> list[Any] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        return [value] * len(size)
    if len(value) != len(size):
        what = "output size of" if name == "size" else "scale_factor of shape"
        both = "Input and output" if name == "size" else "Input and scale_factor"
        raise ClgradValueError(
            f"interpolate: {both} must have the same number of spatial dimensions, but got input "
            f"with spatial dimensions of {list(size)} and {what} {tuple(value)}. Hint: images have "
            "shape (N, C, ...), where only the last dims are spatial."
        )
    if name == "size" and any(isinstance(n, float) for n in value):
        raise ClgradTypeError(f"interpolate: expected size to be integers, but got {value}.")
    return list(value)


def interpolate(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:  # fmt: skip
    """Return images at another size.

    Args:
        input: shape (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        size: the new spatial size, one number or one for each dim.
        scale_factor: what to multiply the spatial size with, instead.
        mode: nearest, nearest-exact, area; linear (1 dim), bilinear and bicubic (2), trilinear (3).
        align_corners: whether the centres of corner elements stay where they are, or the edges of
            the images.
        recompute_scale_factor: whether the scale follows from the rounded size.
        antialias: whether an element of a smaller image is a weighted mean of all that it covers
            (bilinear, bicubic and lanczos, 2 dims).

    Raises:
        ClgradValueError: settings that contradict one another.
        ClgradNotImplementedError: a mode for images of another number of dims.
    """
    if align_corners is not None and mode in ("nearest", "area", "nearest-exact"):
        raise ClgradValueError(
            "interpolate: align_corners option can only be set with the interpolating modes: "
            "linear | bilinear | bicubic | trilinear."
        )
    old = tuple(input.shape[2:])
    if size is not None and scale_factor is not None:
        raise ClgradValueError("interpolate: only one of size or scale_factor should be defined.")
    if size is None and scale_factor is None:
        raise ClgradValueError("interpolate: either size or scale_factor should be defined.")
    if recompute_scale_factor and size is not None:
        raise ClgradValueError(
            "interpolate: recompute_scale_factor is not meaningful with an explicit size."
        )
    new = _listed("size", size, old)
    factors = _listed("scale_factor", scale_factor, old)
    if antialias:
        if mode not in ("bilinear", "bicubic", "lanczos") or input.ndim != 4:
            raise ClgradValueError(
                "interpolate: Anti-alias option is restricted to bilinear, bicubic, and lanczos "
                "modes and requires a 4-D tensor as input."
            )
    else:
        _check_mode(mode, input.ndim)
    if factors is not None:
        new = [int(n * f) for n, f in zip(old, factors, strict=True)]
        if recompute_scale_factor:
            factors = None
    assert new is not None
    if min(new, default=1) < 1 or min(old, default=1) < 1:
        raise ShapeError(
            f"interpolate: Input and output sizes should be greater than 0, but got input "
            f"{list(old)} output {list(new)}."
        )
    if mode == "area":
        mean = getattr(pooling, f"adaptive_avg_pool{len(old)}d")
        made: Tensor = mean(input, new)
        return made
    align = bool(align_corners)
    given = factors or [None] * len(old)
    scales = tuple(_scale(n, m, f, align) for n, m, f in zip(old, new, given, strict=True))
    kernel = _KERNELS.get(mode, "linear")
    dtype = input._meta.dtype
    smooth = antialias or kernel in ("linear", "cubic")

    def resized(x: Any, size: tuple[int, ...], scales: tuple[float, ...]) -> Any:
        if antialias:
            return averaged(x, mode, size, scales)
        static = (size, scales, kernel, align, factors and tuple(map(float, factors)))
        return apply(_RECORDS[mode, len(old)], (x,), static)

    if dtype is uint8 and smooth and len(old) == 2:  # rounded after each dim, the last one first
        x: Any = input.to(float32)
        for across, steps in (((old[0], new[1]), (1.0, scales[1])), (new, (scales[0], 1.0))):
            x = resized(x, tuple(across), steps).round().clamp(0, 255)
        return x.to(uint8)  # type: ignore[no-any-return]  # a Tensor
    if smooth and not dtype.is_floating_point:
        raise ClgradNotImplementedError(
            f"interpolate: mode {mode!r} is not implemented for {dtype.name}. "
            "Hint: input.float(), and round the result."
        )
    return resized(input, tuple(new), scales)  # type: ignore[no-any-return]  # a Tensor


def _check_mode(mode: str, ndim: int) -> None:
    wanted = _DIMS.get(mode, ndim)
    if ndim in (3, 4, 5) and wanted != ndim and mode != "bicubic":
        raise ClgradNotImplementedError(
            f"interpolate: Got {ndim}D input, but {mode} mode needs {wanted}D input."
        )
    if ndim not in (3, 4, 5) or wanted != ndim or (mode not in _WORDS and mode != "area"):
        raise ClgradNotImplementedError(
            "interpolate: Input Error: Only 3D, 4D and 5D input Tensors supported "
            f"(got {ndim}D) for the modes: {_MODES} (got {mode})."
        )


def _deprecated(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.",
        ClgradWarning,
        stacklevel=3,
    )


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """Return `interpolate(…)`, its older name."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Return `interpolate(…, mode="nearest")`."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Return `interpolate(…, mode="bilinear", align_corners=True)`."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)
