"""Distributions beside PyTorch's: formulas with their gradients, samples by their moments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.creation import current

MATRIX = [[2.0, 0.5], [0.5, 1.0]]
FACTOR = [[1.5, 0.0], [0.5, 0.7]]
CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "Normal": ("Normal", {"loc": [0.5, -1.0], "scale": [1.5, 0.3]}, [0.1, -0.9]),
    "LogNormal": ("LogNormal", {"loc": [0.5, -1.0], "scale": [0.5, 0.3]}, [1.1, 0.4]),
    "Laplace": ("Laplace", {"loc": [0.5, -1.0], "scale": [1.5, 0.3]}, [0.1, -0.9]),
    "Cauchy": ("Cauchy", {"loc": [0.5, -1.0], "scale": [1.5, 0.3]}, [0.1, -0.9]),
    "Gumbel": ("Gumbel", {"loc": [0.5, -1.0], "scale": [1.5, 0.3]}, [0.1, -0.9]),
    "Uniform": ("Uniform", {"low": [0.5, -1.0], "high": [1.5, 0.3]}, [0.7, -0.9]),
    "Exponential": ("Exponential", {"rate": [0.5, 2.0]}, [0.1, 0.9]),
    "Bernoulli": ("Bernoulli", {"probs": [0.3, 0.8]}, [0.0, 1.0]),
    "Bernoulli of logits": ("Bernoulli", {"logits": [0.3, -2.0]}, [0.0, 1.0]),
    "Geometric": ("Geometric", {"probs": [0.3, 0.8]}, [2.0, 0.0]),
    "Poisson": ("Poisson", {"rate": [0.5, 4.0]}, [1.0, 3.0]),
    "Categorical": ("Categorical", {"probs": [[1.0, 2.0, 3.0], [0.2, 0.3, 0.5]]}, [2, 0]),
    "Categorical of logits": ("Categorical", {"logits": [[1.0, 2.0, -3.0]]}, [1]),
    "OneHotCategorical": ("OneHotCategorical", {"probs": [0.2, 0.3, 0.5]}, [0.0, 1.0, 0.0]),
    "MultivariateNormal": (
        "MultivariateNormal", {"loc": [0.5, -1.0], "covariance_matrix": MATRIX}, [0.1, 0.2],
    ),
    "MultivariateNormal of a precision": (
        "MultivariateNormal", {"loc": [0.5, -1.0], "precision_matrix": MATRIX}, [0.1, 0.2],
    ),
    "MultivariateNormal of a factor": (
        "MultivariateNormal", {"loc": [0.5, -1.0], "scale_tril": FACTOR}, [0.1, 0.2],
    ),
}  # fmt: skip
NAMES = ("mean", "mode", "variance", "stddev")


@pytest.fixture(autouse=True)
def _there(device: Any) -> Any:
    former, current.device = current.device, device
    yield
    current.device = former


def _make(m: Any, kind: str, given: dict[str, Any], grad: bool = False) -> tuple[Any, list[Any]]:
    found = {k: m.tensor(v, requires_grad=grad) for k, v in given.items()}
    return getattr(m.distributions, kind)(**found), list(found.values())


def _seen(m: Any, kind: str, given: dict[str, Any], at: Any) -> dict[str, Any]:
    made, leaves = _make(m, kind, given, True)
    value = m.tensor(at)
    text = (
        ""
        if kind in ("LogNormal", "OneHotCategorical")
        else repr(made).replace("torch.", "clgrad.")
    )
    seen: dict[str, Any] = {"text": text, "shapes": (made.batch_shape, made.event_shape)}
    for name in NAMES:
        try:
            seen[name] = getattr(made, name)
        except NotImplementedError:
            seen[name] = None
    for name in ("log_prob", "cdf", "icdf"):
        try:
            seen[name] = getattr(made, name)(value.abs() / 10 if name == "icdf" else value)
        except NotImplementedError:
            seen[name] = None
    try:
        seen["entropy"] = made.entropy()
        seen["perplexity"] = made.perplexity()
    except NotImplementedError:
        seen["entropy"] = None
    if made.has_enumerate_support:
        seen["all"] = made.enumerate_support()
        seen["all, short"] = made.enumerate_support(expand=False)
    total = seen["log_prob"].sum()
    if seen["entropy"] is not None:
        total = total + seen["entropy"].sum()
    seen["gradients"] = [*m.autograd.grad(total, leaves)]
    large = made.expand((3, *made.batch_shape))
    seen["expanded"] = (large.batch_shape, large.log_prob(value))
    seen["support"] = "" if kind in ("Uniform", "MultivariateNormal") else repr(made.support)
    return seen


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "detach"):
        return value.detach().double().numpy()
    return value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and np.allclose(a, b, 1e-4, 1e-5, equal_nan=True)
    return bool(a == b)


@pytest.mark.parametrize("case", CASES)
def test_formulas(case: str) -> None:
    theirs, ours = (_seen(m, *CASES[case]) for m in (torch, clgrad))
    assert theirs.keys() == ours.keys()
    for name, wanted in theirs.items():
        if wanted is not None:
            assert _same(_plain(wanted), _plain(ours[name])), (name, wanted, ours[name])


@pytest.mark.parametrize("case", [c for c in CASES if c not in ("Cauchy", "LogNormal")])
def test_samples(case: str) -> None:
    clgrad.manual_seed(3)
    made, leaves = _make(clgrad, *CASES[case][:2], grad=True)
    drawn = made.sample((4000,))
    assert drawn.shape == (4000, *made.batch_shape, *made.event_shape)
    assert not drawn.requires_grad
    if not case.startswith("Categorical"):
        off = (drawn.mean(0) - made.mean).abs() / (made.stddev / math.sqrt(4000))
        assert off.max().item() < 5, off
        assert ((drawn.var(0) / made.variance).log().abs().max()).item() < 0.2
    else:
        counts = clgrad.stack([(drawn == k).float().mean(0) for k in range(3)], -1)
        assert (counts - made.probs).abs().max().item() < 0.05
    assert made.support.check(drawn).all().item()
    if made.has_rsample:
        made.rsample((5,)).sum().backward()
        assert all(leaf.grad is not None for leaf in leaves)


def test_divergences() -> None:
    pairs = [
        ("Normal", {"loc": [0.5], "scale": [1.5]}, {"loc": [0.1], "scale": [0.5]}),
        ("LogNormal", {"loc": [0.5], "scale": [1.5]}, {"loc": [0.1], "scale": [0.5]}),
        ("Laplace", {"loc": [0.5], "scale": [1.5]}, {"loc": [0.1], "scale": [0.5]}),
        ("Uniform", {"low": [0.5], "high": [1.5]}, {"low": [0.1], "high": [2.5]}),
        ("Uniform", {"low": [0.1], "high": [2.5]}, {"low": [0.5], "high": [1.5]}),
        ("Exponential", {"rate": [0.5]}, {"rate": [1.5]}),
        ("Poisson", {"rate": [0.5]}, {"rate": [1.5]}),
        ("Geometric", {"probs": [0.5]}, {"probs": [0.2]}),
        ("Bernoulli", {"probs": [0.5, 0.0, 1.0]}, {"probs": [0.2, 0.3, 0.4]}),
        ("Categorical", {"probs": [0.5, 0.5, 0.0]}, {"probs": [0.2, 0.3, 0.5]}),
        ("Categorical", {"probs": [0.2, 0.3, 0.5]}, {"probs": [0.5, 0.5, 0.0]}),
        (
            "MultivariateNormal", {"loc": [0.5, 1.0], "scale_tril": FACTOR},
            {"loc": [0.1, 0.2], "covariance_matrix": MATRIX},
        ),
    ]  # fmt: skip
    for kind, p, q in pairs:
        made = [
            m.distributions.kl_divergence(_make(m, kind, p)[0], _make(m, kind, q)[0])
            for m in (torch, clgrad)
        ]
        assert _same(*map(_plain, made)), (kind, made)
    for m in (torch, clgrad):
        d = m.distributions
        with pytest.raises(NotImplementedError, match=r"No KL\(p \|\| q\) is implemented"):
            d.kl_divergence(d.Categorical(m.ones(2)), d.Normal(0.0, 1.0))


def test_variables_of_several_numbers() -> None:
    seen = []
    for m in (torch, clgrad):
        d = m.distributions
        base = d.Normal(m.zeros(3, 2), m.ones(2))
        made, other = d.Independent(base, 1), d.Independent(d.Normal(m.ones(3, 2), m.ones(2)), 1)
        assert made.rsample((4,)).shape == (4, 3, 2)
        grown = made.expand((5, 3))
        seen.append([
            list(made.batch_shape), list(made.event_shape), made.log_prob(m.ones(2)),
            made.entropy(), d.kl_divergence(made, other), list(grown.batch_shape), made.variance,
        ])  # fmt: skip
    assert _same(*map(_plain, seen))


MISTAKES = """
d.Normal(0.0, -1.0)
d.Normal(m.zeros(2), m.tensor([1.0, float("nan")]))
d.Normal("a", 1.0)
d.Categorical()
d.Categorical(probs=m.ones(2), logits=m.ones(2))
d.Categorical(probs=m.tensor(1.0))
d.Categorical(logits=m.tensor([float("nan"), 1.0]))
d.Bernoulli(1.5)
d.Bernoulli()
d.Uniform(1.0, 0.0)
d.Bernoulli(0.5).log_prob(m.tensor(0.3))
d.Categorical(m.ones(3)).log_prob(m.tensor(3))
d.Normal(0.0, 1.0).log_prob(1.0)
d.MultivariateNormal(m.zeros(2))
d.MultivariateNormal(m.tensor(0.0), m.eye(1))
d.MultivariateNormal(m.zeros(2), -m.eye(2))
d.Independent(d.Normal(0.0, 1.0), 1)
d.Bernoulli(0.5).rsample()
d.Poisson(1.0).cdf(m.tensor(1.0))
"""


@pytest.mark.parametrize("line", MISTAKES.split("\n")[1:-1])
def test_mistakes(line: str) -> None:
    for m in (torch, clgrad):
        with pytest.raises((ValueError, NotImplementedError)) as caught:
            eval(line, {"m": m, "d": m.distributions})
        first = str(caught.value).partition("\n")[0] if m is torch else first  # noqa: F821  # set
        kinds = {ValueError, NotImplementedError} & {*type(caught.value).__mro__}
        known = kinds if m is torch else known  # noqa: F821  # set by the first turn
        assert kinds == known
        if first.startswith("Expected") and "Uniform" not in first:
            said = str(caught.value).partition("\n")[0]
            assert said.replace("clgrad.", "torch.") == first


def test_checks_can_be_left_out() -> None:
    assert clgrad.distributions.Normal(0.0, -1.0, validate_args=False).scale.item() == -1.0
    clgrad.distributions.Distribution.set_default_validate_args(False)
    try:
        assert clgrad.distributions.Bernoulli(1.5).probs.item() == 1.5
    finally:
        clgrad.distributions.Distribution.set_default_validate_args(True)
