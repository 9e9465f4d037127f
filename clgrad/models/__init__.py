"""Whole networks, ready to be trained; below `testing`, above `nn`.

`clgrad.models.resnet18(num_classes=10)` is a module like any other.
"""

from __future__ import annotations

from clgrad.models.lenet import LeNet
from clgrad.models.mlp import MLP
from clgrad.models.resnet import ResNet, resnet18, resnet34
from clgrad.models.text import TransformerClassifier

__all__ = ["MLP", "LeNet", "ResNet", "TransformerClassifier", "resnet18", "resnet34"]
