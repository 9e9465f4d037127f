"""Losses: values, gradients and gradients of these as PyTorch's, for every reduction."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from derivatives import differences
from twin import same

import clgrad
from clgrad.testing.interpreter import interpreted

RNG = np.random.default_rng(0)
X, T, W = RNG.standard_normal((4, 5)), RNG.standard_normal((4, 5)), RNG.uniform(0.5, 2, (4, 5))
P, Q = RNG.uniform(0.05, 0.95, (4, 5)), RNG.uniform(0.05, 0.95, (4, 5))
SIGN = np.where(RNG.uniform(size=(4, 5)) > 0.5, 1.0, -1.0)
ROW = RNG.uniform(0.5, 2, 5)
CLASSES = np.array([1, 4, 0, 2])
LABELS = np.array([[1, 3, -1, 0, 2], [0, -1, 1, 1, 1], [-1, 2, 2, 2, 2], [4, 3, 2, 1, 0]])


def functional(name: str, **options: Any) -> Any:
    def call(m: Any, *x: Any) -> Any:
        return getattr(m.nn.functional, name)(*x, **options)

    return call


def constant(name: str, count: int, **options: Any) -> Any:
    """As `functional`, with the operands from `count` on as they are, without a gradient."""

    def call(m: Any, *x: Any) -> Any:
        given = [t if k < count else t.detach() for k, t in enumerate(x)]
        return getattr(m.nn.functional, name)(*given, **options)

    return call


def last_as(name: str, keyword: str, **options: Any) -> Any:
    def call(m: Any, *x: Any) -> Any:
        *given, last = x
        return getattr(m.nn.functional, name)(*given, **{keyword: last.detach()}, **options)

    return call


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "mse": (lambda r: functional("mse_loss", reduction=r), (X, T)),
    "mse_weighted": (lambda r: last_as("mse_loss", "weight", reduction=r), (X, T, W)),
    "l1": (lambda r: functional("l1_loss", reduction=r), (X, T)),
    "smooth_l1": (lambda r: functional("smooth_l1_loss", reduction=r, beta=0.7), (X, T)),
    "smooth_l1_zero": (lambda r: functional("smooth_l1_loss", reduction=r, beta=0), (X, T)),
    "huber": (lambda r: functional("huber_loss", reduction=r, delta=0.8), (X, T)),
    "kl_div": (lambda r: functional("kl_div", reduction=r), (np.log(P), Q)),
    "kl_div_log": (lambda r: functional("kl_div", reduction=r, log_target=True), (np.log(P), X)),
    "bce": (lambda r: functional("binary_cross_entropy", reduction=r), (P, Q)),
    "bce_weighted": (lambda r: last_as("binary_cross_entropy", "weight", reduction=r), (P, Q, ROW)),
    "bce_logits": (lambda r: functional("binary_cross_entropy_with_logits", reduction=r), (X, Q)),
    "bce_logits_positive": (
        lambda r: last_as("binary_cross_entropy_with_logits", "pos_weight", reduction=r),
        (X, Q, ROW),
    ),
    "bce_logits_weighted": (
        lambda r: lambda m, x, q, w, p: m.nn.functional.binary_cross_entropy_with_logits(
            x, q, w.detach(), pos_weight=p.detach(), reduction=r
        ),
        (X, Q, W, ROW),
    ),
    "soft_margin": (lambda r: constant("soft_margin_loss", 1, reduction=r), (X, SIGN)),
    "poisson": (lambda r: functional("poisson_nll_loss", reduction=r), (X, 3 * W)),
    "poisson_full": (
        lambda r: functional("poisson_nll_loss", reduction=r, full=True, log_input=False),
        (W, 3 * W),
    ),
    "gaussian": (lambda r: functional("gaussian_nll_loss", reduction=r), (X, T, W)),
    "gaussian_full": (
        lambda r: functional("gaussian_nll_loss", reduction=r, full=True), (X, T, W[:, 0])
    ),
    "gaussian_by_columns": (
        lambda r: functional("gaussian_nll_loss", reduction=r), (X, T, W[:1])
    ),
    "kl_div_negative": (lambda r: functional("kl_div", reduction=r), (np.log(P), -Q)),
    "hinge_embedding": (lambda r: constant("hinge_embedding_loss", 1, reduction=r), (X, SIGN)),
    "margin_ranking": (
        lambda r: constant("margin_ranking_loss", 2, reduction=r, margin=0.3), (X, T, SIGN)
    ),
    "cosine_embedding": (
        lambda r: constant("cosine_embedding_loss", 2, reduction=r, margin=0.1),
        (X, T, np.array([1.0, -1, 1, -1])),
    ),
    "triplet": (lambda r: functional("triplet_margin_loss", reduction=r, margin=2.0), (X, T, W)),
    "triplet_swapped": (
        lambda r: functional("triplet_margin_loss", reduction=r, margin=2.0, swap=True, p=3),
        (X, T, W),
    ),
    "triplet_with_distance": (
        lambda r: functional("triplet_margin_with_distance_loss", reduction=r, margin=2.0),
        (X, T, W),
    ),
    "multi_margin": (lambda r: functional("multi_margin_loss", reduction=r), (X, CLASSES)),
    "multi_margin_weighted": (
        lambda r: last_as("multi_margin_loss", "weight", reduction=r, p=2, margin=0.6),
        (X, CLASSES, ROW),
    ),
    "multilabel_margin": (lambda r: functional("multilabel_margin_loss", reduction=r), (X, LABELS)),
    "multilabel_soft_margin": (
        lambda r: last_as("multilabel_soft_margin_loss", "weight", reduction=r), (X, Q, ROW)
    ),
    "nll": (lambda r: functional("nll_loss", reduction=r), (X, CLASSES)),
    "nll_of_images": (
        lambda r: last_as("nll_loss", "weight", reduction=r, ignore_index=2),
        (RNG.standard_normal((2, 5, 3)), np.array([[0, 2, 4], [1, 1, 2]]), ROW),
    ),
}  # fmt: skip
# PyTorch has no second derivative of these.
FIRST_ONLY = ("multi_margin", "multi_margin_weighted", "multilabel_margin")


@pytest.mark.parametrize("name", CASES)
def test_losses(name: str) -> None:
    make, arrays = CASES[name]
    with interpreted(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for reduction in ("mean", "sum", "none"):
            fault = differences(make(reduction), arrays, second=name not in FIRST_ONLY)
            assert not fault, f"{reduction}: {fault}"


def test_one_node_each() -> None:
    """Losses that are one node in PyTorch are one here, and save no more."""
    import torch

    import clgrad

    with interpreted():
        for name, arrays in (
            ("mse_loss", (X, T)), ("smooth_l1_loss", (X, T)), ("huber_loss", (X, T)),
            ("binary_cross_entropy", (P, Q)), ("binary_cross_entropy_with_logits", (X, Q)),
            ("soft_margin_loss", (X, SIGN)), ("nll_loss", (X, CLASSES)),
        ):  # fmt: skip
            seen = []
            for m in (torch, clgrad):
                x = m.tensor(arrays[0], requires_grad=True)
                y = getattr(m.nn.functional, name)(x, m.tensor(arrays[1]))
                seen.append((y.grad_fn.name(), [n.name().split("::")[-1] for n, _ in
                             y.grad_fn.next_functions if n is not None]))  # fmt: skip
            assert seen[0] == seen[1]


def test_reductions_and_shapes_that_are_wrong() -> None:
    def call(name: str, *shapes: Any, **options: Any) -> Any:
        return lambda m: getattr(m.nn.functional, name)(*[m.ones(s) for s in shapes], **options)

    same(call("mse_loss", (2,), (2,), reduction="average"), "is not a valid value for reduction")
    same(call("huber_loss", (2,), (2,), delta=0.0), "huber_loss does not support non-positive")
    same(call("binary_cross_entropy", (2, 3), (2, 1)), "Using a target size")
    same(call("binary_cross_entropy_with_logits", (2, 3), (2, 1)), "Target size")
    same(call("triplet_margin_loss", (2,), (2,), (2,), margin=0.0), "margin must be greater than 0")
    same(call("gaussian_nll_loss", (2, 3), (2, 3), (3, 3)), "var is of incorrect size")
    same(call("multi_margin_loss", (2, 3), (2,), p=3), "only p == 1 and p == 2 supported")


def test_tensors_where_settings_belong() -> None:
    for m in (torch, clgrad):
        x, y = m.ones(2, 3), m.ones(2, 3)
        for make in (m.nn.CrossEntropyLoss, m.nn.MSELoss, m.nn.BCEWithLogitsLoss):
            with pytest.raises(RuntimeError, match="Boolean value of Tensor"):
                make(x, y)
        with pytest.raises(RuntimeError, match="can't be cast to the desired output type Long"):
            m.nn.functional.binary_cross_entropy_with_logits(x, y.long())


def test_older_arguments() -> None:
    def call(m: Any) -> Any:
        x, t = m.tensor([1.0, 2.0]), m.tensor([0.0, 0.5])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            F = m.nn.functional
            return [F.mse_loss(x, t, False), F.l1_loss(x, t, reduce=False), F.mse_loss(x, t, True)]

    same(call)


def test_smoothing_with_ignored_classes_keeps_a_short_dtype() -> None:
    def program(m: Any) -> Any:
        x = m.tensor(X.astype("f")).half().requires_grad_()
        loss = m.nn.functional.cross_entropy(
            x, m.tensor([1, 0, 4, 1]), ignore_index=1, label_smoothing=0.2
        )
        loss.backward()
        return loss.float(), loss.dtype == m.float16, x.grad.dtype == m.float16

    same(program)
