"""Modules that find their sizes at the first call: as PyTorch's."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from layer_twin import plain_repr

import clgrad
from clgrad.testing.interpreter import interpreted

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("LazyLinear", (5,), {}, (3, 4)),
    ("LazyLinear", (5, False), {}, (2, 3, 4)),
    ("LazyConv1d", (6, 3), {"groups": 2}, (4, 7)),
    ("LazyConv2d", (6, 3, 2), {"bias": False}, (2, 4, 5, 6)),
    ("LazyConv3d", (6, 2), {}, (2, 4, 3, 3, 3)),
    ("LazyConvTranspose1d", (6, 3), {}, (2, 4, 7)),
    ("LazyConvTranspose2d", (6, 3, 2, 1, 1), {}, (2, 4, 5, 6)),
    ("LazyConvTranspose3d", (6, 2), {"groups": 2}, (2, 4, 3, 3, 3)),
    ("LazyBatchNorm1d", (), {}, (3, 4)),
    ("LazyBatchNorm2d", (), {"affine": False}, (2, 4, 5, 6)),
    ("LazyBatchNorm3d", (), {"track_running_stats": False}, (2, 4, 3, 3, 3)),
    ("LazyInstanceNorm1d", (), {}, (2, 4, 7)),
    ("LazyInstanceNorm2d", (), {"affine": True, "bias": False}, (2, 4, 5, 6)),
    ("LazyInstanceNorm3d", (), {"track_running_stats": False}, (2, 4, 3, 3, 3)),
]


def seen(m: Any, name: str, args: Any, kwargs: Any, shape: Any) -> list[Any]:
    """Return what can be seen of a lazy module before and after its first input."""
    layer = getattr(m.nn, name)(*args, **kwargs)
    found = [plain_repr(layer), list(layer.state_dict()), layer.has_uninitialized_params()]
    other = getattr(m.nn, name)(*args, **kwargs)
    layer.initialize_parameters(m.ones(*shape))
    found.append({k: tuple(v.shape) for k, v in layer.state_dict().items()})
    other.load_state_dict(layer.state_dict())
    found.append({k: tuple(v.shape) for k, v in other.state_dict().items()})
    found.append(layer.has_uninitialized_params())
    found += [list(v.shape) for v in layer.parameters()]
    weight = layer.weight
    bound = 0 if weight is None or "Norm" in name else float(weight.detach().abs().sum())
    return [*found, plain_repr(layer), bound > 0]


@pytest.mark.parametrize("case", LAYERS, ids=[f"{c[0]}{k}" for k, c in enumerate(LAYERS)])
def test_as_torch(case: Any) -> None:
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert seen(clgrad, *case) == seen(torch, *case)


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_the_first_call_makes_an_ordinary_module(m: Any) -> None:
    with interpreted():
        x = m.nn.Sequential(m.nn.LazyLinear(3), m.nn.LazyBatchNorm1d())
        lazy = x[0].weight
        assert repr(lazy) == "<UninitializedParameter>"
        with pytest.raises(RuntimeError, match="uninitialized parameter"):
            _ = lazy.shape
        x(m.ones(2, 4)).sum().backward()
        assert x[0].weight is lazy
        assert (type(lazy), type(x[0])) == (m.nn.Parameter, m.nn.Linear)
        assert type(x[1]) is m.nn.BatchNorm1d
        assert x[0].weight.grad.shape == (3, 4)
        assert not len(x[0]._forward_pre_hooks)
        with pytest.raises(RuntimeError):
            x(m.ones(2, 5))


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_mistakes(m: Any) -> None:
    with interpreted():
        with pytest.raises(RuntimeError, match=r"3D \(unbatched\) or 4D"):
            m.nn.LazyConv2d(4, 3)(m.ones(2, 3))
        with pytest.raises(ValueError, match="divisible by groups"):
            m.nn.LazyConv1d(4, 1, groups=2)(m.ones(1, 3, 5))
        lazy = m.nn.LazyLinear(3)
        again = m.nn.LazyLinear(3)
        assert not again.load_state_dict(lazy.state_dict()).missing_keys
        with pytest.raises(RuntimeError):
            m.nn.Linear(4, 3).load_state_dict(lazy.state_dict())


def test_copies_are_lazy_by_themselves() -> None:
    with interpreted():
        x = clgrad.nn.LazyLinear(3)
        y = copy.deepcopy(x)
        y(clgrad.ones(2, 4))
        assert type(x) is clgrad.nn.LazyLinear
        assert not len(y._forward_pre_hooks)
        assert len(x._forward_pre_hooks) == 1
        x(clgrad.ones(2, 5))
        assert (x.in_features, y.in_features) == (5, 4)


def test_states_of_torch_give_the_shapes() -> None:
    with interpreted():
        x = clgrad.nn.LazyLinear(3)
        x.load_state_dict({k: v.numpy() for k, v in torch.nn.Linear(4, 3).state_dict().items()})
        assert x(clgrad.tensor(np.ones((2, 4), np.float32))).shape == (2, 3)
        assert repr(x) == "Linear(in_features=4, out_features=3, bias=True)"
