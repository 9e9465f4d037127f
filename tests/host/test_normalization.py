"""Softmax, normalizations, norms and distances: values and derivatives as PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from derivatives import differences
from twin import same

import clgrad
from clgrad.testing.interpreter import interpreted

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((4, 6)), RNG.standard_normal((4, 6))
IMAGE = RNG.standard_normal((3, 4, 2, 5))
W6, B6, W4, B4 = (RNG.standard_normal(n) for n in (6, 6, 4, 4))
INF = float("inf")
ZERO = np.where(np.arange(24).reshape(4, 6) < 6, 0.0, X)  # the first row is zero
TIES = np.array([[1.0, -3.0, 3.0, 2.0], [-2.0, 2.0, -2.0, 0.5]])


def F(name: str, *rest: Any, **options: Any) -> Any:
    return lambda m, *x: getattr(m.nn.functional, name)(*x, *rest, **options)


def top(name: str, *rest: Any, **options: Any) -> Any:
    return lambda m, *x: getattr(m, name)(*x, *rest, **options)


def linalg(name: str, *rest: Any, **options: Any) -> Any:
    return lambda m, x: getattr(m.linalg, name)(x, *rest, **options)


def running(name: str, *, training: bool, affine: bool = True, momentum: float = 0.3) -> Any:
    """Return a batch or instance norm that also returns its running statistics."""

    def call(m: Any, x: Any, w: Any, b: Any) -> Any:
        named = {"device": x.device} if m is clgrad else {}
        mean = m.tensor(np.linspace(-1, 1, 4), **named)
        var = m.tensor(np.linspace(0.5, 2, 4), **named)
        flag = "training" if name == "batch_norm" else "use_input_stats"
        parameters = {"weight": w, "bias": b} if affine else {}
        y = getattr(m.nn.functional, name)(
            x, mean, var, **parameters, **{flag: training}, momentum=momentum
        )
        return y, mean, var

    return call


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "softmax": (F("softmax", 1), (X,)),
    "softmax_first": (top("softmax", 0), (IMAGE,)),
    "log_softmax": (F("log_softmax", -1), (X,)),
    "softmin": (F("softmin", 1), (X,)),
    "logsumexp": (top("logsumexp", 1), (X,)),
    "logsumexp_of_all": (top("logsumexp", (0, 1), True), (X,)),
    "layer_norm": (F("layer_norm", (6,)), (X,)),
    "layer_norm_affine": (lambda m, x, w, b: m.layer_norm(x, (6,), w, b, 1e-3), (X, W6, B6)),
    "layer_norm_of_two": (
        lambda m, x, w: m.layer_norm(x, (2, 5), w), (IMAGE, RNG.standard_normal((2, 5)))
    ),
    "group_norm": (F("group_norm", 2), (IMAGE,)),
    "group_norm_affine": (lambda m, x, w, b: m.group_norm(x, 2, w, b), (IMAGE, W4, B4)),
    "rms_norm": (lambda m, x, w: m.rms_norm(x, (6,), w, 1e-3), (X, W6)),
    "rms_norm_plain": (F("rms_norm", (2, 5)), (IMAGE,)),
    "batch_norm": (running("batch_norm", training=True), (IMAGE, W4, B4)),
    "batch_norm_plain": (
        lambda m, x: m.nn.functional.batch_norm(x, None, None, training=True), (X,)
    ),
    "batch_norm_frozen": (running("batch_norm", training=False), (IMAGE, W4, B4)),
    "batch_norm_frozen_plain": (
        lambda m, x, w, b: running("batch_norm", training=False, affine=False)(m, x, w, b)[0]
        + (w.sum() + b.sum()) * 0,
        (IMAGE, W4, B4),
    ),
    "instance_norm": (running("instance_norm", training=True), (IMAGE, W4, B4)),
    "instance_norm_plain": (F("instance_norm"), (IMAGE,)),
    "instance_norm_frozen": (running("instance_norm", training=False), (IMAGE, W4, B4)),
    "normalize": (F("normalize"), (X,)),
    "normalize_3": (F("normalize", 3.0, 0), (X,)),
    "cosine_similarity": (F("cosine_similarity"), (X, Y)),
    "cosine_similarity_broadcast": (F("cosine_similarity", dim=-1), (X, Y[:1])),
    "pairwise_distance": (F("pairwise_distance"), (X, Y)),
    "pairwise_distance_1": (F("pairwise_distance", 1.0, keepdim=True), (X, Y)),
    "dist": (top("dist"), (X, Y)),
    "dist_broadcast": (top("dist", 3.5), (X, Y[:1])),
    "norm": (top("norm"), (X,)),
    "norm_of_dims": (top("norm", "fro", (0, 1), True), (X,)),
    "matrix_fro": (linalg("matrix_norm"), (IMAGE,)),
    "matrix_1": (linalg("matrix_norm", 1), (IMAGE,)),
    "matrix_inf": (linalg("matrix_norm", INF, (0, 3), True), (IMAGE,)),
    "matrix_minus_1": (linalg("matrix_norm", -1, dim=(1, -1)), (IMAGE,)),
    "linalg_norm": (linalg("norm"), (IMAGE,)),
    "linalg_norm_of_rows": (linalg("norm", 3, -1), (X,)),
    "linalg_norm_of_a_matrix": (linalg("norm", -INF), (X,)),
}  # fmt: skip
for _p in (0, 0.5, 1, 1.5, 2, 3, INF, -INF):
    CASES[f"vector_norm_{_p}"] = (linalg("vector_norm", _p, 1), (X,))
for _p in (0.0, 1.0, 1.5, 2.0, 3.0):
    CASES[f"cdist_{_p}"] = (top("cdist", _p), (X, Y[:3]))
    CASES[f"pdist_{_p}"] = (top("pdist", _p), (X,))
# PyTorch has no second derivative of its own distances.
FIRST_ONLY = tuple(n for n in CASES if n[1:].startswith("dist_"))


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    call, arrays = CASES[name]
    with interpreted():
        fault = differences(call, arrays, second=name not in FIRST_ONLY)
    assert not fault, fault


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, INF, -INF])
def test_gradients_of_norms_where_there_is_none(p: float) -> None:
    """Of a zero vector, and where several elements are the largest."""
    with interpreted():
        for values in (ZERO, TIES, np.array([[np.nan, 1.0], [INF, 0.0]])):
            fault = differences(linalg("vector_norm", p, 1), (values,), second=False)
            assert not fault, f"{values}: {fault}"


def test_infinities_of_logsumexp() -> None:
    values = np.array([[0.0, -INF, 1.0], [INF, 0.0, 1.0], [-INF, -INF, -INF], [np.nan, 0, 1]])
    with interpreted():
        for call in (top("logsumexp", 1), top("softmax", 1), top("log_softmax", 1)):
            assert not differences(call, (values,), second=False)


def test_names_of_nodes() -> None:
    def call(m: Any) -> Any:
        F, x = m.nn.functional, m.ones(2, 4, 3, requires_grad=True)
        made = [
            F.softmax(x, 1), F.log_softmax(x, 1), m.logsumexp(x, 1), F.layer_norm(x, (3,)),
            F.group_norm(x, 2), F.batch_norm(x, None, None, training=True), m.norm(x),
            m.dist(x, x + 1), m.cdist(x, x), F.batch_norm(x, m.ones(4), m.ones(4)),
        ]  # fmt: skip
        return [y.grad_fn for y in made]

    same(call)


def test_instance_norm_reads_a_copy_of_its_weight() -> None:
    def call(m: Any) -> Any:
        seen = []
        for n in (1, 2):
            x = m.arange(n * 12.0, dtype=m.float64).reshape(n, 3, 4)
            w = m.tensor([1.0, 2.0, -1.0], dtype=m.float64, requires_grad=True)
            y = m.nn.functional.instance_norm(x, weight=w)
            with m.no_grad():
                w.mul_(2)
            (y * y * y).sum().backward()
            seen += [y.detach(), w.grad]
        return seen

    same(call)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (lambda m: m.nn.functional.layer_norm(m.ones(2, 3), (2,)), "Given normalized_shape="),
        (lambda m: m.nn.functional.layer_norm(m.ones(2), ()), "Expected normalized_shape to be"),
        (lambda m: m.nn.functional.group_norm(m.ones(2, 3), 2), "divisible by num_groups"),
        (lambda m: m.nn.functional.batch_norm(m.ones(1, 3), None, None, training=True),
         "Expected more than 1 value per channel when training"),
        (lambda m: m.nn.functional.batch_norm(m.ones(2, 3), None, None), "running_mean"),
        (lambda m: m.nn.functional.batch_norm(m.ones(2, 3), m.ones(2), m.ones(3)),
         "should contain 3 elements not 2"),
        (lambda m: m.nn.functional.instance_norm(m.ones(2, 3, 1)),
         "Expected more than 1 spatial element"),
        (lambda m: m.softmax(m.ones(2, 3).long(), 1), "not implemented for"),
        (lambda m: m.softmax(m.ones(2, 3), 2), "Dimension out of range"),
        (lambda m: m.cdist(m.ones(3), m.ones(3, 3)), "only supports at least 2D tensors"),
        (lambda m: m.pdist(m.ones(3)), "only supports 2D tensors"),
        (lambda m: m.pdist(m.ones(3, 3).long()), "only supports floating-point dtypes"),
        (lambda m: m.cdist(m.ones(3, 2), m.ones(3, 3)), "must have the same number of columns"),
        (lambda m: m.linalg.norm(m.ones(2, 3, 4), 2), "the input must be 1D or 2D"),
        (lambda m: m.linalg.vector_norm(m.ones(2, 0), INF, 1), "does not have an identity"),
        (lambda m: m.norm(m.ones(3).long()), "xpected a floating point or complex tensor as input"),
    ],
)  # fmt: skip
def test_mistakes(case: Any, words: str) -> None:
    same(case, words)


def test_nothing() -> None:
    def call(m: Any) -> Any:
        x = m.zeros(0, 3)
        return [
            m.softmax(x, 0), m.softmax(x, 1), m.log_softmax(x, 1), m.logsumexp(x, 0),
            m.logsumexp(x, 1), m.nn.functional.layer_norm(x, (3,)), m.norm(x), m.norm(x, 3, 0),
            m.cdist(x, m.ones(2, 3)), m.nn.functional.normalize(x),
            m.nn.functional.softmax(m.tensor(2.0), 0),
        ]  # fmt: skip

    same(call)
