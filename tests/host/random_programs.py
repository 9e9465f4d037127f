"""Random programs of views, in-place ops and backward passes, run with clgrad and with PyTorch.

A program is a list of steps, each five random numbers; they choose the operation and its operands
among the tensors made so far. Steps may fail: both libraries must fail alike and go on alike.
"""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
from twin import close

import clgrad
from clgrad.testing.interpreter import interpreted

Step = tuple[float, float, float, float, float]
UNARY = ("sigmoid", "tanh", "exp", "relu", "neg", "abs")


def program(seed: int) -> tuple[list[Step], bool]:
    """Return the steps of a program, and whether it is differentiated twice."""
    rng = random.Random(seed)
    count = rng.randint(3, 14)
    steps = [tuple(rng.random() for _ in range(5)) for _ in range(count)]
    return steps, rng.random() < 0.6  # type: ignore[return-value]  # five numbers each


def view(x: Any, choice: float, other: float) -> Any:
    made = [
        lambda: x[0],
        lambda: x[-1],
        lambda: x[..., 1:],
        lambda: x.t() if x.dim() == 2 else x,
        lambda: x.unsqueeze(0),
        lambda: x.reshape(-1) if other < 0.5 else x.view(-1),
        lambda: x.unbind(0)[0],
        lambda: x.expand(2, *x.shape) if x.dim() < 3 else x,
        lambda: x[..., ::2],
    ]
    return made[int(choice * len(made))]()


def step(m: Any, pool: list[Any], numbers: Step) -> None:
    """Do one step: change a tensor of the pool, or add one."""
    k, a, b, c, d = numbers
    x, other = pool[int(a * len(pool))], pool[int(b * len(pool))]
    if k < 0.22:
        if x.dim():
            pool.append(view(x, b, c))
    elif k < 0.26:
        pool.append(x.detach())
    elif k < 0.30:
        pool.append(x.clone() if b < 0.5 else x.contiguous())
    elif k < 0.46:
        pool.append(getattr(x, UNARY[int(b * len(UNARY))])())
    elif k < 0.62:
        pool.append(getattr(x, ("mul", "add", "div", "sub")[int(c * 4)])(other))
    elif k < 0.78:
        getattr(x, ("mul_", "add_", "sub_")[int(c * 3)])(other if d < 0.7 else 1.5)
    elif k < 0.86:
        getattr(x, (*UNARY, "zero")[int(b * (len(UNARY) + 1))] + "_")()
    elif k < 0.90:
        x.copy_(other)
    elif k < 0.94:
        with m.no_grad():
            if b < 0.5:
                x.mul_(0.5)
            else:
                pool.append(x[0] if x.dim() else x)
    elif k < 0.97:
        x.data.add_(0.0) if b < 0.5 else x.fill_(0.3)
    else:
        pool.append(x.sum(0) if x.dim() else x.sum())


def run(m: Any, steps: list[Step], twice: bool) -> tuple[list[str], list[Any], list[Any]]:
    """Return which steps failed, the state of every tensor, and the gradients."""
    flat = np.linspace(-1, 1, 6).reshape(2, 3)
    leaves = [m.tensor(flat, requires_grad=True), m.tensor(np.linspace(0.2, 2, 3))]
    leaves[1].requires_grad_()
    pool = [leaves[0] * 1.0, leaves[1] * 1.0, m.tensor(np.arange(6.0).reshape(2, 3) / 5), *leaves]
    log = []
    for numbers in steps:
        try:
            step(m, pool, numbers)
            log.append("")
        except (RuntimeError, IndexError) as error:
            log.append("I" if isinstance(error, IndexError) else "R")
    states = []
    for x in pool:
        try:
            name = "" if x.grad_fn is None else x.grad_fn.name().split("::")[-1]
        except RuntimeError:
            name = "forbidden"
        values = x.detach().numpy().tolist()
        shown = name.rstrip("0123456789").replace("ReshapeAlias", "View")
        states.append([values, x.requires_grad, shown, x._version, x._is_view()])
    return log, states, gradients(m, leaves, pool, twice)


def gradients(m: Any, leaves: list[Any], pool: list[Any], twice: bool) -> list[Any]:
    """Differentiate the sum of everything; returns values, or the first words of an error."""
    total = None
    for x in pool:
        try:
            if x.requires_grad:
                part = (x * x).sum() if twice else x.sum()
                total = part if total is None else total + part
        except RuntimeError:  # a view that may not be used any more
            continue
    found: list[Any] = []
    try:
        if twice and total is not None:
            first = m.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
            found.append([None if g is None else g.detach().numpy().tolist() for g in first])
            parts = [(g * g).sum() for g in first if g is not None and g.requires_grad]
            if parts:
                sum(parts[1:], parts[0]).backward()
        elif total is not None:
            total.backward()
    except RuntimeError as error:
        found.append("view" if "view" in str(error)[:60] else str(error)[:40])
    found.append([None if x.grad is None else x.grad.numpy().tolist() for x in leaves])
    return found


def check(seed: int) -> None:
    """Run one program with both libraries and compare."""
    import torch

    steps, twice = program(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = run(torch, steps, twice)
        with interpreted():
            ours = run(clgrad, steps, twice)
    assert ours[0] == theirs[0], f"seed {seed}: steps fail differently"
    for k, (a, b) in enumerate(zip(ours[1], theirs[1], strict=True)):
        assert close(a, b), f"seed {seed}: tensor {k}: clgrad {a}, torch {b}"
    text = str(theirs[2])
    if "inf" in text or "nan" in text or "e+" in text:
        return  # a pole was hit: which of inf and nan comes out is a matter of formulas
    assert close(ours[2], theirs[2]), f"seed {seed}: clgrad {ours[2]}, torch {theirs[2]}"
