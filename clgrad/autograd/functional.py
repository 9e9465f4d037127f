"""Jacobians, Hessians and products with them, of functions of tensors.

All of it is made of `grad`: a Jacobian takes one backward pass per output element (or, in forward
mode, per input element), a product with a vector from the right two passes: the derivative of the
vector-Jacobian product by its vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from clgrad.autograd.backward import grad
from clgrad.autograd.units import for_units
from clgrad.errors import AutogradError, ClgradTypeError, ClgradValueError, ShapeError
from clgrad.tape import grad_mode
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | tuple[Tensor, ...]
_OUTPUTS = "outputs of the user-provided function"
_STRICT = "This is not allowed in strict mode"


# ---- inputs and outputs ------------------------------------------------------------------------


def _as_tuple(value: Any, what: str, op: str) -> tuple[bool, tuple[Tensor, ...]]:
    """Return whether `value` is one tensor, and the tensors."""
    single = not isinstance(value, tuple)
    found = (value,) if single else value
    for k, one in enumerate(found):
        if not isinstance(one, Tensor):
            which = f"given {what} has" if single else f"value at index {k} has"
            raise ClgradTypeError(
                f"The {what} given to {op} must be either a Tensor or a tuple of Tensors but the "
                f"{which} type {type(one).__name__}."
            )
    return single, found


def _prepared(
    inputs: Sequence[Tensor], create_graph: bool, need: bool = True
) -> tuple[Tensor, ...]:
    """Return tensors to differentiate by: in the graph of the inputs, or cut off from it."""
    return tuple(
        [
            x.view_as(x)
            if create_graph and requires_grad_of(x)
            else x.detach().requires_grad_(need)
            for x in inputs
        ]
    )


def _vectors(
    given: Any, like: Sequence[Tensor], single: bool, create_graph: bool, op: str, whose: str
) -> Sequence[Tensor | None]:
    """Check a vector against the tensors whose shapes it must have; None for a single element."""
    if given is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise AutogradError(
                f"The vector v can only be None if the {whose} a single Tensor with a single "
                f"element. Hint: {op}(func, inputs, v)."
            )
        return (None,)
    _, vectors = _as_tuple(given, "v", op)
    if len(vectors) != len(like):
        raise AutogradError(
            "The given v should contain a single Tensor."
            if single
            else f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
        )
    for k, (v, x) in enumerate(zip(vectors, like, strict=True)):
        if v.shape != x.shape:
            entry = "" if single else f"Entry {k} in "
            raise ShapeError(
                f"{entry}v has invalid size: should be {x.shape!r} but got {v.shape!r}."
            )
    return _prepared(vectors, create_graph, need=False)


def _finished(results: Sequence[Tensor], single: bool, create_graph: bool) -> Any:
    done = tuple(results) if create_graph else tuple([r.detach() for r in results])
    return done[0] if single else done


def _zeros(x: Tensor) -> Tensor:
    made: Tensor = x._zeros(x.shape)
    return made


# ---- gradients, and what strict mode asks of them ----------------------------------------------


def _gradients(
    outputs: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor | None],
    create_graph: bool,
) -> Sequence[Tensor | None]:
    """Return gradients, None for what does not depend; the graph is retained."""
    pairs = [
        (o, v)
        for o, v in zip(outputs, vectors, strict=True)
        if o is not None and requires_grad_of(o)
    ]
    if not pairs:
        return [None] * len(inputs)
    found: Sequence[Tensor | None] = grad(
        [o for o, _ in pairs], inputs, [v for _, v in pairs], retain_graph=True,
        create_graph=create_graph, allow_unused=True,
    )  # fmt: skip
    return found


def _require_outputs(outputs: Sequence[Tensor], strict: bool) -> None:
    for k, one in enumerate(outputs):
        if strict and not requires_grad_of(one):
            raise AutogradError(
                f"Output {k} of the user-provided function does not require gradients. {_STRICT}. "
                "Hint: compute it from the inputs by differentiable ops."
            )


def _require(found: Sequence[Tensor | None], strict: bool, text: str) -> None:
    """Raise in strict mode if what should depend on the inputs does not; `text` names input {}."""
    for k, one in enumerate(found):
        if not strict:
            return
        if one is None:
            raise AutogradError(
                f"The output of the user-provided function is independent of input {k}. {_STRICT}."
            )
        if not requires_grad_of(one):
            raise AutogradError(f"{text.format(k)} {_STRICT}.")


_LINEAR = (
    "While computing the hessian, found that the jacobian of the user-provided function with "
    "respect to input {} is independent of the input: is it linear?"
)
_CONSTANT = (
    "The hessian of the user-provided function with respect to input {} is independent of the "
    "input."
)
_SLOPE = (
    "The gradient with respect to input {} is independent of the inputs of the user-provided "
    "function."
)


def _filled(
    found: Sequence[Tensor | None], like: Sequence[Tensor], strict: bool, create_graph: bool,
    what: str,
) -> list[Tensor]:  # fmt: skip
    """Return gradients with zeros for what is None; in strict mode that is an error."""
    results = []
    for k, (one, x) in enumerate(zip(found, like, strict=True)):
        if strict and one is None:
            raise AutogradError(
                f"The {what} of the user-provided function is independent of input {k}. {_STRICT}."
            )
        if strict and create_graph and one is not None and not requires_grad_of(one):
            what = "hessian" if what in ("jacobian", "hessian") else "jacobian"
            raise AutogradError(
                f"The {what} of the user-provided function is independent of input {k}. {_STRICT} "
                "when create_graph=True."
            )
        results.append(_zeros(x) if one is None else one)
    return results


# ---- products ----------------------------------------------------------------------------------


def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None,
    create_graph: bool = False, strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the outputs of `func` and the product of `v` with its Jacobian.

    Args:
        v: shapes of the outputs; may be left out for a single element.
        create_graph: keep the result differentiable.
        strict: raise where an input has no influence, instead of returning zeros.
    """
    with grad_mode.enable_grad():
        single, given = _as_tuple(inputs, "inputs", "vjp")
        sources = _prepared(given, create_graph)
        one, outputs = _as_tuple(func(*sources), _OUTPUTS, "vjp")
        _require_outputs(outputs, strict)
        whose = "user-provided function returns"
        vectors = _vectors(v, outputs, one, create_graph, "vjp", whose)
        found = _gradients(outputs, sources, vectors, create_graph)
        filled = _filled(found, sources, strict, create_graph, "output")
    return _finished(outputs, one, create_graph), _finished(filled, single, create_graph)


_INPUT_IS = "input to the user-provided function is"


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None,
    create_graph: bool = False, strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the outputs of `func` and the product of its Jacobian with `v`.

    Args:
        v: shapes of the inputs; may be left out for a single element.
    """
    with grad_mode.enable_grad():
        single, given = _as_tuple(inputs, "inputs", "jvp")
        sources = _prepared(given, create_graph)
        vectors = _vectors(v, sources, single, create_graph, "jvp", _INPUT_IS)
        one, outputs = _as_tuple(func(*sources), _OUTPUTS, "jvp")
        _require_outputs(outputs, strict)
        # the vector-Jacobian product is linear in its vector, so any vector will do
        duals = [_zeros(o).requires_grad_() for o in outputs]
        first = _gradients(outputs, sources, duals, True)
        _require(first, strict, _SLOPE)
        found = _gradients(first, duals, vectors, create_graph)
        filled = _filled(found, outputs, strict, create_graph, "gradient")
    return _finished(outputs, one, create_graph), _finished(filled, one, create_graph)


def _scalar(made: Any, op: str, strict: bool) -> Tensor:
    """Check what the function of a Hessian returned."""
    one, outputs = _as_tuple(made, _OUTPUTS, op)
    _require_outputs(outputs, strict)
    if not one:
        raise AutogradError(f"The function given to {op} should return a single Tensor.")
    if outputs[0].numel() != 1:
        raise AutogradError(
            f"The Tensor returned by the function given to {op} should contain a single element, "
            f"this one has shape {list(outputs[0].shape)}. Hint: reduce it with sum()."
        )
    return outputs[0]


def vhp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None,
    create_graph: bool = False, strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the value of a scalar function and the product of `v` with its Hessian."""
    with grad_mode.enable_grad():
        single, given = _as_tuple(inputs, "inputs", "vhp")
        sources = _prepared(given, create_graph)
        vectors = _vectors(v, sources, single, create_graph, "vhp", _INPUT_IS)
        value = _scalar(func(*sources), "vhp", strict)
        first = _gradients([value], sources, [None], True)
        _require(first, strict, _LINEAR)
        found = _gradients(first, sources, vectors, create_graph)
        filled = _filled(found, sources, strict, create_graph, "jacobian")
    return _finished([value], True, create_graph), _finished(filled, single, create_graph)


def hvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None,
    create_graph: bool = False, strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the value of a scalar function and the product of its Hessian with `v`."""
    with grad_mode.enable_grad():
        single, given = _as_tuple(inputs, "inputs", "hvp")
        sources = _prepared(given, create_graph)
        vectors = _vectors(v, sources, single, create_graph, "hvp", _INPUT_IS)
        value = _scalar(func(*sources), "hvp", strict)
        first = _gradients([value], sources, [None], True)
        _require(first, strict, _LINEAR)
        duals = [_zeros(x).requires_grad_() for x in sources]
        second = _gradients(first, sources, duals, True)
        _require(first, strict, _CONSTANT)
        found = _gradients(second, duals, vectors, create_graph)
        filled = _filled(found, sources, strict, create_graph, "hessian")
    return _finished([value], True, create_graph), _finished(filled, single, create_graph)


# ---- matrices ----------------------------------------------------------------------------------


def jacobian(
    func: Callable[..., Any], inputs: Tensors, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False, strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """Return the Jacobian of `func`.

    Args:
        create_graph: keep the result differentiable.
        strict: raise where an input has no influence, instead of returning zeros.
        vectorize: take all passes together, as `vmap` does.
        strategy: "reverse-mode" takes a pass per output element, "forward-mode" one per input
            element.

    Returns:
        Shape (*output, *input); for several outputs or inputs (nested) tuples, outputs first.
    """
    _check_strategy(strategy)
    if strict and (vectorize or strategy == "forward-mode"):
        raise AutogradError(
            'jacobian: `strict=True` and `vectorize=True` or `strategy="forward-mode"` are not '
            "supported together. Hint: leave one of them out."
        )
    with grad_mode.enable_grad():
        single, given = _as_tuple(inputs, "inputs", "jacobian")
        sources = _prepared(given, create_graph)
        one, outputs = _as_tuple(func(*sources), _OUTPUTS, "jacobian")
        _require_outputs(outputs, strict)
        if vectorize:
            blocks = _together(outputs, sources, create_graph, strategy)
        else:
            make = _by_columns if strategy == "forward-mode" else _by_rows
            blocks = make(outputs, sources, create_graph, strict)
        done = [_finished(block, single, create_graph) for block in blocks]
    return done[0] if one else tuple(done)


class UnknownStrategyError(ClgradValueError, AssertionError):
    """A way to compute Jacobians that there is not."""


def _check_strategy(strategy: str) -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        raise UnknownStrategyError(
            'Expected strategy to be either "forward-mode" or "reverse-mode", got '
            f"{strategy!r}. Hint: forward mode is for more outputs than inputs."
        )


def _units(x: Tensor) -> list[Tensor]:
    """Return for each element a tensor that is 1 there and 0 elsewhere."""
    made = []
    for k in range(x.numel()):
        unit = x._zeros((x.numel(),))
        unit[k] = 1
        made.append(unit.reshape(x.shape))
    return made


def _stacked(parts: Sequence[Tensor], shape: tuple[int, ...], like: Tensor) -> Tensor:
    made: Tensor = parts[0]._stack(parts).reshape(shape) if parts else like._zeros(shape)
    return made


def _by_rows(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], create_graph: bool, strict: bool
) -> list[list[Tensor]]:
    """Return the Jacobian, a backward pass for each output element."""
    blocks = []
    for number, output in enumerate(outputs):
        rows: list[list[Tensor]] = [[] for _ in sources]
        for unit in _units(output):
            found = _gradients([output], sources, [unit], create_graph)
            for k, (one, source) in enumerate(zip(found, sources, strict=True)):
                if strict and one is None:
                    raise AutogradError(
                        f"Output {number} of the user-provided function is independent of input "
                        f"{k}. {_STRICT}."
                    )
                if strict and create_graph and one is not None and not requires_grad_of(one):
                    raise AutogradError(
                        "The jacobian of the user-provided function is independent of input "
                        f"{number}. {_STRICT} when create_graph=True."
                    )
                rows[k].append(_zeros(source) if one is None else one)
        blocks.append(
            [
                _stacked(parts, (*output.shape, *source.shape), source)
                for parts, source in zip(rows, sources, strict=True)
            ]
        )
    return blocks


def _together(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], create_graph: bool, strategy: str
) -> list[list[Tensor]]:
    """Return the Jacobian, by one pass for each output, or one push-forward for each input."""

    def pull(of: Sequence[Tensor], by: Sequence[Tensor], along: Tensor) -> list[Tensor]:
        found = _gradients(of, by, [along], create_graph)
        return [_zeros(x) if one is None else one for one, x in zip(found, by, strict=True)]

    if strategy == "reverse-mode":
        return [
            [
                row.reshape((*output.shape, *source.shape))
                for row, source in zip(
                    for_units(output, partial(pull, [output], sources)), sources, strict=True
                )
            ]
            for output in outputs
        ]
    duals = [_zeros(o).requires_grad_() for o in outputs]
    slopes = _gradients(outputs, sources, duals, True)
    columns = [
        [column._zeros((source.numel(), *column.shape)) for column in outputs]
        if slope is None
        else for_units(source, partial(pull, [slope], duals))
        for source, slope in zip(sources, slopes, strict=True)
    ]
    return [
        [
            column[k].movedim(0, -1).reshape((*output.shape, *source.shape))
            for column, source in zip(columns, sources, strict=True)
        ]
        for k, output in enumerate(outputs)
    ]


def _by_columns(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], create_graph: bool, strict: bool
) -> list[list[Tensor]]:
    """Return the Jacobian, a push-forward for each input element."""
    duals = [_zeros(o).requires_grad_() for o in outputs]
    pulled = _gradients(outputs, sources, duals, True)
    columns: list[list[list[Tensor]]] = [[[] for _ in sources] for _ in outputs]
    for k, (source, slope) in enumerate(zip(sources, pulled, strict=True)):
        for unit in _units(source):
            found = _gradients([slope], duals, [unit], create_graph)
            for number, (one, output) in enumerate(zip(found, outputs, strict=True)):
                columns[number][k].append(_zeros(output) if one is None else one)
    blocks = []
    for output, block in zip(outputs, columns, strict=True):
        row = []
        for parts, source in zip(block, sources, strict=True):
            stacked = _stacked(parts, (source.numel(), *output.shape), output)
            order = (*range(1, stacked.ndim), 0)
            row.append(stacked.permute(order).reshape((*output.shape, *source.shape)))
        blocks.append(row)
    return blocks


def hessian(
    func: Callable[..., Any], inputs: Tensors, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False, outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """Return the Hessian of a function with one element as result; shapes as for `jacobian`."""
    _check_strategy(outer_jacobian_strategy)
    single, given = _as_tuple(inputs, "inputs", "hessian")

    def gradient(*sources: Tensor) -> tuple[Tensor, ...]:
        value = _scalar(func(*sources), "hessian", strict).reshape(())
        (found,) = _by_rows([value], sources, True, strict=False)
        _require(found, strict, _LINEAR)
        return tuple(found)

    made = jacobian(gradient, given, create_graph, strict, vectorize, outer_jacobian_strategy)
    return made[0][0] if single else made
