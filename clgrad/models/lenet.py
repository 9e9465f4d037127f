"""A small convolutional network for digits.

Source: LeCun et al. 1998, with ReLU and max pooling in place of its sigmoids and means.
"""

from __future__ import annotations

from clgrad import nn
from clgrad.tensor import Tensor


class LeNet(nn.Module):
    """Two convolutions with pooling, three maps.

    Args:
        num_classes: features of the result.
        in_channels: of images.
        size: height and width of images, 12 or more.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, size: int = 28) -> None:
        super().__init__()
        rest = (size // 2 - 4) // 2
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * rest * rest, 120), nn.ReLU(), nn.Linear(120, 84),
            nn.ReLU(), nn.Linear(84, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (N, num_classes), of images (N, in_channels, size, size)."""
        logits: Tensor = self.classifier(self.features(x))
        return logits
