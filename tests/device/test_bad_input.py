"""Mistakes and failures: each an error of the right class with a hint, after which life goes on.

The texts follow `op: fact. What was expected. Hint: ...`; where PyTorch's words are what people
search for, they come first.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import config, errors
from clgrad.creation import current
from clgrad.graph import pending, recorder


@pytest.fixture(autouse=True)
def _device(device: Any) -> Iterator[None]:
    former, current.device = current.device, device
    yield
    recorder.flush()
    current.device = former


def made(*shape: int, grad: bool = False, dtype: str = "float32") -> Any:
    values = np.random.default_rng(0).uniform(0.1, 1, shape).astype(dtype)
    return clgrad.tensor(values, requires_grad=grad)


Case = tuple[Callable[[], Any], type[Exception], type[Exception], str]


def _backward_twice() -> None:
    y = (made(3, grad=True) ** 2).sum()
    y.backward()
    y.backward()


def _saved_is_overwritten() -> None:
    x = made(3, grad=True)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


CASES: dict[str, Case] = {
    "shapes": (lambda: made(2, 3) + made(4), errors.ShapeError, RuntimeError,
        r"The size of tensor a \(3\) must match the size of tensor b \(4\).*Hint:"),
    "product": (lambda: made(2, 3) @ made(2, 3), errors.ShapeError, RuntimeError,
        r"matmul: shapes \[2, 3\] and \[2, 3\] cannot be multiplied"),
    "scalar product": (lambda: made(2) @ made(), errors.ShapeError, RuntimeError,
        r"both arguments to matmul need to be at least 1D.*Hint:"),
    "view": (lambda: made(2, 3).t().view(6), errors.ShapeError, RuntimeError,
        r"view size is not compatible.*Hint: use reshape"),
    "reshape": (lambda: made(2, 3).reshape(4, 2), errors.ShapeError, RuntimeError,
        r"shape '\[4, 2\]' is invalid for input of size 6"),
    "two holes": (lambda: made(2, 3).reshape(-1, -1), errors.ShapeError, RuntimeError,
        "only one dimension can be inferred"),
    "cat": (lambda: clgrad.cat([made(2, 3), made(2, 4)]), errors.ShapeError, RuntimeError,
        "Sizes of tensors must match except in dimension 0"),
    "cat of nothing": (lambda: clgrad.cat([]), errors.ClgradError, Exception,
        "expected a non-empty list of Tensors"),
    "write too large": (lambda: made(3).add_(made(2, 3)), errors.ShapeError, RuntimeError,
        r"doesn't match the broadcast shape.*Hint:"),
    "negative size": (lambda: clgrad.zeros(-1), errors.ShapeError, RuntimeError,
        "negative dimension"),
    "dim": (lambda: made(2, 3).sum(2), errors.ClgradIndexError, IndexError,
        r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"),
    "dim twice": (lambda: made(2, 3).sum((0, -2)), errors.ClgradError, RuntimeError, "twice"),
    "index": (lambda: made(2, 3)[2], errors.ClgradIndexError, IndexError, "out of range|bounds"),
    "select": (lambda: made(2, 3).select(1, -4), errors.ClgradIndexError, IndexError,
        "out of range|bounds"),
    "too many indices": (lambda: made(2)[0, 0], errors.ClgradIndexError, IndexError,
        "too many indices for tensor of dimension 1"),
    "step": (lambda: made(4)[::-1], ValueError, ValueError, "step must be greater than zero"),
    "empty maximum": (lambda: clgrad.zeros(0).amax(), errors.ShapeError, IndexError,
        "Expected reduction dim.*Hint:"),
    "dtypes of a product": (lambda: made(2, 2) @ made(2, 2).to(clgrad.float16),
        errors.DTypeError, RuntimeError, r"expected .* to have the same dtype.*Hint:"),
    "float into integer": (lambda: made(3).to(clgrad.int32).add_(0.5), errors.DTypeError,
        RuntimeError, r"result type Float can't be cast to the desired output type Int.*Hint:"),
    "mean of integers": (lambda: clgrad.arange(4).mean(), errors.DTypeError, RuntimeError,
        r"mean: .*int64.*Hint:"),
    "integer gradient": (lambda: clgrad.arange(4).requires_grad_(), errors.DTypeError,
        RuntimeError, "only Tensors of floating point dtype can require gradients"),
    "mask": (lambda: clgrad.where(made(2), made(2), made(2)), errors.DTypeError, RuntimeError,
        r"where: .*bool.*Hint:"),
    "unknown dtype": (lambda: clgrad.tensor([1.0], dtype="float128"), errors.ClgradTypeError,
        TypeError, "float128"),
    "ragged": (lambda: clgrad.tensor([[1.0], [2.0, 3.0]]), errors.ClgradValueError, ValueError,
        "equal length"),
    "words": (lambda: clgrad.tensor(["a"]), errors.ClgradValueError, ValueError,
        "tensor: .*numbers"),
    "operand": (lambda: clgrad.add(made(2), "a"), errors.ClgradTypeError, TypeError,
        "Expected a tensor or a number"),
    "unknown argument": (lambda: made(2).sum(axes=1), errors.ClgradTypeError, TypeError, "axes"),
    "truth of many": (lambda: bool(made(2)), errors.ShapeError, RuntimeError,
        "Boolean value of Tensor with more than one value is ambiguous.*Hint:"),
    "item of many": (lambda: made(2).item(), RuntimeError, RuntimeError,
        "a Tensor with 2 elements cannot be converted to Scalar"),
    "numpy of a leaf": (lambda: made(2, grad=True).numpy(), errors.AutogradError, RuntimeError,
        r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\)"),
    "no such device": (lambda: clgrad.device("cl:99"), errors.DeviceError, RuntimeError,
        "cl:99.*Hint:"),
    "no scalar": (lambda: (made(2, grad=True) * 2).backward(), errors.AutogradError, RuntimeError,
        "grad can be implicitly created only for scalar outputs"),
    "nothing requires grad": (lambda: made(2).sum().backward(), errors.AutogradError,
        RuntimeError, "does not require grad and does not have a grad_fn"),
    "second backward": (_backward_twice, errors.GraphFreedError, RuntimeError,
        "Trying to backward through the graph a second time.*retain_graph=True"),
    "overwritten save": (_saved_is_overwritten, errors.VersionError, RuntimeError,
        "modified by an inplace operation.*is at version 1; expected version 0"),
    "leaf": (lambda: made(2, grad=True).add_(1), errors.AutogradError, RuntimeError,
        "a leaf Variable that requires grad is being used in an in-place operation.*Hint:"),
    "view of a leaf": (lambda: made(2, grad=True)[0].add_(1), errors.AutogradError, RuntimeError,
        "a view of a leaf Variable that requires grad is being used in an in-place.*Hint:"),
    "one of several views": (lambda: (made(4, grad=True) * 1).split(2)[0].add_(1),
        errors.AutogradError, RuntimeError, "returns multiple views"),
    "expanded": (lambda: made(1).expand(3).add_(made(3)), errors.AutogradError, RuntimeError,
        "more than one element of the written-to tensor refers to a single memory.*Hint:"),
    "unused": (lambda: clgrad.autograd.grad(made(2, grad=True).sum(), [made(2, grad=True)]),
        errors.AutogradError, RuntimeError,
        "One of the differentiated Tensors appears to not have been used in the graph"),
    "gradient's shape": (lambda: (made(2, grad=True) * 2).backward(made(3)), errors.ClgradError,
        RuntimeError, "Mismatch in shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_mistakes(name: str) -> None:
    work, ours, pytorchs, words = CASES[name]
    bystander = made(4) * 2  # pending while the mistake is made
    with pytest.raises(ours, match=f"(?s){words}") as caught:
        work()
    assert isinstance(caught.value, pytorchs)
    assert bystander.numpy().shape == (4,)


def test_mixed_devices() -> None:
    others = [d for d in clgrad.devices() if d is not current.device]
    if not others:
        pytest.skip("there is one device alone")
    x, y = made(3), clgrad.ones(3, device=others[0])
    with pytest.raises(errors.DeviceError, match=r"add: operands are on .* and .*Hint: move one"):
        x + y
    assert np.allclose((x + y.to(x.device)).numpy(), x.numpy() + 1)


def test_a_failed_write_changes_nothing() -> None:
    x = made(3, grad=True)
    y = x * 1
    before, version, node = y.detach().numpy(), y._version, y.grad_fn
    for wrong in (lambda: y.add_(made(2, 3)), lambda: y.copy_(made(4))):
        with pytest.raises(RuntimeError):
            wrong()
    assert y._version == version
    assert y.grad_fn is node
    assert np.array_equal(y.detach().numpy(), before)


def test_float64_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    device = current.device
    x = made(7)
    with monkeypatch.context() as patch:
        patch.setattr(device, "_traits", replace(device.traits, fp64=False))
        for work in (
            lambda: clgrad.tensor([1.0], dtype=clgrad.float64),
            lambda: clgrad.from_numpy(np.ones(3)),
            lambda: clgrad.zeros(3, 7, dtype=clgrad.float64),
            lambda: clgrad.empty(3, dtype=clgrad.float64),
            lambda: clgrad.rand(3, 7, dtype=clgrad.float64),
            x.double,
        ):
            with pytest.raises(errors.DTypeError, match=r"has no float64\. Expected .*Hint:"):
                work()
        assert np.allclose((x * 2).numpy(), x.numpy() * 2)
    assert x.double().dtype is clgrad.float64


BROKEN_SOURCE = "this is no OpenCL C;"


@pytest.fixture
def broken_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Return a function from whose call on every new kernel has a line that does not compile."""
    from clgrad.graph import execute

    real = execute.generate

    def generate(spec: Any, traits: Any) -> Any:
        source = real(spec, traits)
        name = source.name + "_broken"
        text = source.source.replace(source.name, name)
        start = text.index("{", text.index(name)) + 1
        return replace(source, name=name, source=text[:start] + BROKEN_SOURCE + text[start:])

    yield lambda: monkeypatch.setattr(execute, "generate", generate)
    monkeypatch.undo()
    pending.plans_of.clear()


@pytest.mark.filterwarnings("ignore")  # drivers print what they think of the source
def test_a_kernel_that_does_not_build(
    broken_kernels: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = made(11)
    known = x * 2 + 1
    assert known.numpy().shape == (11,)
    earlier = x + 5  # pending, of a plan that is not known either
    broken_kernels()
    bad = x.tanh() * 0.123
    with pytest.raises(errors.CompileError, match=BROKEN_SOURCE) as caught:
        bad.numpy()
    assert str(current.device.name) in str(caught.value)
    monkeypatch.undo()
    for lost in (bad, earlier):
        with pytest.raises(errors.ExecutionError, match="a kernel that it depends on failed"):
            lost.numpy()
        with pytest.raises(errors.ExecutionError, match="a kernel that it depends on failed"):
            (lost + 1).numpy()
    assert np.allclose(known.numpy(), x.numpy() * 2 + 1)
    assert np.allclose((x.tanh() * 0.123).numpy(), np.tanh(x.numpy()) * 0.123, atol=1e-6)


def test_memory_exhausted() -> None:
    device = current.device
    x = made(64, 64)
    kept = x + 1
    kept.numpy()
    device.pool.empty_cache()
    former = device.pool.limit
    device.pool.limit = int(device.pool.stats()["reserved.current"]) + (1 << 16)
    try:
        with pytest.raises(errors.OutOfMemoryError, match=r"CLGRAD_MEMORY_LIMIT") as caught:
            clgrad.empty(1 << 20)
        assert isinstance(caught.value, RuntimeError)
        assert "Hint:" in str(caught.value)
        large = x.reshape(64, 64, 1).expand(64, 64, 64) * 2
        small = x + 3
        with pytest.raises(errors.OutOfMemoryError, match="CLGRAD_MEMORY_LIMIT"):
            large.numpy()
        with pytest.raises(errors.ExecutionError, match="depends on failed"):
            large.sum().numpy()
        assert np.allclose(small.numpy(), x.numpy() + 3), "what needs little was computed"
        assert np.allclose(kept.numpy(), x.numpy() + 1)
    finally:
        device.pool.limit = former
    again = x.reshape(64, 64, 1).expand(64, 64, 64) * 2
    assert np.allclose(again.numpy()[..., 5], x.numpy() * 2)


def test_training_goes_on_after_memory_was_exhausted() -> None:
    device = current.device
    w, x = made(32, grad=True), made(32)
    (w * x).sum().backward()
    before = w.grad.numpy()
    former = device.pool.limit
    gc.collect()  # what other tests left must not make room in between
    device.pool.empty_cache()
    device.pool.limit = int(device.pool.stats()["reserved.current"]) + 4096
    try:
        wide = x.reshape(1, 32).expand(1 << 20, 32)
        with pytest.raises(errors.OutOfMemoryError):
            (w * wide).tanh().numpy(force=True)
    finally:
        device.pool.limit = former
    assert np.array_equal(w.grad.numpy(), before)
    (w * x).sum().backward()
    assert np.allclose(w.grad.numpy(), 2 * before)


@pytest.mark.parametrize("kind", ["file", "unwritable"])
def test_a_cache_that_cannot_be_written(tmp_path: Path, kind: str) -> None:
    """Kernels are built all the same, with one warning."""
    if kind == "unwritable" and os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder = tmp_path / "cache"
    if kind == "file":
        folder.write_text("a file where the folder should be")
    else:
        folder.mkdir(mode=0o500)
    x = made(5)
    with config.override(cache_dir=folder), pytest.warns(errors.ClgradWarning, match="(?i)cache"):
        got = ((x * 0.731 + 0.217).sigmoid() - 0.11).numpy()
    want = 1 / (1 + np.exp(-(x.numpy() * 0.731 + 0.217))) - 0.11
    assert np.allclose(got, want, atol=1e-6)


def test_interrupted_backward_leaves_no_pending_ruin() -> None:
    """A hook that raises stops the pass; the next one is whole."""
    x = made(4, grad=True)
    y = x * 3
    handle = y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    assert x.grad is None
    handle.remove()
    (x * 3).sum().backward()
    assert np.array_equal(x.grad.numpy(), np.full(4, 3, "f"))
