"""Checks a random program: fused against op by op, bit for bit; both against PyTorch.

    python -m tests.device.program_check --device cl:0 --seeds 0:1000

runs many programs, makes those that fail small, and prints them as code.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import clgrad
from clgrad import config
from clgrad.graph import pending, recorder, schedule
from tests.device.program_generator import TorchEngine, generate
from tests.device.program_language import ClgradEngine, Outcome, Step, listing, run

NOISE = 1e-6
"""Relative perturbation of the leaves, some ulps of float32, that shows what a result bears."""
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
"""Of the largest element: a few roundings; that of longer chains comes from the perturbed run."""


ACCEPTED = {
    ("backward", "version", "view"), ("grad", "version", "view"),
    ("backward", "ok", "view"), ("grad", "ok", "view"),
}  # fmt: skip
"""Differences that are meant: (step, clgrad, PyTorch).

PyTorch looks for the `grad_fn` of a saved view before it compares versions, to name it in the
message, and that look is an error for a view that was made under no_grad or with others at once and
has gone stale since. clgrad says what is wrong with the saved value, and nothing where no gradient
depends on it.
"""


def differing_steps(ours: Outcome, theirs: Outcome, program: list[Step]) -> str | None:
    """Return the first step that went differently, in words, or None."""
    for k, (a, b) in enumerate(zip(ours.steps, theirs.steps, strict=False)):
        if (program[k].do, a, b) in ACCEPTED:
            return None
        if a != b:
            return f"step {k} `{program[k]}`: clgrad says {a!r}, PyTorch {b!r}"
    if len(ours.steps) != len(theirs.steps):
        return f"clgrad ended after {len(ours.steps)} steps, PyTorch after {len(theirs.steps)}"
    return None


def differing_bits(fused: Outcome, eager: Outcome) -> str | None:
    """Return where fusion changed a bit, or None."""
    if fused.steps != eager.steps:
        return f"fused {fused.steps}\neager {eager.steps}"
    for (name, a), (_, b) in zip(fused.values, eager.values, strict=True):
        if not np.array_equal(a, b, equal_nan=True):
            where = np.argwhere(a != b)[:3].tolist()
            return f"{name} differs at {where} between fused and op by op:\n{a}\n{b}"
    return None


def differing_values(ours: Outcome, theirs: Outcome, moved: Outcome, dtype: str) -> str | None:
    """Return which value is further from PyTorch's than rounding explains, or None."""
    if [n for n, _ in ours.values] != [n for n, _ in theirs.values]:
        mine, other = [n for n, _ in ours.values], [n for n, _ in theirs.values]
        return f"values are there for {mine} here, for {other} in PyTorch"
    same_course = moved.steps == theirs.steps and len(moved.values) == len(theirs.values)
    for k, ((name, a), (_, b)) in enumerate(zip(ours.values, theirs.values, strict=True)):
        if a.shape != b.shape:
            return f"{name} has shape {a.shape} here, {b.shape} in PyTorch"
        if not b.size or not np.isfinite(b).all():
            continue
        allowed: Any = TOLERANCE[dtype] * (1 + np.abs(b).max())
        if same_course:
            conditioned = np.abs(moved.values[k][1] - b).max()
            if conditioned > 1e-3 * (1 + np.abs(b).max()):
                continue  # a kink: the reference itself jumps
            allowed += conditioned * (8 if dtype == "float32" else 1e-6)
        if not np.abs(a.astype(np.float64) - b).max() <= allowed:
            return f"{name} is off by {np.abs(a - b).max():.3g}:\n{a}\nPyTorch\n{b}"
    return None


@contextmanager
def recipes_of_any_size() -> Iterator[None]:
    """Let the scheduler make recipes of values as small as those of these programs."""
    former, schedule.RECIPE_BYTES = schedule.RECIPE_BYTES, 0
    recorder.flush()
    plans = {device: dict(known) for device, known in pending.plans_of.items()}
    for known in pending.plans_of.values():
        known.clear()
    try:
        yield
    finally:
        schedule.RECIPE_BYTES = former
        for device, known in pending.plans_of.items():
            known.clear()
            known.update(plans.get(device, {}))


def check(program: list[Step], device: Any, dtype: str = "float32") -> str | None:
    """Return what is wrong with clgrad's way through a program, or None."""
    theirs = run(program, TorchEngine(np.float64))
    with recipes_of_any_size():
        fused = run(program, ClgradEngine(device, dtype))
    wrong = differing_steps(fused, theirs, program)
    if wrong:
        return wrong
    with config.override(eager=True):
        eager = run(program, ClgradEngine(device, dtype))
    wrong = differing_bits(fused, eager)
    if wrong or fused.steps != theirs.steps:  # an accepted difference ends the comparison
        return wrong
    moved = run(program, TorchEngine(np.float64, NOISE))
    return differing_values(eager, theirs, moved, dtype)


def minimise(program: list[Step], device: Any, dtype: str) -> list[Step]:
    """Leave out every step that is not needed for the program to fail."""

    def fails(candidate: list[Step]) -> bool:
        try:
            return check(candidate, device, dtype) is not None
        except Exception:
            return True

    k = len(program) - 1
    while k >= 0:
        shorter = program[:k] + program[k + 1 :]
        if fails(shorter):
            program = shorter
        k -= 1
    return program


def main() -> None:
    parser = argparse.ArgumentParser(description="Run random programs and print what fails.")
    parser.add_argument("--device", default=None)
    parser.add_argument("--seeds", default="0:100")
    parser.add_argument("--length", type=int, default=40)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--failures", type=int, default=5)
    options = parser.parse_args()
    device = clgrad.device(options.device)
    first, last = map(int, options.seeds.split(":"))
    begin, failures, done = time.time(), 0, 0
    warnings.simplefilter("ignore")
    for seed in range(first, last):
        if time.time() - begin > options.seconds or failures >= options.failures:
            break
        program = generate(seed, options.length)
        try:
            wrong = check(program, device, options.dtype)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        done += 1
        if wrong:
            failures += 1
            small = minimise(program, device, options.dtype)
            try:
                wrong = check(small, device, options.dtype)
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            print(f"seed {seed}: {wrong}\n{listing(small)}\n", flush=True)  # noqa: T201
    print(f"{done} programs, {failures} failed, {time.time() - begin:.0f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
