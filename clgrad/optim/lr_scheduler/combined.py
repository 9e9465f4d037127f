"""Schedules made of others: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.optim.lr_scheduler.base import LRScheduler, current, put
from clgrad.optim.lr_scheduler.plateau import ReduceLROnPlateau
from clgrad.optim.optimizer import Optimizer


class _Combined(LRScheduler):
    """What holds several schedulers of one optimizer."""

    _schedulers: Sequence[LRScheduler]

    def _check(self, optimizer: Any, schedulers: Sequence[Any], what: str) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ClgradValueError(
                f"{name} expects at least one scheduler{what}, but got no scheduler."
            )
        for k, one in enumerate(schedulers):
            if not hasattr(one, "optimizer"):
                raise ClgradTypeError(
                    f"{name} at index {k} should have `optimizer` as its attribute, got "
                    f"{type(one).__name__}."
                )
            if isinstance(one, ReduceLROnPlateau):
                raise ClgradValueError(
                    f"{name} does not support `ReduceLROnPlateau` scheduler as it requires "
                    "additional kwargs to be specified when calling `step`, but got one at index "
                    f"{k} in the given schedulers sequence."
                )
            if one.optimizer is not (optimizer or schedulers[0].optimizer):
                raise ClgradValueError(
                    f"{name} expects all schedulers to belong to the same optimizer, but got "
                    f"scheduler {type(one).__name__} at index {k} with another one."
                )

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer, with the states of the schedulers."""
        state = super().state_dict()
        state["_schedulers"] = [s.state_dict() for s in self._schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, each scheduler its own."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for one, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            one.load_state_dict(state)


class SequentialLR(_Combined):
    """Follows one scheduler after the other, changing at `milestones`.

    Args:
        optimizer: whose groups are changed.
        schedulers: made for this optimizer.
        milestones: the steps at which the next one begins; one less than schedulers.
        last_epoch: number of the last step, to resume from.

    Raises:
        ClgradValueError: no schedulers, another number of milestones, another optimizer.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int],
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        self._check(optimizer, schedulers, "")
        if len(milestones) != len(schedulers) - 1:
            raise ClgradValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than "
                "the number of milestone points, but got number of schedulers "
                f"{len(schedulers)} and the number of milestones to be equal to {len(milestones)}"
            )
        self._schedulers: list[LRScheduler] = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            put(group, "lr", group["initial_lr"])
        _undo(self)
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:  # type: ignore[override]  # as PyTorch's: it jumps nowhere
        """Go one step on, with the scheduler whose turn it is."""
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        one = self._schedulers[turn]
        if turn and self._milestones[turn - 1] == self.last_epoch:
            one._update_lr(0)
        else:
            one.step()
        self._last_lr = one.get_last_lr()


def _undo(scheduler: Any) -> None:
    """Take back the first step, which every scheduler makes when it is made."""
    if hasattr(scheduler, "_schedulers"):
        for one in scheduler._schedulers:
            _undo(one)
    elif hasattr(scheduler, "last_epoch"):
        scheduler.last_epoch -= 1


class ChainedScheduler(_Combined):
    """Follows several schedulers at once, each of which changes what the one before made.

    Args:
        schedulers: made for one optimizer.
        optimizer: that one; default: the first scheduler's.

    Raises:
        ClgradValueError: no schedulers, or of several optimizers.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self._check(optimizer, schedulers, " to be chained")
        self._schedulers = schedulers
        self.optimizer = optimizer or schedulers[0].optimizer
        self._last_lr = current(self.optimizer)

    def step(self) -> None:  # type: ignore[override]  # as PyTorch's: it jumps nowhere
        """Go one step on with every scheduler."""
        for one in self._schedulers:
            one.step()
        self._last_lr = current(self.optimizer)
