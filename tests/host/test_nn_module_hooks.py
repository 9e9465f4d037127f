"""Hooks of modules: order, arguments and results; each program PyTorch runs too."""

from __future__ import annotations

import gc
import warnings
import weakref
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from twin import Case, cases, same
from twin_net import data, fill, net

import clgrad
from clgrad.testing.interpreter import interpreted

CASES, case = cases()


def two(m: Any) -> Any:
    """Return a module of two inputs and two results that takes a keyword argument."""

    class Two(m.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = m.nn.Linear(3, 3)

        def forward(self, x: Any, y: Any, scale: float = 1.0) -> Any:
            return self.inner(x) * y * scale, y * 2

    return fill(m, Two())


def leaves(m: Any, *shape: int) -> Any:
    return data(m, *shape).requires_grad_()


# ---- forward -------------------------------------------------------------------------------------


@case()
def keyword_arguments_pass_through_hooks(m: Any) -> Any:
    x, seen = two(m), []
    x.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {**kwargs, "scale": 3.0}), with_kwargs=True
    )
    x.register_forward_pre_hook(lambda module, args: seen.append(len(args)))
    x.register_forward_hook(
        lambda module, args, kwargs, out: seen.append(kwargs["scale"]), with_kwargs=True
    )
    x.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    one, other = data(m, 2, 3), data(m, 2, 3)
    return [[t.detach() for t in x(one, other, scale=2.0)], seen]


@case("forward pre-hook must return None or a tuple")
def a_pre_hook_with_kwargs_returns_both(m: Any) -> Any:
    x = net(m)
    x.register_forward_pre_hook(lambda module, args, kwargs: args, with_kwargs=True)
    return x(data(m, 2, 6))


@case()
def prepended_hooks_run_first(m: Any) -> Any:
    x, seen = m.nn.Identity(), []
    for k in range(3):
        x.register_forward_hook(lambda *a, k=k: seen.append(k), prepend=k == 2)
        x.register_forward_pre_hook(lambda *a, k=k: seen.append(-k), prepend=k == 1)
    x(m.ones(1))
    return seen


@case()
def removed_hooks_leave_nothing(m: Any) -> Any:
    x = m.nn.Identity()
    seen: list[Any] = []
    handle = x.register_forward_hook(lambda *a: seen.append(1), with_kwargs=True, always_call=True)
    with x.register_forward_pre_hook(lambda *a: seen.append(2), with_kwargs=True):
        x(m.ones(1))
    handle.remove()
    handle.remove()
    x(m.ones(1))
    return [
        seen, len(x._forward_hooks), len(x._forward_hooks_with_kwargs),
        len(x._forward_hooks_always_called), len(x._forward_pre_hooks_with_kwargs),
    ]  # fmt: skip


@case()
def global_hooks_run_before_own_ones(m: Any) -> Any:
    everywhere = m.nn.modules.module
    x, seen = net(m), []
    x[1].register_forward_hook(lambda *a: seen.append("own"))
    x[1].register_forward_pre_hook(lambda *a: seen.append("own pre"))
    x[1].register_full_backward_hook(lambda *a: seen.append("own backward"))
    x[1].register_full_backward_pre_hook(lambda *a: seen.append("own backward pre"))

    def note(what: str) -> Any:
        return lambda module, *rest: seen.append(f"{what} {type(module).__name__}")

    handles = [
        everywhere.register_module_forward_hook(note("after")),
        everywhere.register_module_forward_pre_hook(note("before")),
        everywhere.register_module_full_backward_hook(note("back")),
        everywhere.register_module_full_backward_pre_hook(note("back pre")),
    ]
    try:
        x(leaves(m, 2, 6)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    count = len(seen)
    x(data(m, 2, 6))
    return [seen[:count], len(seen) - count]


@case()
def registration_hooks_may_replace(m: Any) -> Any:
    everywhere = m.nn.modules.module
    seen: list[str] = []

    def swap(module: Any, name: str, value: Any) -> Any:
        seen.append(name)
        return m.nn.Tanh() if name == "0" else None

    handles = [
        everywhere.register_module_module_registration_hook(swap),
        everywhere.register_module_parameter_registration_hook(lambda x, n, p: seen.append(n)),
        everywhere.register_module_buffer_registration_hook(lambda x, n, p: seen.append(n)),
    ]
    try:
        x = m.nn.Sequential(m.nn.ReLU(), m.nn.Linear(1, 2))
        x.register_buffer("kept", m.ones(1))
        x.more = m.nn.ReLU()
    finally:
        for handle in handles:
            handle.remove()
    return [seen, repr(x)]


@case("raised in forward")
def a_failing_hook_does_not_hide_the_error(m: Any) -> Any:
    class Broken(m.nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("raised in forward")

    def fail(*args: Any) -> None:
        raise RuntimeError("raised in a hook")

    x = Broken()
    x.register_forward_hook(fail, always_call=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x(m.ones(1))


# ---- backward ------------------------------------------------------------------------------------


@case()
def backward_hooks_see_both_sides(m: Any) -> Any:
    x, seen = two(m), []
    a, b = leaves(m, 2, 3), leaves(m, 2, 3)
    x.register_full_backward_hook(lambda module, gi, go: seen.append(["full", gi, go]))
    x.register_full_backward_pre_hook(lambda module, go: seen.append(["pre", go]))
    first, second = x(a, b, scale=2.0)
    (first.sum() + (second * 3).sum()).backward()
    return [seen, a.grad, b.grad, first.grad_fn]


@case()
def backward_hooks_change_gradients(m: Any) -> Any:
    x = two(m)
    a, b = leaves(m, 2, 3), leaves(m, 2, 3)
    x.register_full_backward_pre_hook(lambda module, go: (go[0] * 2, go[1]))
    x.register_full_backward_hook(lambda module, gi, go: (gi[0] + 1, gi[1]))
    x.register_full_backward_hook(lambda module, gi, go: (gi[0] * 10, gi[1]), prepend=True)
    first, second = x(a, b)
    (first.sum() + second.sum()).backward()
    return [a.grad, b.grad, x.inner.weight.grad]


@case()
def inputs_that_are_no_tensors_are_none(m: Any) -> Any:
    class Odd(m.nn.Module):
        def forward(self, x: Any, factor: Any, y: Any) -> Any:
            return x * factor, "text", y

    x, seen = Odd(), []
    a = leaves(m, 3)
    x.register_full_backward_hook(lambda module, gi, go: seen.append([gi, go]))
    x(a, 2.0, data(m, 3))[0].sum().backward()
    return [seen, a.grad]


@case()
def hooks_fire_without_gradients_of_inputs(m: Any) -> Any:
    x, seen = net(m), []
    x.register_full_backward_hook(lambda module, gi, go: seen.append([gi, go]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x(data(m, 2, 6)).sum().backward()
    return [seen, x[1].bias.grad]


@case()
def partial_backward_fires_when_all_is_there(m: Any) -> Any:
    x, seen = two(m), []
    a, b = leaves(m, 2, 3), leaves(m, 2, 3)
    x.register_full_backward_hook(lambda module, gi, go: seen.append([gi, go]))
    first, second = x(a, b)
    second.sum().backward(retain_graph=True)
    m.autograd.grad(first.sum(), [b])
    return seen


@case()
def second_derivatives_pass_hooks(m: Any) -> Any:
    x, seen = net(m), []
    a = leaves(m, 2, 6)
    x.register_full_backward_hook(lambda module, gi, go: seen.append([gi, go]))
    (g,) = m.autograd.grad(x(a).pow(2).sum(), [a], create_graph=True)
    g.pow(2).sum().backward()
    return [[s[0][0].detach() for s in seen], a.grad]


@case("is a view and is being modified inplace")
def writing_over_a_hooked_input(m: Any) -> Any:
    class Writes(m.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mul_(2)

    x = Writes()
    x.register_full_backward_hook(lambda *a: None)
    return x(leaves(m, 3) * 1)


@case("expected 2")
def a_hook_returns_as_many_as_there_are(m: Any) -> Any:
    x = two(m)
    x.register_full_backward_hook(lambda module, gi, go: (gi[0],))
    x(leaves(m, 2, 3), leaves(m, 2, 3))[0].sum().backward()


@case("Cannot use both regular backward hooks and full backward hooks")
def two_kinds_of_backward_hooks(m: Any) -> Any:
    x = net(m)
    x.register_full_backward_hook(lambda *a: None)
    x.register_backward_hook(lambda *a: None)


@case()
def hooks_of_the_last_node(m: Any) -> Any:
    x, seen = m.nn.Tanh(), []
    a = leaves(m, 3)
    x.register_backward_hook(lambda module, gi, go: seen.append([gi, go]))
    x(a * 1).sum().backward()
    return [seen, a.grad]


@case()
def no_nodes_without_grad_mode(m: Any) -> Any:
    x, seen = net(m), []
    x.register_full_backward_hook(lambda *a: seen.append(1))
    with m.no_grad():
        y = x(leaves(m, 2, 6))
    return [y.requires_grad, seen]


# ---- state ---------------------------------------------------------------------------------------


@case()
def state_hooks_in_order(m: Any) -> Any:
    x, seen = net(m), []
    x.register_state_dict_pre_hook(lambda module, prefix, keep: seen.append(["pre", prefix, keep]))
    x[3].register_state_dict_post_hook(
        lambda module, state, prefix, meta: seen.append([prefix, sorted(state), meta["version"]])
    )
    x._register_state_dict_hook(lambda module, state, prefix, meta: {"all": len(state)})
    return [x.state_dict(prefix="p."), seen]


@case("post-hook must return None")
def a_post_hook_returns_nothing(m: Any) -> Any:
    x = net(m)
    x.register_state_dict_post_hook(lambda *a: {})
    return x.state_dict()


@case()
def load_hooks_may_rename(m: Any) -> Any:
    x, seen = net(m), []

    def rename(module: Any, state: Any, prefix: str, *rest: Any) -> None:
        seen.append([type(module).__name__, prefix, sorted(state)])
        state[f"{prefix}bias"] = state.pop(f"{prefix}offset")

    def forgive(module: Any, keys: Any) -> None:
        seen.append([type(module).__name__, list(keys.missing_keys), list(keys.unexpected_keys)])
        keys.missing_keys.clear()

    x[1].register_load_state_dict_pre_hook(rename)
    x.register_load_state_dict_post_hook(forgive)
    state = {"1.weight": m.zeros(4, 6), "1.offset": m.ones(4)}
    x.load_state_dict(state)
    return [seen, x[1].bias.detach(), sorted(state)]


@case()
def extra_state_is_saved_and_loaded(m: Any) -> Any:
    class Extra(m.nn.Module):
        count = 3

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"] + 1

    x = m.nn.Sequential(Extra())
    state = x.state_dict()
    x.load_state_dict(state)
    missing = x.load_state_dict({}, strict=False)
    return [state, x[0].count, list(missing.missing_keys)]


@case()
def metadata_carries_versions(m: Any) -> Any:
    class Newer(m.nn.Module):
        _version = 2

        def _load_from_state_dict(self, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
            seen.append(meta.get("version"))
            super()._load_from_state_dict(state, prefix, meta, *rest)

    seen: list[Any] = []
    x = m.nn.Sequential(Newer(), m.nn.ReLU())
    state = x.state_dict()
    x.load_state_dict(state)
    x.load_state_dict(dict(state))
    return [seen, {key: dict(v) for key, v in state._metadata.items()}]


@pytest.mark.parametrize(("program", "words"), CASES)
def test_as_torch(program: Case, words: str) -> None:
    same(program, words)


def test_hooks_do_not_keep_modules_alive() -> None:
    with interpreted():
        x = net(clgrad)
        x.register_load_state_dict_pre_hook(lambda *a: None)
        x.register_full_backward_hook(lambda *a: None)
        y = x(leaves(clgrad, 2, 6))
        y.sum().backward()
        alive = weakref.ref(x)
        del x, y
        gc.collect()
        assert alive() is None


@pytest.mark.parametrize("library", [torch, clgrad], ids=["torch", "clgrad"])
def test_incomplete_gradients_are_warned_of(library: Any) -> None:
    with interpreted():
        x = net(library)
        x.register_backward_hook(lambda *a: None)
        with pytest.warns(FutureWarning, match="multiple autograd Nodes"):
            x(leaves(library, 2, 6))
        x = net(library)
        x.register_full_backward_hook(lambda *a: None)
        with pytest.warns(UserWarning, match="no inputs require gradients"):
            x(data(library, 2, 6)).sum().backward()
