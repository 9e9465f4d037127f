"""Automatic mixed precision: the dtypes of results and the losses of a training as PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad import nn
from clgrad.creation import current
from clgrad.utils.checkpoint import checkpoint

CALLS = """
a @ b
m.mm(a, b)
a.matmul(b)
m.addmm(a, a, b)
m.einsum("ij,jk->ik", a, b)
m.bmm(a[None], b[None])
F.linear(a, b)
F.conv1d(a[None], b[:, :, None])
F.scaled_dot_product_attention(a[None], b[None], b[None])
F.mse_loss(a, b)
F.cross_entropy(a, b.softmax(1))
F.softmax(a, 1)
F.layer_norm(a, (3,))
m.cat([a, b])
m.cat([a, b.bfloat16()])
m.stack([a.bfloat16(), b.bfloat16()])
a + b.bfloat16()
a.prod()
a.cumsum(0)
m.cdist(a, b)
a.double() @ b.double()
"""


@pytest.fixture(autouse=True)
def _there(device: Any) -> Any:
    former, current.device = current.device, device
    yield
    current.device = former


def test_dtypes() -> None:
    for call in CALLS.split("\n")[1:-1]:
        for short in (False, True):
            made = []
            for m in (torch, clgrad):
                a, b = m.ones(3, 3), m.ones(3, 3) * 2
                if short:
                    a, b = a.bfloat16(), b.bfloat16()
                with m.autocast("cpu", dtype=m.bfloat16):
                    y = eval(call, {"m": m, "F": m.nn.functional, "a": a, "b": b})
                made.append((str(y.dtype).partition(".")[2], y.float().tolist()))
            assert made[0][0] == made[1][0], call
            assert np.allclose(made[0][1], made[1][1], rtol=1e-2), call


def _train(m: Any, init: Any, again: bool) -> list[float]:
    model = m.nn.Sequential(m.nn.Linear(8, 16), m.nn.ReLU(), m.nn.LayerNorm(16), m.nn.Linear(16, 3))
    model.load_state_dict({k: m.tensor(v) for k, v in init.items()})
    optimizer = m.optim.SGD(model.parameters(), 0.2)
    scaler = m.amp.GradScaler("cpu", init_scale=1024.0)
    rng, losses = np.random.default_rng(0), []
    for _ in range(6):
        x = m.tensor(rng.standard_normal((16, 8)).astype("f"))
        y = m.tensor(rng.integers(0, 3, 16))
        optimizer.zero_grad()
        with m.autocast(device_type="cpu", dtype=m.bfloat16):
            if again:
                out = m.utils.checkpoint.checkpoint(model, x, use_reentrant=False)
            else:
                out = model(x)
            assert out.dtype is m.bfloat16
            loss = m.nn.functional.cross_entropy(out, y)
        assert loss.dtype is m.float32
        scaler.scale(loss).backward()
        assert all(p.grad.dtype is m.float32 for p in model.parameters())
        scaler.unscale_(optimizer)
        m.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("again", [False, True])
def test_a_training(again: bool) -> None:
    rng = np.random.default_rng(1)
    shapes = {"0.weight": (16, 8), "0.bias": 16, "2.weight": 16, "2.bias": 16, "3.weight": (3, 16)}
    init = {k: rng.standard_normal(s).astype("f") / 3 for k, s in shapes.items()}
    init["3.bias"] = np.zeros(3, "f")
    theirs, ours = (_train(m, init, again) for m in (torch, clgrad))
    assert np.allclose(theirs, ours, atol=0.02), (theirs, ours)


def _scaled(m: Any) -> list[Any]:
    w = m.nn.Parameter(m.ones(2))
    optimizer = m.optim.SGD([w], 1.0)
    scaler = m.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    seen: list[Any] = []
    for factor in (1.0, float("inf"), 2.0, 3.0, float("nan")):
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        seen += [scaler.get_scale(), w.tolist()]
    other = m.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    seen += [scaler.state_dict(), other.get_scale()]
    for call in (
        lambda: scaler.update(),
        lambda: (scaler.unscale_(optimizer), scaler.unscale_(optimizer)),
        lambda: scaler.scale(3),
        lambda: m.amp.GradScaler("cpu", growth_factor=0.5),
        lambda: other.load_state_dict({}),
    ):
        with pytest.raises((RuntimeError, ValueError, AssertionError, TypeError)) as caught:
            call()
        seen.append(caught.value)
    return seen


def test_steps_are_left_out() -> None:
    theirs, ours = _scaled(torch), _scaled(clgrad)
    for a, b in zip(theirs, ours, strict=True):
        if isinstance(a, Exception):
            assert isinstance(b, type(a)) or isinstance(a, AssertionError), (a, b)
        else:
            assert a == b
    off = clgrad.amp.GradScaler(enabled=False)
    loss = clgrad.ones(())
    assert off.scale(loss) is loss
    assert off.state_dict() == {}


def test_blocks() -> None:
    a = clgrad.ones(2, 2)
    with clgrad.autocast("cpu"):
        assert clgrad.is_autocast_enabled("cpu")
        with clgrad.autocast("cpu", enabled=False):
            assert (a @ a).dtype is clgrad.float32
        with clgrad.autocast("cpu", dtype=clgrad.float16):
            assert (a @ a).dtype is clgrad.float16
            assert clgrad.get_autocast_dtype("cpu") is clgrad.float16
        assert (a @ a).dtype is clgrad.bfloat16
        assert checkpoint(lambda x: x @ x, a, use_reentrant=False).dtype is clgrad.bfloat16
    assert (a @ a).dtype is clgrad.float32
    assert not clgrad.is_autocast_enabled("cpu")

    @clgrad.autocast("cpu")
    def product(x: Any) -> Any:
        return x @ x

    assert product(a).dtype is clgrad.bfloat16
    with clgrad.autocast("gpu"):
        assert (a @ a).dtype is clgrad.float32
    with pytest.raises(ValueError, match="of type `str`"):
        clgrad.autocast(a.device)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'foo'"):
        clgrad.autocast("foo")
    with pytest.warns(UserWarning, match="Disabling autocast"):
        block = clgrad.autocast("cpu", dtype=clgrad.float32)
    with block:
        assert (a @ a).dtype is clgrad.float32


def test_a_custom_function() -> None:
    class Times(clgrad.autograd.Function):
        @staticmethod
        @clgrad.amp.custom_fwd(device_type="cpu", cast_inputs=clgrad.float32)
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x @ x

        @staticmethod
        @clgrad.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g @ x.t() + x.t() @ g

    a = clgrad.ones(2, 2, dtype=clgrad.bfloat16, requires_grad=True)
    with clgrad.autocast("cpu"):
        y = Times.apply(a)
    assert y.dtype is clgrad.float32
    y.sum().backward()
    assert a.grad.tolist() == [[4.0, 4.0], [4.0, 4.0]]


def test_layers_of_attention() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x = clgrad.randn(2, 3, 8)
    exact = layer(x)
    with clgrad.autocast("cpu"):
        y = layer(x)
    assert (y.float() - exact).abs().max().item() < 0.1
    y.float().sum().backward()
    assert all(p.grad.dtype is clgrad.float32 for p in layer.parameters())
