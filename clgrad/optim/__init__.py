"""Optimizers: they change parameters by their gradients, as `torch.optim` does.

Plain tensor arithmetic in place, without recording; the recorder fuses it into one kernel for each
parameter.
"""

from __future__ import annotations

from clgrad.optim.optimizer import Optimizer
from clgrad.optim.sgd import SGD

__all__ = ["SGD", "Optimizer"]
