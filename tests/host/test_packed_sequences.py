"""Packed sequences against PyTorch: packing, recurrent layers over them, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.testing.interpreter import interpreted

torch = pytest.importorskip("torch")

LENGTHS = {"sorted": [5, 3, 3, 1], "mixed": [2, 5, 1, 4]}


@pytest.fixture(autouse=True)
def _host() -> Any:
    with interpreted():
        yield


def _padded() -> Any:
    return np.random.default_rng(0).standard_normal((5, 4, 3)).astype("f")


def _same(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_packing_and_padding_again(name: str, batch_first: bool) -> None:
    lengths, x = LENGTHS[name], _padded()
    x = x.swapaxes(0, 1).copy() if batch_first else x
    made = []
    for t in (clgrad, torch):
        rnn = t.nn.utils.rnn
        packed = rnn.pack_padded_sequence(t.tensor(x), lengths, batch_first, name == "sorted")
        padded, again = rnn.pad_packed_sequence(packed, batch_first, -1.0, total_length=6)
        assert again.tolist() == lengths
        parts = rnn.unpack_sequence(packed)
        made.append((packed.data, padded, *parts, *rnn.unpack_sequence(
            rnn.pack_sequence(parts, enforce_sorted=False))))  # fmt: skip
        assert packed.batch_sizes.tolist() == [sum(n > k for n in lengths) for k in range(5)]
    for a, b in zip(*made, strict=True):
        assert tuple(a.shape) == tuple(b.shape)
        _same(a, b)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("begin", [False, True])
def test_recurrent_layers(kind: str, both: bool, begin: bool) -> None:
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(3, 2, 2, bidirectional=both)
    ours = getattr(clgrad.nn, kind)(3, 2, 2, bidirectional=both)
    ours.load_state_dict({k: clgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    state = np.random.default_rng(1).standard_normal((4 if both else 2, 4, 2)).astype("f")
    found = []
    for t, layer in ((clgrad, ours), (torch, theirs)):
        x, h = t.tensor(_padded(), requires_grad=True), t.tensor(state, requires_grad=True)
        packed = t.nn.utils.rnn.pack_padded_sequence(x, LENGTHS["mixed"], enforce_sorted=False)
        given = ((h, h * 2) if kind == "LSTM" else h) if begin else None
        made, last = layer(packed, given)
        ends = last if kind == "LSTM" else (last,)
        (made.data.cos().sum() + sum((e * e).sum() for e in ends)).backward()
        grads = [p.grad for p in layer.parameters()]
        found.append([made.data, *ends, x.grad, *grads, *([h.grad] if begin else [])])
    for a, b in zip(*found, strict=True):
        _same(a, b)


@pytest.mark.parametrize(
    ("lengths", "sort", "error"),
    [([2, 5, 1, 4], True, RuntimeError), ([5, 3, 3, 0], True, RuntimeError),
     ([5, 3], True, RuntimeError)],
)  # fmt: skip
def test_lengths_that_cannot_be(lengths: list[int], sort: bool, error: type[Exception]) -> None:
    for t in (torch, clgrad):
        with pytest.raises(error):
            t.nn.utils.rnn.pack_padded_sequence(t.tensor(_padded()), lengths, False, sort)
