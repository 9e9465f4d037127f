"""Neural networks: modules with parameters, the layers and losses built on them.

On the floor below `models`; the same names, defaults and state dictionaries as `torch.nn`.
"""

from __future__ import annotations

from clgrad.nn import functional, init, utils
from clgrad.nn.activation import LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from clgrad.nn.containers import ModuleDict, ModuleList, ParameterList, Sequential
from clgrad.nn.linear import Flatten, Identity, Linear, Unflatten
from clgrad.nn.loss import CrossEntropyLoss, MSELoss
from clgrad.nn.module import Module
from clgrad.nn.parameter import Parameter

__all__ = [
    "CrossEntropyLoss", "Flatten", "Identity", "Linear", "LogSoftmax", "MSELoss", "Module",
    "ModuleDict", "ModuleList", "Parameter", "ParameterList", "ReLU", "Sequential", "SiLU",
    "Sigmoid", "Softmax", "Tanh", "Unflatten", "functional", "init",
    "utils",
]  # fmt: skip
