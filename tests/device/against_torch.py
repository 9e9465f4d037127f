"""Compare a function of both libraries in value, gradient and gradient of the gradient.

A case is a function of the library and of tensors, so that it reads like a program:
`lambda m, x, w: m.nn.functional.conv2d(x, w, stride=2)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import clgrad
from tests.device.family import Check, one_flush

Case = Callable[..., Any]

TOLERANCE = {"float64": 1e-11, "float32": 3e-5, "float16": 5e-3, "bfloat16": 4e-2}


def arrays(*shapes: Sequence[int], seed: int = 0) -> list[Any]:
    """Return random arrays of these shapes."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(tuple(shape)) for shape in shapes]


def assert_close(ours: Any, theirs: Any, tolerance: float, what: str) -> None:
    """Assert equal dtype, shape and, within `tolerance` of the largest element, values."""
    assert str(theirs.dtype).removeprefix("torch.") == ours.dtype.name, what
    assert tuple(ours.shape) == tuple(theirs.shape), what
    if ours.dtype.is_floating_point:
        short = ours.dtype.itemsize < 4
        left = (ours.detach().float() if short else ours.detach()).numpy().astype(np.float64)
        right = theirs.detach().double().numpy()
        size = np.abs(right[np.isfinite(right)]).max(initial=1.0)
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance * size, err_msg=what)
    else:
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=what)


def _everything(
    m: Any, case: Case, inputs: list[Any], cotangents: list[Any], seeds: list[Any]
) -> dict[str, Any]:
    """Return values, gradients for the inputs, and gradients of these for inputs and cotangent.

    Args:
        cotangents: of the results. seeds: cotangents of the gradients. No sum of products in place
            of them: its kernels would be the most of what is built.
    """
    made = case(m, *inputs)
    outs = list(made) if isinstance(made, tuple) else [made]
    found = {f"result {k}": y for k, y in enumerate(outs)}
    smooth = [y for y in outs if y.requires_grad]
    if not smooth:
        return found
    wanted = [x for x in inputs if x.requires_grad]
    weights = [c for c, y in zip(cotangents, outs, strict=False) if y.requires_grad]
    first = m.autograd.grad(smooth, wanted, weights, create_graph=True)
    found |= {f"gradient {k}": g for k, g in enumerate(first)}
    graph = [g for g in first if g.requires_grad]
    if graph:
        seeds = [seed for seed, g in zip(seeds, first, strict=True) if g.requires_grad]
        second = m.autograd.grad(graph, [*wanted, *weights], seeds, allow_unused=True)
        found |= {f"second gradient {k}": g for k, g in enumerate(second) if g is not None}
    return found


def compare(
    case: Case,
    inputs: Sequence[Any],
    dtype: str = "float64",
    *,
    grad: bool = True,
    tolerance: float | None = None,
) -> None:
    """Assert that `case` gives the same in both libraries.

    Args:
        inputs: arrays; those of floats take part in differentiation.
        dtype: of the floats; float32 in place of float64 where the device has none.
        grad: whether gradients and second gradients are compared too.
    """
    with one_flush():
        check = recorded(case, inputs, dtype, grad=grad, tolerance=tolerance)
    check()


def recorded(
    case: Case,
    inputs: Sequence[Any],
    dtype: str = "float64",
    *,
    grad: bool = True,
    tolerance: float | None = None,
) -> Check:
    """Record what `compare` compares; the function that is returned compares it."""
    if dtype == "float64" and not clgrad.get_default_device().traits.fp64:
        dtype = "float32"
    theirs_dtype, ours_dtype = getattr(torch, dtype), getattr(clgrad, dtype)
    theirs, ours = [], []
    for array in inputs:
        if np.asarray(array).dtype.kind == "f":
            rounded = torch.tensor(array).to(theirs_dtype)
            theirs.append(rounded.requires_grad_(grad))
            exact = rounded.detach().double().numpy()
            ours.append(clgrad.tensor(exact, dtype=ours_dtype, requires_grad=grad))
        else:
            theirs.append(torch.tensor(array))
            ours.append(clgrad.tensor(array))
    with torch.no_grad():
        results = case(torch, *theirs)
    results = results if isinstance(results, tuple) else (results,)
    rng = np.random.default_rng(99)
    cotangents = [rng.standard_normal(tuple(y.shape)) for y in results]
    seeds = [rng.standard_normal(tuple(x.shape)) for x in theirs if x.requires_grad]
    expected = _everything(
        torch, case, theirs,
        [torch.tensor(c).to(theirs_dtype).requires_grad_(grad) for c in cotangents],
        [torch.tensor(s).to(theirs_dtype) for s in seeds],
    )  # fmt: skip
    found = _everything(
        clgrad, case, ours,
        [clgrad.tensor(c, dtype=ours_dtype, requires_grad=grad) for c in cotangents],
        [clgrad.tensor(s, dtype=ours_dtype) for s in seeds],
    )  # fmt: skip

    def check() -> None:
        for what in found.keys() | expected.keys():
            if what in found and what in expected:
                assert_close(found[what], expected[what], tolerance or TOLERANCE[dtype], what)
            else:  # one library found out that it does not depend on this
                assert not (found if what in found else expected)[what].abs().sum().item(), what

    return check


def _error(case: Case, m: Any) -> Exception | None:
    try:
        case(m)
    except Exception as error:
        return error
    return None


def same_error(case: Case, words: str) -> None:
    """Assert that both libraries raise an error of one built-in class whose text has `words`."""
    theirs, ours = _error(case, torch), _error(case, clgrad)
    builtin = (IndexError, TypeError, ValueError, NotImplementedError, RuntimeError)
    kind = next(c for c in builtin if isinstance(theirs, c))
    assert words in str(theirs), f"torch says {theirs!r}"
    assert isinstance(ours, kind), f"clgrad says {ours!r}, torch {theirs!r}"
    assert isinstance(ours, clgrad.ClgradError), f"{ours!r} is no error of clgrad's own"
    assert words in str(ours), f"clgrad says {ours!r}"
