"""Connectionist temporal classification on every device: values and gradients as PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(None)


RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((7, 3, 5)).astype(np.float32)
LABELS = RNG.integers(1, 5, (3, 4))
LABELS[0, :3] = [2, 2, 1]  # one label twice needs a blank between
CASES = {
    "mean": ((7, 6, 7), (3, 4, 0), {}),
    "sum": ((7, 6, 7), (3, 4, 0), {"reduction": "sum"}),
    "each": ((7, 1, 4), (3, 1, 0), {"reduction": "none"}),
    "another blank": ((7, 6, 7), (3, 4, 1), {"blank": 4, "reduction": "none"}),
    "too short": ((2, 6, 7), (3, 4, 0), {"zero_infinity": True}),
}


def run(m: Any, x: Any, labels: Any, steps: Any, counts: Any, **named: Any) -> list[Any]:
    raw = named.pop("raw", False)
    x = m.tensor(x.copy(), requires_grad=True)
    loss = m.nn.CTCLoss(**named)(
        x if raw else m.nn.functional.log_softmax(x, -1), m.tensor(labels), steps, counts
    )
    loss.sum().backward()
    return [loss.detach().numpy(), x.grad.numpy()]


def same(*args: Any, **named: Any) -> None:
    for mine, other in zip(run(clgrad, *args, **named), run(torch, *args, **named), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_as_torch(case: Any) -> None:
    steps, counts, named = case
    labels = LABELS - 1 if "blank" in named else LABELS
    same(LOGITS, labels, steps, counts, **named)


def test_gradients_of_log_probabilities_themselves() -> None:
    logp = torch.tensor(LOGITS).log_softmax(-1).numpy()
    same(logp, LABELS, (7, 6, 7), (3, 4, 0), raw=True)


def test_labels_one_after_the_other_and_a_single_sequence() -> None:
    same(LOGITS, LABELS.reshape(-1)[:7], (7, 6, 7), (3, 4, 0), reduction="none")
    losses = []
    for m in (torch, clgrad):
        lengths = m.tensor([7]), m.tensor([3])
        x = m.tensor(LOGITS[:, 0])
        loss = m.nn.functional.ctc_loss(
            m.nn.functional.log_softmax(x, -1), m.tensor(LABELS[0, :3]), *lengths, reduction="none"
        )
        assert loss.shape == ()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("m", [torch, clgrad], ids=["torch", "clgrad"])
def test_mistakes(m: Any) -> None:
    f = m.nn.functional.ctc_loss
    x, labels = m.tensor(LOGITS), m.tensor(LABELS)
    steps, counts = m.tensor([7, 6, 7]), m.tensor([3, 4, 0])
    for call in (
        lambda: f(x, labels, steps, counts, blank=7), lambda: f(x, labels, steps[:2], counts),
        lambda: f(x, labels, steps.float(), counts), lambda: f(x.long(), labels, steps, counts),
        lambda: f(x, labels, m.tensor([8, 6, 7]), counts),
        lambda: f(x, labels.reshape(-1)[:6], steps, counts),
        lambda: f(x, labels[:2], steps, counts),
    ):  # fmt: skip
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(ValueError, match="reduction"):
        f(x, labels, steps, counts, reduction="none at all")
