"""Schedules along a cosine, once or again and again."""

from __future__ import annotations

import math
from typing import Any

from clgrad.errors import ClgradValueError
from clgrad.optim.lr_scheduler.base import LRScheduler, Number, current
from clgrad.optim.optimizer import Optimizer


def _between(low: float, high: Number, place: float, length: float) -> Number:
    """Return `high` at place 0, `low` at `length`, a cosine between."""
    return low + (high - low) * (1 + math.cos(math.pi * place / length)) / 2


class CosineAnnealingLR(LRScheduler):
    """Lets rates fall to `eta_min` in `T_max` steps along half a period of a cosine, then rise.

    Each rate is made from the one before, so that others may change it too.

    Source: Loshchilov and Hutter 2017, without the restarts.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Number]:
        """Return the rate of each group at `last_epoch`; called by `step`."""
        self._warn_outside()
        rates, epoch, least = current(self.optimizer), self.last_epoch, self.eta_min
        if self._is_initial:
            return rates
        if self._step_count == 1 and epoch > 0:
            return self._get_closed_form_lr()
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the rate before was eta_min
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [
                lr + (base - least) * rise for lr, base in zip(rates, self.base_lrs, strict=True)
            ]
        here, before = (1 + math.cos(math.pi * t / self.T_max) for t in (epoch, epoch - 1))
        return [here / before * (lr - least) + least for lr in rates]

    def _get_closed_form_lr(self) -> list[Number]:
        return [_between(self.eta_min, b, self.last_epoch, self.T_max) for b in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Lets rates fall to `eta_min` along a cosine and starts again after `T_0` steps.

    Args:
        optimizer: whose groups are changed.
        T_0: steps until the first restart.
        T_mult: by what each next period is longer.
        eta_min: least rate.
        last_epoch: number of the last step, to resume from.

    Raises:
        ClgradValueError: a period that is no positive integer.

    Source: Loshchilov and Hutter 2017.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: Any, T_mult: Any = 1, eta_min: Any = 0.0,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ClgradValueError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ClgradValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, float | int):
            raise ClgradValueError(
                f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}"
            )
        self.T_0 = T_0
        self.T_i: int = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Number]:
        """Return the rate of each group at `last_epoch`; called by `step`."""
        self._warn_outside()
        return [_between(self.eta_min, base, self.T_cur, self.T_i) for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go one step on, or to `epoch`, which may be a fraction.

        Raises:
            ClgradValueError: `epoch` is negative.
        """
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = 0 if epoch is None else epoch
            if epoch < 0:
                raise ClgradValueError(f"Expected non-negative epoch, but got {epoch}")
            self._locate(epoch)
        self.last_epoch = math.floor(epoch)
        self._write(self._rates())

    def _locate(self, epoch: float) -> None:
        """Find the period that `epoch` falls into, and the place in it."""
        self.T_i, self.T_cur = self.T_0, epoch
        if epoch < self.T_0:
            return
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
            return
        periods = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
        self.T_i = self.T_0 * self.T_mult**periods
        self.T_cur = epoch - self.T_0 * (self.T_mult**periods - 1) / (self.T_mult - 1)
