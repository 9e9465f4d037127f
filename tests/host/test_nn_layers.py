"""Layers against PyTorch's, on the interpreter: names, repr, results, gradients, state."""

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
from clgrad.testing.interpreter import interpreted


@pytest.mark.parametrize("layer", [x for x in LAYERS if not x.device], ids=str)
def test_as_torch(layer: Layer) -> None:
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(layer)


STARTS = [
    ("Linear", (400, 300)), ("Bilinear", (40, 30, 50)), ("Conv1d", (64, 96, 5)),
    ("Conv2d", (64, 48, 3, 1, 0, 1, 4)), ("ConvTranspose2d", (64, 48, 3)),
    ("Conv3d", (16, 32, 3)), ("Embedding", (500, 60, 3)), ("EmbeddingBag", (500, 60)),
    ("LSTM", (60, 100)), ("GRU", (60, 100, 2)), ("RNNCell", (60, 300)),
    ("MultiheadAttention", (128, 4, 0.0, True, True)),
    ("MultiheadAttention", (128, 4, 0.0, True, False, False, 64, 32)),
    ("Transformer", (64, 4, 1, 1, 128)), ("PReLU", (300, 0.4)), ("BatchNorm1d", (300,)),
    ("GroupNorm", (2, 300)), ("LayerNorm", (300,)), ("RMSNorm", (300,)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(
    ("name", "args"), STARTS, ids=[f"{n}{k}" for k, (n, _) in enumerate(STARTS)]
)
def test_starting_values_are_of_pytorchs_distribution(name: str, args: tuple[Any, ...]) -> None:
    torch.manual_seed(1)
    theirs = getattr(torch.nn, name)(*args).state_dict()
    with interpreted():
        clgrad.manual_seed(1)
        ours = getattr(clgrad.nn, name)(*args).state_dict()
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            a, b = ours[key].numpy().astype(np.float64), value.numpy().astype(np.float64)
            assert a.shape == b.shape and ours[key].dtype is getattr(clgrad, str(value.dtype)[6:])
            few = 3 / np.sqrt(a.size)
            spread = b.std() + (b.size == 1)
            assert abs(a.mean() - b.mean()) <= 2 * few * spread, key
            assert abs(a.std() - b.std()) <= 2 * few * spread, key
            if b.std():
                limit = 1.25 if a.size > 1000 else 1.6
                assert 1 / limit < np.abs(a).max() / np.abs(b).max() < limit, key
            else:
                assert np.array_equal(a, b), key
