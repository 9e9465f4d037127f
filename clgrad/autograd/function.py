"""Custom functions: forward and backward written by the user, recorded as one node.

The context that `forward` and `backward` get is the node itself, so what the user stores on it
lives as long as the graph does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from clgrad.errors import AutogradError, ClgradTypeError
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import (
    CUSTOM,
    MULTI_OUTPUT,
    check_inplace,
    edge_of,
    make_view,
    rebase,
    requires_grad_of,
)
from clgrad.tape.node import Edge, Grads, Node
from clgrad.tape.saved import SavedTensor, freed, save, save_result
from clgrad.tensor import Tensor


class FunctionNode(Node):
    """The node of a custom function, and its `ctx`.

    Attributes:
        needs_input_grad: for each argument of `apply`, whether its gradient is asked for.
    """

    __slots__ = (
        "__dict__", "_dirty", "_materialize", "_non_differentiable", "_places", "_released",
        "_saved", "_to_save", "needs_input_grad",
    )  # fmt: skip

    _function: type[Function]

    def __init__(self) -> None:
        super().__init__((), ())
        self.needs_input_grad: tuple[bool, ...] = ()
        self._to_save: tuple[Any, ...] = ()
        self._saved: tuple[SavedTensor | None, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True
        self._released = False
        self._places: tuple[int, ...] = ()  # of the tensors among the arguments

    # ---- what forward calls -------------------------------------------------------------------

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save inputs or outputs for `backward`, which reads them as `saved_tensors`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise ClgradTypeError(
                    "save_for_backward can only save variables, but got "
                    f"{type(tensor).__name__}. Hint: store other things as attributes of ctx."
                )
        self._to_save = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which inputs `forward` wrote in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether `backward` gets zeros (the default) or None where nothing flowed."""
        self._materialize = value

    # ---- what backward reads ------------------------------------------------------------------

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors that `forward` saved.

        Raises:
            GraphFreedError: a backward released them.
            VersionError: one was overwritten in place.
        """
        if self._released:
            raise freed(self)
        return tuple([None if one is None else one.unpack(self) for one in self._saved])

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        if self._released and self._saved:
            raise freed(self)
        given = list(grads)
        if self._materialize:
            known = next((g for g in given if g is not None), None)
            for k, (grad, meta) in enumerate(zip(given, self.metas, strict=True)):
                if grad is None and meta.dtype.is_floating_point and known is not None:
                    given[k] = known._zeros(meta.shape).to(meta.dtype)
            if known is None:
                return (None,) * len(self.edges)
        name = type(self).__name__
        results = self._function.backward(self, *given)
        if not isinstance(results, tuple):
            results = (results,)
        count = len(self.needs_input_grad)
        if len(results) > count and all(r is None for r in results[count:]):
            results = results[:count]
        if len(results) != count:
            raise AutogradError(
                f"function {name} returned an incorrect number of gradients (expected {count}, "
                f"got {len(results)}). Hint: return one, or None, for each argument of forward."
            )
        for k, result in enumerate(results):
            if result is None:
                continue
            if not isinstance(result, Tensor):
                raise ClgradTypeError(
                    f"function {name} returned {type(result).__name__} as gradient {k}. Expected "
                    "a tensor or None."
                )
            if k not in self._places:
                raise AutogradError(
                    f"function {name} returned a gradient different than None at position "
                    f"{k + 1}, but the corresponding forward input was not a Variable."
                )
        return [results[k] for k in self._places]

    def release(self) -> None:
        self._released = True
        for one in self._saved:
            if one is not None:
                one.release()


class Function:
    """Base of custom functions: write `forward` and `backward` as static methods, call `apply`.

    Either `forward(ctx, *args)`, or `forward(*args)` and `setup_context(ctx, inputs, output)`.
    """

    _node_class: type[FunctionNode] | None = None

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; not recorded."""
        raise NotImplementedError("a custom Function needs a static method forward().")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return a gradient, or None, for each argument of `apply`."""
        raise NotImplementedError("a custom Function needs a static method backward().")

    setup_context: Callable[..., Any] | None = None

    vjp = backward

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ClgradTypeError(
            f"{type(self).__name__}: a Function is not to be instantiated. Hint: call "
            f"{type(self).__name__}.apply(...)."
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward`, and record one node if an argument requires grad."""
        node_class = cls.__dict__.get("_node_class")
        if node_class is None:
            node_class = type(f"{cls.__name__}Backward", (FunctionNode,), {"_function": cls})
            cls._node_class = node_class
        node: FunctionNode = node_class()
        grad = mode.grad
        tensors = [(k, a) for k, a in enumerate(args) if isinstance(a, Tensor)]
        edges: list[Edge | None] = [edge_of(t) if grad else None for _, t in tensors]
        recorded = any(edge is not None for edge in edges)
        by_place = dict(zip((k for k, _ in tensors), edges, strict=True))
        node.needs_input_grad = tuple([by_place.get(k) is not None for k in range(len(args))])
        node._places = tuple([k for k, _ in tensors])
        mode.grad = False
        try:
            if cls.setup_context is None:
                results = cls.forward(node, *args)
            else:
                results = cls.forward(*args)
                cls.setup_context(node, args, results)
        finally:
            mode.grad = grad
        single = not isinstance(results, tuple)
        outputs = [results] if single else list(results)
        node.edges = tuple(edges)
        _Wrapping(node, [t for _, t in tensors], recorded, len(outputs)).outputs(outputs)
        return outputs[0] if single else tuple(outputs)


class _Wrapping:
    """Gives the outputs of a custom function their history."""

    def __init__(
        self, node: FunctionNode, inputs: list[Tensor], recorded: bool, count: int
    ) -> None:
        self.node = node
        self.inputs = inputs
        self.recorded = recorded
        self.count = count
        self.renamed: dict[int, tuple[Tensor, int, Any]] = {}  # id of an output -> what it became

    def outputs(self, outputs: list[Any]) -> None:
        node = self.node
        dirty = {id(t) for t in node._dirty}
        plain = {id(t) for t in node._non_differentiable}
        for tensor in node._dirty:
            if not any(tensor is out for out in outputs):
                raise AutogradError(
                    "Some elements marked as dirty during the forward method were not returned as "
                    "output. The inputs that are modified inplace must all be outputs of the "
                    "Function."
                )
        metas: list[Any] = [getattr(o, "_meta", None) for o in outputs]
        known = next((m for m in metas if m is not None), None)
        node.metas = tuple([known if m is None else m for m in metas])
        for k, out in enumerate(outputs):
            if isinstance(out, Tensor):
                outputs[k] = self.one(out, k, id(out) in dirty, id(out) in plain)
            elif out is not None and self.recorded and self.count == 1:
                raise ClgradTypeError(
                    f"{type(node).__name__}: forward returned {type(out).__name__}. Expected a "
                    "tensor or a tuple of them."
                )
        if self.recorded:
            node._saved = tuple([self.saved(t) for t in node._to_save])
        node._to_save = node._dirty = node._non_differentiable = ()

    def one(self, out: Tensor, k: int, dirty: bool, plain: bool) -> Tensor:
        is_input = any(out is t for t in self.inputs)
        differentiable = self.recorded and not plain and out._meta.dtype.kind == "f"
        if dirty and not is_input:
            raise AutogradError(
                "mark_dirty: a tensor that is no input of the Function was marked as dirty."
            )
        if not differentiable:
            if is_input and not dirty:
                return self.known(out, out.detach(), k, None)
            if not is_input:
                out._requires_grad, out._grad_fn = False, None
            return out
        if dirty:
            check_inplace(out)
            if self.count > 1 and out._view is not None:
                raise AutogradError(
                    "If your Function modifies Tensors inplace that are views, it must return "
                    "them as its only output. Hint: clone() the input."
                )
            out._family().bump("mark_dirty")  # forward may have written by other means than ops
            return self.known(out, out, k, rebase(out, self.node))
        if is_input:
            twin = make_view(out, out._meta, MULTI_OUTPUT if self.count > 1 else CUSTOM)
            return self.known(out, self.attached(twin, k), k, None)
        if out._view is not None:
            family = any(out._view.base is (t._view.base if t._view else t) for t in self.inputs)
            if family:
                out._view.creation = MULTI_OUTPUT if self.count > 1 else CUSTOM
            elif not out._view.base._requires_grad:
                out._view = None  # a view of something that only forward knew
        return self.known(out, self.attached(out, k), k, None)

    def attached(self, tensor: Tensor, k: int) -> Tensor:
        tensor._grad_fn = self.node
        tensor._output_nr = k
        tensor._requires_grad = True
        return tensor

    def known(self, out: Tensor, became: Tensor, k: int, view: Any) -> Tensor:
        self.renamed[id(out)] = (became, k, view)
        return became

    def saved(self, tensor: Tensor | None) -> SavedTensor | None:
        if tensor is None:
            return None
        found = self.renamed.get(id(tensor))
        if found is not None:
            became, k, view = found
            if not became._requires_grad:
                return save(became, None)
            is_input = any(tensor is t for t in self.inputs)
            if is_input and became is not tensor:
                return save(tensor, edge_of(tensor))
            return save_result(became, k, view)
        return save(tensor, edge_of(tensor) if requires_grad_of(tensor) else None)


class _OnceNode(Node):
    """Ends the graph behind a backward that may not be differentiated again."""

    __slots__ = ("function",)

    function: str

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        raise AutogradError(
            "trying to differentiate twice a function that was marked with @once_differentiable: "
            f"{self.function}. Hint: write its backward with differentiable ops."
        )


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a custom `backward` that cannot be differentiated again; it runs without grad mode."""

    @functools.wraps(backward)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        recording = mode.grad
        mode.grad = False
        try:
            results = backward(ctx, *grads)
        finally:
            mode.grad = recording
        if not recording or not any(isinstance(g, Tensor) and requires_grad_of(g) for g in grads):
            return results
        outputs = results if isinstance(results, tuple) else (results,)
        edges = [edge_of(g) for g in grads if isinstance(g, Tensor)]
        tensors = [o for o in outputs if isinstance(o, Tensor)]
        node = _OnceNode(edges, [t._meta for t in tensors])
        node.function = type(ctx).__name__
        fresh = []
        for out in outputs:
            if isinstance(out, Tensor):
                twin = out.detach()
                twin._grad_fn, twin._requires_grad = node, True
                twin._output_nr = next(i for i, t in enumerate(tensors) if t is out)
                fresh.append(twin)
            else:
                fresh.append(out)
        return tuple(fresh) if isinstance(results, tuple) else fresh[0]

    return wrapped
