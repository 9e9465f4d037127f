"""Compare gradients with central differences, in double precision.

`gradcheck` checks first derivatives, `gradgradcheck` those of the backward pass. Both are tests:
they run a function hundreds of times and are slow on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad.autograd.backward import grad
from clgrad.errors import AutogradError, ClgradValueError
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor

Array = Any


class GradcheckError(AutogradError):
    """The gradients that were computed are not those that differences show."""


def _outputs(function: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    made = function(*inputs)
    found = made if isinstance(made, tuple | list) else (made,)
    return [t for t in found if isinstance(t, Tensor) and t.is_floating_point()]


def _read(tensor: Tensor) -> Array:
    array: Array = tensor.numpy(force=True).astype(np.float64)
    return array


def _numerical(
    function: Callable[..., Any], inputs: Sequence[Any], which: int, eps: float
) -> list[Array]:
    """Return for each output d(output) / d(input `which`), shape (input numel, output numel)."""
    source: Tensor = inputs[which]
    point = source.numpy(force=True)
    flat = point.reshape(-1)
    rows: list[list[Array]] = []
    for k in range(flat.size):
        sides = []
        for step in (eps, -eps):
            moved = flat.copy()
            moved[k] += step
            args = [a.detach() if isinstance(a, Tensor) else a for a in inputs]
            replacement = Tensor._construct(
                moved.reshape(point.shape), dtype=source.dtype, device=source.device
            )
            args[which] = replacement.requires_grad_(mode.grad and source.requires_grad)
            sides.append([_read(o).reshape(-1) for o in _outputs(function, args)])
        rows.append([(a - b) / (2 * eps) for a, b in zip(*sides, strict=True)])
    count = len(rows[0]) if rows else 0
    return [np.stack([row[o] for row in rows]) for o in range(count)]


def _analytical(output: Tensor, inputs: Sequence[Tensor]) -> list[Array]:
    """Return for each input d(output) / d(input), shape (input numel, output numel)."""
    columns: list[list[Array]] = [[] for _ in inputs]
    count = output.numel()
    if not requires_grad_of(output):
        return [np.zeros((i.numel(), count)) for i in inputs]
    for k in range(count):
        seed = np.zeros(count)
        seed[k] = 1
        given = Tensor._construct(
            seed.reshape(output.shape), dtype=output.dtype, device=output.device
        )
        found = grad(output, inputs, given, retain_graph=True, allow_unused=True)
        for column, one, source in zip(columns, found, inputs, strict=True):
            if one is None:
                column.append(np.zeros(source.numel()))
                continue
            if one.shape != source.shape or one.dtype is not source.dtype:
                raise GradcheckError(
                    f"gradcheck: a gradient is {one.dtype.name} of shape {list(one.shape)}. "
                    f"Expected {source.dtype.name} of shape {list(source.shape)}."
                )
            column.append(_read(one).reshape(-1))
    return [
        np.stack(c, 1) if c else np.zeros((i.numel(), 0))
        for c, i in zip(columns, inputs, strict=True)
    ]


def _compare(
    analytical: Array, numerical: Array, output: int, source: int, atol: float, rtol: float
) -> None:
    with np.errstate(invalid="ignore"):
        bad = ~np.isclose(analytical, numerical, rtol, atol, equal_nan=True)
    if not bad.any():
        return
    error = np.where(bad, np.abs(analytical - numerical), -1)
    error = np.where(np.isnan(error), np.inf, error)
    i, o = np.unravel_index(int(np.argmax(error)), error.shape)
    raise GradcheckError(
        f"gradcheck: Jacobian mismatch for output {output} with respect to input {source}: "
        f"{int(bad.sum())} of {bad.size} elements, worst at (input element {i}, output element "
        f"{o}): numerical {numerical[i, o]:.8g}, analytical {analytical[i, o]:.8g}, off by "
        f"{abs(analytical[i, o] - numerical[i, o]):.3g}. Expected atol={atol}, rtol={rtol}."
    )


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Check the gradients of `func` at `inputs` by central differences.

    Args:
        func: takes the inputs, returns a tensor or several.
        inputs: those that require grad are checked; they should be float64.
        eps: half the distance of the differences.
        nondet_tol: how much two backward passes may differ.
        check_undefined_grad: also run backward with some outputs' gradients missing.
        fast_mode: compare a random projection of the Jacobian instead of all of it.

    Returns:
        True; False for a mismatch if `raise_exception` is off.

    Raises:
        GradcheckError: a mismatch; the text says where and by how much.
        ClgradValueError: no input requires grad.
    """
    args = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    try:
        _check(func, args, eps, atol, rtol, nondet_tol, check_undefined_grad, fast_mode)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(
    func: Callable[..., Any], args: list[Any], eps: float, atol: float, rtol: float,
    nondet_tol: float, check_undefined: bool, fast: bool,
) -> None:  # fmt: skip
    places = [k for k, a in enumerate(args) if isinstance(a, Tensor) and requires_grad_of(a)]
    if not places:
        raise ClgradValueError(
            "gradcheck: expects at least one input tensor to require gradient, but none of them "
            "have requires_grad=True."
        )
    for k in places:
        if args[k].dtype.itemsize < 8:
            raise ClgradValueError(
                f"gradcheck: input {k} is {args[k].dtype.name}. Expected float64: differences of "
                "float32 say nothing. Hint: x.double()."
            )
    sources = [args[k] for k in places]
    outputs = _outputs(func, args)
    if not outputs:
        raise GradcheckError("gradcheck: the function returned no floating-point tensor.")
    numerical = {k: _numerical(func, args, k, eps) for k in places}
    rng = np.random.default_rng(0)
    for o, output in enumerate(outputs):
        exact = _analytical(output, sources)
        again = _analytical(output, sources)
        for place, k in enumerate(places):
            a, n = exact[place], numerical[k][o]
            if np.abs(a - again[place]).max(initial=0) > nondet_tol:
                raise GradcheckError(
                    f"gradcheck: Backward is not reentrant: two passes for output {o} and input "
                    f"{k} differ by {np.abs(a - again[place]).max():.3g}, more than nondet_tol."
                )
            if fast:
                u, v = rng.random(a.shape[0]), rng.random(a.shape[1])
                a, n = (u @ a @ v).reshape(1, 1), (u @ n @ v).reshape(1, 1)
            _compare(a, n, o, k, atol, rtol)
    if check_undefined and len(outputs) > 1:
        _check_undefined(func, args, sources)


def _check_undefined(func: Callable[..., Any], args: list[Any], sources: list[Tensor]) -> None:
    """A missing gradient of one output must count as zeros."""
    outputs = [o for o in _outputs(func, args) if requires_grad_of(o)]
    for output in outputs:
        one = Tensor._construct(
            np.ones(tuple(output.shape)), dtype=output.dtype, device=output.device
        )
        alone = grad(output, sources, one, retain_graph=True, allow_unused=True)
        others = [o._zeros(o.shape) for o in outputs if o is not output]
        together = grad(
            [output, *(o for o in outputs if o is not output)], sources, [one, *others],
            retain_graph=True, allow_unused=True,
        )  # fmt: skip
        for a, b in zip(alone, together, strict=True):
            x = 0.0 if a is None else _read(a)
            y = 0.0 if b is None else _read(b)
            if not np.allclose(x, y, equal_nan=True):
                raise GradcheckError(
                    "gradcheck: Expected a missing output gradient to act as zeros, but the "
                    "gradients differ."
                )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Check the gradients of the backward pass of `func`; arguments as for `gradcheck`.

    Args:
        grad_outputs: gradients at which to check; random ones by default.
        gen_non_contig_grad_outputs: make the random ones non-contiguous.
    """
    args = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    outputs = [o for o in _outputs(func, args) if requires_grad_of(o)]
    if grad_outputs is None:
        rng = np.random.default_rng(1)
        seeds: list[Tensor] = []
        for o in outputs:
            twice = (*o.shape, 2) if gen_non_contig_grad_outputs else tuple(o.shape)
            made = Tensor._construct(rng.standard_normal(twice), dtype=o.dtype, device=o.device)
            seeds.append(made.select(-1, 0) if gen_non_contig_grad_outputs else made)
    else:
        seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    seeds = [s.detach().requires_grad_() for s in seeds]
    count = len(args)

    def first(*given: Any) -> tuple[Tensor, ...]:
        with_grad = [
            g if not isinstance(g, Tensor) or not requires_grad_of(a) or requires_grad_of(g)
            else g.requires_grad_()
            for g, a in zip(given[:count], args, strict=True)
        ]  # fmt: skip
        sources = [
            g for g, a in zip(with_grad, args, strict=True)
            if isinstance(a, Tensor) and requires_grad_of(a)
        ]  # fmt: skip
        made = [o for o in _outputs(func, with_grad) if requires_grad_of(o)]
        found = grad(made, sources, given[count:], create_graph=True, allow_unused=True)
        return tuple([f for f in found if f is not None])

    return gradcheck(
        first, [*args, *seeds], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, fast_mode=fast_mode,
    )  # fmt: skip
