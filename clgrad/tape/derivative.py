"""What the backward function of an op may ask of its node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clgrad.ops.registry import Op
from clgrad.ops.signature import reduced_dims
from clgrad.tape.grad_mode import mode
from clgrad.tape.handed import handed

if TYPE_CHECKING:
    from clgrad.tape.record import OpNode


class Context:
    """What the backward function of a structured op may ask of its node."""

    __slots__ = ("_node", "_unpacked", "_wanted")

    def __init__(self, node: OpNode, unpacked: Sequence[Any], wanted: Sequence[bool] | None):
        self._node = node
        self._unpacked = unpacked
        self._wanted = wanted

    def saved(self, name: str) -> Any:
        """Return the saved input or, as `y`, the result; a number where one was passed.

        `result1`, `result2`, … are the other results of a composite that has several.
        """
        names = self._node.rule.names
        if name in names:
            return self._unpacked[names.index(name)]
        return self.numbers()[name]

    def numbers(self) -> dict[str, Any]:
        """Return the Python numbers among the operands by name."""
        plan = self._node.plan
        op = plan.op
        names = (*op.inputs, *(p for p, _ in op.params if p in op.numeric))
        numbers = [n for n, k in zip(names, plan.kinds, strict=True) if isinstance(k, type)]
        return dict(zip(numbers, self._node.numbers, strict=True))

    def param(self, name: str) -> Any:
        """Return the value of a parameter."""
        plan = self._node.plan
        if name in plan.op.numeric:
            return self.numbers()[name]
        return plan.params[name]

    def _kind(self, name: str) -> Any:
        plan = self._node.plan
        return plan.kinds[plan.op.inputs.index(name)]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an input."""
        shape: tuple[int, ...] = self._kind(name).shape
        return shape

    def dtype(self, name: str) -> Any:
        """Return the dtype of an input."""
        return self._kind(name).dtype

    def device(self, name: str) -> Any:
        """Return the device of an input."""
        return self._kind(name).device

    def layout(self, name: str) -> Any:
        """Return the layout of an input in its storage."""
        return self._kind(name).layout

    def inputs(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return self._node.plan.op.inputs

    def again(self, layout: Any) -> Any:
        """Return the layout that this view op makes of another one."""
        op = self._node.plan.op
        assert op.layout is not None
        return op.layout(layout, *self._node.plan.static)

    def output(self, number: int = 0) -> Any:
        """Return the meta of a result."""
        return self._node._metas[number]

    @property
    def recording(self) -> bool:
        """Whether gradients are recorded in turn (`create_graph`): results that were saved beside
        the first are then to be computed again, of what they depend on.
        """
        return mode.grad

    def needs(self, name: str) -> bool:
        """Whether the gradient of this input is asked for."""
        k = self._node.plan.op.inputs.index(name)
        return self._node._edges[k] is not None and (self._wanted is None or self._wanted[k])

    def apply(self, op: Op, operands: tuple[Any, ...], static: tuple[Any, ...] = ()) -> Any:
        """Compute `op`, for gradients that are primitives of their own."""
        return handed.apply(op, operands, static)

    def restore(self, tensor: Any, dim: Any, keepdim: bool) -> Any:
        """Return the result of a reduction, or its gradient, with the reduced dims as size 1."""
        if keepdim:
            return tensor
        (x,) = self._node.plan.kinds
        dims = reduced_dims(self._node.plan.op.name, dim, x.ndim)
        return tensor.reshape(tuple(1 if d in dims else n for d, n in enumerate(x.shape)))
