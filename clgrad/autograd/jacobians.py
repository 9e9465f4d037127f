"""Whole Jacobians of one output, by differences and by backward, under PyTorch's older names.

What `gradcheck` compares, for those who want to see it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad.autograd.backward import grad
from clgrad.autograd.differences import like, numerical, read, tensors
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.graph.position import stacklevel
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor


class NothingToPerturbError(ClgradValueError, AssertionError):
    """The input whose Jacobian is asked for requires no grad."""


def _given(name: str, grad_out: float) -> None:
    warnings.warn(
        f"`{name}` was part of PyTorch's private API and not meant to be exposed. Hint: "
        "autograd.functional.jacobian and func.jacrev compute Jacobians.",
        FutureWarning,
        stacklevel=stacklevel(),
    )
    if grad_out != 1.0:
        raise ClgradValueError(
            f"Expected grad_out to be 1.0. {name} no longer supports values of grad_out != 1.0."
        )


def _leaves(inputs: Any) -> list[Tensor]:
    """Return the tensors in nested sequences that require grad."""
    if isinstance(inputs, Tensor):
        return [inputs] if inputs.is_floating_point() and requires_grad_of(inputs) else []
    if isinstance(inputs, Sequence) and not isinstance(inputs, str):
        return [leaf for one in inputs for leaf in _leaves(one)]
    return []


def _matrix(array: Any, output: Tensor) -> Tensor:
    made: Tensor = Tensor._construct(array, dtype=output.dtype, device=output.device)
    return made


def get_numerical_jacobian(
    fn: Callable[[Any], Any], inputs: Any, target: Any = None, eps: float = 1e-3,
    grad_out: float = 1.0,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Return d(first output) / d(input) by central differences, for each input.

    Args:
        fn: takes `inputs` as one argument.
        inputs: nested sequences of tensors; those that require grad are moved.
        target: these are moved instead; `fn` must read them.
        eps: half the distance of the differences.
        grad_out: 1.

    Returns:
        Tensors of shape (input numel, output numel).

    Raises:
        ClgradValueError: another `grad_out`.
    """
    _given("get_numerical_jacobian", grad_out)
    moved = _leaves(inputs if target is None else target)

    def with_inputs(*moving: Tensor) -> Any:
        return fn(inputs)

    output = tensors(fn(inputs))[0]
    return tuple(
        [
            _matrix(numerical(with_inputs, moved, k, [output], eps)[0], output)
            for k in range(len(moved))
        ]
    )


def get_numerical_jacobian_wrt_specific_input(
    fn: Callable[..., Any], input_idx: int, inputs: Sequence[Any], outputs: Sequence[Tensor],
    eps: float, input: Tensor | None = None, is_forward_ad: bool = False,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Return d(output) / d(one input) by central differences, for each output.

    Args:
        fn: takes the inputs.
        input_idx: which of `inputs` is moved.
        outputs: what `fn` returns for them.
        eps: half the distance of the differences.
        input: is moved instead.
        is_forward_ad: PyTorch's; the same for real numbers.

    Raises:
        NothingToPerturbError: the input requires no grad.
    """
    args = list(inputs)
    if input is not None:
        args[input_idx] = input
    if not requires_grad_of(args[input_idx]):
        raise NothingToPerturbError(
            "get_numerical_jacobian_wrt_specific_input: Expected input to have requires_grad=True. "
            "Hint: requires_grad_() first."
        )
    found = numerical(fn, args, input_idx, list(outputs), eps)
    return tuple([_matrix(array, o) for array, o in zip(found, outputs, strict=True)])


def get_analytical_jacobian(
    inputs: Any, output: Tensor, nondet_tol: float = 0.0, grad_out: float = 1.0
) -> tuple[tuple[Tensor, ...], bool, bool, bool]:
    """Return d(output) / d(input) by backward, for each input that requires grad.

    Args:
        inputs: nested sequences of tensors.
        output: what was made of them.
        nondet_tol: how much two backward passes may differ.
        grad_out: 1.

    Returns:
        Tensors of shape (input numel, output numel); whether both passes agree; whether gradients
        have the sizes and the dtypes of the inputs.

    Raises:
        ClgradValueError: another `grad_out`.
    """
    _given("get_analytical_jacobian", grad_out)
    if not isinstance(output, Tensor):
        raise ClgradTypeError(
            f"get_analytical_jacobian: got {type(output).__name__}. Expected a tensor as output."
        )
    sources = _leaves(inputs)
    count = output.numel()
    passes = []
    sizes = types = True
    for _ in range(2):
        columns = [np.zeros((source.numel(), count)) for source in sources]
        for k in range(count):
            seed = like(np.eye(1, count, k), output)
            found = grad(output, sources, seed, retain_graph=True, allow_unused=True)
            for column, one, source in zip(columns, found, sources, strict=True):
                if one is not None:
                    types = types and one.dtype is source.dtype
                    sizes = sizes and one.shape == source.shape
                    column[:, k] = read(one).reshape(-1)
        passes.append(columns)
    first, second = passes
    agree = all(
        np.abs(a - b).max(initial=0.0) <= nondet_tol for a, b in zip(first, second, strict=True)
    )
    jacobians = [_matrix(array, source) for array, source in zip(first, sources, strict=True)]
    return tuple(jacobians), bool(agree), sizes, types
