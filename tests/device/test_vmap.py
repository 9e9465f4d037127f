"""`vmap` and what is made of it, against torch: every rule, samples without a rule, the border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import batching

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

_RNG = np.random.default_rng(0)
A = _RNG.standard_normal((5, 3)).astype(np.float32)
W = _RNG.standard_normal((3, 4)).astype(np.float32)
B = _RNG.standard_normal((5, 3, 4)).astype(np.float32)
I = _RNG.integers(0, 3, (5, 6))  # indices
C = _RNG.standard_normal((5, 2, 6, 7)).astype(np.float32)
K = _RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)

Case = tuple[str, Callable[..., Any], tuple[Any, ...]]


@pytest.fixture
def chosen(device: Any) -> Iterator[None]:
    """The device under test, as the one where tensors are made."""
    before = clgrad.get_default_device()
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(before)


def _of(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
    """Return what calls `vmap(x -> function(lib, x))`."""
    return lambda m, *xs: m.func.vmap(lambda *a: function(m, *a), **how)(*xs)


def _grad(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
    def call(m: Any, *xs: Any) -> Any:
        return m.func.vmap(m.func.grad(lambda *a: function(m, *a)), **how)(*xs)

    return call


def _fn(m: Any) -> Any:
    return m.nn.functional


def _set_rows(m: Any, x: Any) -> Any:
    y = m.zeros_like(x)
    y[0] = x[1]
    y[1:] = x[1:] * 2
    return y


def _with_history(m: Any, inner: Callable[..., Any], *xs: Any) -> Any:
    leaves = [x.requires_grad_() for x in xs]
    (first,) = (inner(m, *leaves),)
    grads = m.autograd.grad((first**2).sum(), leaves, create_graph=True)
    return (*grads, *m.autograd.grad(sum((g**2).sum() for g in grads), leaves))


def _written_argument(m: Any, b: Any, how: Callable[..., Any]) -> Any:
    c = b.clone()
    m.func.vmap(how)(c)
    return c


CASES: list[Case] = [
    # pointwise, reductions, views
    ("sum of squares", _of(lambda m, x: (x * x).sum()), (A,)),
    ("in_dims and out_dims", _of(
        lambda m, x, y: x * y, in_dims=(1, None), out_dims=1), (A, A[:, 0])),
    ("a nested tree", lambda m, a: m.func.vmap(
        lambda d: {"y": (d["x"][0] * 2, d["x"][1].sum(0))}, in_dims=({"x": (0, 0)},),
        out_dims=0)({"x": (a, a)})["y"], (A,)),
    ("softmax", _of(lambda m, x: m.softmax(x, -1)), (B,)),
    ("logsumexp", _of(lambda m, x: m.log_softmax(x, 0).logsumexp(1), in_dims=2), (B,)),
    ("var, norm", _of(lambda m, x: (x.var(0), m.linalg.vector_norm(x), x.argmax(-1))), (B,)),
    ("views", _of(lambda m, x: (x.t(), x[:3, :3].diagonal(), x.unfold(1, 2, 1).sum(-1))), (B,)),
    ("windows", _of(lambda m, x: (_fn(m).pad(x, (1, 2)), m.roll(x, 1, 0), m.tril(x))), (B,)),
    ("flip", _of(lambda m, x: (m.flip(x, (0,)), m.where(x.sum() > 0, x, -x))), (B,)),
    ("made inside", _of(lambda m, x: (m.arange(3) * x + x.shape[0], m.ones(2))), (A,)),
    ("masks", _of(lambda m, x: x.masked_fill(x > 0, 1.0)), (B,)),
    # products
    ("vector and shared matrix", lambda m, a, w: m.func.vmap(lambda x: x @ w)(a), (A, W)),
    ("shared matrix and vector", lambda m, a, w: m.func.vmap(lambda x: w.t() @ x)(a), (A, W)),
    ("products", _of(lambda m, x, y: x @ y), (A, B)),
    ("matrix and shared matrix", lambda m, b, w: m.func.vmap(lambda y: y @ w.t())(b), (B, W)),
    ("einsum", _of(lambda m, x: m.einsum("ij,kj->ik", x, x)), (B,)),
    # scans, sorts, places
    ("scans", _of(lambda m, x: (m.cumsum(x, -1), m.cummax(x, -1)[0], m.cumprod(x, 0))), (B,)),
    ("sorts", _of(lambda m, x: (m.sort(x, 0)[0], m.topk(x, 2, -1)[0], m.median(x, 0)[0])), (B,)),
    ("search", _of(lambda m, x: m.searchsorted(m.sort(x)[0], x)), (A,)),
    ("gather", _of(lambda m, x, i: (m.gather(x, 0, i), x[i])), (A, I)),
    ("shared rows", lambda m, w, i:
        m.func.vmap(lambda i: (w[i], _fn(m).embedding(i, w)))(i), (W, I)),
    ("shared indices", _of(
        lambda m, x: (x[m.tensor([0, 2])], x.index_fill(0, m.tensor([1]), 3.0))), (B,)),
    ("scatter", _of(lambda m, x, i: m.zeros_like(x).scatter_add(0, i, i.float())), (A, I)),
    ("embedding's gradient", _grad(
        lambda m, w, i: (_fn(m).embedding(i, w) ** 2).sum(), in_dims=(None, 0)), (W, I)),
    ("joins", _of(lambda m, x: m.cat([x, x * 2], 0)), (B,)),
    ("a long join", _of(
        lambda m, x: m.stack([x[k % 3] for k in range(12)] + [m.ones(4)], 0)), (B,)),
    # images, matrices, losses
    ("convolution", lambda m, c, k: m.func.vmap(
        lambda x: (_fn(m).conv2d(x[None], k)[0], _fn(m).conv2d(x, k)))(c), (C, K)),
    ("weights of samples", _grad(
        lambda m, k, x: (_fn(m).conv2d(x[None], k) ** 2).sum(), in_dims=(None, 0)), (K, C)),
    ("convolution's image", lambda m, c, k: m.func.vmap(
        m.func.grad(lambda x: (_fn(m).conv2d(x[None], k) ** 2).sum()))(c), (C, K)),
    ("pooling", _of(lambda m, x: (_fn(m).max_pool2d(x, 2), _fn(m).avg_pool2d(x[None], 2))), (C,)),
    ("pooling's gradient", _grad(lambda m, x: (_fn(m).max_pool2d(x[None], 2) ** 2).sum()), (C,)),
    ("columns", _of(lambda m, x: _fn(m).unfold(x[None], 2)), (C,)),
    ("norms", _of(lambda m, x: (_fn(m).layer_norm(x, (7,)), _fn(m).group_norm(x[None], 2))), (C,)),
    ("matrices", _of(lambda m, x: (
        m.linalg.inv(x[:, :3] + 3 * m.eye(3)), m.linalg.solve(x[:, :3] + 3 * m.eye(3), x[:, 3]),
        m.linalg.svdvals(x))), (B,)),
    ("cross entropy", _grad(lambda m, x, t: _fn(m).cross_entropy(x, t)), (B, I[:, :3])),
    # in place
    ("in place", _of(lambda m, x: x.clone().mul_(2).add_(x)), (B,)),
    ("rows set", _of(_set_rows), (B,)),
    ("a written argument", lambda m, b: _written_argument(m, b, lambda x: x.mul_(2)), (B,)),
    ("a written row", lambda m, b: _written_argument(m, b, lambda x: x[0].fill_(7)), (B,)),
    # levels and derivatives
    ("gradient", _grad(lambda m, x: (x**3).sum()), (A,)),
    ("per-sample gradients", _grad(
        lambda m, w, x: ((x @ w).tanh() ** 2).sum(), in_dims=(None, 0)), (W, A)),
    ("two levels", lambda m, a: m.func.vmap(m.func.vmap(lambda x: x * 2 + 1))(a), (A,)),
    ("two levels, crossed", lambda m, a, b: m.func.vmap(
        lambda x: m.func.vmap(lambda y: ((x[:, None] * y).cumsum(0) @ y.t()), out_dims=1)(b),
        in_dims=1, out_dims=2)(a.t()), (A, B)),
    ("history outside", lambda m, a, w: _with_history(m, lambda m, a, w: m.func.vmap(
        lambda x: ((x @ w).sigmoid() * w.sum()).sum() + w[0, 0] * 2)(a), a, w), (A, W)),
    ("history outside, shared argument", lambda m, a, w: _with_history(
        m, lambda m, a, w: m.func.vmap(
            lambda w, x: (x @ w).tanh().sum(), in_dims=(None, 0))(w, a), a, w), (A, W)),
    ("gradient of gradients", lambda m, a, w: _with_history(m, lambda m, a, w: m.func.vmap(
        m.func.grad(lambda x: ((x @ w).sigmoid() ** 2).sum()))(a), a, w), (A, W)),
    ("jacobians", lambda m, a, w: (
        m.func.jacrev(lambda x: (x @ w).tanh())(a), m.func.jacfwd(lambda x: (x @ w).tanh())(a),
        m.func.jacrev(lambda x: (x @ w).tanh(), chunk_size=3)(a)), (A, W)),
    ("jacobians of samples", lambda m, a, w: (
        m.func.vmap(m.func.jacrev(lambda x: (x @ w).tanh()))(a),
        m.func.vmap(m.func.jacfwd(lambda x: (x @ w).tanh()))(a)), (A, W)),
    ("hessians of samples", lambda m, a: m.func.vmap(
        m.func.hessian(lambda x: (x**3).sum() * x[0]))(a), (A,)),
    ("push-forward", lambda m, a: m.func.vmap(
        lambda x: m.func.jvp(lambda y: y.sin(), (x,), (x,))[1])(a), (A,)),
    ("chunks", _of(lambda m, x: x * 2, chunk_size=2), (A,)),
]  # fmt: skip


def _numpy(made: Any) -> list[Any]:
    if isinstance(made, tuple | list):
        return [a for one in made for a in _numpy(one)]
    return [made.detach().numpy()]


@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
def test_results_are_those_of_torch(chosen: None, case: Case) -> None:
    _, function, arrays = case
    want, got = (_numpy(function(m, *map(m.tensor, arrays))) for m in (torch, clgrad))
    assert len(want) == len(got)
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def _batched_passes(m: Any) -> Any:
    x = m.tensor(A, requires_grad=True)
    w = m.tensor(W, requires_grad=True)
    y = (x @ w).tanh()
    units = m.eye(20).reshape(20, 5, 4)
    found = m.autograd.grad(y, (x, w), units, is_grads_batched=True, create_graph=True)
    further = m.autograd.grad(sum((g**3).sum() for g in found), (x, w))
    return (*found, *further)


def _jacobians(m: Any) -> Any:
    def function(x: Any, w: Any) -> Any:
        return (x @ w).tanh(), x.sum(0)

    made = [
        m.autograd.functional.jacobian(
            function, (m.tensor(A), m.tensor(W)), vectorize=True, strategy=strategy
        )
        for strategy in ("reverse-mode", "forward-mode")
    ]
    made.append(m.autograd.functional.hessian(
        lambda x: (x**3).sum() * x[0, 0], m.tensor(A), vectorize=True
    ))  # fmt: skip
    return made


@pytest.mark.parametrize("function", [_batched_passes, _jacobians])
def test_passes_taken_together(chosen: None, function: Callable[..., Any]) -> None:
    for a, b in zip(_numpy(function(clgrad)), _numpy(function(torch)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_ops_are_recorded_once_for_all_samples(
    chosen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rule is missing for what a multilayer perceptron and its gradients are made of."""

    def none(*_: Any) -> Any:
        raise AssertionError("an op was recorded sample by sample")

    monkeypatch.setattr(batching._Batching, "_each", none)

    def loss(w: Any, x: Any) -> Any:
        return clgrad.nn.functional.cross_entropy(
            (x @ w).relu().softmax(-1).log()[None], clgrad.tensor([1])
        )

    made = clgrad.func.vmap(clgrad.func.grad(loss), in_dims=(None, 0))(
        clgrad.tensor(W), clgrad.tensor(A)
    )
    assert made.shape == (5, 3, 4)
    clgrad.func.hessian(lambda x: (x @ clgrad.tensor(W)).tanh().cumsum(0).sum())(
        clgrad.tensor(A[0])
    )


def _own_rule(m: Any) -> Any:
    class Twice(m.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(x: Any) -> Any:
            return m.tensor(x.detach().numpy() * 2)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

        @staticmethod
        def vmap(info: Any, in_dims: Any, x: Any) -> Any:
            assert info.batch_size == 5 and info.randomness == "error"
            return Twice.apply(x), in_dims[0]

    x = m.tensor(A, requires_grad=True)
    made = m.func.vmap(lambda x: Twice.apply(x.t()).sum(0))(x[:, :, None].expand(5, 3, 2))
    return made, m.autograd.grad((made**2).sum(), x)[0]


def test_a_custom_function_has_its_own_rule(chosen: None) -> None:
    for a, b in zip(_numpy(_own_rule(clgrad)), _numpy(_own_rule(torch)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_random_numbers(chosen: None) -> None:
    def drawn(how: str) -> Any:
        return clgrad.func.vmap(lambda x: clgrad.rand(3) + x, randomness=how)(clgrad.zeros(4, 3))

    assert len(set(drawn("same").reshape(-1).tolist())) == 3
    assert len(set(drawn("different").reshape(-1).tolist())) == 12
    dropped = clgrad.func.vmap(
        lambda x: clgrad.nn.functional.dropout(x, 0.5), randomness="different"
    )(clgrad.ones(64, 64))
    assert len({tuple(row) for row in dropped.tolist()}) == 64
    with pytest.raises(RuntimeError, match="randomness error mode"):
        drawn("error")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x.sum().item(), r"calling \.item\(\) on a Tensor"),
        (lambda x: x if x.sum() > 0 else -x, "data-dependent control flow"),
        (lambda x: clgrad.zeros(3).add_(x) * 0 + OUTSIDE.add_(x), "inplace arithmetic"),
    ],
)
def test_what_samples_cannot_do(chosen: None, function: Any, words: str) -> None:
    global OUTSIDE
    OUTSIDE = clgrad.zeros(3)
    with pytest.raises(RuntimeError, match=words):
        clgrad.func.vmap(function)(clgrad.tensor(A))
    assert OUTSIDE.tolist() == [0.0] * 3
    assert not batching.active.levels


OUTSIDE: Any = None


def test_a_tensor_inside_can_be_shown(chosen: None) -> None:
    seen = []
    clgrad.func.vmap(lambda x: seen.append(repr(x)) or x)(clgrad.ones(2, 1))
    assert seen[0].startswith("BatchedTensor(lvl=") and "[1." in seen[0]
