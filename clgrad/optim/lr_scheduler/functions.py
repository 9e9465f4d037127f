"""Schedules given by functions of the step, one for all groups or one for each."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.optim.lr_scheduler.base import LRScheduler, Number, current
from clgrad.optim.optimizer import Optimizer

Rate = Callable[[int], float]


def state_of(function: Any) -> dict[str, Any] | None:
    """Return what a callable object holds; None of a plain function, which is not saved."""
    return None if isinstance(function, types.FunctionType) else function.__dict__.copy()


class _ByFunctions(LRScheduler):
    def __init__(
        self, optimizer: Optimizer, lr_lambda: Rate | list[Rate], last_epoch: int = -1
    ) -> None:
        count = len(optimizer.param_groups)
        given = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * count
        if len(given) != count:
            raise ClgradValueError(
                f"Expected {count} lr_lambdas, but got {len(given)}. Hint: one for each group."
            )
        self.lr_lambdas = given
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer; of functions, what callable objects hold."""
        state = super().state_dict()
        state["lr_lambdas"] = [state_of(f) for f in self.lr_lambdas]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; plain functions stay as they are."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for k, state in enumerate(state_dict["lr_lambdas"]):
            if state is not None:
                self.lr_lambdas[k].__dict__.update(state)


class LambdaLR(_ByFunctions):
    """Sets each rate to its first value times `lr_lambda(step)`.

    Raises:
        ClgradValueError: not as many functions as groups.
    """

    def get_lr(self) -> list[Number]:
        """Return the rate of each group at `last_epoch`; called by `step`."""
        self._warn_outside()
        return [b * f(self.last_epoch) for f, b in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_ByFunctions):
    """Multiplies each rate by `lr_lambda(step)`.

    Raises:
        ClgradValueError: not as many functions as groups.
        ClgradTypeError: something that cannot be called.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Rate | list[Rate], last_epoch: int = -1
    ) -> None:
        for one in lr_lambda if isinstance(lr_lambda, list | tuple) else [lr_lambda]:
            if not callable(one):
                raise ClgradTypeError(
                    f"lr_lambda should be a function, but got {type(one).__name__}"
                )
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> list[Number]:
        """Return the rate of each group at `last_epoch`; called by `step`."""
        self._warn_outside()
        rates = current(self.optimizer)
        if self._is_initial:
            return rates
        return [lr * f(self.last_epoch) for f, lr in zip(self.lr_lambdas, rates, strict=True)]
