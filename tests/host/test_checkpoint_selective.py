"""Checkpoints that keep what a policy says, against PyTorch's."""

from __future__ import annotations

import gc
import importlib
import weakref
from functools import partial
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import Case, cases, same

import clgrad
from clgrad.testing.interpreter import interpreted
from clgrad.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

CASES, case = cases()


def run(m: Any, function: Any, policy: Any, **options: Any) -> Any:
    """Return the result and the gradient of a checkpointed function, under a policy."""
    module = importlib.import_module(f"{m.__name__}.utils.checkpoint")
    make = partial(
        module.create_selective_checkpoint_contexts, policy,
        allow_cache_entry_mutation=options.pop("overwriting", False),
    )  # fmt: skip
    x = m.tensor([[0.1, -0.4, 1.5], [0.7, 0.2, -0.9], [1.1, 0.3, -0.2]], requires_grad=True)
    y = module.checkpoint(function, x, use_reentrant=False, context_fn=make)
    for _ in range(options.pop("passes", 1)):
        y.sum().backward(**options)
    return [y, x.grad]


def saving(name: str) -> Any:
    return lambda ctx, op, *args, **kwargs: op.name() == f"aten::{name}"


@case()
def a_list_of_ops(m: Any) -> Any:
    return run(m, lambda x: (x.cos() @ x).sin(), [m.ops.aten.mm.default])


@case()
def everything_is_kept(m: Any) -> Any:
    functional = m.nn.functional
    return run(
        m, lambda x: functional.layer_norm(x @ x, (3,)).softmax(1).log().t().reshape(-1).cumsum(0),
        lambda *args, **kwargs: True,
    )  # fmt: skip


@case()
def an_op_with_several_results(m: Any) -> Any:
    def both(x: Any) -> Any:
        spread, mean = m.var_mean(x, 1)
        return spread * mean

    return run(m, both, saving("var_mean"))


@case()
def which_ops_the_policy_sees(m: Any) -> Any:
    seen: list[Any] = []

    def policy(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> bool:
        shapes = [tuple(a.shape) for a in args if isinstance(a, m.Tensor)]
        seen.append([op.name().split(".")[0], shapes, tuple(ctx.op_output.shape), ctx.is_recompute])
        return False

    return [run(m, lambda x: (x.cos() @ x).sum(1).exp(), policy), seen]


@case()
def a_write_into_what_is_not_kept(m: Any) -> Any:
    return run(m, lambda x: x.sin().mul_(2).cos(), saving("cos"))


@case("has been mutated")
def a_write_into_what_is_kept(m: Any) -> Any:
    return run(m, lambda x: x.sin().mul_(2).cos().exp(), saving("sin"))


@case("Trying to backward an extra time")
def a_second_pass(m: Any) -> Any:
    return run(m, lambda x: x.sin().cos().exp(), saving("sin"), passes=2, retain_graph=True)


@case()
def within_another_checkpoint(m: Any) -> Any:
    module = importlib.import_module(f"{m.__name__}.utils.checkpoint")
    make = partial(module.create_selective_checkpoint_contexts, [m.ops.aten.mm.default])

    def inner(x: Any) -> Any:
        return module.checkpoint(
            lambda t: (t @ t).sin(), x.exp(), use_reentrant=False, context_fn=make
        )

    return run(m, lambda x: inner(x).cos(), [m.ops.aten.mm.default])


@case("Expected op in `op_list` to be an OpOverload")
def a_list_with_a_number(m: Any) -> Any:
    return run(m, lambda x: x, [2])


@case("update the OpOverloadPacket to a specific OpOverload")
def a_list_with_a_packet(m: Any) -> Any:
    return run(m, lambda x: x, [m.ops.aten.sin])


@case("either a function or a list of ops")
def neither_function_nor_list(m: Any) -> Any:
    return run(m, lambda x: x, 2)


@pytest.mark.parametrize(("program", "words"), CASES)
def test_like_torch(program: Case, words: str) -> None:
    same(program, words)


def recorded(function: Any) -> list[str]:
    """Return the names of the ops that reach the recorder while a function runs."""
    from clgrad import dispatch

    real, names = dispatch.backend, []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def record(self, sig: Any, *rest: Any) -> Any:
            names.append(sig.op.name)
            return real.record(sig, *rest)

    dispatch.backend = Counting()
    try:
        function()
    finally:
        dispatch.backend = real
    return names


@pytest.mark.parametrize(("kept", "again"), [(["mm"], 0), ([], 1)])
def test_what_is_kept_is_not_computed_again(kept: list[str], again: int) -> None:
    with interpreted():
        ops = [getattr(clgrad.ops.aten, name).default for name in kept]
        x = clgrad.ones(2, 2, requires_grad=True)
        y = checkpoint(
            lambda t: (t.cos() @ t).sin(), x, use_reentrant=False,
            context_fn=partial(create_selective_checkpoint_contexts, ops),
        )  # fmt: skip
        names = recorded(lambda: y.sum().backward())
        assert names.count("mm") == 2 + again  # two of them compute gradients


def test_writes_do_not_reach_what_is_kept() -> None:
    with interpreted():
        x = clgrad.tensor([0.3, 0.4], requires_grad=True)
        y = checkpoint(
            lambda t: t.sin().mul_(2).cos(), x, use_reentrant=False,
            context_fn=partial(
                create_selective_checkpoint_contexts, [clgrad.ops.aten.sin.default],
                allow_cache_entry_mutation=True,
            ),
        )  # fmt: skip
        y.sum().backward()
        plain = clgrad.tensor([0.3, 0.4], requires_grad=True)
        (plain.sin() * 2).cos().sum().backward()
        assert clgrad.allclose(x.grad, plain.grad)


def test_what_is_kept_goes_with_the_graph_or_the_pass() -> None:
    with interpreted():
        values: list[Any] = []

        def policy(ctx: Any, op: Any, *args: Any) -> bool:
            values.append(weakref.ref(ctx.op_output._storage.value))
            return True

        def alive() -> int:
            return sum(value() is not None for value in values)

        make = partial(create_selective_checkpoint_contexts, policy)
        x = clgrad.ones(2, requires_grad=True)
        gc.disable()
        try:
            y = checkpoint(lambda t: t.cos().exp().sin(), x, use_reentrant=False, context_fn=make)
            assert alive() == 3
            del y
            assert alive() == 0
            y = checkpoint(lambda t: t.cos().exp().sin(), x, use_reentrant=False, context_fn=make)
            y.sum().backward(retain_graph=True)
            assert alive() == 1  # that of y itself
        finally:
            gc.enable()
