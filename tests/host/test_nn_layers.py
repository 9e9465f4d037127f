"""Layers against PyTorch's, on the interpreter: names, repr, results, gradients, state."""

from __future__ import annotations

import warnings

import pytest

pytest.importorskip("torch")

from layer_twin import compare
from layers import LAYERS, Layer

from clgrad.testing.interpreter import interpreted


@pytest.mark.parametrize("layer", [x for x in LAYERS if not x.device], ids=str)
def test_as_torch(layer: Layer) -> None:
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(layer)
