"""`LRScheduler`: counts steps and writes the rates that a subclass works out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.optim.optimizer import Group, Optimizer
from clgrad.tensor import Tensor

Number = Any
"""A Python number, or a tensor of one element."""

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
    "possible. Please use `scheduler.step()` to step the scheduler. During the deprecation, if "
    "epoch is different from None, the closed form is used instead of the new chainable form, "
    "where available."
)


class ResumeError(ClgradValueError, KeyError):
    """A schedule was to be resumed with an optimizer that knows no `initial_lr`."""

    __str__ = Exception.__str__  # KeyError's would quote the text


def check_optimizer(optimizer: Any) -> None:
    """Raise `ClgradTypeError` for what is no optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise ClgradTypeError(f"{type(optimizer).__name__} is not an Optimizer")


def current(optimizer: Optimizer, key: str = "lr") -> list[Number]:
    """Return a setting of each group; tensors are copied."""
    return [kept(group[key]) for group in optimizer.param_groups]


def kept(value: Number) -> Number:
    """Return a number as it is, a tensor as a copy."""
    return value.clone() if isinstance(value, Tensor) else value


def put(group: Group, key: str, value: Number) -> None:
    """Write a setting; a tensor stays the same tensor."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Number]:
    """Return one value for each group; raises `ClgradValueError` for a list of another length."""
    count = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [kept(value) for _ in range(count)]
    if len(value) != count:
        raise ClgradValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} "
            f"values, param_groups has {count}."
        )
    return [kept(v) for v in value]


class LRScheduler:
    """Base of schedulers; a subclass defines `get_lr`, the rates at `last_epoch`.

    Args:
        optimizer: whose groups are changed.
        last_epoch: number of the last step, to resume from; -1 to begin.

    Attributes:
        base_lrs: rate of each group at the beginning.
        last_epoch: how many steps were made.

    Raises:
        ClgradTypeError: `optimizer` is none.
        ResumeError: `last_epoch` is given, but the groups do not say with what rate they began.
    """

    _get_lr_called_within_step = False
    _is_initial = False
    _step_count: int
    _last_lr: list[Number]
    optimizer: Optimizer

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", kept(group["lr"]))
            elif "initial_lr" not in group:
                raise ResumeError(
                    f"param 'initial_lr' is not specified in param_groups[{k}] when resuming "
                    "scheduler with last_epoch >= 0. Hint: load the optimizer's state first, or "
                    "leave last_epoch out to begin anew."
                )
        self.base_lrs: list[Number] = current(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[Number]:
        """Return the rate of each group at `last_epoch`; called by `step`."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr().")

    def get_last_lr(self) -> list[Number]:
        """Return the rate that the last step gave to each group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go one step on; to be called after the optimizer's step.

        Args:
            epoch: go to this step instead (deprecated, as in PyTorch).
        """
        if self._step_count == 1 and not self.optimizer._stepped:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Expected the "
                "opposite order. Failure to do this will result in skipping the first value of the "
                "learning rate schedule.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed = getattr(self, "_get_closed_form_lr", None)
        self._write(closed() if epoch is not None and closed is not None else self._rates())

    def _rates(self) -> list[Number]:
        self._get_lr_called_within_step = True
        try:
            return self.get_lr()
        finally:
            self._get_lr_called_within_step = False

    def _write(self, rates: Iterable[Number]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            put(group, "lr", lr)
        self._last_lr = current(self.optimizer)

    def _warn_outside(self) -> None:
        """Warn where a user calls `get_lr`, which may go a step on."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; the optimizer's state is loaded by itself."""
        self.__dict__.update(state_dict)
