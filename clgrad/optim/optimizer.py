"""`Optimizer`: groups of parameters with their settings, state per parameter, saving and loading.

The base of all optimizers; it changes no parameter itself. Settings such as `lr` are Python
numbers, which reach the kernels as arguments: changing them compiles nothing.
"""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from clgrad.autograd.clearing import clear_grads
from clgrad.creation import tensor
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.graph import position
from clgrad.optim.hooked import (
    Hooked,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    stepping,
)
from clgrad.optim.pace import Pace
from clgrad.tape.grad_mode import enable_grad, set_grad_enabled
from clgrad.tensor import Tensor

Closure = Callable[[], Any]
Group = dict[str, Any]

required: Any = object()
"""Default of a setting that every group must bring."""


class Optimizer(Hooked):
    """Base of optimizers; a subclass defines `_update(group)`, or `step` altogether.

    Args:
        params: parameters, pairs of names and parameters, or groups
            `{"params": [...], "lr": ...}` with settings of their own.
        defaults: settings of groups that do not say otherwise.

    Attributes:
        param_groups: one dictionary per group, settings beside the list `params`.
        state: per parameter, what the optimizer remembers of it.

    Raises:
        ClgradTypeError: something that is no tensor.
        ClgradValueError: no parameters, one that is in two groups or is no leaf.
    """

    _counters: ClassVar[tuple[str, ...]] = ()
    """State that is a Python number, so that it reaches kernels as an argument; in a state dict it
    is a tensor of shape (), as PyTorch's."""

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        super().__init__()
        self._pace = Pace()
        if isinstance(params, Tensor | Mapping):
            raise ClgradTypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}. Hint: put it into a list."
            )
        self.defaults = defaults
        self.state: defaultdict[Any, Group] = defaultdict(dict)
        self.param_groups: list[Group] = []
        listed = list(params)
        if not listed:
            raise ClgradValueError(
                "optimizer got an empty parameter list. Hint: parameters() of a module can be "
                "gone through once; make the optimizer after the layers."
            )
        if not isinstance(listed[0], Mapping):
            listed = [{"params": listed}]
        for group in listed:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with settings of their own, such as layers that are thawed later."""
        if not isinstance(param_group, Mapping):
            raise ClgradTypeError(
                f"param_group must be a dict, but got {type(param_group).__name__}"
            )
        group = dict(param_group)
        params = _take_names(group)
        for param in params:
            if not isinstance(param, Tensor):
                raise ClgradTypeError(
                    f"optimizer can only optimize Tensors, but one of the params is "
                    f"{type(param).__name__}."
                )
            if not (param.is_leaf or param.retains_grad or self.defaults.get("differentiable")):
                raise ClgradValueError(
                    "can't optimize a non-leaf Tensor. Hint: detach() it and set requires_grad."
                )
        for name, value in self.defaults.items():
            if group.setdefault(name, value) is required:
                raise ClgradValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
        if len({*params}) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters: each is changed "
                "as often as it is listed.",
                stacklevel=3,
            )
        known = {p for g in self.param_groups for p in g["params"]}
        if not known.isdisjoint(params):
            raise ClgradValueError("some parameters appear in more than one parameter group")
        named = "param_names" in group
        if any(("param_names" in g) != named for g in self.param_groups):
            raise ClgradValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if named else 'without'} names to the optimizer"
            )
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or fill it with zeros.

        Dropped right after each step, gradients need little memory or none: see `pace`.
        """
        for group in self.param_groups:
            clear_grads(group["params"], set_to_none)
        if set_to_none:
            self._pace.dropped()

    @stepping
    def step(self, closure: Closure | None = None) -> Any:
        """Change every parameter that has a gradient.

        The new values are pending or enqueued when this returns; it does not wait for them.

        Args:
            closure: computes the loss again, with gradients; it is called first.

        Returns:
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        before, position.step.origin = position.step.origin, position.written_from()
        try:
            with set_grad_enabled(bool(self.defaults.get("differentiable"))):
                for group in self.param_groups:
                    self._update(group)
        finally:
            position.step.origin = before
        self._pace.stepped()
        return loss

    def _update(self, group: Group) -> None:
        """Change the parameters of one group; called without recording."""
        raise NotImplementedError(f"{type(self).__name__} defines no _update(group).")

    def _each(self, group: Group) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each parameter that has a gradient, and that: negated where uphill is wanted."""
        down = group.get("maximize")
        for param in group["params"]:
            grad = param.grad
            if grad is not None:
                yield param, -grad if down else grad

    # ---- saving and loading ---------------------------------------------------------------------

    def state_dict(self) -> Group:
        """Return settings and state, parameters being numbered in the order of their groups.

        Tensors are the optimizer's own, not copies.
        """
        for hook in list(self._state_pre_hooks.values()):
            hook(self)
        numbers: dict[Any, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(param, len(numbers))
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [numbers[p] for p in group["params"]]
            groups.append(packed)
        state = {
            numbers.get(p, p): {k: self._saved(k, v) for k, v in values.items()}
            for p, values in self.state.items()
        }
        made: Group = {"state": state, "param_groups": groups}
        for hook in list(self._state_post_hooks.values()):
            changed = hook(self, made)
            made = made if changed is None else changed
        return made

    def _saved(self, name: str, value: Any) -> Any:
        return tensor(value) if name in self._counters and isinstance(value, float) else value

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over settings and state; tensors are copied to their parameter's device and dtype.

        Args:
            state_dict: what `state_dict` of an optimizer over parameters in this order returned.

        Raises:
            ClgradValueError: groups or their sizes differ.
        """
        state_dict = dict(state_dict)
        for hook in list(self._load_pre_hooks.values()):
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups, saved = self.param_groups, state_dict["param_groups"]
        if len(groups) != len(saved):
            raise ClgradValueError(
                "loaded state dict has a different number of parameter groups: "
                f"{len(saved)}. Expected {len(groups)}."
            )
        have = [len(g["params"]) for g in groups]
        given = [len(g["params"]) for g in saved]
        if have != given:
            raise ClgradValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                f"optimizer's group: {given} parameters. Expected {have}."
            )
        params = {
            number: param
            for mine, theirs in zip(groups, saved, strict=True)
            for number, param in zip(theirs["params"], mine["params"], strict=True)
        }
        state: defaultdict[Any, Group] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            param = params.get(number)
            if param is None:
                state[number] = copy.deepcopy(values)
            else:
                state[param] = {k: self._taken(k, v, param) for k, v in values.items()}
        for mine, theirs in zip(groups, saved, strict=True):
            kept = {k: mine[k] for k in ("params", "param_names") if k in mine}
            mine.clear()
            mine.update({k: copy.deepcopy(v) for k, v in theirs.items() if k != "params"})
            mine.update({k: v for k, v in kept.items() if k not in mine})
        self.state = state
        for hook in list(self._load_post_hooks.values()):
            hook(self)

    def _taken(self, name: str, value: Any, param: Tensor) -> Any:
        """Return a copy of an entry of saved state that suits its parameter."""
        if name in self._counters and (not isinstance(value, Tensor) or value.numel() == 1):
            return float(value)
        if isinstance(value, Tensor):
            made = value.detach().clone()
            dtype = param.dtype if param.is_floating_point() else made.dtype
            return made.to(device=param.device, dtype=dtype)
        if isinstance(value, Mapping):
            return {k: self._taken(k, v, param) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([self._taken("", v, param) for v in value])
        return copy.deepcopy(value)

    def __getstate__(self) -> Group:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: Group) -> None:
        Hooked.__init__(self)
        self._pace = Pace()
        self.__dict__.update(state)

    def __repr__(self) -> str:
        lines = []
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {n}: {group[n]}" for n in sorted(group) if n != "params"]
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"


def _take_names(group: Group) -> list[Any]:
    """Make a list of a group's parameters; names, where all have one, become `param_names`."""
    given = group["params"]
    if isinstance(given, set):
        raise ClgradTypeError(
            "optimizer parameters need to be organized in ordered collections, but the "
            "ordering of tensors in sets will change between runs. Please use a list instead."
        )
    listed = [given] if isinstance(given, Tensor) else list(given)
    names = [item[0] for item in listed if isinstance(item, tuple)]
    if names and len(names) != len(listed):
        raise ClgradValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    params = [item[1] for item in listed] if names else listed
    if names:
        group["param_names"] = names
    group["params"] = params
    return params


__all__ = [
    "Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook",
    "required",
]  # fmt: skip
