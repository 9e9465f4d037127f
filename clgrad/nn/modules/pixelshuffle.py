"""Channels as pixels, pixels as channels."""

from __future__ import annotations

from clgrad.nn import functional
from clgrad.nn.modules.module import Module
from clgrad.nn.modules.utils import described
from clgrad.tensor import Tensor


class PixelShuffle(Module):
    """(*, C r², H, W) to (*, C, H r, W r). Source: Shi et al. 2016."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return larger images of fewer channels."""
        return functional.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Return r."""
        return described(self, "upscale_factor")


class PixelUnshuffle(Module):
    """(*, C, H r, W r) to (*, C r², H, W)."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return smaller images of more channels."""
        return functional.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Return r."""
        return described(self, "downscale_factor")
