"""Optimizers: they change parameters by their gradients, as `torch.optim` does.

Plain tensor arithmetic in place, without recording; the recorder fuses it into one kernel for each
parameter.
"""

from __future__ import annotations

from clgrad.optim import lr_scheduler, swa_utils
from clgrad.optim.adadelta import Adadelta
from clgrad.optim.adafactor import Adafactor
from clgrad.optim.adagrad import Adagrad
from clgrad.optim.adam import Adam, AdamW
from clgrad.optim.adamax import Adamax
from clgrad.optim.asgd import ASGD
from clgrad.optim.hooked import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from clgrad.optim.lbfgs import LBFGS
from clgrad.optim.muon import Muon
from clgrad.optim.nadam import NAdam
from clgrad.optim.optimizer import Optimizer
from clgrad.optim.radam import RAdam
from clgrad.optim.rmsprop import RMSprop
from clgrad.optim.rprop import Rprop
from clgrad.optim.sgd import SGD

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon",
    "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler",
    "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook", "swa_utils",
]  # fmt: skip
