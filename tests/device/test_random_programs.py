"""Random programs, fused against op by op and both against PyTorch; and hazards made by hand.

`RANDOM_PROGRAMS=5000` in the environment runs that many instead of the few of CI;
`python -m tests.device.program_check` runs on until something fails and makes it small.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import clgrad

pytest.importorskip("torch")

from tests.device.program_check import check
from tests.device.program_generator import generate
from tests.device.program_language import Step, V, listing

PROGRAMS = int(os.environ.get("RANDOM_PROGRAMS", "120"))
LENGTH = 16
BATCH = 15


def _checked(program: list[Step], device: Any, dtype: str, what: str) -> None:
    wrong = check(program, device, dtype)
    assert wrong is None, f"{what}: {wrong}\n{listing(program)}"


@pytest.mark.parametrize("first", range(0, PROGRAMS, BATCH))
@pytest.mark.filterwarnings("ignore")  # of .grad and of retained graphs: programs do all of that
def test_programs(device: Any, first: int) -> None:
    dtype = "float64" if first % (3 * BATCH) == 2 * BATCH else "float32"
    for seed in range(first, min(first + BATCH, PROGRAMS)):
        _checked(generate(seed, LENGTH), device, dtype, f"seed {seed}")


def _leaf(name: str, shape: tuple[int, ...], grad: bool, seed: int = 1) -> Step:
    return Step("leaf", (V(name),), (shape, seed, -1.0, 1.0, grad))


def _do(target: str, name: str, *args: Any, out: str = "", grad: bool = True) -> Step:
    return Step("method", (V(out),) if out else (), (V(target), name, *args), grad)


A, B, C, Y = V("a"), V("b"), V("c"), V("y")

# Each was wrong in clgrad, or in a prototype of it, once.
FOUND: dict[str, list[Step]] = {
    "fusion makes a legal program overlap itself": [
        _leaf("a", (4, 6), False),
        Step("index", (B,), (A, 3)), _do("b", "sigmoid", out="y"), _do("a", "copy_", Y),
    ],
    "inlining moves a read past a write": [
        _leaf("a", (4, 6), False),
        _do("a", "add", 0.25, out="y"), _do("a", "tanh_"), _do("y", "sigmoid_"),
    ],
    "a recipe over a leaf whose handle is dead": [
        _leaf("a", (6,), True),
        _do("a", "sigmoid", out="b"), Step("flush"), _do("b", "sigmoid", out="c"),
        Step("drop", (), (B,)), Step("flush"), Step("backward", (), (C, 5, False)),
    ],
    "an update between forward and backward": [
        _leaf("a", (6,), True),
        _do("a", "tanh", out="b"), _do("b", "sigmoid", out="c"), _do("c", "mul", B, out="y"),
        Step("backward", (), (Y, 3, True)), Step("flush"), Step("update", (), (A, 0.125)),
        Step("backward", (), (Y, 4, False)),
    ],
    "a product with a frozen operand does not save the other": [
        _leaf("a", (6,), True), _leaf("b", (6,), False, 2),
        _do("a", "tanh", out="c"), _do("c", "matmul", B, out="y"), _do("c", "tanh_"),
        Step("backward", (), (Y, 3, False)),
    ],
    "a product of vectors is no view of a hidden matrix": [
        _leaf("a", (4, 6), True), _leaf("b", (6,), True, 2),
        _do("a", "matmul", B, out="c"), _do("c", "expand", 4, out="y"),
        _do("c", "mul_", 0.5, grad=False),
        Step("grad", (V("d"),), (Y, [C], 3, False, False)),
    ],
    "rows are written with one of themselves": [
        _leaf("a", (4, 6), True), _do("a", "tanh", out="b"), Step("index", (C,), (B, 0)),
        Step("setindex", (), (B, slice(None), C)), Step("backward", (), (B, 3, False)),
    ],
    "a copy over a view of the same elements": [
        _leaf("a", (), False),
        _do("a", "expand", 2, out="b"), _do("b", "detach", out="c"), _do("b", "copy_", C),
    ],
    "a view that interleaves with what is written": [
        _leaf("a", (24,), True), _do("a", "tanh", out="b"),
        Step("index", (C,), (B, (slice(0, 24, 2),))), Step("index", (Y,), (B, (slice(1, 24, 2),))),
        _do("c", "mul_", Y), _do("y", "add_", C), Step("backward", (), (B, 7, False)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.filterwarnings("ignore")
def test_found(device: Any, name: str) -> None:
    _checked(FOUND[name], device, "float32", name)


def test_programs_do_what_is_dangerous() -> None:
    """The generator still makes errors of every kind, and programs that get past them."""
    from tests.device.program_generator import Generator

    seen: dict[str, int] = {}
    done: dict[str, int] = {}
    for seed in range(150):
        made = Generator(seed, 40)
        made.make()
        for step, result in zip(made.program, made.run.outcome.steps, strict=True):
            seen[result] = seen.get(result, 0) + 1
            name = step.args[1] if step.do == "method" else step.do
            done[name] = done.get(name, 0) + (result == "ok")
    unknown = [name for name in seen if ":" in name]
    assert not unknown, "errors whose words are not in program_language.ERRORS"
    assert {"version", "freed", "leaf", "view of a leaf", "view", "overlap"} <= set(seen)
    assert seen["ok"] > 0.9 * sum(seen.values())
    for name in ("backward", "grad", "update", "flush", "setindex", "copy_", "unfold", "split"):
        assert done[name] >= 5, name


def test_reading_a_result_twice_gives_the_same(device: Any) -> None:
    x = clgrad.tensor(np.linspace(-1, 1, 24), device=device)
    y = (x * 2).sigmoid()
    first = y.numpy()
    second = y.numpy()
    first[0] = 5
    assert second[0] != 5
    assert np.array_equal(y.numpy(), second)
