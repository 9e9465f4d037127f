"""Functions and losses of `nn`: values, gradients and errors as PyTorch's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from twin import Case, cases, close, same

import clgrad
from clgrad.testing.interpreter import interpreted

CASES, case = cases()


def data(m: Any, *shape: int, grad: bool = True, scale: float = 1.0) -> Any:
    values = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)
    return m.tensor(values * np.float32(scale), requires_grad=grad)


def with_grad(m: Any, y: Any, *inputs: Any) -> Any:
    """Return a result with the gradients of a weighted sum of it."""
    weight = m.arange(1, y.numel() + 1, dtype=m.float32).reshape(y.shape) / y.numel()
    (y * weight).sum().backward()
    return [y.detach(), *[x.grad for x in inputs]]


@case()
def linear_of_any_dims(m: Any) -> Any:
    seen = []
    for shape in ((3,), (2, 3), (4, 2, 3)):
        x, w, b = data(m, *shape), data(m, 5, 3), data(m, 5)
        seen.append(with_grad(m, m.nn.functional.linear(x, w, b), x, w, b))
    for shape in ((0,), (2, 3, 0), (0, 2, 0)):
        y = m.nn.functional.linear(m.ones(shape), m.ones(5, 0), b)
        seen += [y.detach(), y.stride()]
    x, w = data(m, 2, 3), data(m, 3)
    return [*seen, with_grad(m, m.nn.functional.linear(x, w), x, w)]


@case("mat1 and mat2 shapes cannot be multiplied")
def linear_of_other_sizes(m: Any) -> Any:
    return m.nn.Linear(3, 2)(m.ones(4, 5))


@case("mat1 and mat2 must have the same dtype")
def linear_of_another_dtype(m: Any) -> Any:
    return m.nn.Linear(3, 2)(m.ones(4, 3, dtype=m.float64))


@case()
def softmaxes(m: Any) -> Any:
    F, seen = m.nn.functional, []
    for f, dim in itertools.product((F.softmax, F.log_softmax), (0, 1, -1)):
        x = data(m, 3, 4, 2, scale=4)
        seen.append(with_grad(m, f(x, dim=dim), x))
    return [*seen, F.log_softmax(m.tensor([1000.0, 0.0, -1000.0]), dim=0), F.softmax(m.ones(()), 0)]


@case()
def softmax_of_infinities(m: Any) -> Any:
    x = m.tensor([[0.0, float("-inf"), 1.0], [float("inf"), 0.0, 1.0], [float("-inf")] * 3])
    return [m.nn.functional.softmax(x, dim=1), m.nn.functional.log_softmax(x, dim=1)]


@case()
def second_derivative_of_log_softmax(m: Any) -> Any:
    x = data(m, 2, 3)
    y = m.nn.functional.log_softmax(x, dim=1)
    (g,) = m.autograd.grad((y * y).sum(), x, create_graph=True)
    (g * g).sum().backward()
    return [g.detach(), x.grad]


@case()
def activations(m: Any) -> Any:
    nn = m.nn
    x = data(m, 3, 4)
    made = [with_grad(m, f(x), x) for f in (nn.ReLU(), nn.SiLU(), nn.Sigmoid(), nn.Tanh())]
    y = data(m, 4, 4) * 1
    return [*made, nn.ReLU(inplace=True)(y) is y, y.detach(), y.grad_fn]


@case()
def flatten_and_back(m: Any) -> Any:
    x = data(m, 2, 3, 4)
    y = m.nn.Flatten()(x)
    return [y.detach(), m.nn.Unflatten(1, (3, 4))(y).detach(), m.nn.Flatten(0, 1)(x).detach()]


@case()
def mean_squared_error(m: Any) -> Any:
    seen = []
    for reduction in ("mean", "sum", "none"):
        x, y = data(m, 3, 2), data(m, 3, 2, grad=False) + 1
        seen.append(with_grad(m, m.nn.MSELoss(reduction=reduction)(x, y), x))
    x = data(m, 3, 2)
    weight = m.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]])
    return [*seen, with_grad(m, m.nn.functional.mse_loss(x, m.ones(3, 2), weight=weight), x)]


@case("not a valid value for reduction")
def unknown_reduction(m: Any) -> Any:
    return m.nn.functional.mse_loss(m.ones(2), m.ones(2), reduction="middle")


@case()
def one_hot_classes(m: Any) -> Any:
    f, x = m.nn.functional.one_hot, m.tensor([[0, 2], [1, 1]])
    return [f(x), f(x, 5), f(x * 1)]


@case("must be smaller than num_classes")
def one_hot_beyond(m: Any) -> Any:
    return m.nn.functional.one_hot(m.tensor([0, 3]), 3)


@case("must be non-negative")
def one_hot_below(m: Any) -> Any:
    return m.nn.functional.one_hot(m.tensor([0, -3]))


# ---- cross entropy -------------------------------------------------------------------------------


@case()
def cross_entropy_of_one_sample_and_of_images(m: Any) -> Any:
    x, y = data(m, 4), data(m, 2, 4, 3)
    target = m.tensor([[0, 3, 1], [2, 2, -100]])
    f = m.nn.functional.cross_entropy
    return [with_grad(m, f(x, m.tensor(2)), x), with_grad(m, f(y, target, reduction="none"), y)]


@case()
def cross_entropy_where_all_are_ignored(m: Any) -> Any:
    target = m.tensor([-100, -100])
    return [
        m.nn.functional.cross_entropy(data(m, 2, 3, grad=False), target, reduction=r)
        for r in ("mean", "sum", "none")
    ]


@case()
def cross_entropy_of_impossible_classes(m: Any) -> Any:
    x = m.tensor([[0.0, float("-inf"), 1.0], [2.0, 0.0, float("-inf")]], requires_grad=True)
    return with_grad(m, m.nn.functional.cross_entropy(x, m.tensor([0, 0])), x)


@case()
def likelihood_of_given_logarithms(m: Any) -> Any:
    x = data(m, 4, 3)
    y = m.nn.functional.nll_loss(x, m.tensor([0, 2, 1, 1]), m.tensor([1.0, 0.5, 2.0]))
    return with_grad(m, y, x)


@case("out of bounds")
def target_beyond_the_classes(m: Any) -> Any:
    return m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0, 3]))


@case("out of bounds")
def target_below_zero(m: Any) -> Any:
    return m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0, -1]))


@case("out of bounds")
def computed_target_beyond_the_classes(m: Any) -> Any:
    return m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0, 2]) + 1)


@case()
def part_of_a_target_that_is_out_of_bounds(m: Any) -> Any:
    target = m.tensor([0, 2, 17, -4])
    return m.nn.functional.cross_entropy(data(m, 2, 3, grad=False), target[:2])


@case("expected target dtype to be Long or Byte")
def target_of_another_integer(m: Any) -> Any:
    return m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0, 1], dtype=m.int32))


@case("to match target batch_size")
def target_of_another_batch(m: Any) -> Any:
    return m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0, 1, 2]))


@case("weight tensor should be defined either for all 3")
def weight_of_other_classes(m: Any) -> Any:
    return m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0, 1]), m.ones(2))


@case("label_smoothing must be between 0.0 and 1.0")
def smoothing_beyond_one(m: Any) -> Any:
    return m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([0, 1]), label_smoothing=1.5)


@pytest.mark.parametrize(("program", "words"), CASES)
def test_as_torch(program: Case, words: str) -> None:
    same(program, words)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignore_index", [-100, 1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["classes", "ignored", "probabilities"])
def test_cross_entropy(
    kind: str, weighted: bool, ignore_index: int, reduction: str, smoothing: float
) -> None:
    def program(m: Any) -> Any:
        x = data(m, 5, 3)
        weight = m.tensor([0.5, 2.0, 1.0]) if weighted else None
        if kind == "probabilities":
            target = m.nn.functional.softmax(data(m, 5, 3, grad=False), dim=1)
        else:
            target = m.tensor([0, 2, 1, ignore_index if kind == "ignored" else 1, 0])
        loss = m.nn.CrossEntropyLoss(
            weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=smoothing
        )
        return with_grad(m, loss(x, target), x)

    refused = kind == "probabilities" and ignore_index >= 0
    same(program, "ignore_index is not supported for floating point target" if refused else "")


def test_targets_of_the_host_are_checked_without_reading_them() -> None:
    with interpreted() as backend:
        x, target = clgrad.zeros(2, 3), clgrad.tensor([0, 2])
        reads: list[Any] = []
        original = backend.to_host
        backend.to_host = lambda value: reads.append(value) or original(value)
        clgrad.nn.functional.cross_entropy(x, target)
        assert reads == []
        clgrad.nn.functional.cross_entropy(x, target + 0)  # known to the device alone
        assert len(reads) == 1
        with pytest.raises(IndexError, match="Target 2 is out of bounds"):
            clgrad.nn.functional.cross_entropy(x[:, :2], target)


def test_shape_errors_say_what_to_write() -> None:
    with interpreted():
        with pytest.raises(RuntimeError, match=r"Hint: target\.squeeze\(\)"):
            clgrad.nn.functional.cross_entropy(clgrad.ones(2, 3), clgrad.tensor([[0], [1]]))
        with pytest.raises(RuntimeError, match=r"Hint: class indices are integers"):
            clgrad.nn.functional.cross_entropy(clgrad.ones(2, 3), clgrad.tensor([0.0, 1.0]))
        with pytest.warns(UserWarning, match="Using a target size"):
            loss = clgrad.nn.functional.mse_loss(clgrad.ones(2, 3), clgrad.zeros(3))
        assert close(loss.item(), 1.0)
