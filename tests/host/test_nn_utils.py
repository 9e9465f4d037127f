"""Clipping gradients and flattening parameters; each program PyTorch runs too."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest

pytest.importorskip("torch")

from twin import same


def leaves(m: Any) -> Any:
    a = m.tensor([[3.0, -1.0], [0.0, 2.0]], requires_grad=True)
    b = m.tensor([0.5, -4.0, 1.0], requires_grad=True)
    unused = m.tensor([1.0], requires_grad=True)
    return [a, unused, b]


def with_grads(m: Any, scale: float = 1.0) -> Any:
    params = leaves(m)
    ((params[0] ** 2).sum() * scale + (params[2] ** 3).sum() * scale).backward()
    return params


@pytest.mark.parametrize("p", [2, 2.0, 1, 0, 3.0, 0.5, math.inf, -math.inf, "inf"])
@pytest.mark.parametrize("limit", [1.0, 1e6])
def test_clip_grad_norm(p: Any, limit: float) -> None:
    def program(m: Any) -> Any:
        params = with_grads(m)
        total = m.nn.utils.clip_grad_norm_(params, limit, norm_type=p)
        return [total, params[0].grad, params[1].grad, params[2].grad, params[0].grad._version]

    same(program)


def test_one_tensor_generators_and_nothing() -> None:
    def program(m: Any) -> Any:
        params = with_grads(m)
        first = m.nn.utils.clip_grad_norm_(params[0], 0.5)
        second = m.nn.utils.clip_grad_norm_((p for p in params), 0.25)
        m.nn.utils.clip_grad_value_(params[2], 0.1)
        m.nn.utils.clip_grad_value_((p for p in params), 0.05)
        none = m.nn.utils.clip_grad_norm_([], 1.0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            m.nn.utils.clip_grad_norm_((p for p in ()), 1.0)
        texts = [str(w.message) for w in caught]
        return [first, second, none, texts, *[p.grad for p in params]]

    same(program)


def test_norms_that_are_not_finite() -> None:
    def program(m: Any) -> Any:
        params = with_grads(m, math.inf)
        total = m.nn.utils.clip_grad_norm_(params, 1.0)
        return [total, *[p.grad for p in params]]

    def refused(m: Any) -> Any:
        return m.nn.utils.clip_grad_norm_(with_grads(m, math.nan), 1.0, error_if_nonfinite=True)

    same(program)
    same(refused, "is non-finite, so it cannot be clipped")


def test_the_two_halves_of_clipping() -> None:
    def program(m: Any) -> Any:
        params = with_grads(m)
        norm = m.nn.utils.get_total_norm([params[0].grad, params[2].grad], norm_type=3)
        m.nn.utils.clip_grads_with_norm_(params, 2.0, norm)
        return [norm, params[0].grad, params[2].grad, m.nn.utils.get_total_norm(params[0])]

    same(program)


def test_vectors() -> None:
    def program(m: Any) -> Any:
        params = leaves(m)
        vector = m.nn.utils.parameters_to_vector(params)
        (vector * m.arange(8.0)).sum().backward()
        m.nn.utils.vector_to_parameters(m.arange(8.0) * 10, params)
        return [vector, *params, *[p.grad for p in params], *[p.is_leaf for p in params]]

    same(program)
    same(lambda m: m.nn.utils.vector_to_parameters([1.0], leaves(m)), "expected")
