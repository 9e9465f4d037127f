"""`GradScaler`: losses are scaled, so that gradients in float16 do not vanish."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clgrad.dtypes import float16
from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.functional.joining import stack
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

__all__ = ["GradScaler"]


class GradScaler:
    """Scales losses; divides gradients again; leaves out steps whose gradients overflowed.

    The scale is halved after a step with infinite or NaN gradients, and doubled after
    `growth_interval` steps without. Whether a step is left out is read on the host, once per step.

    Args:
        device: for PyTorch's sake: gradients are divided where they are.
        init_scale: the first scale.
        growth_factor: what the scale is multiplied by after good steps; above 1.
        backoff_factor: what it is multiplied by after an overflow; below 1.
        growth_interval: good steps before it grows.
        enabled: False: everything passes through, and `step` is the optimizer's.

    Raises:
        ClgradValueError: a factor is out of its range.

    Example:
        >>> scaler.scale(loss).backward()
        >>> scaler.step(optimizer)
        >>> scaler.update()
    """

    def __init__(
        self, device: str = "cpu", init_scale: float = 2.0**16, growth_factor: float = 2.0,
        backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        if enabled and growth_factor <= 1.0:
            raise ClgradValueError(f"The growth factor must be > 1.0, got {growth_factor}.")
        if enabled and backoff_factor >= 1.0:
            raise ClgradValueError(f"The backoff factor must be < 1.0, got {backoff_factor}.")
        self._device = device
        self._enabled = enabled
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._good = 0
        self._found: dict[int, Tensor | None] = {}  # id of an optimizer -> whether all is finite
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """Return a tensor, or each of nested lists and tuples of them, times the scale.

        Raises:
            ClgradValueError: there is something else.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, list | tuple):
            return type(outputs)([self.scale(item) for item in outputs])
        raise ClgradValueError(
            f"outputs must be a Tensor or an iterable of Tensors, got {type(outputs).__name__}."
        )

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters, to clip them, before `step`.

        Raises:
            ClgradRuntimeError: they were divided since the last `update`, or `step` was called.
            ClgradValueError: a gradient is float16: the parameters are.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._found:
            raise ClgradRuntimeError(
                "unscale_() is being called after step()." if id(optimizer) in self._stepped else
                "unscale_() has already been called on this optimizer since the last update()."
            )  # fmt: skip
        with no_grad():
            self._found[id(optimizer)] = self._divide(optimizer)

    def _divide(self, optimizer: Any) -> Tensor | None:
        finite: dict[Any, list[Tensor]] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                grad = parameter.grad
                if grad is None:
                    continue
                if grad.dtype is float16:
                    raise ClgradValueError(
                        "Attempting to unscale FP16 gradients. Expected parameters in float32. "
                        "Hint: keep the model in float32, and compute the loss under autocast."
                    )
                finite.setdefault(grad.device, []).append(grad.isfinite().all())
                grad.mul_(1.0 / self._scale)
        return _together([stack(flags).all() for flags in finite.values()])

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Divide the gradients, where `unscale_` has not, and step if all of them are finite.

        Args:
            optimizer: whose gradients came from scaled losses.
            args, kwargs: for its `step`; a closure is not taken.

        Returns:
            What its `step` returned, or None where it was left out.

        Raises:
            ClgradRuntimeError: `step` was called since the last `update`, or a closure was passed.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise ClgradRuntimeError(
                "Closure use is not currently supported if GradScaler is enabled."
            )
        if id(optimizer) in self._stepped:
            raise ClgradRuntimeError("step() has already been called since the last update().")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        finite = self._found[id(optimizer)]
        if finite is None:
            raise ClgradRuntimeError(
                "No inf checks were recorded for this optimizer: no parameter of it has a gradient."
            )
        self._stepped.add(id(optimizer))
        return optimizer.step(*args, **kwargs) if finite.item() else None

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale to what was found since the last call, or set it.

        Raises:
            ClgradRuntimeError: nothing was found, as no optimizer stepped.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            found = [finite for finite in self._found.values() if finite is not None]
            if not found:
                raise ClgradRuntimeError("No inf checks were recorded prior to update.")
            self._adapt(all(finite.item() for finite in found))
        self._found.clear()
        self._stepped.clear()

    def _adapt(self, finite: bool) -> None:
        if not finite:
            self._scale *= self._backoff_factor
            self._good = 0
            return
        self._good += 1
        if self._good == self._growth_interval:
            self._scale *= self._growth_factor
            self._good = 0

    def get_scale(self) -> float:
        """Return the scale, 1.0 where scaling is off."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """Return what the scale is multiplied by after good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by after good steps."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """Return what the scale is multiplied by after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by after an overflow."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """Return the number of good steps before the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set the number of good steps before the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Return whether losses are scaled."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Return the state, empty where scaling is off; save it after `update`."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state.

        Raises:
            ClgradRuntimeError: it is empty: scaling was off where it was saved.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ClgradRuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._good = state_dict["_growth_tracker"]


def _together(parts: Iterable[Tensor]) -> Tensor | None:
    """Return what is true where all of several devices' flags are; None for no flags."""
    made: Tensor | None = None
    for part in parts:
        made = part if made is None else made & part.to(made.device)
    return made
