"""Schedules that multiply the present rate by a number at each step.

Because they start from the present rate, they can be chained; `_total` is the closed form, for a
jump to a given step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable

from clgrad.errors import ClgradValueError
from clgrad.optim.lr_scheduler.base import LRScheduler, Number, current
from clgrad.optim.optimizer import Optimizer


class Factored(LRScheduler):
    """Base of schedules that multiply; a subclass defines `_factor` and `_total`."""

    def get_lr(self) -> list[Number]:
        """Return the rate of each group at `last_epoch`; called by `step`."""
        self._warn_outside()
        factor = self._factor()
        rates = current(self.optimizer)
        return rates if factor is None else [lr * factor for lr in rates]

    def _factor(self) -> float | None:
        """Return by what the rates are multiplied at `last_epoch`; None leaves them."""
        raise NotImplementedError

    def _get_closed_form_lr(self) -> list[Number]:
        total = self._total()
        return [base * total for base in self.base_lrs]

    def _total(self) -> float:
        """Return the product of all factors up to `last_epoch`."""
        raise NotImplementedError


class StepLR(Factored):
    """Multiplies rates by `gamma` every `step_size` steps."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        epoch = self.last_epoch
        return None if epoch == 0 or epoch % self.step_size else self.gamma

    def _total(self) -> float:
        return self.gamma ** (self.last_epoch // self.step_size)


class MultiStepLR(Factored):
    """Multiplies rates by `gamma` at each of the steps in `milestones`."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        times = self.milestones.get(self.last_epoch)
        return None if times is None else self.gamma**times

    def _total(self) -> float:
        return self.gamma ** bisect_right(sorted(self.milestones.elements()), self.last_epoch)


class ConstantLR(Factored):
    """Multiplies rates by `factor` until step `total_iters`.

    Raises:
        ClgradValueError: `factor` is not in [0, 1].
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not 0 <= factor <= 1:
            raise ClgradValueError(
                f"Constant multiplicative factor expected to be between 0 and 1, got {factor}."
            )
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        if self.last_epoch == 0:
            return self.factor
        return 1 / self.factor if self.last_epoch == self.total_iters else None

    def _total(self) -> float:
        return 1.0 if self.last_epoch >= self.total_iters else self.factor


class LinearLR(Factored):
    """Lets the factor of rates go from `start_factor` to `end_factor` in `total_iters` steps.

    Raises:
        ClgradValueError: `start_factor` is not in (0, 1], or `end_factor` not in [0, 1].
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0,
        total_iters: int = 5, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not 0 < start_factor <= 1:
            raise ClgradValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal "
                f"to 1, got {start_factor}."
            )
        if not 0 <= end_factor <= 1:
            raise ClgradValueError(
                f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor}."
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        epoch, total = self.last_epoch, self.total_iters
        if epoch == 0:
            return self.start_factor
        if self._is_initial or epoch > total:
            return None
        way = self.end_factor - self.start_factor
        return 1.0 + way / (total * self.start_factor + (epoch - 1) * way)

    def _total(self) -> float:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class ExponentialLR(Factored):
    """Multiplies rates by `gamma` at every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        return None if self._is_initial else self.gamma

    def _total(self) -> float:
        return float(self.gamma**self.last_epoch)


class PolynomialLR(Factored):
    """Lets rates fall to zero in `total_iters` steps, as (1 - t / total_iters)^power."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        epoch, total = self.last_epoch, self.total_iters
        if self._is_initial or epoch > total:
            return None
        return float(((1.0 - epoch / total) / (1.0 - (epoch - 1) / total)) ** self.power)

    def _total(self) -> float:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        return float((1.0 - done) ** self.power)
