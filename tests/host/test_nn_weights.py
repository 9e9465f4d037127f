"""Parametrizations, normalised weights, folded layers, calls with other parameters: as PyTorch."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from twin import Case, cases, same
from twin_net import data, fill, net

import clgrad
from clgrad.testing.interpreter import interpreted

CASES, case = cases()


def symmetric(m: Any) -> Any:
    class Symmetric(m.nn.Module):
        def forward(self, x: Any) -> Any:
            return x + x.transpose(0, 1)

        def right_inverse(self, x: Any) -> Any:
            return x * 0.5

    return Symmetric()


def doubled(m: Any) -> Any:
    class Doubled(m.nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2

    return Doubled()


def ranked(m: Any) -> Any:
    class Ranked(m.nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a * b

        def right_inverse(self, x: Any) -> Any:
            return x, m.ones(x.shape)

    return Ranked()


def square(m: Any) -> Any:
    return fill(m, m.nn.Linear(3, 3))


# ---- parametrizations ------------------------------------------------------------------------


@case()
def parametrized_weights_are_computed_when_read(m: Any) -> Any:
    x, p = square(m), m.nn.utils.parametrize
    p.register_parametrization(x, "weight", symmetric(m))
    p.register_parametrization(x, "weight", doubled(m))
    out = x(data(m, 2, 3))
    out.sum().backward()
    original = x.parametrizations.weight.original
    return [
        out.detach(), x.weight.detach(), original.detach(), original.grad, list(x.state_dict()),
        repr(x), p.is_parametrized(x), p.is_parametrized(x, "bias"), type(x).__name__,
        p.type_before_parametrizations(x).__name__, [n for n, _ in x.named_parameters()],
    ]  # fmt: skip


@case()
def assigning_goes_through_the_inverse(m: Any) -> Any:
    x, p = square(m), m.nn.utils.parametrize
    p.register_parametrization(x, "weight", symmetric(m))
    with m.no_grad():
        x.weight = m.ones(3, 3)
    seen = [x.parametrizations.weight.original.detach(), x.weight.detach()]
    p.remove_parametrizations(x, "weight")
    return [*seen, repr(x), type(x).__name__, x.weight.detach(), type(x.weight).__name__]


@case()
def parametrizations_of_several_tensors(m: Any) -> Any:
    x, p = square(m), m.nn.utils.parametrize
    p.register_parametrization(x, "weight", ranked(m))
    x(data(m, 2, 3)).sum().backward()
    grads = [q.grad for q in x.parametrizations.weight.parameters()]
    with m.no_grad():
        x.weight = m.ones(3, 3) * 3
    names = list(x.state_dict())
    p.remove_parametrizations(x, "weight")
    return [grads, names, x.weight.detach(), list(x.state_dict())]


@case()
def originals_can_be_left(m: Any) -> Any:
    x, p = square(m), m.nn.utils.parametrize
    before = x.weight.detach().clone()
    p.register_parametrization(x, "weight", doubled(m))
    p.remove_parametrizations(x, "weight", leave_parametrized=False)
    p.register_parametrization(x, "bias", doubled(m))
    return [before, x.weight.detach(), x.bias.detach()]


@case()
def cached_weights_are_computed_once(m: Any) -> Any:
    x, p = square(m), m.nn.utils.parametrize
    p.register_parametrization(x, "weight", doubled(m))
    with p.cached():
        first, again = x.weight, x.weight
    return [first is again, x.weight is x.weight]


@case()
def buffers_can_be_parametrized(m: Any) -> Any:
    x, p = m.nn.Module(), m.nn.utils.parametrize
    x.register_buffer("kept", m.ones(2))
    p.register_parametrization(x, "kept", doubled(m))
    return [x.kept, list(x.state_dict()), list(dict(x.named_buffers()))]


@case()
def parametrizations_are_transferred(m: Any) -> Any:
    x, y, p = square(m), m.nn.Linear(3, 3), m.nn.utils.parametrize
    p.register_parametrization(x, "weight", doubled(m))
    p.transfer_parametrizations_and_params(x, y)
    return [y.weight.detach(), list(y.state_dict())]


@case("does not have a parameter, a buffer")
def parametrizing_what_is_not_there(m: Any) -> Any:
    m.nn.utils.parametrize.register_parametrization(square(m), "none", doubled(m))


@case("does not have a parametrization on")
def removing_what_is_not_there(m: Any) -> Any:
    m.nn.utils.parametrize.remove_parametrizations(square(m), "weight")


@case("may not change the")
def parametrizations_keep_the_shape(m: Any) -> Any:
    class Half(m.nn.Module):
        def forward(self, x: Any) -> Any:
            return x[:1]

    m.nn.utils.parametrize.register_parametrization(square(m), "weight", Half())


@case("does not implement right_inverse")
def assigning_needs_an_inverse(m: Any) -> Any:
    x = square(m)
    m.nn.utils.parametrize.register_parametrization(x, "weight", doubled(m))
    x.weight = m.ones(3, 3)


# ---- normalised weights ----------------------------------------------------------------------


@case()
def weight_norm(m: Any) -> Any:
    found = []
    for dim in (0, 1, None):
        x = square(m)
        m.nn.utils.parametrizations.weight_norm(x, dim=dim)
        x(data(m, 2, 3)).sum().backward()
        found.append([(n, q.detach(), q.grad) for n, q in x.named_parameters()])
        found.append([repr(x), x.weight.detach()])
    x.load_state_dict({"bias": m.zeros(3), "weight_g": m.ones(()), "weight_v": m.ones(3, 3)})
    return [*found, x.weight.detach()]


@case()
def weight_norm_by_a_hook(m: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = m.nn.utils.weight_norm(square(m))
    x(data(m, 2, 3)).sum().backward()
    found = [(n, q.detach(), q.grad) for n, q in x.named_parameters()]
    m.nn.utils.remove_weight_norm(x)
    return [found, [(n, q.detach()) for n, q in x.named_parameters()], len(x._forward_pre_hooks)]


@case("weight_norm of 'weight' not found")
def removing_weight_norm_that_is_not_there(m: Any) -> Any:
    m.nn.utils.remove_weight_norm(square(m))


def known(m: Any, module: Any, **vectors: Any) -> None:
    """Give power iteration the same start in both libraries."""
    with m.no_grad():
        for name, value in vectors.items():
            getattr(module, name).copy_(m.tensor(np.asarray(value, np.float32)))


@case()
def spectral_norm(m: Any) -> Any:
    x = square(m)
    m.nn.utils.parametrizations.spectral_norm(x, n_power_iterations=2)
    known(m, x.parametrizations.weight[0], _u=[1, 0, 0], _v=[0.6, 0.8, 0])
    x(data(m, 2, 3)).sum().backward()
    original = x.parametrizations.weight.original
    x.eval()
    return [list(x.state_dict()), original.grad, x.weight.detach(), x.weight.detach()]


@case()
def spectral_norm_by_a_hook(m: Any) -> Any:
    x = m.nn.utils.spectral_norm(square(m), n_power_iterations=2)
    known(m, x, weight_u=[1, 0, 0], weight_v=[0.6, 0.8, 0])
    x(data(m, 2, 3)).sum().backward()
    state = x.state_dict()
    found = [list(state), state._metadata[""], x.weight_orig.grad, x.weight.detach(), x.weight_u]
    x.eval()
    x(data(m, 2, 3))
    m.nn.utils.remove_spectral_norm(x)
    return [*found, list(x.state_dict()), x.weight.detach(), x.state_dict()._metadata[""]]


@case("Cannot register two spectral_norm hooks")
def spectral_norm_twice(m: Any) -> Any:
    m.nn.utils.spectral_norm(m.nn.utils.spectral_norm(square(m)))


# ---- folding, calling, padding ---------------------------------------------------------------


def statistics(m: Any, count: int) -> Any:
    bn = m.nn.BatchNorm1d(count).eval()
    rng = np.random.default_rng(5)
    values = {k: m.tensor(rng.uniform(0.5, 2, tuple(v.shape)).astype(np.float32))
              for k, v in bn.state_dict().items() if "tracked" not in k}  # fmt: skip
    bn.load_state_dict(values, strict=False)
    return bn


@case()
def folding_batch_norm(m: Any) -> Any:
    u, bn = m.nn.utils, statistics(m, 3)
    linear = u.fuse_linear_bn_eval(square(m).eval(), bn)
    made = [linear.weight.detach(), linear.bias.detach()]
    for layer, transpose in (
        (m.nn.Conv1d(2, 3, 2), False), (m.nn.Conv1d(2, 3, 2, bias=False), False),
        (m.nn.ConvTranspose1d(2, 3, 2), True),
    ):  # fmt: skip
        fused = u.fuse_conv_bn_eval(fill(m, layer).eval(), bn, transpose)
        made += [fused.weight.detach(), fused.bias.detach(), fused.bias.requires_grad]
    return [*made, square(m).weight.detach()]


@case()
def calls_with_other_parameters(m: Any) -> Any:
    x = net(m)
    call = m.nn.utils.stateless.functional_call if m is clgrad else m.func.functional_call
    weight = m.ones(4, 6, requires_grad=True)
    out = call(x, {"1.weight": weight * 2}, (data(m, 2, 6),))
    out.sum().backward()
    return [out.detach(), weight.grad, x[1].weight.detach(), x[1].weight.grad]


@case()
def tied_parameters_are_replaced_together(m: Any) -> Any:
    x = m.nn.Sequential(square(m), m.nn.Linear(3, 3))
    x[1].weight = x[0].weight
    call = m.nn.utils.stateless.functional_call if m is clgrad else m.func.functional_call
    value = {"0.weight": m.zeros(3, 3), "1.bias": m.ones(3)}
    return call(x, value, data(m, 2, 3)).detach()


@case()
def padded_sequences(m: Any) -> Any:
    pad = m.nn.utils.rnn.pad_sequence
    parts = [data(m, n, 2).requires_grad_() for n in (3, 1, 2)]
    first = pad(parts, padding_value=0.5)
    (first * first).sum().backward()
    other = pad(parts, batch_first=True, padding_side="left").detach()
    back = m.nn.utils.rnn.unpad_sequence(first.detach(), m.tensor([3, 1, 2]))
    return [first.detach(), other, [p.grad for p in parts], back]


@pytest.mark.parametrize(("program", "words"), CASES)
def test_as_torch(program: Case, words: str) -> None:
    same(program, words)


# ---- what PyTorch's programs cannot show -------------------------------------------------------


@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_parametrized_modules_are_copied_and_not_pickled(m: Any) -> None:
    with interpreted():
        x = square(m)
        m.nn.utils.parametrize.register_parametrization(x, "weight", doubled(m))
        y = copy.deepcopy(x)
        with m.no_grad():
            y.parametrizations.weight.original.zero_()
        assert x.weight.detach().numpy().any()
        assert not y.weight.detach().numpy().any()
        with pytest.raises(RuntimeError, match="state_dict"):
            pickle.dumps(x)


def test_spectral_norm_finds_the_largest_singular_value() -> None:
    with interpreted():
        x = square(clgrad)
        clgrad.nn.utils.parametrizations.spectral_norm(x, n_power_iterations=30)
        value = np.linalg.svd(x.weight.detach().numpy(), compute_uv=False)[0]
        assert value == pytest.approx(1, rel=1e-4)


def test_skipped_starting_values() -> None:
    with interpreted():
        state = clgrad.default_generator.get_state()
        x = clgrad.nn.utils.skip_init(clgrad.nn.Linear, 3, 4)
        assert clgrad.default_generator.get_state() == state
        assert (x.weight.shape, x.weight.requires_grad) == ((4, 3), True)
        with pytest.raises(RuntimeError, match="Expected a Module"):
            clgrad.nn.utils.skip_init(int)
        with pytest.raises(RuntimeError, match="device"):
            clgrad.nn.utils.skip_init(clgrad.nn.ReLU)
