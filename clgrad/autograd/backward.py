"""`backward` and `grad`: check what the user asks for and hand it to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.autograd import engine
from clgrad.autograd.task import Root
from clgrad.dtypes import DType
from clgrad.errors import AutogradError, ClgradTypeError, ShapeError
from clgrad.tape.inplace import accumulator, edge_of
from clgrad.tape.node import Edge
from clgrad.tensor import Tensor

Tensors = Tensor | Sequence[Tensor]
Gradients = Tensor | Sequence[Tensor | None] | None


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, Tensor) or value is None else tuple(value)


def _roots(outputs: tuple[Tensor, ...], given: Gradients, op: str) -> list[Root]:
    """Pair each output's edge with the gradient to start from."""
    grads = _as_tuple(given)
    if given is None:
        grads = (None,) * len(outputs)
    if len(grads) != len(outputs):
        raise AutogradError(
            f"{op}: got {len(outputs)} tensors and {len(grads)} gradients. Expected as many."
        )
    roots: list[Root] = []
    for k, (output, grad) in enumerate(zip(outputs, grads, strict=True)):
        if not isinstance(output, Tensor):
            raise ClgradTypeError(f"{op}: got {type(output).__name__}. Expected tensors.")
        edge = edge_of(output)
        if edge is None:
            raise AutogradError(
                f"element {k} of tensors does not require grad and does not have a grad_fn. "
                "Expected a result of ops on a tensor that requires grad. Hint: was it computed "
                "under no_grad(), detached, or from leaves without requires_grad=True?"
            )
        roots.append((*edge, _seed(output, grad, k)))
    return roots


def _seed(output: Tensor, grad: Any, k: int) -> Tensor | None:
    """Check the gradient to start from; None stands for ones."""
    meta = output._meta
    if grad is None:
        if meta.numel != 1:
            raise AutogradError(
                "grad can be implicitly created only for scalar outputs, this one has shape "
                f"{list(meta.shape)}. Hint: reduce it, as in y.sum().backward(), or pass gradient=."
            )
        if not meta.dtype.is_floating_point:
            raise AutogradError(
                "grad can be implicitly created only for real scalar outputs but got "
                f"{meta.dtype.name}."
            )
        return None
    if not isinstance(grad, Tensor):
        raise ClgradTypeError(
            f"gradients can be either Tensors or None, but got {type(grad).__name__}."
        )
    if grad._meta.shape != meta.shape:
        raise ShapeError(
            f"Mismatch in shape: grad_output[{k}] has a shape of {list(grad._meta.shape)} and "
            f"output[{k}] has a shape of {list(meta.shape)}. Expected equal shapes."
        )
    if _kind(grad._meta.dtype) != _kind(meta.dtype):
        raise AutogradError(
            f"Mismatch in dtype: gradient {k} is {grad._meta.dtype.name}, its output is "
            f"{meta.dtype.name}. Expected a floating-point gradient."
        )
    return grad


def _kind(dtype: DType) -> str:
    return "float" if dtype.is_floating_point else "other"


def backward(
    tensors: Tensors,
    grad_tensors: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they came from.

    Args:
        tensors: what to differentiate.
        grad_tensors: for each a gradient of its shape; None for tensors of one element means 1.
        retain_graph: keep saved values for another backward; default `create_graph`.
        create_graph: record the backward pass, so that it can be differentiated.
        inputs: the only tensors whose `.grad` is added to; default all leaves.

    Raises:
        AutogradError: nothing requires grad, or a tensor of many elements has no gradient given.
        GraphFreedError: an earlier backward released the graph.
        VersionError: a saved value was overwritten in place.
    """
    outputs = _as_tuple(tensors)
    roots = _roots(outputs, grad_tensors, "backward")
    edges: list[Edge] | None = None
    if inputs is not None:
        targets = _as_tuple(inputs)
        if not targets:
            raise AutogradError("`inputs` argument to `backward` cannot be empty.")
        for target in targets:
            if target.grad_fn is not None:
                target.retain_grad()
        edges = [_target_edge(target, k) for k, target in enumerate(targets)]
    keep = create_graph if retain_graph is None else retain_graph
    engine.run(roots, keep, create_graph, edges, accumulate=True)


def _target_edge(target: Tensor, k: int) -> Edge:
    if not target.requires_grad:
        raise AutogradError(
            f"One of the differentiated Tensors does not require grad: number {k}, of shape "
            f"{list(target._meta.shape)}. Hint: requires_grad_() before the forward pass."
        )
    return edge_of(target) or (accumulator(target), 0)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` with respect to `inputs`; no `.grad` is touched.

    Args:
        outputs: what to differentiate.
        inputs: tensors on the way, leaves or not.
        grad_outputs: for each output a gradient of its shape; None for one element means 1.
        retain_graph: keep saved values for another backward; default `create_graph`.
        create_graph: record the backward pass, so that it can be differentiated.
        allow_unused: return None for inputs that the outputs do not depend on, instead of raising.
        is_grads_batched: each of `grad_outputs` has a first dim over which the pass is repeated.
        materialize_grads: return zeros for unused inputs.

    Raises:
        AutogradError: an input does not require grad, or is not used and that is not allowed.
    """
    if materialize_grads and allow_unused is False:
        raise AutogradError(
            "grad: expected allow_unused to be True or not passed when materialize_grads=True."
        )
    allow = materialize_grads if allow_unused is None else allow_unused
    keep = create_graph if retain_graph is None else retain_graph
    outs, ins = _as_tuple(outputs), _as_tuple(inputs)
    edges = [_target_edge(target, k) for k, target in enumerate(ins)]
    if is_grads_batched:
        found = _batched(outs, edges, _as_tuple(grad_outputs), keep, create_graph)
    else:
        roots = _roots(outs, grad_outputs, "grad")
        found = engine.run(roots, keep, create_graph, edges, accumulate=False)
    for k, (target, one) in enumerate(zip(ins, found, strict=True)):
        if one is None and not allow:
            raise AutogradError(
                "One of the differentiated Tensors appears to not have been used in the graph: "
                f"number {k}, of shape {list(target._meta.shape)}. Hint: set allow_unused=True if "
                "this is the desired behavior."
            )
        if one is None and materialize_grads:
            found[k] = target._zeros(target._meta.shape)
    return tuple(found)


def _batched(
    outputs: tuple[Tensor, ...],
    edges: list[Edge],
    grads: tuple[Any, ...],
    keep: bool,
    create_graph: bool,
) -> list[Any]:
    """Run one pass for each entry of the first dim, and stack what comes out."""
    count = next((len(g) for g in grads if g is not None), 0)
    rows: list[list[Any]] = []
    for k in range(count):
        roots = _roots(outputs, [None if g is None else g[k] for g in grads], "grad")
        rows.append(engine.run(roots, keep or k < count - 1, create_graph, edges, False))
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(edges)
    return [
        None if not column or column[0] is None else column[0]._stack(column) for column in columns
    ]
