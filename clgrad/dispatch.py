"""Where the graph of values and the graph of derivatives meet: every op call passes here.

`apply` looks the call up in one dictionary, lets the graph record it, and adds a node if an
operand requires grad. It is the hot path of the library: 0.9 µs without a node, 2.2 µs with one and
two saved operands. In-place ops are in `writing`.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from clgrad.errors import ClgradTypeError
from clgrad.graph.storage import Storage
from clgrad.ops import signature as signatures
from clgrad.ops.meta import LIMIT
from clgrad.ops.registry import Op
from clgrad.ops.signature import signature, view_meta
from clgrad.tape import noting
from clgrad.tape.grad_mode import inference_blocks, mode
from clgrad.tape.handed import handed
from clgrad.tape.inplace import (
    DEFAULT,
    INFERENCE,
    MULTI_OUTPUT,
    NO_GRAD,
    accumulator,
    edge_of,
    make_view,
    remember,
    requires_grad_of,
)
from clgrad.tape.node import Edge, Node
from clgrad.tape.record import OpNode, Plan, record, save_further, save_results
from clgrad.tape.tangents import follow, forward
from clgrad.tensor import Tensor
from clgrad.traits import check_dtype

_new = object.__new__
_ref = weakref.ref

NUMBERS = frozenset((bool, int, float))
"""Types that may stand for a tensor operand."""


class _Unloaded:
    """Stands for the graph until the first op, so that importing this needs no OpenCL."""

    def __getattr__(self, name: str) -> Any:
        global backend
        if backend is self:
            backend = importlib.import_module("clgrad.graph.recorder")
        return getattr(backend, name)


backend: Any = _Unloaded()
"""What records and executes: `clgrad.graph.recorder`, or an object with the same functions."""

_plans: dict[Any, Plan] = {}


_operator_plans: list[dict[Any, Plan]] = []


def forget_plans() -> None:
    """Drop what was derived from settings that changed (the default dtype)."""
    signatures.forget()
    _plans.clear()
    for plans in _operator_plans:
        plans.clear()


def apply(
    op: Op, operands: tuple[Any, ...], static: tuple[Any, ...] = (), device: Any = None
) -> Any:
    """Compute `op`.

    Args:
        operands: for each input a tensor or a Python number, then the op's numeric parameters.
        static: its other parameters, in order; hashable.
        device: where the result lives if no operand says so.

    Returns:
        A new tensor (a tuple of them for a composite that returns several).

    Raises:
        ShapeError, DTypeError, DeviceError, ClgradIndexError: as the op's rule finds.
    """
    kinds = tuple([type(o) if type(o) in NUMBERS else o._meta for o in operands])
    plan = _plans.get((op, kinds, static, device))
    if plan is None:
        plan = make_plan(op, kinds, static, device)
    if plan.signature is None:
        return _composite(plan, operands)
    values = []
    numbers = []
    tracked = False
    for o in operands:
        if type(o) in NUMBERS:
            numbers.append(o)
        else:
            values.append(o._storage.value)
            if o._requires_grad or o._view is not None:
                tracked = True
    scalars = tuple(numbers)
    result = fresh(backend.record(plan.signature, tuple(values), scalars), plan.metas[0])
    if tracked and plan.node is not None and mode.grad:
        attach(plan, operands, scalars, result)
    if forward.open and plan.node is not None and mode.forward:
        forward.push(plan, operands, (result,))
    return result


def make_plan(op: Op, kinds: tuple[Any, ...], static: tuple[Any, ...], device: Any) -> Plan:
    """Work out a plan, and keep it."""
    if op.kind == "composite":
        plan = Plan(op, kinds, static, None, ())
    else:
        made = signature(op, kinds, static, device)
        check_dtype(op.label, made.meta.dtype, made.meta.device)
        plan = Plan(op, kinds, static, made, (made.meta,))
    if len(_plans) > LIMIT:
        _plans.clear()
    return _plans.setdefault((op, kinds, static, device), plan)


def fresh(value: Any, meta: Any) -> Tensor:
    """Return a new tensor over a new value."""
    storage: Storage = _new(Storage)
    storage.value = value
    if value.holder is None:
        value.holder = _ref(storage) if value.tape is None else storage
    else:
        storage = Storage(value)
    made: Tensor = _new(Tensor)  # what `wrap` does, without the call: 0.05 µs of 0.6
    made._storage = storage
    made._meta = meta
    made._counter = None
    made._requires_grad = False
    made._node = None
    made._output_nr = 0
    made._grad = None
    made._view = None
    made._accumulate = None
    made._hooks = None
    made._inference = False
    if inference_blocks.open and mode.inference:
        made._inference = True
    return made


def attach(plan: Plan, operands: Sequence[Any], numbers: tuple[Any, ...], result: Tensor) -> None:
    """Record the node of a plan that has been computed, if an operand requires grad."""
    edges: list[Edge | None] = []
    mask, bit, needed = 0, 1, False
    for o in operands if not plan.op.numeric else operands[: len(plan.op.inputs)]:
        edge: Edge | None = None
        if type(o) not in NUMBERS:
            if o._view is not None:
                edge = edge_of(o)
                # a view made under no_grad has no edge; what is made of it still requires grad
                needed = needed or o._view.base._requires_grad
            elif o._requires_grad:
                node = o._node
                edge = (accumulator(o), 0) if node is None else (node, o._output_nr)
            if edge is not None:
                mask |= bit
        edges.append(edge)
        bit <<= 1
    if not mask and not needed:
        return
    node, rule = record(plan, operands, numbers, edges, mask)
    result._node = node
    result._requires_grad = True
    if rule.result:
        save_results(node, rule, result, None)


def attach_one(plan: Plan, x: Any, result: Tensor) -> None:
    """Do what `attach` does for one operand that requires grad and is no view."""
    node = x._node
    edge = (accumulator(x), 0) if node is None else (node, x._output_nr)
    made, rule = record(plan, (x,), (), (edge,), 1)
    result._node = made
    result._requires_grad = True
    if rule.result:
        save_results(made, rule, result, None)


def attach_pair(plan: Plan, a: Any, b: Any, numbers: tuple[Any, ...], result: Tensor) -> None:
    """Do what `attach` does for two operands of an op without parameters, none of them a view.

    A node of a binary operator is made twice as fast so; a number among the operands stands for
    itself.
    """
    mask = 0
    first = second = None
    if type(a) not in NUMBERS and a._requires_grad:
        node = a._node
        first = (accumulator(a), 0) if node is None else (node, a._output_nr)
        mask = 1
    if type(b) not in NUMBERS and b._requires_grad:
        node = b._node
        second = (accumulator(b), 0) if node is None else (node, b._output_nr)
        mask |= 2
    made, rule = record(plan, (a, b), numbers, (first, second), mask)
    result._node = made
    result._requires_grad = True
    if rule.result:
        save_results(made, rule, result, None)


def compute(plan: Plan, values: tuple[Any, ...], numbers: tuple[Any, ...]) -> Tensor:
    """Record what a plan says on values, and nothing for backward."""
    return fresh(backend.record(plan.signature, values, numbers), plan.metas[0])


def plan_of(op: Op, kinds: tuple[Any, ...]) -> Plan:
    """Return the plan of an op without static parameters."""
    return _plans.get((op, kinds, (), None)) or make_plan(op, kinds, (), None)


def _composite(plan: Plan, operands: tuple[Any, ...]) -> Any:
    op = plan.op
    if noting.Switch.open:
        noting.event("enter")
    before, tangents = mode.grad, mode.forward
    mode.grad = mode.forward = False
    try:
        assert op.forward is not None
        if noting.Switch.open:
            result = noting.forward(op, operands, plan.static)
        else:
            result = op.forward(*operands, *plan.static)
    finally:
        mode.grad, mode.forward = before, tangents
        if noting.Switch.open:
            noting.event("leave")
    results = (result,) if isinstance(result, Tensor) else tuple(result)
    for made in results:
        if made._view is not None and not any(made._storage is _storage_of(o) for o in operands):
            made._view = None  # of something inside, which nobody else has
        if inference_blocks.open and mode.inference and made._view is None:
            made._inference = made._inference or not any(made is o for o in operands)
    recorded = before and any(type(o) not in NUMBERS and requires_grad_of(o) for o in operands)
    pushed = forward.open and tangents
    if not (recorded or pushed):
        return result
    if not plan.metas:
        found = Plan(op, plan.kinds, plan.static, None, tuple(r._meta for r in results))
        plan.metas, plan.node = found.metas, found.node
    if plan.node is None:
        return result
    if recorded:
        _attach_all(plan, operands, results)
    if pushed:
        forward.push(plan, operands, results)
    return result


def _storage_of(operand: Any) -> Storage | None:
    return operand._storage if isinstance(operand, Tensor) else None


def _attach_all(plan: Plan, operands: tuple[Any, ...], results: tuple[Tensor, ...]) -> None:
    """Record the node of a composite that has been computed."""
    numbers = tuple([o for o in operands if type(o) in NUMBERS])
    attach(plan, operands, numbers, results[0])
    node = results[0]._node
    if node is not None:
        if noting.Switch.open:
            noting.event("inside", (node, operands, node._edges))
        assert isinstance(node, OpNode)
        metas = [r._meta for r in results]
        while metas[-1].dtype.kind != "f":  # no gradient arrives for positions
            metas.pop()
        node._metas = tuple(metas)
        for number, other in enumerate(results[1:], 1):
            if other._meta.dtype.kind == "f":
                other._node = node
                other._output_nr = number
                other._requires_grad = True
        if node.rule.further:
            save_further(node, node.rule, results)


# ---- the operators of Tensor: the same, with the number of operands fixed ----------------------


def unary(op: Op, static: tuple[Any, ...] = ()) -> Callable[[Any], Tensor]:
    """Return `apply` for one tensor, with these static parameters."""
    plans: dict[Any, Plan] = {}
    _operator_plans.append(plans)

    def call(x: Any) -> Tensor:
        meta = x._meta
        plan = plans.get(meta)
        if plan is None:
            if len(plans) > LIMIT:
                plans.clear()
            plan = plans[meta] = make_plan(op, (meta,), static, None)
        if plan.signature is None:
            made: Tensor = _composite(plan, (x,))
            return made
        result = fresh(backend.record(plan.signature, (x._storage.value,), ()), plan.metas[0])
        if x._view is not None:
            if plan.node is not None and mode.grad:
                attach(plan, (x,), (), result)
        elif x._requires_grad and plan.node is not None and mode.grad:
            attach_one(plan, x, result)
        if forward.open and plan.node is not None and mode.forward:
            forward.push(plan, (x,), (result,))
        return result

    call.__name__, call.__doc__ = op.name, op.doc
    return call


def binary(op: Op, reflected: bool = False) -> Callable[[Any, Any], Any]:
    """Return a binary operator of `Tensor`: `a op b`, or `b op a` if reflected."""
    plans: dict[Any, Plan] = {}
    _operator_plans.append(plans)

    def find(kinds: tuple[Any, ...]) -> Plan:
        if len(plans) > LIMIT:
            plans.clear()
        made = plans[kinds] = make_plan(op, kinds, (), None)
        return made

    def call(a: Any, b: Any) -> Any:
        ma = a._meta
        kind = type(b)
        if kind in NUMBERS:
            kinds = (kind, ma) if reflected else (ma, kind)
            plan = plans.get(kinds) or find(kinds)
            numbers = (b,)
            value = backend.record(plan.signature, (a._storage.value,), numbers)
            result = fresh(value, plan.metas[0])
            if a._view is not None:
                if plan.node is not None and mode.grad:
                    attach(plan, (b, a) if reflected else (a, b), numbers, result)
            elif a._requires_grad and plan.node is not None and mode.grad:
                if reflected:
                    attach_pair(plan, b, a, numbers, result)
                else:
                    attach_pair(plan, a, b, numbers, result)
            if forward.open and plan.node is not None and mode.forward:
                forward.push(plan, (b, a) if reflected else (a, b), (result,))
            return result
        if not isinstance(b, Tensor):
            b = as_operand(b)
            return b if b is NotImplemented else call(a, b)
        if reflected:
            a, b = b, a
        kinds = (a._meta, b._meta)
        plan = plans.get(kinds) or find(kinds)
        values = (a._storage.value, b._storage.value)
        result = fresh(backend.record(plan.signature, values, ()), plan.metas[0])
        if a._view is not None or b._view is not None:
            if plan.node is not None and mode.grad:
                attach(plan, (a, b), (), result)
        elif (a._requires_grad or b._requires_grad) and plan.node is not None and mode.grad:
            attach_pair(plan, a, b, (), result)
        if forward.open and plan.node is not None and mode.forward:
            forward.push(plan, (a, b), (result,))
        return result

    call.__name__, call.__doc__ = op.name, op.doc
    return call


def as_operand(value: Any) -> Any:
    """Return a NumPy scalar as a Python number, a tensor as itself, else NotImplemented."""
    if isinstance(value, Tensor) or type(value) in NUMBERS:
        return value
    if isinstance(value, bool | int | float):
        return float(value) if isinstance(value, float) else int(value)
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "shape", None) == ():
        number = item()
        return number if type(number) in NUMBERS else NotImplemented
    return NotImplemented


def operand(op: str, value: Any) -> Any:
    """Return `value` as an operand; raises `ClgradTypeError` if it is none."""
    made = as_operand(value)
    if made is NotImplemented:
        raise ClgradTypeError(
            f"{op}: got {type(value).__name__}. Expected a tensor or a number. "
            "Hint: clgrad.tensor(...) makes a tensor of a list or an array."
        )
    return made


# ---- views -------------------------------------------------------------------------------------


def apply_view(op: Op, x: Tensor, static: tuple[Any, ...]) -> Tensor | None:
    """Return a view of `x`, or None where only a copy has that shape; records nothing."""
    meta = x._meta
    key = (op, meta, static)
    plan = _plans.get(key)
    if plan is None:
        made = view_meta(op, meta, static)
        if made is None:
            return None
        if len(_plans) > LIMIT:
            _plans.clear()
        plan = _plans.setdefault(key, Plan(op, (meta,), static, None, (made,)))
    grad = mode.grad
    creation = DEFAULT if grad else INFERENCE if mode.inference else NO_GRAD
    result: Tensor = make_view(x, plan.metas[0], creation)
    tracked = grad and plan.node is not None and (x._requires_grad or x._view is not None)
    if tracked and not x._inference:
        attach(plan, (x,), (), result)
    elif noting.Switch.open and not grad:
        noting.event("view", result)
    if mode.replay:
        remember(result, x, op, static)
    if forward.open and mode.forward:
        follow(x, result, lambda tangent: apply_view(op, tangent, static))
    return result


class ViewsNode(Node):
    """Node of a function that returns several views of one tensor."""

    __slots__ = ("join", "source")

    source: Any
    join: tuple[str, int] | None  # how the gradients of all parts make one, and along which dim

    @property
    def _saved_dim(self) -> int | None:
        return None if self.join is None else self.join[1]

    @property
    def _saved_self_sym_sizes(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.source.shape
        return shape

    def apply(self, grads: Sequence[Any], wanted: Sequence[bool] | None) -> Sequence[Any]:
        given = [(g, m.layout) for g, m in zip(grads, self._metas, strict=True) if g is not None]
        if not given:
            return (None,)
        if self.join is not None and 2 * len(given) > len(grads):
            first = given[0][0]
            parts = [
                first._zeros(m.shape) if g is None else g
                for g, m in zip(grads, self._metas, strict=True)
            ]
            return (getattr(first, self.join[0])(parts, self.join[1]),)
        return (given[0][0]._embed_all(given, self.source.layout),)


_view_nodes: dict[str, type[ViewsNode]] = {}


def apply_views(
    name: str, x: Tensor, metas: Sequence[Any], join: tuple[str, int] | None = None
) -> tuple[Tensor, ...]:
    """Return several views of `x`: one node with several outputs, called `name`.

    Args:
        join: `("_cat", dim)` or `("_stack", dim)` where that makes `x` of all of them again.
    """
    grad = mode.grad
    creation = MULTI_OUTPUT if grad else INFERENCE if mode.inference else NO_GRAD
    results = tuple([make_view(x, meta, creation) for meta in metas])
    if grad and requires_grad_of(x) and not x._inference:
        cls = _view_nodes.get(name)
        if cls is None:
            cls = _view_nodes.setdefault(name, type(name, (ViewsNode,), {"__slots__": ()}))
        node = cls((edge_of(x),), metas)
        node.source, node.join = x._meta, join
        for number, result in enumerate(results):
            result._node = node
            result._output_nr = number
            result._requires_grad = True
    if forward.open and mode.forward:
        for number, result in enumerate(results):
            follow(x, result, partial(_part, name, metas, join, number))
    return results


def _part(name: str, metas: Any, join: Any, number: int, tangent: Tensor) -> Tensor:
    return apply_views(name, tangent, metas, join)[number]


handed.apply = apply
handed.plan = plan_of
handed.compute = compute
handed.view = apply_view
