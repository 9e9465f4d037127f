"""Arguments that should be tensors and are none: a TypeError that names them, as in PyTorch."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.errors import ClgradTypeError
from clgrad.testing.interpreter import interpreted

CALLS = """
F.linear(bad, w)
F.linear(x, bad)
m.nn.Linear(3, 2)(bad)
m.nn.Conv2d(3, 2, 1)(bad)
F.cross_entropy(x, bad)
F.mse_loss(x, bad)
F.binary_cross_entropy_with_logits(x, bad)
F.embedding(bad, w)
F.layer_norm(bad, (3,))
F.max_pool2d(bad, 2)
F.scaled_dot_product_attention(x, x, bad)
m.mm(x, bad)
m.bmm(bad, x)
m.addmm(x, x, bad)
m.sort(bad)
m.cumsum(bad, 0)
m.transpose(bad, 0, 1)
m.var_mean(bad)
m.linalg.inv(bad)
m.linalg.vector_norm(bad)
x.gather(0, bad)
x.masked_fill(bad, 0.0)
x.index_add(0, bad, x)
m.block_diag(x, bad)
"""
BAD = (np.ones((3, 3), "f"), [[1.0, 2.0]], None, "abc")


@pytest.mark.parametrize("call", CALLS.split("\n")[1:-1])
def test_a_type_error_says_which(call: str) -> None:
    for bad in BAD:

        def run(m: Any, bad: Any = bad) -> Any:
            names = {"m": m, "F": m.nn.functional, "x": m.ones(3, 3), "w": m.ones(2, 3)}
            return eval(call, {**names, "bad": bad})

        with pytest.raises((TypeError, AttributeError)):  # losses ask for the size in Python
            run(torch)
        with interpreted(), pytest.raises(ClgradTypeError, match="Tensor"):
            run(clgrad)


def test_other_errors_stay() -> None:
    class Odd:
        @property
        def weight(self) -> Any:
            raise AttributeError("no such thing")

    with interpreted():
        with pytest.raises(AttributeError, match="no such thing"):
            clgrad.nn.functional.linear(clgrad.ones(2, 3), Odd().weight)
        with pytest.raises(clgrad.ShapeError, match="cannot be multiplied"):
            clgrad.nn.functional.linear(clgrad.ones(2, 3), clgrad.ones(2, 4))


@pytest.mark.parametrize("name", ["linear", "relu", "cross_entropy", "layer_norm", "softmax"])
def test_functions_are_pickled_by_name(name: str) -> None:
    function = getattr(clgrad.nn.functional, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function
