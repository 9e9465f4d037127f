"""Larger or smaller images by interpolation."""

from __future__ import annotations

from typing import Any

from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.tensor import Tensor


class Upsample(Module):
    """Interpolates sequences, images or volumes.

    Args:
        size: of the result, one number or one for each dim; or
        scale_factor: by how much larger it is.
        mode: `nearest`, `linear`, `bilinear`, `bicubic` or `trilinear`.
        align_corners: whether corner pixels keep their values.
        recompute_scale_factor: use the scale that follows from the size of the result.
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
        align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple([float(s) for s in scale_factor])
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, shape (N, C, *), in another size."""
        return functional.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return scale or size, and the mode."""
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Repeats the pixels of images."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Interpolates images linearly; corner pixels keep their values."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
