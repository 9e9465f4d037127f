"""What PyTorch has under `torch` of its layers: values and gradients against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import clgrad

rng = np.random.default_rng(3)


def r(*shape: int) -> Any:
    return rng.standard_normal(shape).astype("f4")


def _weights(module: Any) -> list[Any]:
    return [p.detach().numpy() for p in module._flat_weights]


def _leaf(m: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        made = m.tensor(value)
        return made.requires_grad_() if value.dtype == np.float32 else made
    return [_leaf(m, v) for v in value] if isinstance(value, list) else value


def _leaves(given: Any) -> list[Any]:
    parts = [t for g in given for t in (g if isinstance(g, list) else [g])]
    return [t for t in parts if getattr(t, "requires_grad", False)]


def _check(name: str, *args: Any) -> None:
    results = []
    for m in (clgrad, torch):
        given = [_leaf(m, a) for a in args]
        made = getattr(m, name)(*given)
        made = made if isinstance(made, tuple) else (made,)
        total: Any = sum((part * part).sum() for part in made)
        grads = m.autograd.grad(total, _leaves(given))
        results.append([np.asarray(t.detach()) for t in (*made, *grads)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


SIGNS = np.array([1, -1, 1, -1])


@pytest.mark.parametrize("reduction", [0, 1, 2])
def test_losses(device: Any, reduction: int) -> None:
    x, t = r(4, 5), np.abs(r(4, 5))
    _check("kl_div", x, t, reduction)
    _check("cosine_embedding_loss", x, r(4, 5), SIGNS, 0.2, reduction)
    _check("hinge_embedding_loss", x[:, :4].copy(), SIGNS, 1.0, reduction)
    _check("margin_ranking_loss", x, r(4, 5), SIGNS[:, None], 0.1, reduction)
    _check("poisson_nll_loss", x, t, True, True, 1e-8, reduction)
    _check("triplet_margin_loss", x, r(4, 5), r(4, 5), 1.0, 2.0, 1e-6, True, reduction)
    _check("binary_cross_entropy_with_logits", x, t, None, None, reduction)


def test_without_a_reduction_losses_are_terms(device: Any) -> None:
    _check("kl_div", r(3), np.abs(r(3)))
    with pytest.raises(ValueError, match="Expected 0"):
        clgrad.kl_div(clgrad.ones(2), clgrad.ones(2), "mean")  # type: ignore[attr-defined]


def test_recurrent_layers(device: Any) -> None:
    for name, gates in (("rnn_tanh", 1), ("rnn_relu", 1), ("gru", 3)):
        w = r(5 * gates, 4), r(5 * gates, 5), r(5 * gates), r(5 * gates)
        _check(f"{name}_cell", r(3, 4), r(3, 5), *w)
        _check(name, r(3, 2, 4), r(1, 2, 5), list(w), True, 1, 0.0, False, False, False)
    _check("lstm_cell", r(3, 4), [r(3, 5), r(3, 5)], r(20, 4), r(20, 5), r(20), r(20))
    both = torch.nn.LSTM(4, 5, 2, bidirectional=True)
    state = [r(4, 3, 5), r(4, 3, 5)]
    _check("lstm", r(3, 2, 4), state, _weights(both), True, 2, 0.0, False, True, True)
    packed = torch.nn.GRU(4, 5)
    sizes = np.array([3, 2])
    _check("gru", r(5, 4), sizes, r(1, 3, 5), _weights(packed), True, 1, 0.0, False, False)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_others(device: Any) -> None:
    _check("conv_tbc", r(7, 2, 3), r(3, 3, 4), r(4), 1)
    _check("norm_except_dim", r(3, 4, 5), 2, 1)
    _check("norm_except_dim", r(3, 4, 5), 2, -1)
    _check("nuclear_norm", r(3, 4))
    _check("frobenius_norm", r(3, 4), (1,), True)
    _check("bilinear", r(3, 2), r(3, 4), r(5, 2, 4))
