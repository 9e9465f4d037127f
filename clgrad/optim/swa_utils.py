"""Averages of a model's parameters over training, and the schedule that goes with them.

Source: Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from clgrad.creation import tensor
from clgrad.dtypes import int64
from clgrad.errors import ClgradValueError
from clgrad.nn.modules.batchnorm import _BatchNorm
from clgrad.nn.modules.module import Module
from clgrad.optim.lr_scheduler.base import LRScheduler
from clgrad.optim.optimizer import Optimizer
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

Average = Callable[[Tensor, Tensor, Any], Tensor]
"""Returns the new average of: the average, a parameter, how many it is of."""
Averages = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]
"""Does that in place for all parameters."""


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ClgradValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return the exponential moving average."""
    _check_decay(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        made: Any = ema_param * decay + current_param * (1 - decay)
        return made  # type: ignore[no-any-return]  # a Tensor

    return ema_update


def get_swa_avg_fn() -> Average:
    """Return the plain average."""

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        way: Any = current_param - averaged_param
        return averaged_param + way / (num_averaged + 1)  # type: ignore[no-any-return]  # a Tensor

    return swa_update


def _of_all(average: Average) -> Averages:
    def update(averages: Sequence[Tensor], params: Sequence[Tensor], count: Any) -> None:
        with no_grad():
            for have, new in zip(averages, params, strict=True):
                have.copy_(average(have, new, count) if have.is_floating_point() else new)

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """Return the exponential moving average, of many parameters in place."""
    return _of_all(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Averages:
    """Return the plain average, of many parameters in place."""
    return _of_all(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's at several times.

    Args:
        model: what to average.
        device: where the averages are.
        avg_fn: (average, parameter, how many it is of) -> new average; default: the plain one.
        multi_avg_fn: the same in place for lists, instead.
        use_buffers: whether buffers are averaged too; else they are copied.

    Raises:
        ClgradValueError: both functions are given.
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None, use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise OneAverageError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the averaged model."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the model's present parameters into the averages."""
        averaged: Any = self.module.parameters()
        given: Any = model.parameters()
        if self.use_buffers:
            averaged = chain(averaged, self.module.buffers())
            given = chain(given, model.buffers())
        both = zip(averaged, given, strict=True)
        pairs = [(a.detach(), p.detach().to(a.device)) for a, p in both]
        count = int(self.n_averaged)
        if not count:
            for have, new in pairs:
                have.copy_(new)
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn([a for a, _ in pairs], [p for _, p in pairs], self.n_averaged)
        else:
            average = get_swa_avg_fn() if self.avg_fn is None else self.avg_fn
            for have, new in pairs:
                have.copy_(average(have, new, count if self.avg_fn is None else self.n_averaged))
        if not self.use_buffers:
            for have, new in zip(self.module.buffers(), model.buffers(), strict=True):
                have.detach().copy_(new.detach().to(have.device))
        self.n_averaged += 1


class OneAverageError(ClgradValueError, AssertionError):
    """Two functions where one is wanted; PyTorch asserts."""


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the statistics of batch normalizations anew, of the batches of a loader.

    Args:
        loader: of inputs, or of tuples that begin with them.
        device: where inputs are moved.
    """
    momenta: dict[Any, float | None] = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    training = model.training
    model.train()
    for module in momenta:
        module.momentum = None
    with no_grad():
        for batch in loader:
            input = batch[0] if isinstance(batch, list | tuple) else batch
            model(input if device is None else input.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(training)


def _cosine(t: float) -> float:
    return (1 - math.cos(math.pi * t)) / 2


class SWALR(LRScheduler):
    """Takes rates to a fixed one, and leaves them there.

    Args:
        optimizer: whose groups have the rates.
        swa_lr: the rate in the end, or one for each group.
        anneal_epochs: steps until then.
        anneal_strategy: "cos" or "linear".
        last_epoch: see `LRScheduler`.

    Raises:
        ClgradValueError: another strategy, a negative number of steps.
    """

    def __init__(
        self, optimizer: Optimizer, swa_lr: float | Sequence[float], anneal_epochs: int = 10,
        anneal_strategy: str = "cos", last_epoch: int = -1,
    ) -> None:  # fmt: skip
        groups = optimizer.param_groups
        rates = list(swa_lr) if isinstance(swa_lr, list | tuple) else [swa_lr] * len(groups)
        if len(rates) != len(groups):
            raise ClgradValueError(
                f"swa_lr must have the same length as optimizer.param_groups. swa_lr has "
                f"{len(rates)}, param_groups has {len(groups)}."
            )
        for group, one in zip(groups, rates, strict=True):
            group["swa_lr"] = one
        if anneal_strategy not in ("cos", "linear"):
            raise ClgradValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if anneal_epochs < 0:
            raise ClgradValueError(
                f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}"
            )
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: float) -> float:
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return _cosine(t) if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        """Return the rates of this step."""
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        made = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            start = (group["lr"] - before * end) / (1 - before) if before < 1 else end
            made.append(end * now + start * (1 - now))
        return made


__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip
