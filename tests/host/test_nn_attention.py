"""Attention: values, gradients and errors as PyTorch's, on the interpreter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.autograd import gradgradcheck
from clgrad.autograd.graph import saved_tensors
from clgrad.testing.interpreter import interpreted

CALLS: list[Any] = []


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


Q, K, V = numbers(2, 4, 5, 3), numbers(2, 4, 6, 3, seed=1), numbers(2, 4, 6, 2, seed=2)
SEEN = np.random.default_rng(3).integers(0, 2, (5, 6)).astype(bool)
SEEN[:, 1] = True
NOTHING = SEEN.copy()
NOTHING[2] = False  # a row that sees nothing gives zeros
ADDED = numbers(2, 1, 5, 6, seed=4)
CASES = {
    "plain": ((Q, K, V), {}),
    "scaled": ((Q, K, V), {"scale": 0.3}),
    "causal": ((Q, K, V), {"is_causal": True}),
    "booleans": ((Q, K, V), {"attn_mask": SEEN}),
    "a row without keys": ((Q, K, V), {"attn_mask": NOTHING}),
    "minus infinity": ((Q, K, V), {"attn_mask": np.where(NOTHING, 0, -np.inf).astype("f4")}),
    "numbers": ((Q, K, V), {"attn_mask": ADDED}),
    "matrices": ((Q[0, 0], K[0, 0], V[0, 0]), {}),
    "shared heads": ((Q, K[:, :2], V[:, :2]), {"enable_gqa": True}),
    "no queries": ((Q[:, :, :0], K, V), {}),
    "large scores": ((Q * 100, K, V), {"attn_mask": SEEN}),
}


def run(m: Any, case: Any) -> list[Any]:
    operands, options = case
    given = [m.tensor(x.copy(), requires_grad=True) for x in operands]
    named = {k: m.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    mask = named.get("attn_mask")
    if mask is not None and mask.is_floating_point() and np.isfinite(options["attn_mask"]).all():
        given.append(mask.requires_grad_())
    out = m.nn.functional.scaled_dot_product_attention(*given[:3], **named)
    (out * m.tensor(numbers(*out.shape, seed=9))).sum().backward()
    return [out.detach().numpy(), *[x.grad.numpy() for x in given]]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_as_torch(case: Any) -> None:
    theirs = run(torch, case)
    with interpreted():
        for mine, other in zip(run(clgrad, case), theirs, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_weights_are_computed_again_and_not_saved(causal: bool) -> None:
    attention = clgrad.nn.functional.scaled_dot_product_attention
    with interpreted():
        q, k, v = (clgrad.tensor(x.astype("f8"), requires_grad=True) for x in (Q[0], K[0], V[0]))
        saved = saved_tensors(attention(q, k, v, is_causal=causal))
        assert [(one.name, one.shape) for one in saved] == [
            ("query", q.shape), ("key", k.shape), ("value", v.shape),
        ]  # fmt: skip
        assert gradgradcheck(lambda *x: attention(*x, is_causal=causal, scale=0.7), (q, k, v))


def test_halves_do_not_leave_their_range() -> None:
    with interpreted():
        x = clgrad.tensor(np.full((1, 2, 64), 60.0), dtype=clgrad.float16)
        out = clgrad.nn.functional.scaled_dot_product_attention(x, x, x)
        assert np.allclose(out.numpy(), 60)


def test_second_derivatives() -> None:
    attention = clgrad.nn.functional.scaled_dot_product_attention
    with interpreted():
        q, k, v = (
            clgrad.tensor(x[0, :2, :3].astype(np.float64), requires_grad=True) for x in (Q, K, V)
        )
        seen = clgrad.tensor(SEEN[:3, :3])
        for options in ({}, {"is_causal": True}, {"attn_mask": seen}):
            assert clgrad.autograd.gradcheck(lambda *x: attention(*x, **options), (q, k, v))  # noqa: B023  # called here
            assert clgrad.autograd.gradgradcheck(lambda *x: attention(*x, **options), (q, k, v))  # noqa: B023  # as above


WRONG = {
    "vectors": lambda f, m, q: f(q[0, 0, 0], q, q),
    "dtypes that differ": lambda f, m, q: f(q.double(), q, q),
    "integers": lambda f, m, q: f(q.long(), q.long(), q.long()),
    "a mask of integers": lambda f, m, q: f(q, q, q, m.ones(5, 5).long()),
    "a mask of other floats": lambda f, m, q: f(q, q, q, m.ones(5, 5).double()),
    "a mask of another shape": lambda f, m, q: f(q, q, q, m.ones(3, 5)),
    "a mask and is_causal": lambda f, m, q: f(q[0], q[0], q[0], m.ones(5, 5), is_causal=True),
    "features that differ": lambda f, m, q: f(q, q[..., :2], q),
    "heads that do not divide": lambda f, m, q: f(q, q[:, :3], q[:, :3], enable_gqa=True),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_mistakes(m: Any, call: Any) -> None:
    with interpreted(), pytest.raises(RuntimeError):
        call(m.nn.functional.scaled_dot_product_attention, m, m.tensor(Q))


@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_mistakes_of_the_module(m: Any) -> None:
    with interpreted():
        x = m.nn.MultiheadAttention(8, 2)
        q = m.tensor(numbers(4, 3, 8))
        wrong: list[tuple[Any, type[Exception]]] = [
            (lambda: m.nn.MultiheadAttention(8, 3), AssertionError),
            (lambda: m.nn.MultiheadAttention(0, 3), ValueError),
            (lambda: x(q[0, 0], q, q), AssertionError),
            (lambda: x(q, q[0], q), AssertionError),
            (lambda: x(q, q[:2], q), AssertionError),
            (lambda: x(q[..., :4], q[..., :4], q[..., :4]), AssertionError),
            (lambda: x(q, q, q, attn_mask=m.ones(3, 4)), RuntimeError),
            (lambda: x(q, q, q, attn_mask=m.ones(5, 4, 4)), RuntimeError),
            (lambda: x(q, q, q, attn_mask=m.ones(4, 4).long()), AssertionError),
            (lambda: x(q, q, q, key_padding_mask=m.ones(4)), AssertionError),
            (lambda: x(q, q, q, is_causal=True), RuntimeError),
            (lambda: m.nn.TransformerEncoderLayer(8, 2, activation="tanh"), RuntimeError),
        ]
        for call, kind in wrong:
            with pytest.raises(kind):
                call()


@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_causal_masks(m: Any) -> None:
    with interpreted():
        mask = m.nn.Transformer.generate_square_subsequent_mask(3)
        assert mask.tolist() == [[0, -math.inf, -math.inf], [0, 0, -math.inf], [0, 0, 0]]
        x = m.nn.MultiheadAttention(8, 2)
        q = m.tensor(numbers(3, 2, 8))
        seen = m.tensor(np.triu(np.ones((3, 3), bool), 1))
        with m.no_grad():
            plain = x(q, q, q, attn_mask=seen)[0].numpy()
            for options in (
                {"attn_mask": mask, "is_causal": True, "need_weights": False},
                {"attn_mask": mask, "key_padding_mask": m.zeros(2, 3)},
            ):
                np.testing.assert_allclose(x(q, q, q, **options)[0].numpy(), plain, atol=1e-6)
            assert not np.allclose(x(q, q, q)[0].numpy(), plain)
