"""Inputs that do not fit a layer: the same outcome as PyTorch's, or the same class of error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from layer_twin import _flat, make
from layers import LAYERS, SELF, Layer, array

import clgrad
from clgrad.testing.interpreter import interpreted

KINDS = (AssertionError, IndexError, TypeError, ValueError, RuntimeError)
CHANGES: dict[str, Callable[[Any], Any]] = {
    "a dim less": lambda x: x[0],
    "a dim more": lambda x: x[None],
    "no dims": lambda x: x.reshape(-1)[0],
    "a smaller last dim": lambda x: x[..., :-1],
    "a smaller second dim": lambda x: x[:, :-1] if x.ndim > 1 else x,
    "a smaller first dim": lambda x: x[:-1],
    "nothing in it": lambda x: x[:0],
    "another dtype": lambda x: x.astype(np.float64 if x.dtype == np.float32 else np.float32),
}
DIFFERENT = {
    ("InstanceNorm2d", "another dtype"): "statistics of another dtype are refused",
    ("InstanceNorm2d", "nothing in it"): "no samples are no error",
    ("PixelUnshuffle", "nothing in it"): "the shape is right without samples too",
    ("MultiMarginLoss", "a smaller last dim"): "a target out of range is an IndexError everywhere",
    ("MultiMarginLoss", "a smaller second dim"): "as above",
    ("MultiMarginLoss", "another dtype"): "weights are promoted",
    ("CrossEntropyLoss", "another dtype"): "as above",
    ("CrossEntropyLoss", "a dim less"): "probabilities of another shape are a ValueError",
    ("LinearCrossEntropyLoss", "a dim less"): "as above",
}


def outcome(m: Any, layer: Layer, change: Callable[[Any], Any]) -> Any:
    """Return the shapes of results, or the class of the error."""
    rng = np.random.default_rng(7)
    given: list[Any] = []
    for one in layer.inputs:
        given.append(given[0] if one == SELF else array(one, rng)[0])
    given[0] = change(given[0])
    call = {
        key: m.tensor(array(v, rng)[0]) if isinstance(v, tuple) and isinstance(v[0], str) else v
        for key, v in layer.call.items()
    }
    try:
        result = make(m, layer)(*[m.tensor(x) for x in given], **call)
    except KINDS as error:
        return next(kind.__name__ for kind in KINDS if isinstance(error, kind))
    return [tuple(part.shape) for part in _flat(result)]


@pytest.mark.parametrize(
    "layer", [x for x in LAYERS if not x.device and 0 not in x.inputs[0]], ids=str
)
def test_as_torch(layer: Layer) -> None:
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, change in CHANGES.items():
            if (layer.name, name) not in DIFFERENT:
                assert outcome(clgrad, layer, change) == outcome(torch, layer, change), name


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_missing_argument(layer: Layer) -> None:
    with interpreted(), pytest.raises(TypeError, match="forward"):
        make(clgrad, layer)()
