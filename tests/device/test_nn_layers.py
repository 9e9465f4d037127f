"""Layers with kernels of their own against PyTorch's, on every device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from layer_twin import compare
from layers import LAYERS, Layer

import clgrad


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(None)


@pytest.mark.parametrize("layer", [x for x in LAYERS if x.device], ids=str)
def test_as_torch(layer: Layer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(layer)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_packed_sequences(kind: str) -> None:
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(3, 4, bidirectional=True)
    ours = getattr(clgrad.nn, kind)(3, 4, bidirectional=True)
    ours.load_state_dict({k: clgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 3, 3)).astype("f")
    found = []
    for m, layer in ((clgrad, ours), (torch, theirs)):
        rnn = m.nn.utils.rnn
        given = m.tensor(x, requires_grad=True)
        packed = rnn.pack_padded_sequence(given, [2, 5, 3], enforce_sorted=False)
        out, state = layer(packed)
        padded, lengths = rnn.pad_packed_sequence(out)
        assert lengths.tolist() == [2, 5, 3]
        last = state[0] if kind == "LSTM" else state
        ((padded**2).sum() + last.sum()).backward()
        slopes = [p.grad for p in layer.parameters()]
        found.append([padded.detach(), last.detach(), given.grad, *slopes])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_adaptive_softmax(bias: bool) -> None:
    torch.manual_seed(1)
    made = [
        m.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0, head_bias=bias)
        for m in (clgrad, torch)
    ]
    made[0].load_state_dict({k: clgrad.tensor(v.numpy()) for k, v in made[1].state_dict().items()})
    x = np.random.default_rng(2).standard_normal((6, 8)).astype("f")
    found = []
    for m, layer in zip((clgrad, torch), made, strict=True):
        given = m.tensor(x, requires_grad=True)
        output, loss = layer(given, m.tensor([0, 2, 3, 11, 7, 1]))
        (loss + (output * output).sum()).backward()
        with m.no_grad():
            others = layer.log_prob(given), layer.predict(given), layer(given[0], m.tensor(9)).loss
        found.append([output.detach(), given.grad, *[p.grad for p in layer.parameters()], *others])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
