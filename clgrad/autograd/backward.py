"""`backward` and `grad`: check what the user asks for and hand it to the engine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from clgrad.autograd import engine
from clgrad.autograd.graph import GradientEdge
from clgrad.autograd.task import Root
from clgrad.batching import enter, leave, opened
from clgrad.errors import AutogradError, ClgradTypeError, ClgradValueError, ShapeError
from clgrad.graph.position import stacklevel
from clgrad.tape.inplace import accumulator, edge_of
from clgrad.tape.node import Edge
from clgrad.tensor import Size, Tensor

_PLACES = (Tensor, GradientEdge)
Place = Tensor | GradientEdge
Places = Place | Sequence[Place]
Gradients = Tensor | Sequence[Tensor | None] | None


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if value is None or isinstance(value, _PLACES) else tuple(value)


def _inputs(value: Any, op: str) -> tuple[Any, ...]:
    """Return the tensors and edges to differentiate by; those of a dict are its values."""
    if type(value) is dict:
        value = value.values()
    elif isinstance(value, Mapping):
        raise ClgradTypeError(
            f"`inputs` argument to `{op}()` must be a dict, not {type(value).__name__}. Other "
            "Mapping types are not supported. Hint: dict(inputs)."
        )
    found = _as_tuple(value)
    if not found:
        raise AutogradError(f"`inputs` argument to `{op}()` cannot be empty.")
    return found


def _outgoing(output: Any, k: int, op: str) -> Edge:
    """Return the edge of an output, at which a pass starts."""
    if isinstance(output, GradientEdge):
        return output.node, output.output_nr
    if not isinstance(output, Tensor):
        raise ClgradTypeError(
            f"{op}: got {type(output).__name__} as number {k}. Expected a tensor or GradientEdge."
        )
    edge = edge_of(output)
    if edge is None:
        raise AutogradError(
            f"element {k} of tensors does not require grad and does not have a grad_fn. "
            "Expected a result of ops on a tensor that requires grad. Hint: was it computed "
            "under no_grad(), detached, or from leaves without requires_grad=True?"
        )
    return edge


def _roots(
    outputs: tuple[Any, ...], given: Gradients, op: str, batched: bool = False
) -> list[Root]:
    """Pair each output's edge with the gradient to start from."""
    grads = (None,) * len(outputs) if given is None else _as_tuple(given)
    if len(grads) != len(outputs):
        raise AutogradError(
            f"got {len(outputs)} tensors and {len(grads)} gradients. Expected as many. "
            f"Hint: {op}([a, b], [grad_of_a, grad_of_b])."
        )
    roots: list[Root] = []
    for k, output in enumerate(outputs):
        node, number = _outgoing(output, k, op)
        meta = output._meta if isinstance(output, Tensor) else node._metas[number]
        roots.append((node, number, _seed(meta, grads[k], k, batched)))
    return roots


def _seed(meta: Any, grad: Any, k: int, batched: bool) -> Tensor | None:
    """Check the gradient to start from; None stands for ones."""
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
    shape = grad._meta.shape[1:] if batched else grad._meta.shape
    if shape != meta.shape:
        text = (
            f"grad_output[{k}] has a shape of {Size(shape)!r} and output[{k}] has a shape of "
            f"{Size(meta.shape)!r}."
        )
        if batched:
            raise ShapeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output "
                "as the batch dimension. The sizes of the remaining dimensions are expected to "
                f"match the shape of corresponding output, but a mismatch was detected: {text}"
            )
        raise ShapeError(f"Mismatch in shape: {text}")
    return grad


def backward(
    tensors: Places,
    grad_tensors: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Gradients = None,
    inputs: Places | dict[str, Tensor] | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they came from.

    Args:
        tensors: what to differentiate: tensors, or edges of the graph.
        grad_tensors: for each a gradient of its shape; None for tensors of one element means 1.
        retain_graph: keep saved values for another backward; default `create_graph`.
        create_graph: record the backward pass, so that it can be differentiated.
        grad_variables: the old name of `grad_tensors`.
        inputs: the only tensors whose `.grad` is added to; default all leaves. A dict stands for
            its values.

    Raises:
        AutogradError: nothing requires grad, or a tensor of many elements has no gradient given.
        GraphFreedError: an earlier backward released the graph.
        VersionError: a saved value was overwritten in place.
    """
    if grad_variables is not None:
        warnings.warn(
            "`grad_variables` is deprecated. Use `grad_tensors` instead.",
            FutureWarning,
            stacklevel=2,
        )
        if grad_tensors is not None:
            raise AutogradError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to "
                "`backward()`. Please only use `grad_tensors`."
            )
        grad_tensors = grad_variables
    targets = () if inputs is None else _inputs(inputs, "backward")
    roots = _roots(_as_tuple(tensors), grad_tensors, "backward")
    edges: list[Edge] | None = None
    if targets:
        edges = []
        for k, target in enumerate(targets):
            edges.append(_incoming(target, k))
            if isinstance(target, Tensor) and target.grad_fn is not None:
                target.retain_grad()
    if create_graph:
        _warn_of_cycle()
    keep = create_graph if retain_graph is None else retain_graph
    engine.run(roots, keep, create_graph, edges, accumulate=True)


def _warn_of_cycle() -> None:
    warnings.warn(
        "Using backward() with create_graph=True will create a reference cycle between the "
        "parameter and its gradient: their memory waits for Python's garbage collector. Hint: use "
        "autograd.grad(), or set the .grad of the parameters to None after use.",
        UserWarning,
        stacklevel=stacklevel(),
    )


def _incoming(target: Any, k: int) -> Edge:
    """Return the edge whose gradient is asked for."""
    if isinstance(target, GradientEdge):
        return target.node, target.output_nr
    if not isinstance(target, Tensor):
        raise ClgradTypeError(
            f"inputs: got {type(target).__name__} as number {k}. Expected tensors or edges."
        )
    if not target.requires_grad:
        raise AutogradError(
            f"One of the differentiated Tensors does not require grad: number {k}, of shape "
            f"{list(target._meta.shape)}. Hint: requires_grad_() before the forward pass."
        )
    return edge_of(target) or (accumulator(target), 0)


def grad(
    outputs: Places,
    inputs: Places | dict[str, Tensor],
    grad_outputs: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """Return the gradients of `outputs` with respect to the inputs; no `.grad` is touched.

    Args:
        outputs: what to differentiate: tensors, or edges of the graph.
        inputs: tensors or edges on the way, leaves or not; a dict of them gives a dict.
        grad_outputs: for each output a gradient of its shape; None for one element means 1.
        retain_graph: keep saved values for another backward; default `create_graph`.
        create_graph: record the backward pass, so that it can be differentiated.
        only_inputs: deprecated; it has no effect.
        allow_unused: return None for inputs that the outputs do not depend on, instead of raising;
            default `materialize_grads`.
        is_grads_batched: each of `grad_outputs` has a first dim, and so have the gradients.
        materialize_grads: return zeros for unused inputs.

    Returns:
        A tuple of gradients, one for each input, or a dict with the keys of `inputs`.

    Raises:
        AutogradError: an input does not require grad, or is not used and that is not allowed.
        ClgradValueError: `materialize_grads` with `allow_unused=False`.
    """
    if materialize_grads and allow_unused is False:
        raise ClgradValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    allow = materialize_grads if allow_unused is None else allow_unused
    outs, ins = _as_tuple(outputs), _inputs(inputs, "grad")
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To "
            "accumulate gradient for other parts of the graph, please use autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    keep = create_graph if retain_graph is None else retain_graph
    edges = [_incoming(target, k) for k, target in enumerate(ins)]
    if is_grads_batched:
        found = _batched(outs, edges, _as_tuple(grad_outputs), keep, create_graph)
    else:
        roots = _roots(outs, grad_outputs, "grad")
        found = engine.run(roots, keep, create_graph, edges, accumulate=False)
    for k, (target, one) in enumerate(zip(ins, found, strict=True)):
        if one is None:
            found[k] = _unused(target, k, allow, materialize_grads, create_graph)
    return dict(zip(inputs, found, strict=True)) if isinstance(inputs, dict) else tuple(found)


def _unused(target: Any, k: int, allow: bool, materialize: bool, create_graph: bool) -> Any:
    """Return what stands for the gradient of an input on which nothing depends."""
    if not allow:
        shape = f", of shape {list(target._meta.shape)}" if isinstance(target, Tensor) else ""
        raise AutogradError(
            "One of the differentiated Tensors appears to not have been used in the graph: "
            f"number {k}{shape}. Set allow_unused=True if this is the desired behavior."
        )
    if not materialize:
        return None
    if not isinstance(target, Tensor):
        raise AutogradError(
            "materialize_grads cannot be used when the given input is a GradientEdge. "
            "Hint: pass the tensor itself."
        )
    return target._zeros(target._meta.shape).requires_grad_(create_graph)


def _batched(
    outputs: tuple[Any, ...],
    edges: list[Edge],
    grads: tuple[Any, ...],
    keep: bool,
    create_graph: bool,
) -> list[Any]:
    """Run a pass for all entries of the first dim together."""
    if any(isinstance(output, GradientEdge) for output in outputs):
        raise AutogradError("Batched grads are not supported with GradientEdge.")
    given = [g for g in grads if isinstance(g, Tensor)]
    if not given or any(not g.ndim for g in given):
        raise ClgradValueError(
            "grad: is_grads_batched=True needs grad_outputs with a first dim, one entry for each "
            "pass. Hint: clgrad.eye(n) for the Jacobian of n outputs."
        )
    count = len(given[0])
    if any(len(g) != count for g in given):
        raise ClgradValueError(
            f"grad: grad_outputs have first dims of {[len(g) for g in given]}. Expected as many "
            "entries in each."
        )
    _roots(outputs, grads, "grad", batched=True)
    with opened(count, "never") as level:
        inside = [None if g is None else enter(g, 0, level) for g in grads]
        found = engine.run(_roots(outputs, inside, "grad"), keep, create_graph, edges, False)
        return [None if one is None else leave(one, level) for one in found]
