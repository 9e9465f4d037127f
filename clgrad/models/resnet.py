"""Residual networks for images, with the layers and state dictionaries of torchvision's.

Source: He et al. 2015, Deep Residual Learning for Image Recognition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad import nn
from clgrad.tensor import Tensor


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Args:
        inplanes, planes: channels before and after.
        stride: of the first convolution; the shortcut has a convolution where sizes change.
    """

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample: nn.Module | None = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
            )
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return images of `planes` channels, smaller by `stride`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        made: Tensor = self.relu(self.bn2(self.conv2(out)) + shortcut)
        return made


class ResNet(nn.Module):
    """A residual network: a convolution, four stages of blocks, a mean and a map to classes.

    Args:
        layers: how many blocks in each of the four stages.
        num_classes: features of the result.
        zero_init_residual: start with blocks that change nothing.
    """

    def __init__(
        self, layers: Sequence[int], num_classes: int = 1000, zero_init_residual: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inplanes = 64
        for k, blocks in enumerate(layers):
            planes = 64 << k
            stage = [
                BasicBlock(planes if b else inplanes, planes, 2 if k and not b else 1)
                for b in range(blocks)
            ]
            self.add_module(f"layer{k + 1}", nn.Sequential(*stage))
            inplanes = planes
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inplanes, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock) and zero_init_residual:
                nn.init.zeros_(module.get_parameter("bn2.weight"))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (N, num_classes), of images (N, 3, H, W)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def resnet18(*, num_classes: int = 1000, **settings: Any) -> ResNet:
    """Return a network of 18 layers, 11.7 million parameters; see `ResNet`."""
    return ResNet([2, 2, 2, 2], num_classes, **settings)


def resnet34(*, num_classes: int = 1000, **settings: Any) -> ResNet:
    """Return a network of 34 layers, 21.8 million parameters; see `ResNet`."""
    return ResNet([3, 4, 6, 3], num_classes, **settings)
