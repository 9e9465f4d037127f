"""Jacobians, Hessians and products with them, of functions of tensors.

All of it is made of `grad`: a Jacobian takes one backward pass per output element, a product with
a vector from the right two passes (the derivative of the vector-Jacobian product by its vector).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clgrad.autograd.backward import grad
from clgrad.errors import AutogradError, ClgradTypeError, ShapeError
from clgrad.tape import grad_mode
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor

Tensors = Tensor | tuple[Tensor, ...]


def _as_tuple(value: Any, what: str) -> tuple[bool, tuple[Tensor, ...]]:
    """Return whether `value` is one tensor, and the tensors."""
    found = (value,) if isinstance(value, Tensor) else tuple(value)
    for one in found:
        if not isinstance(one, Tensor):
            raise ClgradTypeError(
                f"{what}: got {type(one).__name__}. Expected a tensor or a tuple of tensors."
            )
    return isinstance(value, Tensor), found


def _prepared(inputs: Sequence[Tensor], create_graph: bool) -> tuple[Tensor, ...]:
    """Return tensors to differentiate by: in the graph of the inputs, or cut off from it."""
    if create_graph:
        return tuple([x.view_as(x) if requires_grad_of(x) else _cut(x) for x in inputs])
    return tuple([_cut(x) for x in inputs])


def _cut(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()


def _finished(results: Sequence[Tensor], single: bool, create_graph: bool) -> Any:
    done = tuple(results) if create_graph else tuple([r.detach() for r in results])
    return done[0] if single else done


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor | None],
    create_graph: bool,
    strict: bool,
) -> list[Tensor]:
    """Return gradients with zeros for what does not depend; an error there if `strict`."""
    pairs = [(o, v) for o, v in zip(outputs, vectors, strict=True) if requires_grad_of(o)]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if pairs:
        found = grad(
            [o for o, _ in pairs], inputs, [v for _, v in pairs], retain_graph=True,
            create_graph=create_graph, allow_unused=True,
        )  # fmt: skip
    if strict and any(one is None for one in found):
        k = next(i for i, one in enumerate(found) if one is None)
        raise AutogradError(
            f"Output of the user-provided function does not require gradients, or is independent "
            f"of input {k}. This is not allowed in strict mode. Hint: strict=False gives zeros."
        )
    return [x._zeros(x.shape) if one is None else one for one, x in zip(found, inputs, strict=True)]


def _vectors(given: Any, like: Sequence[Tensor], what: str) -> tuple[Tensor, ...]:
    """Check a vector against the tensors whose shapes it must have; ones for a single element."""
    if given is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise AutogradError(
                f"{what}: the vector v can only be None if there is one tensor of one element. "
                "Hint: pass v."
            )
        return (like[0]._ones(like[0].shape),)
    _, vectors = _as_tuple(given, what)
    if [v.shape for v in vectors] != [x.shape for x in like]:
        raise ShapeError(
            f"{what}: v has shapes {[list(v.shape) for v in vectors]}. Expected "
            f"{[list(x.shape) for x in like]}."
        )
    return vectors


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
        single, given = _as_tuple(inputs, "vjp")
        sources = _prepared(given, create_graph)
        one, outputs = _as_tuple(func(*sources), "vjp")
        vectors = _vectors(v, outputs, "vjp")
        found = _gradients(outputs, sources, vectors, create_graph, strict)
    return _finished(outputs, one, create_graph), _finished(found, single, create_graph)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None,
    create_graph: bool = False, strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the outputs of `func` and the product of its Jacobian with `v`.

    Args:
        v: shapes of the inputs; may be left out for a single element.
    """
    with grad_mode.enable_grad():
        _, given = _as_tuple(inputs, "jvp")
        vectors = _vectors(v, given, "jvp")
        sources = _prepared(given, create_graph)
        one, outputs = _as_tuple(func(*sources), "jvp")
        # the vector-Jacobian product is linear in its vector, so any vector will do
        duals = [o._zeros(o.shape).requires_grad_() for o in outputs]
        first = _gradients(outputs, sources, duals, True, strict)
        found = _gradients(first, duals, vectors, create_graph, False)
    return _finished(outputs, one, create_graph), _finished(found, one, create_graph)


def jacobian(
    func: Callable[..., Any], inputs: Tensors, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False,
) -> Any:  # fmt: skip
    """Return the Jacobian of `func`.

    Args:
        vectorize: taken for PyTorch's sake; the rows are pending ops and fuse anyway.

    Returns:
        Shape (*output, *input); for several outputs or inputs (nested) tuples, outputs first.
    """
    with grad_mode.enable_grad():
        single, given = _as_tuple(inputs, "jacobian")
        sources = _prepared(given, create_graph)
        one, outputs = _as_tuple(func(*sources), "jacobian")
        blocks = []
        for output in outputs:
            rows = []
            unit = output._zeros((output.numel(),))
            for k in range(output.numel()):
                seed = unit.clone()
                seed[k] = 1
                seeds = [seed.reshape(output.shape)]
                rows.append(_gradients([output], sources, seeds, create_graph, strict))
            columns = []
            for place, source in enumerate(sources):
                shape = (*output.shape, *source.shape)
                if rows:
                    columns.append(rows[0][0]._stack([r[place] for r in rows]).reshape(shape))
                else:
                    columns.append(source._zeros(shape))
            blocks.append(_finished(columns, single, create_graph))
    return blocks[0] if one else tuple(blocks)


def _scalar(func: Callable[..., Any], what: str) -> Callable[..., Tensor]:
    def checked(*inputs: Tensor) -> Tensor:
        made = func(*inputs)
        if not isinstance(made, Tensor) or made.numel() != 1:
            raise AutogradError(
                f"{what}: the function must return a single tensor of one element. "
                "Hint: reduce its result with sum()."
            )
        reshaped: Tensor = made.reshape(())
        return reshaped

    return checked


def hessian(
    func: Callable[..., Any], inputs: Tensors, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False,
) -> Any:  # fmt: skip
    """Return the Hessian of a function with one element as result; shapes as for `jacobian`."""
    single, _ = _as_tuple(inputs, "hessian")
    scalar = _scalar(func, "hessian")

    def gradient(*sources: Tensor) -> Any:
        found = _gradients([scalar(*sources)], sources, [None], True, strict)
        return found[0] if single else tuple(found)

    return jacobian(gradient, inputs, create_graph, strict)


def hvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None,
    create_graph: bool = False, strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the value of a scalar function and the product of its Hessian with `v`."""
    return vhp(func, inputs, v, create_graph, strict)  # the Hessian is symmetric


def vhp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None,
    create_graph: bool = False, strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the value of a scalar function and the product of `v` with its Hessian."""
    with grad_mode.enable_grad():
        single, given = _as_tuple(inputs, "vhp")
        vectors = _vectors(v, given, "vhp")
        sources = _prepared(given, create_graph)
        value = _scalar(func, "vhp")(*sources)
        first = _gradients([value], sources, [None], True, strict)
        found = _gradients(first, sources, vectors, create_graph, strict)
    return _finished([value], True, create_graph), _finished(found, single, create_graph)
