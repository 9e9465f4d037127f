"""Layers with kernels of their own against PyTorch's, on every device."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

pytest.importorskip("torch")

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
