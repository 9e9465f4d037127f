"""The kernels that read and write at indices, in every variant, against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch_cases import check, lines

import clgrad
from clgrad.codegen import find, gather, scatter
from clgrad.graph import recorder, watch
from clgrad.traits import PRESETS


@pytest.fixture(params=["own", "gpu-32", "cpu-neon", "index64"])
def variant(request: Any, device: Any, monkeypatch: Any) -> Iterator[Any]:
    """A device as it is, or one that believes to be another, or to need 64-bit indices."""
    own = device.traits
    recorder.flush()
    if request.param == "index64":
        for module in (find, gather, scatter):
            monkeypatch.setattr(module, "INDEX_LIMIT", 0)
        other = replace(own, max_allocation=own.max_allocation - 1)  # plans of its own
    elif request.param == "own":
        other = own
    else:
        limit = min(own.max_work_group, PRESETS[request.param].max_work_group)
        other = replace(
            PRESETS[request.param], cl_std=own.cl_std, disabled=own.disabled, max_work_group=limit
        )
    device.impersonate(other)
    clgrad.set_default_device(device)
    yield device
    recorder.flush()
    device.impersonate(own)
    clgrad.set_default_device(None)


def _equal(pairs: dict[str, tuple[Any, Any]]) -> None:
    """Compare after everything is recorded, so that one flush runs it."""
    for name, (ours, want) in pairs.items():
        np.testing.assert_array_equal(ours.numpy(), want, err_msg=name)


def _unknown(index: Any) -> Any:
    """Return indices of which the host knows no bounds, so that the kernel checks them."""
    made = clgrad.tensor(index) + 0
    assert made._storage.value.bounds is None
    return made


def test_reads(variant: Any) -> None:
    rng = np.random.default_rng(1)
    host = rng.standard_normal((53, 37)).astype(np.float32)
    rows = rng.integers(0, 53, (7, 5))
    x, at = clgrad.tensor(host), clgrad.tensor(rows)
    columns = rng.integers(0, 37, 20)
    each = rng.integers(0, 53, (60, 31))
    cube = rng.standard_normal((4, 5, 6)).astype(np.float32)
    y = clgrad.tensor(cube)
    first, last = np.array([0, 3, 1, -1]), np.array([5, -6, 0, 2])
    pairs = {
        "rows": (x[at], host[rows]),
        "rows, checked": (x[_unknown(rows)], host[rows]),
        "rows of a slice": (x[:, 3:][at], host[:, 3:][rows]),
        "columns": (x[:, clgrad.tensor(columns)], host[:, columns]),
        "columns, checked": (x.index_select(1, _unknown(columns)), host[:, columns]),
        "transposed": (x.t()[clgrad.tensor(columns)], host.T[columns]),
        "each": (x.gather(0, clgrad.tensor(each)), np.take_along_axis(host[:, :31], each, 0)),
        "each, checked": (x.gather(0, _unknown(each)), np.take_along_axis(host[:, :31], each, 0)),
        "flat": (x.take(at * 10), host.reshape(-1)[rows * 10]),
        "apart": (y[clgrad.tensor(first), :, clgrad.tensor(last)], cube[first, :, last]),
        "product": (y[clgrad.tensor(first[:, None]), 1, last], cube[first[:, None], 1, last]),
        "int32": (x[clgrad.tensor(rows.astype(np.int32))], host[rows]),
    }
    for dtype in ("float16", "int8", "int64", "bool"):
        other = (host * 10).astype(dtype)
        pairs[dtype] = clgrad.tensor(other)[at], other[rows]
    _equal(pairs)


def _added(target: Any, at: Any, source: Any) -> Any:
    made = target.copy()
    np.add.at(made, at, source)
    return made


def test_writes_take_what_meets_in_order(variant: Any) -> None:
    rng = np.random.default_rng(2)
    host = rng.standard_normal((19, 67)).astype(np.float32)
    rows, many = rng.integers(0, 19, 300), rng.integers(-50, 50, 9001)
    part = rng.standard_normal((300, 67)).astype(np.float32)
    values = rng.standard_normal(9001).astype(np.float32)
    x, r, p = clgrad.tensor(host), clgrad.tensor(rows), clgrad.tensor(part)
    line, m, v = clgrad.zeros(50), clgrad.tensor(many), clgrad.tensor(values)
    zeros = np.zeros(50, np.float32)
    each = rng.integers(0, 67, (19, 80))
    wide = rng.standard_normal((19, 80)).astype(np.float32)
    last = host.copy()
    last[rows] = part
    grid = np.arange(19)[:, None]
    down = rng.integers(0, 19, (80, 67))
    tall = rng.standard_normal((80, 67)).astype(np.float32)
    cross = np.zeros((6, 5, 7), np.int64)
    a, b = rng.integers(0, 6, (40, 1)), rng.integers(0, 7, 9)
    np.add.at(cross, (a, slice(None), b), 1)
    pairs = {
        "rows": (x.index_add(0, r, p), _added(host, rows, part)),
        "rows, checked": (x.index_add(0, _unknown(rows), p), _added(host, rows, part)),
        "rows put": (x.index_copy(0, r, p), last),
        "columns": (x.t().index_add(1, r, p.t()), _added(host, rows, part).T),
        "one dim": (line.index_put((m,), v, True), _added(zeros, many, values)),
        "along": (
            x.scatter_add(1, clgrad.tensor(each), clgrad.tensor(wide)),
            _added(host, (grid, each), wide),
        ),
        "down": (
            x.scatter_add(0, clgrad.tensor(down), clgrad.tensor(tall)),
            _added(host, (down, np.arange(67)), tall),
        ),
        "apart": (
            clgrad.zeros(6, 5, 7, dtype=clgrad.int64).index_put(
                (clgrad.tensor(a), None, clgrad.tensor(b)),
                clgrad.ones(40, 9, 5, dtype=clgrad.int64), accumulate=True,
            ),
            cross,
        ),
        "one value": (x.index_fill(0, r, 2.5), np.where(np.isin(grid, rows), 2.5, host)),
    }  # fmt: skip
    _equal(pairs)


def test_reductions_at_indices(variant: Any) -> None:
    rng = np.random.default_rng(3)
    at = rng.integers(0, 5, 41)
    floats = rng.standard_normal(41).astype(np.float32)
    floats[7] = np.nan
    whole = rng.integers(-4, 5, 41)
    index = clgrad.tensor(at)
    pairs = {}
    for name, function, start in (
        ("amax", np.maximum, -np.inf), ("amin", np.minimum, np.inf), ("prod", np.multiply, 1.0),
    ):  # fmt: skip
        want = np.full(5, start, np.float32)
        with np.errstate(invalid="ignore"):
            function.at(want, at, floats)
        ours = clgrad.zeros(5)
        ours.scatter_reduce_(0, index, clgrad.tensor(floats), name, include_self=False)
        pairs[name] = ours, want
        base = np.array([1, -2, 3, -4, 5])
        function.at(base, at, whole)
        ours = clgrad.tensor([1, -2, 3, -4, 5]).scatter_reduce(0, index, clgrad.tensor(whole), name)
        pairs[f"{name} of integers"] = ours, base
    for dtype in ("int8", "uint8", "bool"):
        ones = np.ones(41, dtype)
        want = np.zeros(5, dtype)
        np.add.at(want, at, ones)
        target = clgrad.zeros(5, dtype=getattr(clgrad, dtype))
        pairs[dtype] = target.index_add(0, index, clgrad.tensor(ones)), want
    small = np.full(41, 0.001, np.float16)
    sums = np.bincount(at, minlength=5) * np.float32(np.float16(0.001)) + np.float32(1)
    target = clgrad.ones(5, dtype=clgrad.float16)
    _equal(pairs)
    half = target.index_add(0, index, clgrad.tensor(small)).float().numpy()
    np.testing.assert_allclose(half, sums, rtol=1e-3)  # summed in float32, rounded once


def test_finds_true_elements(variant: Any) -> None:
    rng = np.random.default_rng(4)
    for shape in ((5000,), (3, 900), (2, 3, 700)):
        mask = rng.random(shape) < 0.3
        x = clgrad.tensor(mask)
        np.testing.assert_array_equal(x.nonzero().numpy(), np.argwhere(mask))
        host = rng.standard_normal(shape).astype(np.float32)
        np.testing.assert_array_equal(clgrad.tensor(host)[x].numpy(), host[mask])


def test_index_out_of_range_that_only_the_device_sees(device: Any) -> None:
    clgrad.set_default_device(device)
    try:
        x = clgrad.arange(6.0)
        y = x[_unknown(np.array([1, 9]))] + 1
        with pytest.raises(IndexError, match=r"index: index 9 is out of bounds.*test_indexing_k"):
            y.numpy()
        assert y.tolist() == [2.0, 6.0]  # it went on with an index in range
        z = clgrad.zeros(3).index_add(0, _unknown(np.array([-1])), clgrad.ones(1))
        with pytest.raises(IndexError, match="index_add: index -1"):
            z.tolist()
        assert z.tolist() == [0.0, 0.0, 0.0]  # nothing is written where nothing was meant
        with pytest.raises(IndexError, match="index 7 is out of bounds"):  # known to the host
            x.index_select(0, clgrad.tensor([7]))
    finally:
        clgrad.set_default_device(None)


def test_writes_in_place_copy_nothing(device: Any) -> None:
    clgrad.set_default_device(device)
    try:
        x, at = clgrad.zeros(100, 10), clgrad.tensor([1, 5, 1])
        recorder.flush()
        watch.reset()
        x[at] = 1.0
        x.index_add_(0, at, clgrad.ones(3, 10))
        recorder.flush()
        counts = watch.reset()
        assert (counts.donations, counts.copies) == (2, 0)
        assert x.sum().item() == 50.0
        kept = x.clone()
        x[at] = 0.0
        recorder.flush()
        assert watch.reset().copies == 1
        assert kept.sum().item() == 50.0
    finally:
        clgrad.set_default_device(None)


ON_DEVICES = lines("""
    F.embedding_bag(i,x,T([0]))
    F.embedding_bag(i,x,T([0,2]))
    F.embedding_bag(i,x,T([0,2]),mode='sum')
    F.embedding_bag(i,x,T([0,1]),mode='max')
    F.embedding_bag(i,x,T([0,0,2]),mode='sum')
    F.embedding_bag(i,x,T([0,0,2]),mode='mean')
    F.embedding_bag(i,x,T([0,0,3]),mode='max')
    F.embedding_bag(i,x,T([0,2]),mode='sum',per_sample_weights=u)
    F.embedding_bag(i,x,T([0,2,3]),mode='sum',include_last_offset=True)
    F.embedding_bag(i,x,T([0,1]),mode='mean',padding_idx=2)
    F.embedding_bag(i,x,T([0,1]),mode='sum',padding_idx=2)
    F.embedding_bag(i,x,T([0,1]),mode='max',padding_idx=2)
    F.embedding_bag(i,x,T([0,2]),scale_grad_by_freq=True,mode='sum')
    x.repeat_interleave(T([1,0,2]),0)
    M.repeat_interleave(T([1,0,2]))
    x.repeat_interleave(T([0,0,0]),0)
    x.flip(0)
    (x.t().flip(0) * 2).sum(0)
    y=x.clone(); y.copy_(y.flip(0)); y
    x.roll((1,2),(0,1))
    b.rot90(1,[1,2])
    x.repeat(2,1,3)
    b.tril(1)
    x.diag_embed(1)
    F.pad(q,(1,2,1,1),'reflect')
    F.pad(q,(1,2,1,1),'replicate')
    F.pad(x,(-1,2,1,0),value=2.)
    M.block_diag(x,v,z)
    M.einsum('bij,kj->bik',b,x)
    M.einsum('b...,b...->...',b,b)
    M.addmm(v,s,x,beta=2,alpha=.5)
    M.addbmm(s,b,b.transpose(1,2))
    M.linalg.cross(s,s*s)
    M.kron(x,s)
    x.select_scatter(v,0,1)
    x.scatter_reduce(0,I,x[:2],'prod')
    x.scatter_reduce(0,I,x[:2],'mean',include_self=False)
    x.masked_scatter(m,x)
    x.index_fill(0,T([0,0]),z)
    y=x.clone(); y[:,j]=u[:,None]; y
    F.embedding(i,x,2,1.,2.,True)
""")


def test_functions_as_in_pytorch(device: Any) -> None:
    clgrad.set_default_device(device)
    try:
        for case in ON_DEVICES:
            check(case, views=False)
    finally:
        clgrad.set_default_device(None)


def test_many_parts_are_joined_in_few_launches(variant: Any) -> None:
    rng = np.random.default_rng(5)
    rows = [rng.standard_normal((3, n, 5)).astype(np.float32) for n in (1, 7, 2, 4, 1, 3, 9, 1, 2)]
    many = [rng.integers(0, 100, 33) for _ in range(35)]
    x, y = [clgrad.tensor(r) for r in rows], [clgrad.tensor(m) for m in many]
    recorder.flush()
    watch.reset()
    cat, stacked = clgrad.cat(x, 1), clgrad.stack(y, 1)
    recorder.flush()
    assert watch.reset().launches == 1 + 3
    last = clgrad.cat([x[0].transpose(0, 2), *[p.transpose(0, 2) for p in x[1:]]], 1)
    pairs = {
        "cat": (cat, np.concatenate(rows, 1)),
        "stack": (stacked, np.stack(many, 1)),
        "strided": (last, np.concatenate([r.transpose(2, 1, 0) for r in rows], 1)),
        "numbers": (clgrad.stack(list(y[0])), many[0]),
    }
    _equal(pairs)


def test_gradients_of_all_parts_are_joined(device: Any) -> None:
    clgrad.set_default_device(device)
    try:
        for how in (lambda x: x.unbind(1), lambda x: x.split([1, 2, 3], 1), lambda x: x.chunk(3)):
            x = clgrad.arange(24.0).reshape(4, 6).requires_grad_()
            parts = how(x)
            total = sum((k + 1) * (p * p).sum() for k, p in enumerate(parts) if k != 1)
            total.backward()
            want = clgrad.zeros(4, 6)
            for k, p in enumerate(how(want)):
                with clgrad.no_grad():
                    p.copy_((k + 1) * 2.0 * (k != 1) * how(x.detach())[k])
            assert x.grad.tolist() == want.tolist()
    finally:
        clgrad.set_default_device(None)
