"""L-BFGS against PyTorch's: the same way, evaluation by evaluation."""

from __future__ import annotations

import copy
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import same

import clgrad
from clgrad.testing.interpreter import interpreted

LOSSES: dict[str, Any] = {
    "rosenbrock": lambda a, b: ((1 - a[0]) ** 2 + 100 * (a[1] - a[0] * a[0]) ** 2) + (b**2).sum(),
    "quartic": lambda a, b: ((a - 0.3) ** 4).sum() + ((b @ b.t()) ** 2).sum() + (a[0] * b).sum(),
    "bent": lambda a, b: (a * a + 1).sqrt().sum() + (b.tanh() * b).sum(),
}


def run(m: Any, loss: Any, steps: int, **options: Any) -> Any:
    a = m.tensor([-1.2, 1.0], dtype=m.float64, requires_grad=True)
    b = m.tensor([[0.5, -0.25], [1.5, 2.0]], dtype=m.float64, requires_grad=True)
    unused = m.tensor([1.0], dtype=m.float64, requires_grad=True)
    optimizer = m.optim.LBFGS([a, b, unused], **options)
    seen: list[Any] = []

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss(a, b)
        value.backward()
        seen.append(value.item())
        return value

    firsts = [optimizer.step(closure).item() for _ in range(steps)]
    state = optimizer.state[a]
    return [firsts, seen, a.detach(), b.detach(), state["func_evals"], state["n_iter"]]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("options", [
    {"lr": 0.1}, {"line_search_fn": "strong_wolfe"}, {"lr": 0.05, "max_iter": 4, "history_size": 2},
    {"line_search_fn": "strong_wolfe", "max_iter": 7, "history_size": 3, "lr": 2.0},
    {"max_eval": 3, "lr": 0.01}, {"tolerance_grad": 10.0}, {"tolerance_change": 1e-2, "lr": 0.1},
], ids=str)  # fmt: skip
def test_the_same_way(name: str, options: dict[str, Any]) -> None:
    same(lambda m: run(m, LOSSES[name], 2, **options))


def test_mistakes() -> None:
    same(
        lambda m: m.optim.LBFGS([{"params": [m.ones(1)]}, {"params": [m.ones(2)]}]),
        "doesn't support per-parameter options",
    )
    same(lambda m: m.optim.LBFGS([m.ones(1)], lr=-1), "Invalid learning rate")
    same(
        lambda m: run(m, LOSSES["quartic"], 1, line_search_fn="wolfe"),
        "only 'strong_wolfe' is supported",
    )

    def two_groups(m: Any) -> None:
        optimizer = m.optim.LBFGS([m.ones(1)])
        optimizer.add_param_group({"params": [m.ones(2)]})
        optimizer.step(lambda: m.zeros(()))

    same(two_groups, "Expected exactly one param_group, but got 2")
    with interpreted(), pytest.raises(clgrad.ClgradRuntimeError, match="no closure"):
        clgrad.optim.LBFGS([clgrad.ones(1)]).step()


def test_states_can_be_taken_over() -> None:
    with interpreted():
        x = clgrad.tensor([3.0, -2.0], requires_grad=True)
        one = clgrad.optim.LBFGS([x], lr=0.1, max_iter=3)

        def closure_of(optimizer: Any, param: Any) -> Any:
            def closure() -> Any:
                optimizer.zero_grad()
                loss = ((param - 1) ** 4).sum()
                loss.backward()
                return loss

            return closure

        one.step(closure_of(one, x))
        y = x.detach().clone().requires_grad_()
        two = clgrad.optim.LBFGS([y], lr=0.1, max_iter=3)
        two.load_state_dict(copy.deepcopy(one.state_dict()))
        one.step(closure_of(one, x))
        two.step(closure_of(two, y))
        assert x.tolist() == y.tolist()
