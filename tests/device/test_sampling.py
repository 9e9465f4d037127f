"""Random numbers on devices: their distribution, and that it is the same stream everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.creation import current
from clgrad.functional.sampling import permutation
from clgrad.graph import recorder
from clgrad.runtime import discovery

COUNT = 1 << 16


@pytest.fixture(autouse=True)
def _device(device: Any) -> Iterator[None]:
    former, current.device = current.device, device
    clgrad.manual_seed(20)
    yield
    recorder.flush()
    current.device = former


def assert_distributed(values: Any, distribution: Callable[[Any], Any]) -> None:
    """Assert by Kolmogorov and Smirnov's test, at 1 %, that values follow a continuous law."""
    ordered = np.sort(np.asarray(values, np.float64).reshape(-1))
    n = ordered.size
    wanted = distribution(ordered)
    place = np.arange(n) / n
    distance = max((wanted - place).max(), (place + 1 / n - wanted).max())
    assert distance * math.sqrt(n) < 1.63, f"distance {distance} of {n} values"


def assert_counts(values: Any, expected: Any) -> None:
    """Assert by the chi-square test, five standard deviations off at most, that counts fit."""
    counts = np.bincount(np.asarray(values).reshape(-1).astype(int), minlength=len(expected))
    wanted = np.asarray(expected, np.float64)
    wanted = wanted / wanted.sum() * counts.sum()
    assert not counts[wanted == 0].any()
    free = (wanted > 0).sum() - 1
    distance = ((counts - wanted)[wanted > 0] ** 2 / wanted[wanted > 0]).sum()
    assert distance < free + 5 * math.sqrt(2 * max(free, 1)), f"{counts} instead of {wanted}"


normal = np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))
LAWS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "rand": (lambda: clgrad.rand(COUNT), lambda v: v),
    "randn": (lambda: clgrad.randn(COUNT // 4), normal),
    "uniform_": (lambda: clgrad.empty(COUNT).uniform_(-3, 5), lambda v: (v + 3) / 8),
    "normal_": (lambda: clgrad.empty(COUNT // 4).normal_(2, 3), lambda v: normal((v - 2) / 3)),
    "normal": (
        lambda: clgrad.normal(clgrad.full((COUNT // 4,), 2.0), 3.0),
        lambda v: normal((v - 2) / 3),
    ),
    "exponential_": (lambda: clgrad.empty(COUNT).exponential_(2.0), lambda v: 1 - np.exp(-2 * v)),
    "cauchy_": (
        lambda: clgrad.empty(COUNT).cauchy_(1.0, 2.0),
        lambda v: 0.5 + np.arctan((v - 1) / 2) / np.pi,
    ),
    "log_normal_": (
        lambda: clgrad.empty(COUNT // 4).log_normal_(0.5, 0.25),
        lambda v: normal((np.log(v) - 0.5) / 0.25),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws(name: str) -> None:
    make, law = LAWS[name]
    assert_distributed(make().numpy(), law)


def test_in_double_precision(device: Any) -> None:
    if not device.traits.fp64:
        pytest.skip("the device has no float64")
    for name in ("rand", "exponential_", "cauchy_"):
        former = clgrad.get_default_dtype()
        clgrad.set_default_dtype(clgrad.float64)
        try:
            made = LAWS[name][0]()
        finally:
            clgrad.set_default_dtype(former)
        assert made.dtype is clgrad.float64
        assert_distributed(made.numpy(), LAWS[name][1])


def test_integers() -> None:
    assert_counts(clgrad.randint(0, 7, (COUNT,)).numpy(), [1] * 7)
    assert_counts(clgrad.randint(-3, 2, (COUNT,)).numpy() + 3, [1] * 5)
    assert_counts(clgrad.empty(COUNT, dtype=clgrad.uint8).random_().numpy(), [1] * 256)
    assert_counts(clgrad.randint(0, 2, (COUNT,), dtype=clgrad.bool).numpy(), [1, 1])
    large = clgrad.randint(0, 3 * 2**61, (COUNT,)).numpy()
    assert_distributed(large / (3 * 2**61), lambda v: v)
    floats = clgrad.empty(COUNT).random_().numpy()
    assert (floats == np.floor(floats)).all()
    assert_distributed(floats / 2**24, lambda v: v)


def test_outcomes() -> None:
    assert_counts(clgrad.full((COUNT,), 0.3).bernoulli().numpy(), [0.7, 0.3])
    assert_counts(clgrad.empty(COUNT, dtype=clgrad.int32).bernoulli_(0.9).numpy(), [0.1, 0.9])
    p = clgrad.tensor([0.0, 0.2, 1.0])
    rows = clgrad.empty(COUNT, 3).bernoulli_(p).numpy()
    assert not rows[:, 0].any()
    assert rows[:, 2].all()
    assert_counts(rows[:, 1], [0.8, 0.2])
    tries = clgrad.empty(COUNT).geometric_(0.3).numpy()
    assert tries.min() == 1
    assert_counts(tries, [0, *[0.3 * 0.7**k for k in range(60)]])


def test_every_device_draws_the_same_bits() -> None:
    made = []
    for device in discovery.devices():
        clgrad.manual_seed(123)
        options = {"device": device}
        made.append([
            clgrad.rand(1000, **options), clgrad.randint(-5, 1000, (999,), **options),
            clgrad.randint(0, 2**62, (17,), **options), clgrad.rand(33, **options).bernoulli(),
            clgrad.empty(77, dtype=clgrad.int16, **options).random_(),
            clgrad.empty(8, 5, **options).t().uniform_(),
        ])  # fmt: skip
    first = [t.numpy() for t in made[0]]
    for others in made[1:]:
        for a, b in zip(first, others, strict=True):
            assert np.array_equal(a, b.numpy())


def test_a_mask_is_drawn_again_instead_of_being_kept(device: Any) -> None:
    x = clgrad.randn(1 << 20, requires_grad=True)
    clgrad.nn.functional.dropout(x.tanh(), 0.5).sum().backward()
    x.grad = None
    clgrad.synchronize()
    before = device.pool.stats()["allocated.current"]
    y = clgrad.nn.functional.dropout(x, 0.25)
    clgrad.synchronize()
    assert device.pool.stats()["allocated.current"] - before < 1.5 * x.nbytes  # y alone
    y.sum().backward()
    kept = y.detach() != 0
    assert np.array_equal(x.grad.numpy(), np.where(kept.numpy(), np.float32(1 / 0.75), 0))


def test_writes_go_where_a_view_lies() -> None:
    x = clgrad.zeros(6, 8)
    x[1:5:2, ::3].uniform_(1, 2)
    array = x.numpy()
    inside = array[1:5:2, ::3].copy()
    array[1:5:2, ::3] = 0
    assert not array.any()
    assert ((inside >= 1) & (inside < 2)).all()
    assert len({*inside.reshape(-1)}) == inside.size


def test_gumbel_softmax_chooses_by_the_logits() -> None:
    logits = clgrad.tensor([1.0, 2.0, 5.0]).log().expand(COUNT // 4, 3).requires_grad_()
    hard = clgrad.nn.functional.gumbel_softmax(logits, tau=0.7, hard=True)
    assert np.array_equal(hard.detach().sum(dim=1).numpy(), np.ones(COUNT // 4, "f"))
    assert_counts(hard.detach().argmax(dim=1).numpy(), [1, 2, 5])
    (grad,) = clgrad.autograd.grad((hard * clgrad.tensor([1.0, 0.0, 2.0])).sum(), [logits])
    assert np.abs(grad.numpy()).max() > 0.1
    assert np.abs(grad.sum(dim=1).numpy()).max() < 1e-5


def test_native_dropout_returns_its_mask() -> None:
    x = clgrad.randn(64, 33, requires_grad=True)
    y, mask = clgrad.native_dropout(x, 0.2, True)
    y.sum().backward()
    kept = mask.numpy()
    assert_counts(kept, [0.2, 0.8])
    assert np.allclose(y.numpy(force=True), np.where(kept, x.numpy(force=True) / 0.8, 0))
    assert np.allclose(x.grad.numpy(), np.where(kept, 1 / 0.8, 0))


def test_permutations(device: Any) -> None:
    many = clgrad.randperm(100_000).numpy()
    assert np.array_equal(np.sort(many), np.arange(100_000))
    shift = np.abs(many - np.arange(100_000)).mean() / 100_000
    assert abs(shift - 1 / 3) < 0.01
    assert abs(np.corrcoef(many[:-1], many[1:])[0, 1]) < 0.02
    few = np.stack([clgrad.randperm(3).numpy() for _ in range(600)])
    assert_counts(few @ [9, 3, 1] - 5, np.bincount([0, 2, 6, 10, 14, 16], minlength=17))
    clgrad.manual_seed(8)
    order = clgrad.randperm(50).tolist()
    clgrad.manual_seed(8)
    assert permutation(50) == order


def test_choices() -> None:
    weights = clgrad.tensor([1.0, 0.0, 3.0, 4.0, 2.0])
    drawn = clgrad.multinomial(weights, COUNT, replacement=True)
    assert_counts(drawn.numpy(), [1, 0, 3, 4, 2])
    rows = weights.expand(COUNT // 2, 5)
    assert_counts(clgrad.multinomial(rows, 1).numpy(), [1, 0, 3, 4, 2])
    pairs = clgrad.multinomial(rows, 2).numpy()
    p = np.array([1, 0, 3, 4, 2]) / 10
    expected = np.array([[a * b / (1 - a) if i != j else 0 for j, b in enumerate(p)]
                         for i, a in enumerate(p)])  # fmt: skip
    assert_counts(pairs[:, 0] * 5 + pairs[:, 1], expected.reshape(-1))
    all_of_them = clgrad.multinomial(weights, 5).numpy()
    assert sorted(all_of_them) == [0, 1, 2, 3, 4]
    assert all_of_them[-1] == 1


def test_choices_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where comparing all categories would take too long, sums of weights are searched."""
    monkeypatch.setattr("clgrad.functional.sampling._AT_ONCE", 0)
    weights = clgrad.tensor([[0.0, 1.0, 0.0, 3.0, 4.0, 2.0, 0.0]] * 2)
    drawn = clgrad.multinomial(weights, COUNT, replacement=True).numpy()
    assert drawn.shape == (2, COUNT)
    assert_counts(drawn, [0, 1, 0, 3, 4, 2, 0])
    assert not np.array_equal(drawn[0], drawn[1])


def test_events_are_as_many_as_expected(device: Any) -> None:
    """Poisson's counts: mean and variance are the rate; the gradient is zero."""
    rates = np.array([0.0, 0.3, 4.0, 37.0, 1000.0], "f")
    count = 20_000
    clgrad.manual_seed(5)
    x = clgrad.tensor(np.repeat(rates, count).reshape(5, count), device=device, requires_grad=True)
    drawn = clgrad.poisson(x)
    drawn.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()
    found = drawn.detach().numpy().astype("f8")
    assert (found == np.round(found)).all()
    spread = 6 * np.sqrt(rates / count)
    assert (np.abs(found.mean(1) - rates) <= spread).all()
    assert (np.abs(found.var(1) - rates) <= 6 * rates * np.sqrt(3 / count)).all()
    with pytest.raises(RuntimeError, match="non-negative"):
        clgrad.poisson(-x.detach()[1:])
