"""The modules of `clgrad.nn`, a file for each kind, as PyTorch's files are called.

What they compute is in `clgrad.nn.functional`.
"""

from __future__ import annotations

from clgrad.nn.modules.activation import LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from clgrad.nn.modules.container import (
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from clgrad.nn.modules.linear import Flatten, Identity, Linear, Unflatten
from clgrad.nn.modules.loss import CrossEntropyLoss, MSELoss
from clgrad.nn.modules.module import Module

__all__ = [
    "CrossEntropyLoss", "Flatten", "Identity", "Linear", "LogSoftmax", "MSELoss", "Module",
    "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "ReLU", "Sequential", "SiLU",
    "Sigmoid", "Softmax", "Tanh", "Unflatten",
]  # fmt: skip
