"""Attention in one kernel: results and gradients as PyTorch's, whatever blocks a device takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import clgrad
from clgrad.autograd import gradcheck, gradgradcheck
from clgrad.codegen.attention import offers
from clgrad.functional import scaled_products
from clgrad.graph import recorder
from clgrad.traits import PRESETS
from tests.device.against_torch import TOLERANCE, arrays, assert_close

RNG = np.random.default_rng(5)
SEEN = RNG.integers(0, 2, (70, 90)).astype(bool)
SEEN[3] = False  # a row that sees nothing gives zeros


@pytest.fixture(autouse=True)
def here(device: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scaled_products, "FEW_SCORES", 0.0)  # the kernels for small sizes, too
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(None)


def attend(m: Any, given: list[Any], dtype: str, wanted: Any, options: dict[str, Any]) -> list[Any]:
    """Return the result and the gradients, made without recording them."""
    kind = getattr(m, dtype)
    rounded = [torch.tensor(x).to(getattr(torch, dtype)).double().numpy() for x in given]
    leaves = [m.tensor(x, dtype=kind).requires_grad_(k in wanted) for k, x in enumerate(rounded)]
    named = {k: m.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    if "attn_mask" in named and named["attn_mask"].is_floating_point():
        named["attn_mask"] = named["attn_mask"].to(kind)
    turned = named.pop("turned", False)
    q, k, v = (x.transpose(-2, -3) if turned else x for x in leaves)
    out = m.nn.functional.scaled_dot_product_attention(q, k, v, **named)
    weight = arrays(out.shape, seed=7)[0]
    (out * m.tensor(weight, dtype=kind)).sum().backward()
    return [out, *(leaves[k].grad for k in wanted)]


def check(
    shapes: Any, dtype: str = "float32", wanted: Any = (0, 1, 2), tolerance: float = 0,
    **options: Any,
) -> None:  # fmt: skip
    given = arrays(*shapes)
    theirs = attend(torch, given, dtype, wanted, options)
    ours = attend(clgrad, given, dtype, wanted, options)
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, tolerance or TOLERANCE[dtype], f"{shapes} {dtype} {options}")


def heads(q: int, k: int, size: int, value: int, *batch: int) -> list[Any]:
    batch = batch or (2, 3)
    return [(*batch, q, size), (*batch, k, size), (*batch, k, value)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_dtypes(device: Any, dtype: str) -> None:
    if dtype == "float64" and not device.traits.fp64:
        pytest.skip("no float64")
    check(heads(70, 90, 24, 20), dtype)


def test_sizes() -> None:
    check(heads(70, 90, 64, 64))
    check(heads(1, 200, 64, 64, 2, 4))
    check(heads(200, 7, 5, 3), is_causal=True)
    check(heads(130, 130, 64, 64, 8), is_causal=True)
    check(heads(33, 65, 130, 64, 1, 1))
    check(heads(9, 5, 1, 1))
    check([(70, 8), (90, 8), (90, 8)])
    check([(2, 1, 9, 8), (1, 4, 6, 8), (1, 4, 6, 3)])


def test_masks() -> None:
    shapes = heads(70, 90, 24, 20)
    check(shapes, attn_mask=SEEN)
    check(shapes, attn_mask=SEEN[:, None, None, :].repeat(3, 1)[:2, :, :, :], scale=0.7)
    added = RNG.standard_normal((2, 1, 70, 90)).astype(np.float32)
    added[0, 0, 5] = -np.inf
    check(shapes, attn_mask=added)
    check(shapes, "float16", attn_mask=added[:1], tolerance=1e-2)


def test_layouts() -> None:
    """Heads that lie side by side, as maps of all of them leave them."""
    check([(2, 70, 3, 24), (2, 90, 3, 24), (2, 90, 3, 20)], turned=True)
    q = clgrad.randn(2, 70, 3, 64).transpose(1, 2)
    out = clgrad.nn.functional.scaled_dot_product_attention(q, q, q)
    assert out.stride() == q.stride()  # so that heads are put side by side without a copy
    x = clgrad.randn(2, 64, 50).mT
    plain = clgrad.nn.functional.scaled_dot_product_attention(*(x.contiguous(),) * 3)
    again = clgrad.nn.functional.scaled_dot_product_attention(x, x, x)
    np.testing.assert_array_equal(again.numpy(), plain.numpy())


def test_shared_heads() -> None:
    shapes = [(2, 4, 20, 24), (2, 2, 30, 24), (2, 2, 30, 20)]
    check(shapes, enable_gqa=True)
    check(shapes, enable_gqa=True, attn_mask=RNG.standard_normal((2, 4, 20, 30)).astype("f4"))
    check(shapes, enable_gqa=True, attn_mask=RNG.integers(0, 2, (2, 1, 1, 30)).astype(bool))
    check([*shapes[:2], (2, 1, 30, 20)], enable_gqa=True)


def test_some_gradients() -> None:
    shapes = heads(70, 90, 24, 20)
    check(shapes, wanted=(1,))
    check(shapes, wanted=(0, 2), attn_mask=SEEN)


def test_what_is_no_number() -> None:
    q, k, v = (x.astype("f4") for x in arrays(*heads(20, 20, 8, 8)))
    q[0, 0, 0, 0], k[0, 1, 2, 0], v[0, 2, 3, 0] = np.inf, np.nan, np.inf
    for causal in (False, True):
        made = []
        for m in (torch, clgrad):
            given = [m.tensor(x, requires_grad=True) for x in (q, k, v)]
            y = m.nn.functional.scaled_dot_product_attention(*given, is_causal=causal)
            y.sum().backward()
            made.append([x.detach().numpy() for x in (y, *(x.grad for x in given))])
        for ours, theirs in zip(made[1], made[0], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_derivatives_of_derivatives(device: Any) -> None:
    kind = clgrad.float64 if device.traits.fp64 else clgrad.float32
    if kind is clgrad.float32:
        pytest.skip("no float64")
    x = [clgrad.tensor(a, dtype=kind, requires_grad=True) for a in arrays(*heads(4, 5, 3, 2, 1))]
    seen = clgrad.tensor(SEEN[:4, :5])
    for options in ({}, {"is_causal": True}, {"attn_mask": seen}):

        def call(*x: Any, options: Any = options) -> Any:
            return clgrad.nn.functional.scaled_dot_product_attention(*x, **options)

        assert gradcheck(call, x, check_forward_ad=True)
        assert gradgradcheck(call, x)
    mask = clgrad.randn(4, 5, dtype=kind, requires_grad=True)
    assert gradcheck(
        lambda *x: clgrad.nn.functional.scaled_dot_product_attention(*x[:3], x[3]), [*x, mask]
    )


def test_what_is_saved_is_watched() -> None:
    for place in range(4):
        x = [clgrad.randn(2, 20, 8).requires_grad_() for _ in range(3)]
        given = [y * 1 for y in x]
        out = clgrad.nn.functional.scaled_dot_product_attention(*given)
        (*given, out)[place].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()
    assert not out._is_view()


def test_the_same_twice() -> None:
    """Deterministic, and a gradient that is overwritten leaves the others as they are."""
    x = [clgrad.randn(1, 2, 150, 24).requires_grad_() for _ in range(3)]
    out = clgrad.nn.functional.scaled_dot_product_attention(*x)
    first = clgrad.autograd.grad(out.sum(), x, retain_graph=True)
    second = clgrad.autograd.grad(out.sum(), x)
    first[0].mul_(0)
    for one, other in zip(first[1:], second[1:], strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert not first[0].any() and second[0].any()


def test_memory(device: Any) -> None:
    """Peak memory grows with the length, not with its square, in both directions."""
    if not offers(1024, 16, 16, clgrad.float32, device.traits):
        pytest.skip("scores are kept on this device")
    x = [clgrad.randn(1, 2, 1024, 16).requires_grad_() for _ in range(3)]
    clgrad.synchronize(device)
    before = clgrad.accelerator.memory_allocated(device)
    clgrad.accelerator.reset_peak_memory_stats(device)
    clgrad.nn.functional.scaled_dot_product_attention(*x).sum().backward()
    clgrad.synchronize(device)
    peak = clgrad.accelerator.max_memory_allocated(device) - before
    assert peak < 20 * x[0].nbytes < 2 * 1024 * 1024 * 4


@pytest.mark.parametrize("other", ["cpu-avx2", "cpu-neon", "gpu-32", "minimal"])
def test_blocks_of_other_devices(device: Any, other: str) -> None:
    own = device.traits
    recorder.flush()
    device.impersonate(
        replace(
            PRESETS[other], cl_std=own.cl_std, disabled=own.disabled, fp64=own.fp64,
            local_bytes=min(32768, PRESETS[other].local_bytes),
            max_work_group=min(own.max_work_group, PRESETS[other].max_work_group),
        )
    )  # fmt: skip
    assert offers(70, 24, 20, clgrad.float32, device.traits)
    try:
        check(heads(70, 90, 24, 20), attn_mask=SEEN)
        check(heads(40, 40, 16, 16), is_causal=True)
        check(heads(40, 30, 9, 8), "float16")
    finally:
        recorder.flush()
        device.impersonate(own)


def test_few_scores_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways give the same; which is taken hangs on how many scores there are."""
    monkeypatch.undo()
    sizes = {"kept": (2, 8, 16), "not kept": (2, 40, 8)}
    counts = {}
    for name, shape in sizes.items():
        x = clgrad.tensor(arrays(shape, seed=3)[0])
        recorder.flush()
        before = clgrad.launch_count()
        made = clgrad.nn.functional.scaled_dot_product_attention(x, x, x).numpy()
        counts[name] = clgrad.launch_count() - before
        y = torch.tensor(x.numpy())
        expected = torch.nn.functional.scaled_dot_product_attention(y, y, y).numpy()
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)
    assert counts["not kept"] == 1 < counts["kept"]
