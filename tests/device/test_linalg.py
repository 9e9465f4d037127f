"""Linear algebra against PyTorch: values, gradients and second gradients, of batches at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import clgrad
from tests.device.family import Check, Family

torch = pytest.importorskip("torch")
Array = Any


def _square(*batch: int, n: int = 5) -> Array:
    """Matrices with singular values well apart, so that all factors have smooth gradients."""
    rng = np.random.default_rng(n)
    q, _ = np.linalg.qr(rng.standard_normal((*batch, n, n)))
    p, _ = np.linalg.qr(rng.standard_normal((*batch, n, n)))
    return (q * (np.arange(n) + 1.0)) @ p


def _general(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def _symmetric(*batch: int) -> Array:
    a = _square(*batch)
    return a @ a.swapaxes(-1, -2)


def _lower(*batch: int) -> Array:
    return np.tril(_general(*batch, 5, 5)) + 3 * np.eye(5)


Case = tuple[str, Callable[[Any, Any], Any], tuple[Array, ...]]
S, B, V = _square(2), _general(2, 5, 3), _general(5)
CASES: list[Case] = [
    ("det", lambda t, a: t.linalg.det(a), (S,)),
    ("det-singular", lambda t, a: t.linalg.det(a), (np.diag([1.0, 2.0, 0.0]) @ _square(n=3),)),
    ("slogdet", lambda t, a: t.linalg.slogdet(a)[1], (S,)),
    ("logdet", lambda t, a: t.logdet(a @ a.mT), (S,)),
    ("inv", lambda t, a: t.linalg.inv(a), (S,)),
    ("solve", lambda t, a, b: t.linalg.solve(a, b), (S, B)),
    ("solve-right", lambda t, a, b: t.linalg.solve(a, b.mT, left=False), (S[0], B)),
    ("solve-vector", lambda t, a, b: t.linalg.solve(a, b), (S, V)),
    ("triangular", lambda t, a, b: t.linalg.solve_triangular(a, b, upper=False), (_lower(2), B)),
    ("triangular-upper-right", lambda t, a, b: t.linalg.solve_triangular(
        a, b.mT, upper=True, left=False, unitriangular=True), (_lower(), B)),
    ("cholesky", lambda t, a: t.linalg.cholesky(a @ a.mT), (S,)),
    ("cholesky-upper", lambda t, a: t.linalg.cholesky(a @ a.mT, upper=True), (S[0],)),
    ("cholesky_solve", lambda t, a, b: t.cholesky_solve(b, a), (_lower(2), B)),
    ("cholesky_inverse", lambda t, a: t.cholesky_inverse(a), (_lower(2),)),
    ("lu", lambda t, a: t.linalg.lu(a)[1:], (_general(2, 5, 5),)),
    ("lu-wide", lambda t, a: t.linalg.lu(a), (_general(3, 7),)),
    ("lu-tall", lambda t, a: t.linalg.lu(a), (_general(7, 3),)),
    ("lu_solve", lambda t, a, b: t.linalg.lu_solve(*t.linalg.lu_factor(a), b, adjoint=True),
     (S, B)),
    ("qr", lambda t, a: t.linalg.qr(a), (_general(2, 7, 4),)),
    ("qr-wide", lambda t, a: t.linalg.qr(a), (_general(4, 7),)),
    ("qr-complete", lambda t, a: t.linalg.qr(a, "complete")[1], (_general(4, 4),)),
    ("eigh", lambda t, a: [f.abs() for f in t.linalg.eigh(a, "U")], (_symmetric(2),)),
    ("eigvalsh", lambda t, a: t.linalg.eigvalsh(a), (_symmetric(),)),
    ("svd", lambda t, a: [f.abs() for f in t.linalg.svd(a, full_matrices=False)], (S,)),
    ("svd-tall", lambda t, a: [f.abs() for f in t.linalg.svd(a, False)], (_general(6, 3),)),
    ("svd-wide", lambda t, a: [f.abs() for f in t.linalg.svd(a, False)], (_general(2, 3, 6),)),
    ("pinv", lambda t, a: t.linalg.pinv(a), (_general(2, 6, 3) @ _general(2, 3, 4),)),
    ("lstsq", lambda t, a, b: t.linalg.lstsq(a, b, driver="gelsd")[:2],
     (_general(6, 4), _general(6, 2))),
    ("householder", lambda t, a, u: t.linalg.householder_product(a, u),
     (_general(2, 6, 4), _general(2, 3))),
    ("ormqr", lambda t, a, u, b: t.ormqr(a, u, b), (_general(6, 4), _general(4), _general(6, 2))),
    ("matrix_exp", lambda t, a: t.matrix_exp(a), (np.stack([S[0] * 1e-2, S[1], S[0] * 2]),)),
    ("matrix_power", lambda t, a: t.linalg.matrix_power(a, -3), (S,)),
    ("norms", lambda t, a: [t.linalg.matrix_norm(a, o) for o in ("nuc", 2, -2)], (S,)),
    ("cond", lambda t, a: [t.linalg.cond(a, o) for o in (None, -2)], (S,)),
    ("tensorinv", lambda t, a: t.linalg.tensorinv(a, 1), (_general(6, 2, 3),)),
    ("tensorsolve", lambda t, a, b: t.linalg.tensorsolve(a, b),
     (_general(2, 3, 6), _general(2, 3))),
    ("vander", lambda t, a: t.linalg.vander(a, N=4), (V,)),
    ("vecdot", lambda t, a, b: t.linalg.vecdot(a, b, dim=0), (V, V + 1)),
]  # fmt: skip


def _flat(found: Any) -> list[Any]:
    return [found] if hasattr(found, "detach") else list(found)


def _derivatives(t: Any, call: Any, given: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return results, gradients and second gradients, all of fixed weights."""
    results = _flat(call(t, *given))

    def weights(found: list[Any]) -> list[Any]:
        arrays = [np.cos(np.arange(f.numel()) * 0.7).reshape(tuple(f.shape)) for f in found]
        where = {} if t is torch else {"device": given[0].device}
        return [t.tensor(a, **where) for a in arrays]

    kept = [r for r in results if r.requires_grad]
    grads = list(t.autograd.grad(kept, given, weights(kept), create_graph=True))
    graph = [g for g in grads if g.requires_grad]
    again = t.autograd.grad(graph, given, weights(graph), allow_unused=True) if graph else ()
    return results, grads, [g for g in again if g is not None]


def test_values_and_two_gradients(device: Any) -> None:
    family = Family()
    for name, call, operands in CASES:
        family.add(name, lambda call=call, operands=operands: _case(call, operands, device))
    family.check()


def _case(call: Any, operands: tuple[Array, ...], device: Any) -> Check:
    ours = [clgrad.tensor(a, device=device, requires_grad=True) for a in operands]
    theirs = [torch.tensor(a, requires_grad=True) for a in operands]
    found, expected = _derivatives(clgrad, call, ours), _derivatives(torch, call, theirs)

    def check() -> None:
        for got, want in zip(found, expected, strict=True):
            assert len(got) == len(want)
            for a, b in zip(got, want, strict=True):
                scale = max(1.0, float(b.detach().abs().max()))
                np.testing.assert_allclose(
                    a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-8 * scale
                )

    return check


@pytest.mark.parametrize("shape", [(40, 40), (33, 20), (2, 20, 33), (3, 0), (0, 4, 4), (1, 1)])
def test_factors_of_float32_make_the_matrix_again(device: Any, shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(7).standard_normal(shape).astype("f")
    x = clgrad.tensor(a, device=device)

    def close(found: Any, want: Any) -> None:
        assert tuple(found.shape) == np.shape(want)
        np.testing.assert_allclose(found.numpy(), want, atol=2e-5 * max(shape))

    p, low, up = clgrad.linalg.lu(x)
    close(p @ low @ up, a)
    for mode in ("reduced", "complete"):
        q, r = clgrad.linalg.qr(x, mode)
        close(q @ r, a)
        close(q.mT @ q, np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], *(q.shape[-1],) * 2)))
    u, s, vh = clgrad.linalg.svd(x)
    k = min(shape[-2:])
    close((u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :], a)
    close(s, np.linalg.svd(a, compute_uv=False) if a.size else np.zeros((*shape[:-2], k)))
    for full in (u, vh):
        n = full.shape[-1]
        close(full.mT @ full, np.broadcast_to(np.eye(n), (*shape[:-2], n, n)))
    if shape[-1] == shape[-2]:
        w, v = clgrad.linalg.eigh(x + x.mT)
        close((v * w.unsqueeze(-2)) @ v.mT, a + a.swapaxes(-1, -2))


def test_rank_deficient_matrices(device: Any) -> None:
    a = _general(6, 3).astype("f") @ _general(3, 6).astype("f")
    x = clgrad.tensor(a, device=device)
    u, s, vh = clgrad.linalg.svd(x)
    np.testing.assert_allclose((u.mT @ u).numpy(), np.eye(6), atol=1e-5)
    np.testing.assert_allclose((vh @ vh.mT).numpy(), np.eye(6), atol=1e-5)
    assert clgrad.linalg.matrix_rank(x).item() == 3
    assert s[3:].max().item() < 1e-5
    np.testing.assert_allclose((x @ clgrad.linalg.pinv(x) @ x).numpy(), a, atol=1e-4)
    assert clgrad.linalg.svdvals(x * 0).tolist() == [0.0] * 6


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda t, x: t.linalg.inv(x * 0), RuntimeError),
        (lambda t, x: t.linalg.solve(x * 0, x), RuntimeError),
        (lambda t, x: t.linalg.cholesky(-(x @ x.mT)), RuntimeError),
        (lambda t, x: t.linalg.lu_factor(x * 0), RuntimeError),
        (lambda t, x: t.linalg.eigh(x / 0), RuntimeError),
        (lambda t, x: t.linalg.svd(x / 0), RuntimeError),
        (lambda t, x: t.linalg.inv(x[:2]), RuntimeError),
        (lambda t, x: t.linalg.det(x[0]), RuntimeError),
        (lambda t, x: t.linalg.det(x.long()), RuntimeError),
        (lambda t, x: t.linalg.qr(x, "economic"), RuntimeError),
        (lambda t, x: t.linalg.solve(x, x[:2]), RuntimeError),
    ],
)
def test_what_has_no_factors_is_an_error(device: Any, call: Any, kind: type[Exception]) -> None:
    a = _square(n=3).astype("f")
    with pytest.raises(kind):
        call(torch, torch.tensor(a))
    with pytest.raises(kind) as raised:
        call(clgrad, clgrad.tensor(a, device=device))
    assert isinstance(raised.value, clgrad.ClgradError)


def test_failures_are_told_where_asked_for(device: Any) -> None:
    a = np.stack([np.eye(3), np.diag([1.0, 0.0, 1.0])]).astype("f")
    x = clgrad.tensor(a, device=device)
    assert clgrad.linalg.inv_ex(x).info.tolist() == [0, 2]
    assert clgrad.linalg.cholesky_ex(x).info.tolist() == [0, 2]
    with pytest.raises(clgrad.linalg.LinAlgError, match=r"Batch element 1.*diagonal element 2"):
        clgrad.linalg.inv(x)
