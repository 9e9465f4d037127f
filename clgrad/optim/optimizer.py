"""`Optimizer`: groups of parameters with their settings, state per parameter, saving and loading.

The base of all optimizers; it changes no parameter itself. Settings such as `lr` are Python
numbers, which reach the kernels as arguments: changing them compiles nothing.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clgrad import dispatch
from clgrad.autograd.clearing import clear_grads
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.tape.grad_mode import enable_grad, no_grad
from clgrad.tensor import Tensor

Closure = Callable[[], Any]
Group = dict[str, Any]


class Optimizer:
    """Base of optimizers; a subclass defines `_update(group)`.

    Args:
        params: parameters, or groups `{"params": [...], "lr": ...}` with settings of their own.
        defaults: settings of groups that do not say otherwise.

    Attributes:
        param_groups: one dictionary per group, settings beside the list `params`.
        state: per parameter, what the optimizer remembers of it.

    Raises:
        ClgradTypeError: something that is no tensor.
        ClgradValueError: no parameters, one that occurs twice or is no leaf.
    """

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
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
        given = group["params"]
        if isinstance(given, set):
            raise ClgradTypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Hint: use a list."
            )
        params = [given] if isinstance(given, Tensor) else list(given)
        for param in params:
            if not isinstance(param, Tensor):
                raise ClgradTypeError(
                    f"optimizer can only optimize Tensors, but one of the params is "
                    f"{type(param).__name__}."
                )
            if not (param.is_leaf or param.retains_grad):
                raise ClgradValueError(
                    "can't optimize a non-leaf Tensor. Hint: detach() it and set requires_grad."
                )
        known = {p for g in self.param_groups for p in g["params"]}
        if len({*params}) != len(params) or not known.isdisjoint(params):
            raise ClgradValueError("some parameters appear in more than one place, or twice in one")
        group["params"] = params
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or fill it with zeros."""
        for group in self.param_groups:
            clear_grads(group["params"], set_to_none)

    def step(self, closure: Closure | None = None) -> Any:
        """Change every parameter that has a gradient.

        The new values are enqueued on the device when this returns; it does not wait for them.

        Args:
            closure: computes the loss again, with gradients; it is called first.

        Returns:
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                self._update(group)
        dispatch.backend.flush()
        return loss

    def _update(self, group: Group) -> None:
        """Change the parameters of one group; called without recording."""
        raise NotImplementedError(f"{type(self).__name__} defines no _update(group).")

    # ---- saving and loading ---------------------------------------------------------------------

    def state_dict(self) -> Group:
        """Return settings and state, parameters being numbered in the order of their groups."""
        numbers: dict[Any, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers[param] = len(numbers)
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [numbers[p] for p in group["params"]]
            groups.append(packed)
        state = {numbers.get(p, p): dict(values) for p, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over settings and state; tensors are copied to their parameter's device and dtype.

        Args:
            state_dict: what `state_dict` of an optimizer over parameters in this order returned.

        Raises:
            ClgradValueError: groups or their sizes differ.
        """
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
                state[param] = {k: _taken(k, v, param) for k, v in values.items()}
        for mine, theirs in zip(groups, saved, strict=True):
            own = mine["params"]
            mine.clear()
            mine.update({k: copy.deepcopy(v) for k, v in theirs.items() if k != "params"})
            mine["params"] = own
        self.state = state

    def __repr__(self) -> str:
        lines = []
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {n}: {group[n]}" for n in sorted(group) if n != "params"]
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"


def _taken(name: str, value: Any, param: Tensor) -> Any:
    """Return a copy of a state entry that suits its parameter; counters keep their dtype."""
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    made = value.detach().clone()
    if name == "step" or not param.is_floating_point():
        return made
    return made.to(device=param.device, dtype=param.dtype)
