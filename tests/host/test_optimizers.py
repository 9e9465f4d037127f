"""Every optimizer against PyTorch's: 100 steps, state dictionaries, hooks, wrong settings."""

from __future__ import annotations

import copy
import importlib
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from twin import same

import clgrad
from clgrad.testing.interpreter import interpreted

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02, "nesterov": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "betas": (0.4, 0.8)}),
    ("Adam", {"maximize": True, "decoupled_weight_decay": True, "weight_decay": 0.3}),
    ("AdamW", {"lr": 0.05, "eps": 1e-3}),
    ("AdamW", {"lr": 0.02, "amsgrad": True, "weight_decay": 0.2}),
    ("NAdam", {"lr": 0.02}),
    ("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.1, "maximize": True}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.9), "maximize": True}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    ("RMSprop", {"alpha": 0.4, "momentum": 0.9, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "weight_decay": 0.1, "lr": 0.5, "maximize": True}),
    ("Adamax", {"lr": 0.02}),
    ("Adamax", {"weight_decay": 0.1, "betas": (0.3, 0.6), "maximize": True}),
    ("ASGD", {"lr": 0.05}),
    ("ASGD", {"lr": 0.05, "lambd": 0.1, "t0": 10, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {"lr": 0.01}),
    ("Rprop", {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)}),
]
IDS = [f"{k}-{name}" for k, (name, _) in enumerate(SETTINGS)]


def optimizer_module(m: Any) -> Any:
    return importlib.import_module(f"{m.__name__}.optim.optimizer")


def leaves(m: Any, dtype: str = "float64") -> list[Any]:
    rng = np.random.default_rng(3)
    made = []
    for shape in ((3,), (2, 1), (), (2, 3, 4), (0,)):
        array = rng.normal(size=shape)
        made.append(m.tensor(array, dtype=getattr(m, dtype), requires_grad=True))
    made.append(m.tensor(rng.normal(size=(4, 3)), dtype=getattr(m, dtype)).t().requires_grad_())
    return made


def descend(optimizer: Any, params: list[Any], steps: int) -> list[float]:
    losses = []
    for k in range(steps):
        optimizer.zero_grad()
        used = params if k % 7 else params[:3]  # now and then some have no gradient
        loss = sum(((p.tanh() - 0.3) ** 2).sum() for p in used)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def groups(params: list[Any]) -> list[dict[str, Any]]:
    return [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_a_hundred_steps(name: str, settings: dict[str, Any]) -> None:
    def program(m: Any) -> Any:
        params = leaves(m)
        optimizer = getattr(m.optim, name)(groups(params), **settings)
        losses = descend(optimizer, params, 100)
        return [losses, *[p.detach() for p in params], [p._version > 0 for p in params]]

    same(program)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_nothing_of_float64_is_rounded_to_float32(name: str, settings: dict[str, Any]) -> None:
    of_theirs = 1e-8 if name in ("NAdam", "ASGD") else 0  # PyTorch keeps factors in float32
    theirs = leaves(torch)
    descend(getattr(torch.optim, name)(theirs, **settings), theirs, 4)
    with interpreted():
        ours = leaves(clgrad)
        descend(getattr(clgrad.optim, name)(ours, **settings), ours, 4)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(
                a.detach().numpy(), b.detach().numpy(), of_theirs or 1e-12, of_theirs
            )


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_states_go_both_ways(name: str, settings: dict[str, Any]) -> None:
    """A state dict of either library continues in the other as in itself."""
    kind, twin = getattr(torch.optim, name), getattr(clgrad.optim, name)
    theirs = leaves(torch)
    there = kind(groups(theirs), **settings)
    descend(there, theirs, 5)
    with interpreted():
        ours = [clgrad.tensor(p.detach().numpy(), requires_grad=True) for p in theirs]
        here = twin(groups(ours), **settings)
        here.load_state_dict(_converted(there.state_dict(), torch.Tensor, clgrad))
        descend(here, ours, 5)
        saved = here.state_dict()
        back = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in ours]
        again = kind(groups(back), **settings)
        again.load_state_dict(_converted(saved, clgrad.Tensor, torch))
        descend(there, theirs, 5)
        assert_close(ours, theirs)
        descend(here, ours, 5)
        descend(again, back, 5)
        assert_close(ours, back)
        assert _shape(saved) == _shape(there.state_dict())


def assert_close(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), 1e-5, 1e-7)


def _converted(value: Any, kind: type, library: Any) -> Any:
    if isinstance(value, kind):
        return library.tensor(value.detach().numpy())  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {k: _converted(v, kind, library) for k, v in value.items()}
    return [_converted(v, kind, library) for v in value] if isinstance(value, list) else value


def _shape(value: Any) -> Any:
    """Return the keys, and of tensors dtype and shape, of a state dict."""
    if hasattr(value, "dtype"):
        return str(value.dtype).split(".")[-1], tuple(value.shape)
    if isinstance(value, dict):
        return {k: _shape(v) for k, v in value.items()}
    return [_shape(v) for v in value] if isinstance(value, list) else None


@pytest.mark.parametrize("name", sorted({name for name, _ in SETTINGS}))
def test_settings_that_make_no_sense(name: str) -> None:
    wrong: dict[str, Any] = {"lr": -0.1, "weight_decay": -1.0, "eps": -1.0, "betas": (1.0, 0.9)}
    wrong |= {"momentum": -0.5, "alpha": -1.0, "rho": 1.5, "etas": (0.5, 0.9), "lr_decay": -1.0}
    accepted = getattr(torch.optim, name).__init__.__annotations__
    for key, value in wrong.items():
        if key not in accepted or (name, key) == ("ASGD", "alpha"):
            continue
        same(lambda m, k=key, v=value: getattr(m.optim, name)([m.ones(2)], **{k: v}), "Invalid ")


WAYS: list[tuple[str, Any, str]] = [
    *(
        (name, lambda m: {"foreach": True, "fused": True}, "cannot be `True` together")
        for name in ("SGD", "Adam", "AdamW", "Adagrad")
    ),
    ("Adam", lambda m: {"lr": m.tensor(0.1), "foreach": True}, "lr as a Tensor is not supported"),
    ("AdamW", lambda m: {"betas": (m.tensor(0.9), 0.99)}, "betas must be either both floats"),
    ("Adam", lambda m: {"betas": (m.tensor(0.9), m.tensor(0.99)), "foreach": True}, "betas[0] as"),
    ("Adafactor", lambda m: {"eps": (-1.0, 0.1)}, "epsilon1 should be >= 0"),
    ("Adafactor", lambda m: {"d": 0.5}, "Clipping threshold d should be >= 1"),
]


@pytest.mark.parametrize("k", range(len(WAYS)))
def test_settings_that_exclude_one_another(k: int) -> None:
    name, settings, words = WAYS[k]
    same(lambda m: getattr(m.optim, name)([m.ones(2)], **settings(m)), words)


def test_names_and_parameters_listed_twice() -> None:
    def named(m: Any) -> Any:
        a, b, *_ = leaves(m)
        optimizer = m.optim.SGD([("first", a), ("second", b)], lr=0.1)
        plain = m.optim.SGD([a, b], lr=0.1)
        state = optimizer.state_dict()
        plain.load_state_dict(copy.deepcopy(state))
        return [state["param_groups"][0]["param_names"], plain.param_groups[0]["param_names"]]

    def twice(m: Any) -> Any:
        a = leaves(m)[0]
        with pytest.warns(UserWarning, match="duplicate parameters"):
            optimizer = m.optim.SGD([a, a], lr=0.1)
        a.sum().backward()
        optimizer.step()
        return a.detach()

    def some(m: Any) -> Any:
        a, b, *_ = leaves(m)
        return m.optim.SGD([("first", a), b])

    def mixed(m: Any) -> Any:
        a, b, *_ = leaves(m)
        return m.optim.SGD([("first", a)]).add_param_group({"params": [b]})

    same(named)
    same(twice)
    same(some, "Some param names are missing")
    same(mixed, "all optimizer param groups should be with/without names")


def test_hooks() -> None:
    def program(m: Any) -> Any:
        a = leaves(m)[0]
        optimizer = m.optim.Adam([a], lr=0.1)
        seen: list[Any] = []
        handles = [
            optimizer.register_step_pre_hook(lambda o, args, kw: seen.append(("pre", len(args)))),
            optimizer.register_step_post_hook(lambda o, args, kw: seen.append(("post", len(args)))),
            optimizer.register_state_dict_pre_hook(lambda o: seen.append("saving")),
            optimizer.register_state_dict_post_hook(lambda o, d: {**d, "more": 1}),
            optimizer.register_load_state_dict_pre_hook(lambda o, d: seen.append(sorted(d))),
            optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded")),
            optimizer_module(m).register_optimizer_step_pre_hook(
                lambda o, args, kw: seen.append(type(o).__name__)
            ),
        ]
        optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"), prepend=True)
        a.sum().backward()
        optimizer.step()
        optimizer.step(lambda: 3.0)
        optimizer.load_state_dict(optimizer.state_dict())
        for handle in handles:
            handle.remove()
        optimizer.step()
        return seen

    same(program)


def test_an_optimizer_of_ones_own() -> None:
    def program(m: Any) -> Any:
        class Signs(m.optim.Optimizer):  # type: ignore[name-defined, misc]
            def __init__(self, params: Any, lr: float = 0.1) -> None:
                super().__init__(params, {"lr": lr})

            @m.no_grad()  # type: ignore[untyped-decorator]
            def step(self, closure: Any = None) -> Any:
                for group in self.param_groups:
                    for p in group["params"]:
                        state = self.state[p]
                        state["step"] = state.get("step", 0) + 1
                        p -= group["lr"] * p.grad / p.grad.abs()

        seen = []
        a = leaves(m)[0]
        optimizer = Signs([a], lr=0.5)
        optimizer.register_step_post_hook(lambda *_: seen.append("post"))
        (a * a).sum().backward()
        optimizer.step()
        return [a.detach(), seen, optimizer.state_dict()["state"]]

    same(program)


def test_rates_that_are_tensors() -> None:
    def program(m: Any) -> Any:
        out = []
        for name in ("SGD", "Adam", "AdamW", "RMSprop", "NAdam", "Adagrad"):
            params = leaves(m)
            lr = m.tensor(0.05, dtype=m.float64)
            optimizer = getattr(m.optim, name)(params, lr=lr, weight_decay=0.1)
            descend(optimizer, params, 3)
            lr.mul_(0.5)
            descend(optimizer, params, 3)
            out += [p.detach() for p in params]
        return out

    same(program)
    same(lambda m: m.optim.Adam([m.ones(2)], lr=m.ones(2)), "Tensor lr must be 1-element")


def test_gradients_flow_through_a_differentiable_step() -> None:
    def program(m: Any) -> Any:
        out = []
        for name in ("SGD", "Adam", "RMSprop", "Adadelta"):
            start = m.tensor([0.5, -0.25], dtype=m.float64, requires_grad=True)
            param = start.clone()
            options = {"momentum": 0.9} if name == "SGD" else {}
            optimizer = getattr(m.optim, name)([param], lr=0.1, differentiable=True, **options)
            for _ in range(3):
                (param.grad,) = m.autograd.grad(
                    ((param - 0.7) ** 4).sum(), [param], create_graph=True
                )
                optimizer.step()
            param.sum().backward()
            out += [param.detach().numpy(), start.grad.numpy()]
        return out

    theirs = program(torch)
    with interpreted():
        ours = program(clgrad)
    np.testing.assert_allclose(ours, theirs, 1e-3)  # PyTorch counts steps in float32 here


def test_pickles_and_deep_copies() -> None:
    with interpreted():
        params = leaves(clgrad)
        optimizer = clgrad.optim.Adam(params, lr=0.1)
        descend(optimizer, params, 3)
        twin = copy.deepcopy(optimizer)
        loaded = pickle.loads(pickle.dumps(optimizer))
        for other in (twin, loaded):
            copies = other.param_groups[0]["params"]
            assert other.state[copies[0]]["step"] == 3.0
            assert copies[0] is not params[0]
            descend(other, copies, 2)
        descend(optimizer, params, 2)
        for one in (twin, loaded):
            for a, b in zip(params, one.param_groups[0]["params"], strict=True):
                np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_a_required_setting() -> None:
    def program(m: Any) -> Any:
        return m.optim.Optimizer([m.ones(2)], {"lr": optimizer_module(m).required})

    same(program, "required optimization parameter lr")
