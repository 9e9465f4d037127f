"""Backward passes recorded from a trace equal those that run node by node, bit for bit."""

from __future__ import annotations

import random

import numpy as np
import pytest

import clgrad
from clgrad import config, dispatch
from clgrad.autograd import traces
from clgrad.tape.saved import Switch

SHAPES = [(3, 4), (3, 1), (4,), ()]


@pytest.fixture(params=[1, 1000], ids=["confirmed", "walked"])
def spliced(monkeypatch, request):
    """A list that grows with each pass that is recorded from a trace."""
    seen = []
    real = dispatch.backend.splice
    monkeypatch.setattr(traces, "_traces", {})
    monkeypatch.setattr(traces, "_expected", {})
    monkeypatch.setattr(traces, "_OFTEN", request.param)

    def splice(*args):
        seen.append(args)
        return real(*args)

    monkeypatch.setattr(dispatch.backend, "splice", splice)
    return seen


def forward(seed, leaves, numbers):
    """A random program; its structure follows from the seed alone."""
    rng = random.Random(seed)
    known = list(leaves)
    for k in range(rng.randint(4, 14)):
        a, b = rng.choice(known), rng.choice(known)
        kind = rng.randrange(8)
        if kind == 0:
            made = a * b
        elif kind == 1:
            made = a + b
        elif kind == 2:
            made = a.tanh()
        elif kind == 3:
            made = a * numbers[k % len(numbers)] - b
        elif kind == 4 and a.ndim:
            made = a.sum(dim=rng.randrange(a.ndim), keepdim=rng.random() < 0.5)
        elif kind == 5 and a.ndim == 2:
            made = a.t().reshape(a.shape)[:, : rng.randint(1, a.shape[1])].sum(1, keepdim=True)
        elif kind == 6 and a.ndim == 2:
            made = (a @ a.t()).mean() * b
        else:
            made = clgrad.maximum(a, b) / (1.0 + b * b)
        known.append(made)
    return (known[-1] * known[-2]).sum() + known[-3].sum()


def run(seed, device, traced, monkeypatch):
    """Three steps on different data and numbers; returns all gradients, added up over steps."""
    with monkeypatch.context() as patch:
        if not traced:
            patch.setattr(traces, "run", lambda *_: False)
        rng = np.random.default_rng(seed)
        leaves = [
            clgrad.tensor(
                rng.standard_normal(s).astype("f4"), device=device, requires_grad=k != seed % 5
            )
            for k, s in enumerate(SHAPES)
        ]
        found = []
        for step in range(4):
            loss = forward(seed, leaves, [0.5 + step, -1.25 * step])
            if not loss.requires_grad:
                return []
            if step == 2:
                loss.backward(clgrad.tensor(rng.standard_normal(()).astype("f4"), device=device))
            else:
                loss.backward()
            found += [None if x.grad is None else x.grad.numpy() for x in leaves]
            if step == 1:
                for x in leaves:
                    x.grad = None
    return found


def test_random_programs_equal_node_by_node(device, monkeypatch, spliced):
    for seed in range(8):
        plain = run(seed, device, False, monkeypatch)
        assert not spliced
        traced = run(seed, device, True, monkeypatch)
        assert bool(plain) == bool(spliced)
        spliced.clear()
        for a, b in zip(plain, traced, strict=True):
            np.testing.assert_array_equal(a, b)


def step(x, w, number=2.0):
    return ((x * w) * number).sum()


def make(device, *values):
    return [clgrad.tensor(v, device=device, requires_grad=True) for v in values]


def test_numbers_are_passed_anew(device, spliced):
    for number in (2.0, 3.0, 5):
        x, w = make(device, [1.0, 2.0], [3.0, 4.0])
        step(x, w, number).backward()
        assert x.grad.tolist() == [3.0 * number, 4.0 * number]
        assert w.grad.tolist() == [1.0 * number, 2.0 * number]
    assert len(spliced) == 1  # an integer is another structure than a float


def test_numbers_of_which_a_host_function_makes_something_are_part_of_the_structure(
    device, spliced
):
    for number in (2.0, 2.0, 0.0, -0.0, *range(20)):
        (x,) = make(device, [[1.0, 2.0, 4.0]])
        y = clgrad.nn.functional.layer_norm(x, (3,), eps=0.5 + abs(number))
        (y * y).sum().backward()
        with config.override(eager=True):
            want = x.detach().requires_grad_()
            y = clgrad.nn.functional.layer_norm(want, (3,), eps=0.5 + abs(number))
            (y * y).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), want.grad.numpy())


def test_one_operand_twice_is_another_structure(device, spliced):
    x, w = make(device, [1.0, 2.0], [3.0, 4.0])
    for _ in range(2):
        step(x, w).backward()
    step(x, x).backward()
    assert len(spliced) == 1
    assert x.grad.tolist() == [3.0 * 4 + 4 * 1.0, 4.0 * 4 + 4 * 2.0]


def test_frozen_operands_are_another_structure(device, spliced):
    x, w = make(device, [1.0, 2.0], [3.0, 4.0])
    for frozen in (False, True, False, True):
        w.requires_grad_(not frozen)
        x.grad = w.grad = None
        step(x, w).backward()
        assert (w.grad is None) == frozen
        assert x.grad.tolist() == [6.0, 8.0]
    assert len(spliced) == 2


def test_what_is_checked_is_checked_again(device, spliced):
    for _ in range(3):
        x, w = make(device, [1.0, 2.0], [3.0, 4.0])
        step(x, w).backward()
    count = len(spliced)
    assert count == 2
    loss = step(x, w)
    with clgrad.no_grad():
        w.add_(1.0)
    with pytest.raises(clgrad.VersionError, match="modified by an inplace operation"):
        loss.backward()
    loss = step(x, w)
    loss.backward()
    with pytest.raises(clgrad.GraphFreedError, match="second time"):
        loss.backward()
    loss = step(x, w)
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(clgrad.GraphFreedError):
        loss.backward()


def test_hooks_and_retained_gradients_are_seen(device, spliced):
    x, w = make(device, [1.0, 2.0], [3.0, 4.0])
    for _ in range(2):
        step(x, w).backward()
    assert len(spliced) == 1
    seen = []
    x.register_hook(seen.append)
    step(x, w).backward()
    assert [g.tolist() for g in seen] == [[6.0, 8.0]]
    y = x * w
    y.retain_grad()
    (y * 2.0).sum().backward()
    assert y.grad.tolist() == [2.0, 2.0]
    assert len(spliced) == 1


def test_a_flush_between_forward_and_backward(device, spliced):
    x, w = make(device, [1.0, 2.0], [3.0, 4.0])
    for k in range(4):
        x.grad = w.grad = None
        loss = step(x.tanh(), w)
        if k % 2:
            loss.item()
        loss.backward()
        expected = 2 * np.array([3.0, 4.0]) * (1 - np.tanh([1.0, 2.0]) ** 2)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5)
    assert len(spliced) == 3


def test_recomputed_values_are_operands_too(device, spliced):
    n = 9000  # large enough that what only backward reads is computed again
    values = np.linspace(-2, 2, n).astype("f4")
    for _ in range(3):
        (x,) = make(device, values)
        y = x * 2.0
        loss = (y * y + y).sum()
        del y
        loss.item()
        loss.backward()
        np.testing.assert_allclose(x.grad.numpy(), 8 * values + 2, rtol=1e-5, atol=1e-6)
    assert len(spliced) == 2


def test_a_failing_node_leaves_earlier_gradients(device):
    class Fails(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            raise ZeroDivisionError

    x, w = make(device, [1.0, 2.0], [3.0, 4.0])
    loss = (Fails.apply(x) * 1.0).sum() + w.sum()
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    assert w.grad.tolist() == [1.0, 1.0]


def twins(x, w, kind):
    a, b = x.tanh(), x.tanh()
    c, d = (a, b) if kind != "one node" else (a, a)
    if kind == "younger first":
        c, d = d, c
    if kind == "no leaf":
        w = w.detach()
    if kind == "another leaf":
        return (c * w * 3.0 + d * x * 3.0).sum()
    if kind == "one leaf":
        return (c * w * 3.0 + d * w * 3.0).sum()
    if kind == "number":
        return (c * w * 4.0 + d * w.detach() * 2.0).sum()
    return (c * w * 3.0 + d * w.detach() * 2.0).sum()


def test_expected_structures_are_confirmed_without_a_walk(device, monkeypatch):
    monkeypatch.setattr(traces, "_expected", {})
    monkeypatch.setattr(traces, "_traces", {})  # which is cleared when it is full
    monkeypatch.setattr(Switch, "detached", False)  # another test may have called `detach_`
    x, w = make(device, [1.0, 2.0], [3.0, 4.0])

    def grads(kind, plain=False):
        x.grad = w.grad = None
        with monkeypatch.context() as patch:
            if plain:
                patch.setattr(traces, "run", lambda *_: False)
            twins(x, w, kind).backward()
        return x.grad.tolist(), None if w.grad is None else w.grad.tolist()

    kinds = (
        "plain", "one node", "younger first", "no leaf", "another leaf", "one leaf", "number",
    )  # fmt: skip
    expected = {kind: grads(kind, plain=True) for kind in kinds}
    for _ in range(5):
        assert grads("plain") == expected["plain"]
    walks = []
    walk = traces._Walk
    monkeypatch.setattr(traces, "_Walk", lambda roots: walks.append(1) or walk(roots))
    for kind in ("plain", "number"):
        assert grads(kind) == expected[kind]
    assert not walks
    for kind in kinds:
        assert grads(kind) == expected[kind]
    assert len(walks) == len(kinds) - 2
    for kind in (*kinds, *kinds, *kinds, *reversed(kinds)):
        assert grads(kind) == expected[kind], kind
