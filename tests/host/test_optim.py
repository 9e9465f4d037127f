"""Optimizers: settings, state and errors; each program PyTorch runs too."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

import clgrad
from clgrad.testing.interpreter import interpreted

CASES, case = cases()


def leaves(m: Any) -> Any:
    return [
        m.tensor([1.0, -2.0, 0.5], requires_grad=True),
        m.tensor([[0.25], [4.0]], requires_grad=True),
    ]


def descend(m: Any, optimizer: Any, params: Any, steps: int) -> Any:
    """Take steps on a curved loss; return losses and where the parameters end."""
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = sum(((p.tanh() - 0.3) ** 2).sum() for p in params)
        loss = loss + (params[0][0] * params[1]).tanh().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [losses, *[p.detach() for p in params]]


@case()
def groups_have_settings_of_their_own(m: Any) -> Any:
    a, b = leaves(m)
    groups = [{"params": [a], "lr": 0.01}, {"params": b, "momentum": 0.5}]
    return descend(m, m.optim.SGD(groups, lr=0.02), [a, b], 5)


@case()
def groups_can_be_added(m: Any) -> Any:
    a, b = leaves(m)
    optimizer = m.optim.SGD([a], lr=0.02, momentum=0.9)
    first = descend(m, optimizer, [a, b], 2)
    optimizer.add_param_group({"params": [b], "lr": 0.01})
    return [first, descend(m, optimizer, [a, b], 3), len(optimizer.param_groups)]


@case()
def settings_can_change_between_steps(m: Any) -> Any:
    params = leaves(m)
    optimizer = m.optim.SGD(params, lr=0.02, momentum=0.9)
    seen = []
    for factor in (1.0, 0.5, 0.1):
        optimizer.param_groups[0]["lr"] = 0.02 * factor
        seen.append(descend(m, optimizer, params, 2))
    return seen


@case()
def parameters_without_gradient_stay(m: Any) -> Any:
    a, b = leaves(m)
    optimizer = m.optim.SGD([a, b], lr=0.1, momentum=0.9, weight_decay=0.5)
    a.sum().backward()
    optimizer.step()
    return [a.detach(), b.detach(), len(optimizer.state)]


@case()
def the_first_velocity_is_a_copy_of_the_gradient(m: Any) -> Any:
    a, _ = leaves(m)
    optimizer = m.optim.SGD([a], lr=0.1, momentum=0.9)
    a.sum().backward()
    optimizer.step()
    a.grad.zero_()
    return [optimizer.state[a]["momentum_buffer"], a.is_leaf, a.requires_grad, a._version]


@case()
def closures_are_called_with_gradients(m: Any) -> Any:
    a, _ = leaves(m)
    optimizer = m.optim.SGD([a], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss

    with m.no_grad():
        return [optimizer.step(closure), a.detach(), optimizer.step()]


@case()
def zero_grad_drops_or_clears(m: Any) -> Any:
    a, b = leaves(m)
    optimizer = m.optim.SGD([a, b])
    (a.sum() * 2).backward()
    optimizer.zero_grad(set_to_none=False)
    cleared = [a.grad, b.grad]
    optimizer.zero_grad()
    return [cleared, a.grad]


@case()
def state_can_be_taken_over(m: Any) -> Any:
    params = leaves(m)
    optimizer = m.optim.SGD(params, lr=0.02, momentum=0.9, nesterov=True)
    descend(m, optimizer, params, 3)
    copies = [p.detach().clone().requires_grad_() for p in params]
    other = m.optim.SGD(copies, lr=5.0)
    state = copy.deepcopy(optimizer.state_dict())  # PyTorch's shares the tensors
    other.load_state_dict(copy.deepcopy(state))
    group = state["param_groups"][0]
    names = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "params")
    buffers = {str(k): v["momentum_buffer"] for k, v in state["state"].items()}
    went_on = [descend(m, optimizer, params, 2), descend(m, other, copies, 2)]
    return [{k: group[k] for k in names}, buffers, went_on, other.param_groups[0]["lr"]]


@case("different number of parameter groups")
def state_of_other_groups(m: Any) -> Any:
    a, b = leaves(m)
    two = m.optim.SGD([{"params": a}, {"params": b}])
    return m.optim.SGD([a, b]).load_state_dict(two.state_dict())


@case("doesn't match the size of")
def state_of_another_size(m: Any) -> Any:
    a, b = leaves(m)
    return m.optim.SGD([a, b]).load_state_dict(m.optim.SGD([a]).state_dict())


@case("empty parameter list")
def no_parameters(m: Any) -> Any:
    return m.optim.SGD([])


@case("should be an iterable of Tensors or dicts")
def a_tensor_instead_of_a_list(m: Any) -> Any:
    return m.optim.SGD(m.ones(2))


@case("can't optimize a non-leaf Tensor")
def a_result(m: Any) -> Any:
    return m.optim.SGD([leaves(m)[0] * 2])


@case("can only optimize Tensors")
def a_number(m: Any) -> Any:
    return m.optim.SGD([3.0])


@case("some parameters appear in more than one")
def a_parameter_in_two_groups(m: Any) -> Any:
    a, _ = leaves(m)
    return m.optim.SGD([{"params": a}, {"params": a}])


@case("Invalid learning rate: -1")
def a_negative_rate(m: Any) -> Any:
    return m.optim.SGD(leaves(m), lr=-1)


@case("Nesterov momentum requires a momentum and zero dampening")
def nesterov_without_momentum(m: Any) -> Any:
    return m.optim.SGD(leaves(m), nesterov=True)


@pytest.mark.parametrize(("program", "words"), CASES)
def test_as_torch(program: Case, words: str) -> None:
    same(program, words)


SETTINGS = [
    {"momentum": m, "dampening": d, "weight_decay": w, "nesterov": n, "maximize": x}
    for m, d, w, n, x in itertools.product(
        (0, 0.9), (0, 0.3), (0, 0.1), (False, True), (False, True)
    )
    if not n or (m and not d)
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_sgd(settings: dict[str, Any]) -> None:
    def program(m: Any) -> Any:
        params = leaves(m)
        return descend(m, m.optim.SGD(params, lr=1e-3, **settings), params, 10)

    same(program)


def test_repr_shows_groups_and_settings() -> None:
    with interpreted():
        text = repr(clgrad.optim.SGD(leaves(clgrad), lr=0.5))
    assert text.startswith("SGD (\nParameter Group 0\n")
    assert "\n    lr: 0.5\n" in text


def test_loaded_state_is_a_copy_in_the_dtype_of_its_parameter() -> None:
    with interpreted():
        a = clgrad.tensor(np.ones(2), requires_grad=True)
        b = clgrad.tensor([1.0, 1.0], requires_grad=True)
        one, two = (clgrad.optim.SGD([p], lr=0.1, momentum=0.9) for p in (a, b))
        a.sum().backward()
        one.step()
        two.load_state_dict(one.state_dict())
        taken = two.state[b]["momentum_buffer"]
        assert taken.dtype is clgrad.float32
        taken.zero_()
        assert one.state[a]["momentum_buffer"].numpy().all()
