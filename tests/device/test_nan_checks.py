"""Tests for NaN inside kernels: the first bad op, with its line and operands, at no extra pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.autograd import detect_anomaly, set_detect_anomaly
from clgrad.graph import recorder, watch
from clgrad.nn import functional as F
from clgrad.traits import PRESETS

NAN, INF = float("nan"), float("inf")


def normal(device: Any, *shape: int, dtype: str = "float32") -> Any:
    host = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    return clgrad.tensor(host, device=device)


def chain(d: Any) -> Any:
    x = normal(d, 3, 5)
    x[1, 2] = -2.0
    y = (x.abs() + 1).log() * 2
    bad = (y - 3 * y * y).abs() + (x + 1.9).sqrt()  # here: of -0.1
    return (bad * 2 + y).exp(), "sqrt", [1, 2], "x = -0.1"


def transposed(d: Any) -> Any:
    x = normal(d, 40, 30).abs()
    x[7, 20] = -1.0
    return x.transpose(0, 1).log().sum(), "log", [20, 7], "x = -1"


def in_rows(d: Any) -> Any:
    x = normal(d, 33, 65)
    x[4] = INF
    shifted = x - x.amax(dim=1, keepdim=True)  # inf - inf
    e = shifted.exp()
    return e / e.sum(dim=1, keepdim=True), "sub", [4, 0], "a = inf, b = inf"


def in_columns(d: Any) -> Any:
    x = normal(d, 65, 33)
    x[4, 9], x[5, 9] = INF, -INF
    return (
        (x * 2).sum(dim=0).tanh(),
        "sum",
        [9],
        "What was folded there: float32[65] from -5.03268 to 4.97377, mean 0.0413564, 2 of 65 inf",
    )


def in_halves(d: Any) -> Any:
    x = normal(d, 1 << 20)
    x[1 << 19] = -3.0
    return (x + 0).sqrt().sum(), "sqrt", None, "x = -"


def after_a_product(d: Any) -> Any:
    a, b = normal(d, 70, 40), normal(d, 40, 50)
    return ((a @ b).abs() - 500).sqrt() + 1, "sqrt", [0, 0], "x = -"


def product(d: Any) -> Any:
    a, b = normal(d, 3, 20, 40), normal(d, 3, 40, 50)
    a[1, 2, 0], a[1, 2, 1] = INF, -INF
    return (a @ b + 1).sum(), "bmm", [1, 2, 0], "2 of 2400 inf"


def long_product(d: Any) -> Any:
    a, b = normal(d, 2, 60000), normal(d, 60000, 2)
    a[1, 0], a[1, 1] = INF, -INF
    return a @ b, "mm", [1, 0], "2 of 120000 inf"


def convolution(d: Any) -> Any:
    x, w = normal(d, 2, 3, 12, 12), normal(d, 4, 3, 3, 3)
    x[0, 0, 5, 5] = NAN
    y = F.conv2d(x, w)  # read by a loop
    return y.relu(), "conv", [0, 0, 3, 3], "It was given nan already"


def convolution_alone(d: Any) -> Any:
    x, w = normal(d, 2, 3, 12, 12), normal(d, 4, 3, 3, 3)
    x[0, 0, 5, 5] = NAN
    return F.conv2d(x, w), "conv", [0, 0, 3, 3], "1 of 864 nan"


def written(d: Any) -> Any:
    x = normal(d, 6, 7).abs()
    x[:, 2:5].sub_(1.0).log_()
    return x, "log", None, "x = -"


def written_whole(d: Any) -> Any:
    x = normal(d, 6, 7)
    x.sub_(1000.0)
    x.sqrt_()
    return x, "sqrt", [0, 0], "x = -"


def half(d: Any) -> Any:
    x = normal(d, 50).to(clgrad.float16)
    x[3] = 300.0
    y = x * x  # inf in float16
    return y - y, "sub", [3], "a = inf, b = inf"


def scalar(d: Any) -> Any:
    return (normal(d, 4).sum() * 0 - 1).log(), "log", [], "x = -1"


PROGRAMS: list[Callable[[Any], Any]] = [
    chain, transposed, in_rows, in_columns, in_halves, after_a_product, product, long_product,
    convolution, convolution_alone, written, written_whole, half, scalar,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_the_first_bad_op_is_named(program: Callable[[Any], Any], device: Any) -> None:
    clgrad.synchronize(device)
    expected: list[Any] = []
    with pytest.raises(RuntimeError) as caught, set_detect_anomaly(True, forward=True):
        made, *expected = program(device)
    del made
    op, index, there = expected
    text = str(caught.value)
    assert f"forward: {op} made nan in " in text, text
    assert there in text, text
    assert index is None or f"first at {index}." in text, text
    where = text.partition("It was called at ")[2]
    assert where.startswith(f"{__file__}:") and where.partition(", in ")[2].startswith(
        program.__name__
    ), text


def test_the_line_is_that_of_the_op(device: Any) -> None:
    with pytest.raises(RuntimeError) as caught, set_detect_anomaly(True, forward=True):
        kept = chain(device)
    del kept
    assert f"{__file__}:{chain.__code__.co_firstlineno + 4}, in chain" in str(caught.value)


def healthy(d: Any) -> list[Any]:
    """Return results of fused chains, rows, columns, products and writes without any NaN."""
    x, w = normal(d, 48, 64), normal(d, 64, 32)
    h = (x @ w + 1).tanh()
    rows = (h - h.amax(dim=1, keepdim=True)).exp()
    columns = (h * h + 2).sqrt().sum(dim=0)
    x[:, 3:9].mul_(2.0)
    return [h, rows / rows.sum(dim=1, keepdim=True), columns, x, (x * 3).mean()]


def test_nothing_else_changes(device: Any) -> None:
    """The same bits from as many launches: no kernel only looks."""

    def run(on: bool) -> tuple[list[bytes], int]:
        recorder.flush()
        watch.reset()
        with set_detect_anomaly(on, forward=on, check_inf=on):
            made = healthy(device)
        recorder.flush()
        launches = watch.reset().launches
        return [t.numpy().tobytes() for t in made], launches

    (plain, launches), (tested, others) = run(False), run(True)
    assert tested == plain
    # what tests keeps its operands: a write into a part has to copy, which is no launch
    assert others == launches


def test_infinities_are_looked_for_on_request(device: Any) -> None:
    x = clgrad.tensor([1.0, 0.0], device=device)
    with set_detect_anomaly(True, forward=True):
        (1 / x).tolist()
    with (
        pytest.raises(RuntimeError, match=r"reciprocal made inf in 1 of 2 elements, first at .1."),
        set_detect_anomaly(True, forward=True, check_inf=True),
    ):
        (1 / x).tolist()
    y = clgrad.tensor([0.0, 4.0], device=device, requires_grad=True)
    with (
        pytest.warns(UserWarning, match="y.sqrt"),
        pytest.raises(RuntimeError, match="returned nan or inf values in its 0th output") as e,
        set_detect_anomaly(True, check_inf=True),
    ):
        y.sqrt().sum().backward()
    assert "sqrt.dx made inf in 1 of 2 elements, first at [0]." in str(e.value)


def test_backward_names_node_line_and_operands(device: Any) -> None:
    def loss(x: Any) -> Any:
        norm = (x * x).sum(dim=1).sqrt()  # 0 in one row
        return (norm * 2).sum()

    x = normal(device, 3, 4)
    x[1] = 0.0
    x.requires_grad_()
    with (
        pytest.warns(UserWarning, match=r"norm = \(x \* x\).sum\(dim=1\).sqrt\(\)"),
        pytest.raises(RuntimeError) as caught,
        set_detect_anomaly(True),
    ):
        loss(x).backward()
    text = str(caught.value)
    # inf from sqrt at 0, and 0 * inf one node later
    assert text.startswith("Function 'MulBackward0' returned nan values in its 0th output.")
    assert "mul.da made nan in 4 of 12 elements, first at [1, 0]. There g1 = inf, b = 0." in text


def test_backward_is_as_before_where_all_is_well(device: Any) -> None:
    def grads(on: bool) -> list[bytes]:
        x, w = normal(device, 48, 64).requires_grad_(), normal(device, 64, 32).requires_grad_()
        with set_detect_anomaly(on):
            F.cross_entropy((x @ w).tanh(), clgrad.zeros(48, device=device).long()).backward()
        return [x.grad.numpy().tobytes(), w.grad.numpy().tobytes()]

    assert grads(True) == grads(False)


def test_a_gradient_that_is_in_memory_is_looked_at(device: Any) -> None:
    class Bad(clgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return clgrad.tensor(NAN, device=g.device).expand(2, 3)

    x = normal(device, 2, 3).requires_grad_()
    with (
        pytest.warns(UserWarning, match="Error detected in BadBackward"),
        pytest.raises(RuntimeError, match="'BadBackward' returned nan values in its 0th output"),
        set_detect_anomaly(True),
    ):
        Bad.apply(x).sum().backward()
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"):
        detect_anomaly()


def test_other_values_stay_readable(device: Any) -> None:
    x = clgrad.tensor([4.0, -1.0], device=device)
    kept = []
    with pytest.raises(RuntimeError, match="sqrt made nan"), set_detect_anomaly(True, forward=True):
        kept += [x * 2, x.sqrt(), x + 1]
    assert [t.tolist() for t in (kept[0], kept[2], x)] == [[8.0, -2.0], [5.0, 0.0], [4.0, -1.0]]
    assert kept[1].tolist()[0] == 2.0


def test_kernels_for_gpus_test_too(device: Any) -> None:
    own = device.traits
    preset = PRESETS["gpu-32"]
    other = replace(
        preset, cl_std=own.cl_std, disabled=own.disabled,
        max_work_group=min(own.max_work_group, preset.max_work_group),
    )  # fmt: skip
    recorder.flush()
    device.impersonate(other)
    try:
        for program in (chain, in_rows, in_columns, in_halves, after_a_product):
            expected: list[Any] = []
            with pytest.raises(RuntimeError) as caught, set_detect_anomaly(True, forward=True):
                expected += program(device)
            assert f"forward: {expected[1]} made nan in " in str(caught.value)
    finally:
        recorder.flush()
        device.impersonate(own)


def test_what_is_a_constant_is_looked_at_too(device: Any) -> None:
    x = clgrad.tensor([-0.5, 0.25], device=device, requires_grad=True)
    with set_detect_anomaly(True):
        F.softsign(x).sgn().square().sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]
    with pytest.raises(RuntimeError, match="'MulBackward0' returned nan"), set_detect_anomaly(True):
        (x.exp() * NAN).sum().backward()
