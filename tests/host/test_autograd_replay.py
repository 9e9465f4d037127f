"""Views that remember the ops that made them, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

CASES, case = cases()

VIEWS: dict[str, Callable[[Any, Any], Any]] = {
    "as_strided": lambda m, x: m.as_strided(x, (4,), (1,)),
    "chunk": lambda m, x: x.chunk(2, -1)[1],
    "diagonal": lambda m, x: x.diagonal(),
    "expand": lambda m, x: x[:, :1].expand(-1, 3),
    "narrow": lambda m, x: x.narrow(0, 1, 1),
    "permute": lambda m, x: x.permute(1, 0),
    "select": lambda m, x: x.select(0, 1),
    "slice": lambda m, x: x[:, 1:2],
    "unbind": lambda m, x: x.unbind()[1],
    "unfold": lambda m, x: x.unfold(1, 2, 1),
    "view": lambda m, x: x.view(-1, 2),
    "a chain": lambda m, x: x.unsqueeze(-1).transpose(-1, -2).squeeze(1),
    "a chain after a part": lambda m, x: x.chunk(2, -1)[0].transpose(0, 1).unsqueeze(-1),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_another_base_and_back(name: str) -> None:
    def program(m: Any) -> Any:
        with m.autograd._force_original_view_tracking(True):
            x = m.arange(16.0).reshape(4, 4).clone()
            view = VIEWS[name](m, x)
            again = view._view_func(x * 3)
            base = view._rev_view_func_unsafe(view.detach())
        return [
            again, list(again.stride()), again.storage_offset(), base, list(base.stride()),
            base.storage_offset(), base._is_view(),
        ]  # fmt: skip

    same(program)


@case()
def without_tracking(m: Any) -> Any:
    x = m.arange(6.0).reshape(2, 3).clone()
    view = x.t()[1:]
    return [view._view_func(x * 2), view._view_func_unsafe(x * 2), view._view_func(m.ones(6))]


@case()
def arguments_may_be_changed(m: Any) -> Any:
    with m.autograd._force_original_view_tracking(True):
        x = m.arange(24.0).reshape(2, 3, 4).clone()
        view = x.select(1, 1)
        changed = view._view_func(x * 2, symint_visitor_fn=lambda k: k + 1)
        return [changed, view._view_func(x * 2)]


def written(m: Any) -> Any:
    made = m.ones(2, 2, requires_grad=True).clone().view(-1)
    made.add_(1)
    return made.grad_fn


@case()
def history_after_a_write(m: Any) -> Any:
    switch = m.autograd._force_original_view_tracking
    seen = [written(m), m.autograd.is_view_replay_enabled()]
    with switch(True):
        seen += [written(m), m.autograd.is_view_replay_enabled()]
        with switch(False):
            switch(True)
            seen.append(written(m))
        base = m.rand(4, requires_grad=True).clone()
        part, matrix = base[1:], base.view(2, 2).t()
        base.mul_(2)
        seen += [part.grad_fn, matrix.grad_fn, matrix.grad_fn.next_functions[0][0]]
    return [*seen, written(m), m.autograd.is_view_replay_enabled()]


@case()
def gradients_after_a_write(m: Any) -> Any:
    with m.autograd._force_original_view_tracking(True):
        leaf = m.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
        base = leaf.clone()
        view = base.view(2, 2).t()
        view.mul_(m.tensor([[1.0, 2.0], [3.0, 4.0]]))
        view.sin_()
        ((base * base).sum() + (view * view[0]).sum()).backward()
    return leaf.grad


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)
