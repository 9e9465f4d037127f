"""Schedules of learning rates: they change `lr` in the groups of an optimizer, step by step.

All of it is Python arithmetic on settings, which are kernel arguments: no schedule compiles
anything.
"""

from __future__ import annotations

from clgrad.optim.lr_scheduler.base import LRScheduler
from clgrad.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from clgrad.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from clgrad.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from clgrad.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from clgrad.optim.lr_scheduler.functions import LambdaLR, MultiplicativeLR
from clgrad.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
