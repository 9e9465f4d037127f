"""Neural networks: modules with parameters, the layers and losses built on them.

On the floor below `models`; the same names, defaults and state dictionaries as `torch.nn`.
"""

from __future__ import annotations

from clgrad.nn import functional, init, modules, parameter, utils
from clgrad.nn.modules import *  # noqa: F403  # the list of layers is in one place
from clgrad.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

__all__ = [
    "Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "functional", "init",
    "modules", "parameter", "utils",
]  # fmt: skip
__all__ += modules.__all__
