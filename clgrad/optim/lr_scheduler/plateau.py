"""`ReduceLROnPlateau`: rates that fall when a metric gets no better."""

from __future__ import annotations

import math
import warnings
from typing import Any

from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.optim.lr_scheduler.base import (
    EPOCH_WARNING,
    LRScheduler,
    check_optimizer,
    current,
    put,
)
from clgrad.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Multiplies rates by `factor` once a metric has not become better for `patience` steps.

    Args:
        optimizer: whose groups are changed.
        mode: `min` where less is better, `max` where more is.
        factor: by what rates are multiplied; below 1.
        patience: steps without an improvement that are let pass.
        threshold: how much better counts as better.
        threshold_mode: whether that is a part of the best value (`rel`) or a difference (`abs`).
        cooldown: steps after a reduction that do not count.
        min_lr: least rate, of all groups or of each.
        eps: rates that would change by less stay.

    Raises:
        ClgradValueError: `factor` is 1 or more, an unknown mode, not as many `min_lr` as groups.
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0, min_lr: Any = 0,
        eps: float = 1e-8,
    ) -> None:  # fmt: skip
        if factor >= 1.0:
            raise ClgradValueError(f"Factor should be < 1.0, got {factor}.")
        check_optimizer(optimizer)
        count = len(optimizer.param_groups)
        several = isinstance(min_lr, list | tuple)
        if several and len(min_lr) != count:
            raise ClgradValueError(f"expected {count} min_lrs, got {len(min_lr)}")
        if mode not in ("min", "max"):
            raise ClgradValueError(f"mode {mode} is unknown! Expected min or max.")
        if threshold_mode not in ("rel", "abs"):
            raise ClgradValueError(
                f"threshold mode {threshold_mode} is unknown! Expected rel or abs."
            )
        self.factor = factor
        self.optimizer = optimizer
        self.default_min_lr = None if several else min_lr
        self.min_lrs = list(min_lr) if several else [min_lr] * count
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = current(optimizer)
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self._reset()

    def _reset(self) -> None:
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]  # as PyTorch's
        """Take note of the metric, and reduce rates if it is time to.

        Args:
            metrics: a number, or a tensor of one element, which is waited for.
            epoch: number of this step (deprecated, as in PyTorch).
        """
        now = float(metrics)
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(now, self.best):
            self.best = now
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = current(self.optimizer)

    def _is_better(self, now: float, best: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        if self.threshold_mode == "rel":
            bar = best * (1.0 - sign * self.threshold)
        else:
            bar = best - sign * self.threshold
        return now < bar if self.mode == "min" else now > bar

    def _reduce_lr(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise ClgradRuntimeError(
                    f"The number of param groups in the `optimizer` ({len(groups)}) differs from "
                    f"when `ReduceLROnPlateau` was initialized ({len(self.min_lrs)}). "
                    "Hint: give `min_lrs` one entry for each group."
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            before = float(group["lr"])
            after = max(before * self.factor, least)
            if before - after > self.eps:
                put(group, "lr", after)
