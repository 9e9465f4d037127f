"""Checkpoints on devices: the same bits, less memory, and the log of both runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import clgrad
from clgrad import nn
from clgrad.utils.checkpoint import (
    checkpoint,
    create_selective_checkpoint_contexts,
    set_checkpoint_debug_enabled,
)


def build(device: Any) -> tuple[nn.Sequential, Any]:
    """Return six blocks of three layers and an input; gradients have their memory already."""
    clgrad.manual_seed(7)
    blocks = [
        nn.Sequential(*(m for _ in range(3) for m in (nn.Linear(64, 64), nn.Tanh())))
        for _ in range(6)
    ]
    model = nn.Sequential(*blocks).to(device)
    x = clgrad.randn(1024, 64, device=device, requires_grad=True)
    for p in (x, *model.parameters()):
        p.grad = clgrad.zeros_like(p)
    clgrad.synchronize(device)
    return model, x


def dropped(x: Any) -> Any:
    return x * (clgrad.rand_like(x) > 0.25).to(x.dtype) / 0.75


def train(device: Any, sealed: bool, flush: bool) -> tuple[list[bytes], int]:
    """Return the gradients of a step as bytes, and the memory that it took at most."""
    model, x = build(device)
    before = clgrad.memory_stats(device)["allocated.current"]
    clgrad.reset_peak_memory_stats(device)
    y = x
    for block in model:

        def part(y: Any, block: Any = block) -> Any:
            return dropped(block(y))

        y = checkpoint(part, y, use_reentrant=False) if sealed else part(y)
        if flush:
            clgrad.flush(device)
    y.sum().backward()
    clgrad.synchronize(device)
    peak = clgrad.memory_stats(device)["allocated.peak"] - before
    return [p.grad.numpy().tobytes() for p in (x, *model.parameters())], peak


def test_the_same_bits_in_less_memory(device: Any) -> None:
    plain, plain_peak = train(device, sealed=False, flush=False)
    for flush in (False, True):
        found, peak = train(device, sealed=True, flush=flush)
        assert found == plain
        # of 18 activations only the six blocks' inputs and one block's own are there
        assert peak < 0.75 * plain_peak, (flush, peak, plain_peak)


def test_debug_lists_the_ops_of_both_runs(device: Any) -> None:
    calls: list[int] = []

    def changing(x: Any) -> Any:
        calls.append(1)
        y = x.exp()
        return y.tanh() if len(calls) == 1 else (y * clgrad.ones(2, device=device)).tanh()

    x = clgrad.ones(1, device=device, requires_grad=True)
    with set_checkpoint_debug_enabled(True):
        y = checkpoint(changing, x, use_reentrant=False)
    with pytest.raises(RuntimeError, match="because you passed `debug=True`") as caught:
        y.backward()
    text = str(caught.value)
    line = changing.__code__.co_firstlineno + 3
    assert f"> 2. tanh -> float32[1] at {__file__}:{line}, in changing" in text
    assert "full -> float32[2]" in text
    with set_checkpoint_debug_enabled(False):
        calls.clear()
        y = checkpoint(changing, x, use_reentrant=False, debug=True)
    with pytest.raises(RuntimeError, match="Pass debug=True"):
        y.backward()


@pytest.mark.parametrize("flush", [False, True])
def test_what_a_policy_keeps(device: Any, flush: bool) -> None:
    def block(x: Any) -> Any:
        y = (x.cos() @ x).softmax(-1) * dropped(x)
        if flush:
            clgrad.synchronize(device)
        return y.sin()

    def gradients(policy: Any) -> Any:
        clgrad.manual_seed(3)
        x = clgrad.randn(8, 8, device=device, requires_grad=True)
        make = partial(create_selective_checkpoint_contexts, policy)
        y = block(x) if policy is None else checkpoint(
            block, x, use_reentrant=False, context_fn=make
        )  # fmt: skip
        y.sum().backward()
        return x.grad.tolist()

    plain = gradients(None)
    aten = clgrad.ops.aten
    for policy in ([aten.mm.default], [aten.softmax.default], lambda *args: True, []):
        assert gradients(policy) == plain


def test_writes_into_what_a_policy_keeps(device: Any) -> None:
    def run(function: Any, **options: Any) -> Any:
        x = clgrad.tensor([0.3, 0.4], device=device, requires_grad=True)
        ops = [clgrad.ops.aten.sin.default]
        make = partial(create_selective_checkpoint_contexts, ops, **options)
        checkpoint(function, x, use_reentrant=False, context_fn=make).sum().backward()
        return x.grad.tolist()

    def whole(x: Any) -> Any:
        return x.sin().mul_(2).cos()

    def part(x: Any) -> Any:
        y = x.sin()
        y[:1].mul_(2)
        return y.cos()

    for function in (whole, part):
        with pytest.raises(RuntimeError, match="has been mutated: a result of aten"):
            run(function)
        x = clgrad.tensor([0.3, 0.4], device=device, requires_grad=True)
        function(x).sum().backward()
        assert run(function, allow_cache_entry_mutation=True) == x.grad.tolist()
