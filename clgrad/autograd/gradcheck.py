"""Compare gradients with central differences, in double precision.

`gradcheck` checks first derivatives, `gradgradcheck` those of the backward pass. Both are tests:
they run a function hundreds of times and are slow on purpose.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from clgrad.autograd.backward import grad
from clgrad.autograd.differences import differentiable, like, numerical, read, slopes, tensors
from clgrad.autograd.forward_check import ForwardCheck
from clgrad.autograd.jacobians import (
    get_analytical_jacobian,
    get_numerical_jacobian,
    get_numerical_jacobian_wrt_specific_input,
)
from clgrad.autograd.undefined import Undefined
from clgrad.errors import AutogradError, ClgradValueError
from clgrad.graph.position import stacklevel
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor

__all__ = [
    "GradcheckError", "get_analytical_jacobian", "get_numerical_jacobian",
    "get_numerical_jacobian_wrt_specific_input", "gradcheck", "gradgradcheck",
]  # fmt: skip

Array = Any


class GradcheckError(AutogradError):
    """The gradients that were computed are not those that differences show."""


class NothingToCheckError(ClgradValueError, AssertionError):
    """Neither mode of differentiation is to be checked."""


@dataclass(frozen=True)
class _Options:
    """What the caller of a check has chosen; see `gradcheck`."""

    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    check_undefined_grad: bool
    check_grad_dtypes: bool
    check_batched_grad: bool
    check_batched_forward_grad: bool
    check_forward_ad: bool
    check_backward_ad: bool
    fast_mode: bool


def _pulled(
    output: Tensor, sources: Sequence[Tensor], seed: Tensor, options: _Options
) -> list[Array]:
    """Return the gradients of one output, flat; zeros where it does not depend."""
    found = grad(output, sources, seed, retain_graph=True, allow_unused=True)
    rows = []
    for k, (one, source) in enumerate(zip(found, sources, strict=True)):
        if one is None:
            rows.append(np.zeros(source.numel()))
            continue
        if options.check_grad_dtypes and one.dtype is not source.dtype:
            raise GradcheckError(
                f"gradcheck: Gradient has dtype mismatch: that of input {k} is {one.dtype.name}. "
                f"Expected {source.dtype.name}."
            )
        if one.shape != source.shape:
            raise GradcheckError(
                f"gradcheck: Analytical gradient has incorrect size: that of input {k} is "
                f"{list(one.shape)}. Expected {list(source.shape)}."
            )
        rows.append(read(one).reshape(-1))
    return rows


def _analytical(output: Tensor, sources: Sequence[Tensor], options: _Options) -> list[Array]:
    """Return for each input d(output) / d(input), shape (input numel, output numel)."""
    count = output.numel()
    columns = [
        _pulled(output, sources, like(np.eye(1, count, k), output), options) for k in range(count)
    ]
    return [
        np.stack([c[i] for c in columns], 1) if columns else np.zeros((source.numel(), 0))
        for i, source in enumerate(sources)
    ]


# ---- the checks --------------------------------------------------------------------------------


def _compare(
    analytical: Array, numerical: Array, output: int, source: int, options: _Options,
    forward: bool = False,
) -> None:  # fmt: skip
    with np.errstate(invalid="ignore"):
        bad = ~np.isclose(analytical, numerical, options.rtol, options.atol, equal_nan=True)
    if not bad.any():
        return
    error = np.where(bad, np.abs(analytical - numerical), -1)
    error = np.where(np.isnan(error), np.inf, error)
    i, o = np.unravel_index(int(np.argmax(error)), error.shape)
    kind = "forward-mode" if forward else "analytical"
    what = "Jacobian computed with forward mode" if forward else "Jacobian"
    raise GradcheckError(
        f"gradcheck: {what} mismatch for output {output} with respect to input {source}: "
        f"{int(bad.sum())} of {bad.size} elements, worst at (input element {i}, output element "
        f"{o}): numerical {numerical[i, o]:.8g}, {kind} {analytical[i, o]:.8g}, off by "
        f"{abs(analytical[i, o] - numerical[i, o]):.3g}. Expected atol={options.atol}, "
        f"rtol={options.rtol}.\nnumerical:\n{_shown(numerical)}\n{kind}:\n{_shown(analytical)}"
    )


def _shown(jacobian: Array) -> str:
    return np.array2string(jacobian, precision=6, threshold=64, edgeitems=3)


class _Check:
    """One run of `gradcheck`: the function, its inputs, and which of them are checked."""

    def __init__(self, func: Callable[..., Any], args: list[Any], options: _Options) -> None:
        self.func = func
        self.args = args
        self.options = options
        self.places = [
            k for k, a in enumerate(args) if isinstance(a, Tensor) and requires_grad_of(a)
        ]
        self.sources = [args[k] for k in self.places]
        self.rng = np.random.default_rng(0)

    def run(self) -> None:
        self.inputs()
        made = self.func(*self.args)
        outputs = differentiable(made)
        everything = tensors(made)
        if not outputs:
            self.constant(everything)
            return
        options = self.options
        numbers = [k for k, o in enumerate(everything) if requires_grad_of(o)]
        if options.fast_mode:
            for o, output in zip(numbers, outputs, strict=True):
                self.projected(o, output, everything)
        else:
            self.jacobians(outputs, everything, numbers)
        if options.check_forward_ad or options.check_batched_forward_grad:
            self.forward(everything)
        if options.check_backward_ad:
            self.linear(outputs)
            if options.check_batched_grad:
                self.batched(outputs)
            if options.check_undefined_grad:
                self.undefined()

    def inputs(self) -> None:
        """Check that the inputs can be checked at all."""
        if not self.places:
            raise ClgradValueError(
                "gradcheck: expects at least one input tensor to require gradient, but none of "
                "them have requires_grad=True."
            )
        for k in self.places:
            one = self.args[k]
            if one.dtype.itemsize < 8:
                warnings.warn(
                    f"Input #{k} requires gradient and is not a double precision floating point: "
                    f"it is {one.dtype.name}. This check will likely fail. Hint: x.double().",
                    UserWarning,
                    stacklevel=stacklevel(),
                )
            if any(s == 0 and n > 1 for s, n in zip(one.stride(), one.shape, strict=True)):
                raise AutogradError(
                    f"gradcheck: The {k}th input has a dimension with stride 0: shape "
                    f"{list(one.shape)}, strides {list(one.stride())}. Expected elements that do "
                    "not share memory. Hint: call .contiguous() on it."
                )

    def constant(self, outputs: Sequence[Tensor]) -> None:
        """Check that nothing depends on the inputs, if no output says that it does."""
        for k in self.places:
            for o, jacobian in enumerate(numerical(self.func, self.args, k, outputs, 1e-6)):
                if not np.allclose(jacobian, 0, atol=self.options.atol):
                    raise GradcheckError(
                        "gradcheck: Numerical gradient for function expected to be zero, as no "
                        f"output requires grad, but output {o} depends on input {k}. Hint: is it "
                        "detached somewhere, or made by other means than ops?"
                    )

    def jacobians(
        self, outputs: Sequence[Tensor], everything: Sequence[Tensor], numbers: Sequence[int]
    ) -> None:
        """Compare derivatives with differences, for all outputs and inputs."""
        options = self.options
        expected = {
            k: numerical(self.func, self.args, k, everything, options.eps) for k in self.places
        }
        for o, output in zip(numbers, outputs, strict=True):
            if options.check_backward_ad:
                exact = _analytical(output, self.sources, options)
                again = _analytical(output, self.sources, options)
                for place, k in enumerate(self.places):
                    _compare(exact[place], expected[k][o], o, k, options)
                    self.reentrant(exact[place], again[place], o, k)
        if options.check_forward_ad:
            check = ForwardCheck(self.func, self.args, self.places)
            for k in self.places:
                for o, pushed in enumerate(check.jacobian(k)):
                    _compare(pushed, expected[k][o], o, k, options, forward=True)

    def forward(self, outputs: Sequence[Tensor]) -> None:
        """Check the rest of forward mode: projections, missing tangents, batches of them."""
        options = self.options
        check = ForwardCheck(self.func, self.args, self.places)
        for k in self.places if options.check_forward_ad and options.fast_mode else ():
            u = self.direction(self.args[k])
            point = read(self.args[k]).reshape(-1)
            step = u * options.eps
            found = slopes(self.func, self.args, k, point, step, outputs, options.eps)
            for o, (pushed, slope) in enumerate(zip(check.pushed(k, [u]), found, strict=True)):
                _compare(pushed, slope[None], o, k, options, forward=True)
        if options.check_forward_ad and options.check_undefined_grad:
            wrong = check.undefined(self.rng)
            if wrong:
                raise GradcheckError(
                    f"gradcheck: Mismatch in tangent values: {wrong}. Expected what zeros give."
                )
        if options.check_batched_forward_grad:
            failed = (
                "gradcheck failed while testing batched gradient computation with forward-mode AD"
            )
            with _as_mismatch(failed):
                wrong = check.batched(self.rng)
            if wrong:
                raise GradcheckError(f"gradcheck: {failed}: {wrong}.")

    def direction(self, tensor: Tensor) -> Array:
        """Return a random direction of a tensor, flat."""
        made = self.rng.random(tensor.numel())
        return made / (np.linalg.norm(made) or 1)

    def reentrant(self, first: Array, second: Array, output: int, source: int) -> None:
        """Check that two backward passes give the same."""
        apart = float(np.abs(first - second).max(initial=0))
        if apart > self.options.nondet_tol:
            raise GradcheckError(
                "gradcheck: Backward is not reentrant, i.e., running backward with same input and "
                "grad_output multiple times gives different values, although analytical gradient "
                f"matches numerical gradient: output {output}, input {source}, off by {apart:.3g}. "
                f"The tolerance for nondeterminism was {self.options.nondet_tol}."
            )

    def projected(self, o: int, output: Tensor, everything: Sequence[Tensor]) -> None:
        """Compare one random projection of each Jacobian; all of it where that does not fit."""
        options = self.options
        if not options.check_backward_ad:
            return
        v = self.direction(output)
        seed = like(v, output)
        pulled = _pulled(output, self.sources, seed, options)
        again = _pulled(output, self.sources, seed, options)
        for place, k in enumerate(self.places):
            u = self.direction(self.args[k])
            point = read(self.args[k]).reshape(-1)
            step = u * options.eps
            slope = slopes(self.func, self.args, k, point, step, everything, options.eps)[o] @ v
            if not np.isclose(pulled[place] @ u, slope, options.rtol, options.atol):
                exact = _analytical(output, self.sources, options)[place]
                full = numerical(self.func, self.args, k, everything, options.eps)[o]
                _compare(exact, full, o, k, options)
                sides = pulled[place] @ u, slope
                _compare(np.array([[sides[0]]]), np.array([[sides[1]]]), o, k, options)
            self.reentrant(pulled[place], again[place], o, k)

    def linear(self, outputs: Sequence[Tensor]) -> None:
        """Check that no gradient comes of no gradient, and that gradients look like inputs."""
        zeros = [o._zeros(o.shape) for o in outputs]
        found = grad(outputs, self.sources, zeros, retain_graph=True, allow_unused=True)
        for k, one, source in zip(self.places, found, self.sources, strict=True):
            if one is None:
                continue
            if read(one).any():
                raise GradcheckError(
                    f"gradcheck: backward not multiplied by grad_output: input {k} has a gradient "
                    "other than 0 where those of all outputs are 0."
                )
            for what in ("dtype", "device", "shape"):
                if getattr(one, what) != getattr(source, what):
                    kind = {"dtype": "type", "shape": "size"}.get(what, what)
                    raise GradcheckError(
                        f"gradcheck: grad is incorrect {kind}: that of input {k} has {what} "
                        f"{getattr(one, what)}. Expected {getattr(source, what)}."
                    )

    def batched(self, outputs: Sequence[Tensor]) -> None:
        """Check that gradients of a batch are those of its entries."""
        for o, output in enumerate(outputs):
            seeds = Tensor._construct(
                self.rng.standard_normal((2, *output.shape)), dtype=output.dtype,
                device=output.device,
            )  # fmt: skip
            failed = "gradcheck or gradgradcheck failed while testing batched gradient computation"
            with _as_mismatch(failed):
                together = grad(
                    output, self.sources, seeds, retain_graph=True, allow_unused=True,
                    is_grads_batched=True,
                )  # fmt: skip
            for b in range(2):
                alone = grad(
                    output, self.sources, seeds[b], retain_graph=True, allow_unused=True
                )  # fmt: skip
                for k, one, row in zip(self.places, alone, together, strict=True):
                    same = one is row is None or (
                        one is not None and row is not None
                        and np.allclose(read(one), read(row[b]), equal_nan=True)
                    )  # fmt: skip
                    if not same:
                        raise GradcheckError(f"{failed}: output {o}, input {k}.")

    def undefined(self) -> None:
        """Check that backward takes a missing gradient of an output for zeros."""
        count = len(differentiable(self.func(*self.args)))
        for missing in [range(count), *([k] for k in range(count) if count > 1)]:
            outputs = differentiable(self.func(*self.args))
            outputs = [Undefined.apply(o) if k in missing else o for k, o in enumerate(outputs)]
            zeros = [o._zeros(o.shape) for o in outputs]
            try:
                found = grad(outputs, self.sources, zeros, allow_unused=True)
            except RuntimeError as error:
                _warn_of_undefined()
                raise GradcheckError(
                    "gradcheck: Expected backward function to handle undefined output grads, but "
                    f"it raised {type(error).__name__}: {error}. Hint: a gradient may be None; or "
                    "check_undefined_grad=False."
                ) from error
            if any(one is not None and read(one).any() for one in found):
                _warn_of_undefined()
                raise GradcheckError(
                    "gradcheck: Expected all input grads to be undefined or zero when all output "
                    "grads are undefined or zero. Hint: check_undefined_grad=False if so meant."
                )


@contextmanager
def _as_mismatch(failed: str) -> Iterator[None]:
    """Have what cannot be done to a batch be a mismatch."""
    try:
        yield
    except RuntimeError as error:
        raise GradcheckError(
            f"While computing batched gradients, got: {error}\n\n{failed}. Hint: "
            "check_batched_grad=False and check_batched_forward_grad=False leave that out."
        ) from error


def _warn_of_undefined() -> None:
    warnings.warn(
        "Backwards compatibility: New undefined gradient support checking feature is enabled by "
        "default, but it may break existing callers of this function. Hint: "
        "check_undefined_grad=False turns it off.",
        UserWarning,
        stacklevel=stacklevel(),
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
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check the gradients of `func` at `inputs` by central differences.

    Args:
        func: takes the inputs, returns a tensor or several.
        inputs: those that require grad are checked; they should be float64.
        eps: half the distance of the differences.
        nondet_tol: how much two backward passes may differ.
        check_undefined_grad: also run backward with gradients of outputs missing.
        check_grad_dtypes: gradients must have the dtypes of the inputs.
        check_batched_grad: also run backward for batches of gradients.
        check_forward_ad, check_backward_ad: which mode of differentiation to check.
        fast_mode: compare a random projection of the Jacobian instead of all of it.
        check_batched_forward_grad: also run forward mode for batches of tangents.
        masked: taken for PyTorch's sake.

    Returns:
        True; False for a mismatch if `raise_exception` is off.

    Raises:
        GradcheckError: a mismatch; the text says where and by how much.
        ClgradValueError: no input requires grad.
    """
    if not (check_backward_ad or check_forward_ad):
        raise NothingToCheckError(
            "gradcheck: Expected at least one of check_forward_ad and check_backward_ad to be True."
        )
    args = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    options = _Options(
        eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes, check_batched_grad,
        check_batched_forward_grad, check_forward_ad, check_backward_ad, fast_mode,
    )  # fmt: skip
    try:
        _Check(func, args, options).run()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


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
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Check the gradients of the backward pass of `func`; arguments as for `gradcheck`.

    Args:
        grad_outputs: gradients at which to check; random ones by default.
        gen_non_contig_grad_outputs: make the random ones non-contiguous.
        check_fwd_over_rev, check_rev_over_rev: in which mode the backward pass is differentiated.
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise NothingToCheckError(
            "gradgradcheck: Expected at least one of check_fwd_over_rev and check_rev_over_rev to "
            "be True."
        )
    args = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None:
        outputs = differentiable(func(*args))
        rng = np.random.default_rng(1)
        seeds: list[Tensor] = []
        for o in outputs:
            twice = (*o.shape, 2) if gen_non_contig_grad_outputs else tuple(o.shape)
            made = Tensor._construct(rng.standard_normal(twice), dtype=o.dtype, device=o.device)
            made = made.select(-1, 0) if gen_non_contig_grad_outputs else made
            seeds.append(made.requires_grad_())
    else:
        seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    count = len(args)
    wanted = [isinstance(a, Tensor) and requires_grad_of(a) for a in (*args, *seeds)]

    def first(*given: Any) -> tuple[Tensor, ...]:
        ready = [
            one.requires_grad_() if need and not requires_grad_of(one) else one
            for one, need in zip(given, wanted, strict=True)
        ]
        sources = [one for one, need in zip(ready[:count], wanted, strict=False) if need]
        made = differentiable(func(*ready[:count]))
        found = grad(made, sources, ready[count:], create_graph=True, allow_unused=True)
        return tuple([f for f in found if f is not None])

    return gradcheck(
        first, [*args, *seeds], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes, check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode)  # fmt: skip
