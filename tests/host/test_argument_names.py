"""The names of arguments that PyTorch takes beside its own, and integers that are tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import clgrad

M = np.arange(12, dtype="f4").reshape(3, 4) - 5
V = np.arange(4, dtype="f4") + 1
IMAGE = np.arange(36, dtype="f4").reshape(1, 1, 6, 6)
ONE = np.int64(1)
ROWS = np.array([0, 2])


def _given(m: Any, value: Any) -> Any:
    """Return arrays as tensors of `m`; a NumPy integer is a tensor of no dimension."""
    return m.tensor(value) if isinstance(value, np.ndarray | np.int64) else value


def _same(name: str, args: Any, named: Any) -> None:
    found = []
    for m in (clgrad, torch):
        call: Any = m
        for part in name.split("."):
            call = getattr(call, part)
        made = call(*[_given(m, a) for a in args], **{k: _given(m, v) for k, v in named.items()})
        found.append(made if isinstance(made, tuple | list) else (made,))
    ours, theirs = found
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "args", "named"),
    [
        ("add", (M,), {"x2": V}), ("mul", (), {"x1": M, "x2": V}), ("div", (M,), {"x2": V}),
        ("tanh", (), {"a": M}), ("matmul", (M,), {"x2": V}), ("max", (M,), {"axis": 1}),
        ("softmax", (M,), {"axis": 0}), ("log_softmax", (), {"x": M, "axis": 0}),
        ("logsumexp", (M,), {"axis": 0, "keepdims": True}), ("count_nonzero", (M,), {"axis": 0}),
        ("Tensor.cumsum_", (M,), {"axis": 1}), ("split", (M, 2), {"dim": 1}),
        ("split_with_sizes", (M, [1, 3]), {"axis": 1}), ("scatter_add", (M,), {
            "axis": 0, "index": np.zeros((1, 4), "i8"), "src": M}),
        ("index_fill", (M,), {"axis": 0, "index": ROWS, "value": 2.0}),
        ("Tensor.index_add_", (M,), {"axis": 0, "index": ROWS, "source": M[:2]}),
        ("trapezoid", (M,), {"axis": 0}), ("renorm", (M, 2), {"axis": 0, "maxnorm": 1.0}),
        ("searchsorted", (V,), {"x": V}), ("isclose", (M,), {"x2": M}),
        ("linalg.matrix_power", (), {"input": M[:, :3], "n": 2}),
        ("linalg.vector_norm", (), {"input": M}),
        ("hsplit", (M,), {"sections": 2}), ("vsplit", (M,), {"indices": [1]}),
        ("Tensor.hsplit", (M, 1, 2), {}), ("Tensor.squeeze", (IMAGE, 0, 1), {}),
        ("Tensor.count_nonzero", (M, 0, 1), {}), ("Tensor.resize_", (M,), {"size": (2, 6)}),
    ],
)  # fmt: skip
def test_names(name: str, args: Any, named: Any) -> None:
    _same(name, args, named)


@pytest.mark.parametrize(
    ("name", "args", "named"),
    [
        ("sum", (M,), {"dim": ONE}), ("amax", (M, ONE), {}), ("var_mean", (M,), {"dim": ONE}),
        ("max", (M, ONE), {}), ("softmax", (M, ONE), {}), ("diagonal", (M, ONE), {}),
        ("diag", (V, ONE), {}), ("triu", (M, ONE), {}), ("triu_indices", (3, ONE), {}),
        ("Tensor.unfold", (V, 0, ONE, ONE), {}), ("linalg.vector_norm", (M,), {"dim": ONE}),
        ("nn.functional.avg_pool2d", (IMAGE, ONE), {}),
        ("nn.functional.adaptive_avg_pool1d", (IMAGE[0], ONE), {}),
        ("nn.functional.conv2d", (IMAGE, IMAGE[..., :2, :2]), {"padding": ONE, "groups": ONE}),
    ],
)  # fmt: skip
def test_integers_may_be_tensors(name: str, args: Any, named: Any) -> None:
    _same(name, args, named)


def test_a_dim_that_is_a_tensor_is_read_at_each_call() -> None:
    x, dim = clgrad.tensor(M), clgrad.tensor(0)
    assert x.sum(dim).shape == (4,)
    pool = clgrad.nn.functional.adaptive_avg_pool1d
    size = dim + 2
    assert pool(x, size).shape == (3, 2)
    size.fill_(4)
    assert pool(x, size).shape == (3, 4)
    dim.fill_(1)
    assert x.sum(dim).shape == (3,)


@pytest.mark.parametrize("name", ["split", "hsplit", "dsplit"])
def test_splitting_needs_to_know_how(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(clgrad, name)(clgrad.tensor(IMAGE), axis=1)
