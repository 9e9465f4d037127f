"""Modules: what is entered where, names, modes, state and hooks; each program PyTorch runs too."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from twin import Case, cases, same
from twin_net import data, fill, net

import clgrad
from clgrad.errors import StateDictError
from clgrad.testing.interpreter import interpreted

CASES, case = cases()


def owner(m: Any) -> Any:
    """Return a module with one of everything, and a layer that is entered twice."""

    class Owner(m.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = m.nn.Linear(2, 2)
            self.again = self.first
            self.scale = m.nn.Parameter(m.ones(3))
            self.plain = m.ones(3)
            self.register_buffer("kept", m.zeros(2))
            self.register_buffer("passing", m.zeros(1), persistent=False)
            self.register_buffer("unset", None)
            self.register_parameter("without", None)

    return Owner()


# ---- the tree ------------------------------------------------------------------------------------


@case()
def repr_of_nested(m: Any) -> Any:
    return repr(net(m))


@case()
def repr_of_everything(m: Any) -> Any:
    return [repr(owner(m)), repr(m.nn.ModuleList([m.nn.Identity()])), repr(m.nn.Sequential())]


@case()
def names_in_order(m: Any) -> Any:
    x = owner(m)
    return [
        [n for n, _ in x.named_parameters()],
        [n for n, _ in x.named_parameters(remove_duplicate=False)],
        [n for n, _ in x.named_parameters(prefix="top", recurse=False)],
        [n for n, _ in x.named_buffers()],
        [n for n, _ in x.named_modules()],
        [n for n, _ in x.named_children()],
        list(x.state_dict()),
        list(x.state_dict(prefix="p.")),
    ]


@case()
def lookups_by_dotted_name(m: Any) -> Any:
    x = net(m)
    return [
        x.get_parameter("3.0.weight"), x.get_submodule("3.1").training,
        x.get_submodule("") is x, owner(m).get_buffer("kept"),
    ]  # fmt: skip


@case()
def assignment_moves_between_tables(m: Any) -> Any:
    x = m.nn.Module()
    x.a = 3
    x.a = m.nn.Parameter(m.ones(2))
    seen = [list(x.state_dict()), "a" in x.__dict__]
    x.a = None
    seen.append(list(x.state_dict()))
    del x.a
    x.a = m.nn.Linear(1, 1)
    seen.append(list(x.state_dict()))
    del x.a
    return [*seen, hasattr(x, "a")]


@case("as parameter 'weight' (")
def tensor_in_place_of_a_parameter(m: Any) -> Any:
    m.nn.Linear(2, 2).weight = m.ones(2, 2)
    return None


@case("as child module '0'")
def number_in_place_of_a_module(m: Any) -> Any:
    setattr(m.nn.Sequential(m.nn.ReLU()), "0", 3)
    return None


@case("cannot assign 'int' as buffer 'kept'")
def number_in_place_of_a_buffer(m: Any) -> Any:
    owner(m).kept = 3
    return None


@case("takes 1 positional argument but 2 were given")
def modules_take_no_arguments(m: Any) -> Any:
    return m.nn.Module(1)


@case("got an unexpected keyword argument 'a'")
def modules_take_no_keyword_arguments(m: Any) -> Any:
    return m.nn.ReLU(a=1)


@case("Cannot assign non-leaf Tensor to parameter")
def parameters_are_leaves(m: Any) -> Any:
    x = m.nn.Parameter(m.ones(1))
    with m.no_grad():
        x.requires_grad_(False)
    x.mul_(m.ones(1, requires_grad=True))
    m.nn.Module().register_parameter("a", x)


@case()
def buffers_by_assignment(m: Any) -> Any:
    x = m.nn.Module()
    x.a = m.nn.Buffer(m.ones(2))
    x.b = m.nn.Buffer(m.ones(1), persistent=False)
    x.b = m.zeros(1)
    x.a = None
    return [list(x.state_dict()), [n for n, _ in x.named_buffers()], x.b]


@case()
def submodules_are_set_by_dotted_name(m: Any) -> Any:
    x = net(m)
    x.set_submodule("3.0", m.nn.Identity())
    x.set_submodule("3.new", m.nn.ReLU())
    return repr(x)


@case("Cannot set the submodule without a target name")
def submodules_need_a_name(m: Any) -> Any:
    return net(m).set_submodule("", m.nn.ReLU())


@case()
def arguments_go_on_to_the_next_class(m: Any) -> Any:
    class Other:
        def __init__(self, *, value: int) -> None:
            self.value = value

    class Both(m.nn.Module, Other):
        call_super_init = True

    return Both(value=3).value


@case()
def metadata_names_every_module(m: Any) -> Any:
    return [sorted(net(m).state_dict()._metadata), list(net(m).state_dict(prefix="p.")._metadata)]


# ---- modes and gradients -------------------------------------------------------------------------


@case()
def training_mode_goes_down(m: Any) -> Any:
    x = net(m).eval()
    x[3].train()
    return [k.training for k in x.modules()]


@case()
def zero_grad_drops_or_clears(m: Any) -> Any:
    x = net(m)
    seen = []
    for set_to_none in (False, True):
        x(data(m, 2, 2, 3)).sum().backward()
        x.zero_grad(set_to_none)
        seen.append([p.grad for p in x.parameters()])
    return seen


@case()
def frozen_parameters_get_no_gradient(m: Any) -> Any:
    x = net(m)
    x[1].requires_grad_(False)
    x(data(m, 2, 6)).sum().backward()
    return [(p.requires_grad, p.grad) for p in x.parameters()]


@case()
def apply_visits_children_first(m: Any) -> Any:
    seen: list[str] = []
    net(m).apply(lambda k: seen.append(type(k).__name__))
    return seen


@case()
def a_parameter_is_a_leaf_over_the_same_memory(m: Any) -> Any:
    x = m.ones(2)
    p = m.nn.Parameter(x)
    with m.no_grad():
        p.mul_(3)
    return [x, p.is_leaf, p.requires_grad, isinstance(p * 2, m.nn.Parameter), (p * 2).grad_fn]


@case()
def conversions_keep_identity_and_gradients(m: Any) -> Any:
    x = net(m)
    before = list(x.parameters())
    x(data(m, 2, 6)).sum().backward()
    x.double()
    same_objects = all(a is b for a, b in zip(before, x.parameters(), strict=True))
    return [same_objects, *[(p.detach(), p.grad) for p in x.parameters()]]


@case()
def training_goes_on_after_a_conversion(m: Any) -> Any:
    x = net(m)
    x(data(m, 2, 6)).sum().backward()
    x.double()
    x(data(m, 2, 6).double()).sum().backward()
    return [p.grad for p in x.parameters()]


@case("only accepts floating point")
def conversion_to_integers(m: Any) -> Any:
    return net(m).to(m.int32)


# ---- state ---------------------------------------------------------------------------------------


@case()
def state_shares_memory_and_loads(m: Any) -> Any:
    x, y = net(m), net(m)
    state = x.state_dict()
    with m.no_grad():
        x[1].weight.zero_()
    result = y.load_state_dict(state)
    return [
        state["1.weight"], state["1.weight"].requires_grad, y[1].weight.detach(), y[1].bias,
        list(result.missing_keys), list(result.unexpected_keys),
        x.state_dict(keep_vars=True)["1.weight"] is x[1].weight,
    ]  # fmt: skip


@case()
def names_are_passed_over_unless_strict(m: Any) -> Any:
    result = net(m).load_state_dict({"1.bias": m.ones(4), "more": m.ones(1)}, strict=False)
    return [list(result.missing_keys), list(result.unexpected_keys)]


@case("Missing key(s) in state_dict: ")
def missing_names_are_told(m: Any) -> Any:
    return net(m).load_state_dict({"1.bias": m.ones(4)})


@case('Unexpected key(s) in state_dict: "more"')
def unexpected_names_are_told(m: Any) -> Any:
    return net(m).load_state_dict({**net(m).state_dict(), "more": m.ones(1)})


@case("size mismatch for 1.bias: copying a param with shape ")
def wrong_shapes_are_told(m: Any) -> Any:
    return net(m).load_state_dict({"1.bias": m.ones(5)}, strict=False)


@case()
def assign_takes_the_tensors_themselves(m: Any) -> Any:
    x = m.nn.Linear(2, 1)
    given = m.ones(1, 2)
    x.load_state_dict({"weight": given, "bias": m.zeros(1)}, assign=True)
    with m.no_grad():
        given.mul_(2)
    return [x.weight.detach(), x.weight.requires_grad, type(x.weight).__name__]


# ---- calls ---------------------------------------------------------------------------------------


@case()
def hooks_change_arguments_and_results(m: Any) -> Any:
    x = m.nn.Linear(2, 1)
    fill(m, x)
    seen: list[Any] = []
    first = x.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    x.register_forward_hook(lambda module, args, y: seen.append("a") or y + 1)
    x.register_forward_hook(lambda module, args, y: seen.append("b"), prepend=True)
    x.register_forward_hook(
        lambda module, args, kwargs, y: seen.append(sorted(kwargs)), with_kwargs=True
    )
    one = x(m.ones(3, 2)).detach()
    first.remove()
    return [one, x(m.ones(3, 2)).detach(), x(input=m.ones(3, 2)).detach(), seen]


@case("broken")
def hooks_that_are_always_called(m: Any) -> Any:
    class Broken(m.nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError(f"broken {seen}")

    seen: list[Any] = []
    x = Broken()
    x.register_forward_hook(lambda *a: seen.append(1), always_call=True)
    x.register_forward_hook(lambda *a: seen.append(2))
    try:
        x(m.ones(1))
    except ValueError:
        assert seen == [1]
    return x(m.ones(1))


@case('missing the required "forward" function')
def a_module_without_forward(m: Any) -> Any:
    return m.nn.Module()(m.ones(1))


@pytest.mark.parametrize(("program", "words"), CASES)
def test_as_torch(program: Case, words: str) -> None:
    same(program, words)


# ---- what PyTorch's programs cannot show ---------------------------------------------------------


@pytest.mark.parametrize("library", [torch, clgrad], ids=["torch", "clgrad"])
def test_errors_of_attributes(library: Any) -> None:
    with interpreted():
        x = net(library)
        for call in (
            lambda: x.get_parameter("1.nothing"), lambda: x.get_submodule("1.weight"),
            lambda: x.get_buffer("1.weight"), lambda: x.nothing,
        ):  # fmt: skip
            with pytest.raises(AttributeError):
                call()
        for name in ("a.b", "", "training"):
            with pytest.raises(KeyError):
                x.register_buffer(name, None)

        class Early(library.nn.Module):
            def __init__(self) -> None:
                self.layer = library.nn.ReLU()

        with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
            Early()


def test_all_faults_of_a_state_are_in_one_error() -> None:
    with interpreted():
        x = net(clgrad)
        with pytest.raises(StateDictError) as caught:
            x.load_state_dict({"1.weight": np.zeros((2, 2)), "1.bias": "text", "more": 1})
    text = str(caught.value)
    assert text.splitlines()[:3] == [
        "Error(s) in loading state_dict for Sequential:",
        '\tMissing key(s) in state_dict: "3.0.weight".',
        '\tUnexpected key(s) in state_dict: "more".',
    ]
    assert "size mismatch for 1.weight" in text
    assert "received str" in text


def test_states_load_from_torch_and_back() -> None:
    theirs = net(torch)
    with interpreted():
        ours = clgrad.nn.Linear(6, 4)
        ours.load_state_dict(theirs[1].state_dict(keep_vars=True))
        assert np.array_equal(ours.weight.detach().numpy(), theirs[1].weight.detach().numpy())
    with interpreted():
        ours = net(clgrad)
        with clgrad.no_grad():
            ours[1].weight.zero_()
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
        for name, value in ours.state_dict().items():
            assert np.array_equal(value.numpy(), theirs.state_dict()[name].numpy())


def test_modules_can_be_copied_and_pickled() -> None:
    with interpreted():
        x = net(clgrad)
        for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
            assert repr(y) == repr(x)
            assert type(y[1].weight) is clgrad.nn.Parameter
            assert y[1].weight.requires_grad
            with clgrad.no_grad():
                y[1].weight.zero_()
            assert x[1].weight.detach().numpy().any()


def test_linear_draws_pytorchs_distribution() -> None:
    with interpreted():
        clgrad.manual_seed(1)
        layer = clgrad.nn.Linear(64, 500)
        again = clgrad.nn.Linear(64, 500)
        clgrad.manual_seed(1)
        same_seed = clgrad.nn.Linear(64, 500)
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        assert np.array_equal(weight, same_seed.weight.detach().numpy())
        assert not np.array_equal(weight, again.weight.detach().numpy())
    bound = 1 / 8
    for values in (weight, bias):
        assert -bound <= values.min() < -0.95 * bound
        assert 0.95 * bound < values.max() <= bound
    # a uniform distribution's deviation is its half width / sqrt(3)
    assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
