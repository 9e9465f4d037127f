"""Op nodes: what is kept of a recorded op, and how its gradients are computed from that.

Everything that depends only on the op and the kinds of its operands is worked out once, in a
`Plan` and for each set of operands that need a gradient in a `Rule`; a node then holds little more
than its edges and its saved tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from clgrad.errors import NoDerivativeError
from clgrad.expr import const
from clgrad.graph.position import inside
from clgrad.ops.meta import Meta, meta_of
from clgrad.ops.registry import Op, derived
from clgrad.ops.signature import Signature, reduced_dims
from clgrad.tape import noting
from clgrad.tape.attributes import MISSING, next_functions, saved_attribute
from clgrad.tape.complaints import freed
from clgrad.tape.derivative import Context
from clgrad.tape.grad_mode import mode
from clgrad.tape.handed import handed
from clgrad.tape.node import NAMESPACE, Edge, Grads, Node, next_sequence
from clgrad.tape.saved import (
    SavedTensor,
    keep,
    keep_result,
    opened,
    save,
    save_old,
    save_result,
)
from clgrad.tape.tangents import forward
from clgrad.tape.version import Pin

_new = object.__new__
_getframe = sys._getframe
_STEPS = 1024

Step = tuple[int, Any, tuple[int, ...], tuple[int, ...], Any]


class Plan:
    """One op on operands of known kinds.

    Attributes:
        op, static: what is done.
        kinds: for each operand its `Meta`, or the type of a Python number.
        signature: what the graph records; None for views and composites.
        metas: of the outputs.
        rules: by mask of the operands that need a gradient (bit k for operand k).
        node: the class of its nodes, or None if gradients stop here.
    """

    __slots__ = ("kinds", "metas", "node", "op", "rules", "signature", "static")

    def __init__(
        self,
        op: Op,
        kinds: tuple[Any, ...],
        static: tuple[Any, ...],
        signature: Signature | None,
        metas: tuple[Any, ...],
    ) -> None:
        self.op = op
        self.kinds = kinds
        self.static = static
        self.signature = signature
        self.metas = metas
        self.rules: dict[int, Rule] = {}
        name = op.node_name
        if op.node_names:
            pattern = "".join("n" if isinstance(k, type) else "t" for k in kinds[: len(op.inputs)])
            if op.kind == "reduction":
                pattern = "" if self.params["dim"] is None else "dim"
            name = op.node_names.get(pattern, name)
        self.node = node_class(op, name) if any(m.dtype.kind == "f" for m in metas) else None

    def rule(self, mask: int) -> Rule:
        """Return what to save and compute when the operands in `mask` need a gradient."""
        found = self.rules.get(mask)
        if found is None:
            found = self.rules[mask] = Rule(self, mask)
        return found

    @property
    def params(self) -> dict[str, Any]:
        """The static parameters by name."""
        op = self.op
        names = [p for p, _ in op.params if p not in op.numeric]
        return dict(zip(names, self.static, strict=True))


_classes: dict[tuple[Op, str], type[OpNode]] = {}


def node_class(op: Op, name: str) -> type[OpNode]:
    """Return the class of `op`'s nodes; its name is what `grad_fn` shows."""
    found = _classes.get((op, name))
    if found is None:
        members = {"__slots__": (), "_namespace": NAMESPACE if name == "NotImplemented" else ""}
        found = _classes.setdefault((op, name), type(name, (OpNode,), members))
    return found


class Rule:
    """What a node saves, and how each gradient is made of it.

    Attributes:
        operands: positions of the tensor operands to save.
        result: whether the result is saved, after them.
        further: numbers of the other results to save (`result1`, … of a composite), after that.
        names: of what is saved, in that order; for errors and `_saved_…`.
        formulas: (operand, derived op or None for the gradient itself, where in the environment
            its operands are); the environment is [g, n, saved…, numbers…].
        missing: inputs that need a gradient for which the op has no derivative.
        restored: reductions: shape in which the gradient broadcasts against the input.
        count: reductions: how many elements were folded into one.
    """

    __slots__ = (
        "count", "formulas", "further", "missing", "names", "operands", "restored", "result",
        "steps",
    )  # fmt: skip

    def __init__(self, plan: Plan, mask: int) -> None:
        op = plan.op
        numeric = [p for p, _ in op.params if p in op.numeric]
        names = (*op.inputs, *numeric)
        needed = [k for k in range(len(op.inputs)) if mask >> k & 1]
        self.restored: tuple[int, ...] | None = None
        self.count = 0
        if plan.signature is not None and plan.signature.fold is not None:
            self.count = plan.signature.fold.count
            (x,) = plan.kinds
            dims = reduced_dims(op.name, plan.params["dim"], x.ndim)
            self.restored = tuple(1 if d in dims else n for d, n in enumerate(x.shape))
        recipes: list[tuple[int, Op | None, tuple[str, ...]]] = []
        used: set[str] = set()
        self.missing: list[str] = []
        if op.backward is not None:
            for k in needed:
                used.update(op.saves.get(op.inputs[k], ()))
        else:
            for k in needed:
                formula = op.derivatives.get(op.inputs[k])
                if formula is None:
                    self.missing.append(op.inputs[k])
                elif formula.op == "name" and formula.value == "g":
                    recipes.append((k, None, ("g",)))
                else:
                    made, sources = derived(op, op.inputs[k])
                    recipes.append((k, made, sources))
                    used.update(sources)
        is_tensor = [not isinstance(kind, type) for kind in plan.kinds]
        self.operands = tuple(k for k, n in enumerate(names) if n in used and is_tensor[k])
        self.result = "y" in used
        self.further = tuple(k for k in range(1, 9) if f"result{k}" in used)
        self.names = (
            *(names[k] for k in self.operands), *(("y",) if self.result else ()),
            *(f"result{k}" for k in self.further),
        )  # fmt: skip
        numbers = [n for n, tensor in zip(names, is_tensor, strict=True) if not tensor]
        place = {n: i for i, n in enumerate(("g", "n", *self.names, *numbers))}
        self.formulas = tuple((k, made, tuple(place[s] for s in src)) for k, made, src in recipes)
        self.steps: dict[Any, tuple[Step, ...]] = {}

    def make_steps(self, key: Any, plan: Plan, saved: Sequence[SavedTensor]) -> tuple[Step, ...]:
        """Work out how gradients are computed of values, for gradients of one kind.

        Each step is (operand, plan or None for the gradient itself, places of its values in [g,
        saved…], places of its numbers with -1 for the count, layout of the result if it changes).
        """
        g = key[0] if self.result else key
        metas = [g, *(one.meta for one in saved)]
        if self.restored is not None:
            metas[0] = _reshaped(g, self.restored)
            if self.result:
                metas[-1] = _reshaped(metas[-1], self.restored)
        count = len(saved)
        types = [kind for kind in plan.kinds if isinstance(kind, type)]
        steps: list[Step] = []
        for k, op, places in self.formulas:
            made, values, numbers, meta = None, [], [], metas[0]
            if op is not None:
                kinds = []
                for p in places:
                    if p == 1 or p > count + 1:
                        numbers.append(-1 if p == 1 else p - count - 2)
                        kinds.append(int if p == 1 else types[p - count - 2])
                    else:
                        values.append(max(p - 1, 0))
                        kinds.append(metas[values[-1]])
                if not values:  # a constant: it takes the shape of the gradient
                    values, kinds = [0], [metas[0]]
                    op = constant_of(op)
                made = handed.plan(op, tuple(kinds))
                meta = made.metas[0]
            if self.restored is not None and meta.shape != plan.kinds[k].shape:
                meta = meta_of(meta.dtype, meta.layout.expand(plan.kinds[k].shape), meta.device)
            same = meta is (g if made is None else made.metas[0])
            steps.append((k, made, tuple(values), tuple(numbers), None if same else meta))
        if len(self.steps) > _STEPS:
            self.steps.clear()
        return self.steps.setdefault(key, tuple(steps))


@lru_cache(maxsize=256)
def constant_of(op: Op) -> Op:
    """Return a derivative without operands as one of the gradient, for its shape."""
    zero = {"g": const(0)}  # it takes nothing but the shape
    return Op(name=op.name, kind="pointwise", inputs=("g",), formula=op.formula, derivatives=zero)


def _reshaped(meta: Meta, shape: tuple[int, ...]) -> Meta:
    layout = meta.layout.view(shape)
    assert layout is not None  # only dims of size 1 come or go
    return meta_of(meta.dtype, layout, meta.device)


class OpNode(Node):
    """Node of an op in the table.

    Attributes:
        plan, rule: see there.
        kept: what was saved of what `rule` names, bare pins where these are enough; None once
            released.
        numbers: the Python numbers among the operands.
    """

    __slots__ = ("kept", "numbers", "plan", "rule")

    plan: Plan
    rule: Rule
    kept: tuple[Pin | SavedTensor, ...] | None
    numbers: tuple[Any, ...]

    @property
    def saved(self) -> tuple[SavedTensor, ...] | None:
        """The saved tensors that `rule` names; None once released."""
        kept: Any = self.kept
        if kept and Pin in [one.__class__ for one in kept]:
            self.kept = kept = tuple(
                [
                    self._opened(one, k) if one.__class__ is Pin else one
                    for k, one in enumerate(kept)
                ]
            )
        return kept  # type: ignore[no-any-return]  # no pins are left

    def _opened(self, pin: Any, place: int) -> SavedTensor:
        operands = self.rule.operands
        if place < len(operands):
            k = operands[place]
            return opened(pin, self._edges[k], self.plan.kinds[k], result=False)
        return opened(pin, None, self._metas[0], result=True)

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        edges, rule, plan = self._edges, self.rule, self.plan
        saved = self.saved
        if saved is None:
            raise freed(self)
        count = len(plan.metas)
        g: Any = grads[0]
        if count > 1:
            g = (*grads, *(None,) * (count - len(grads)))
        if g is None or (count > 1 and all(one is None for one in g)):
            for one, name in zip(saved, rule.names, strict=True):
                one.unpack(self, name)  # may raise
            return (None,) * len(edges)
        tangents = forward.open and mode.forward
        if plan.op.backward is None and not (mode.grad or tangents or rule.missing):
            values = [g._storage.value]
            for one, name in zip(saved, rule.names, strict=True):
                value = one.value(self, name)
                if value is None:  # pack hooks took it
                    break
                values.append(value)
            else:
                return self._quick(g, saved, values, wanted)
        unpacked = [one.unpack(self, name) for one, name in zip(saved, rule.names, strict=True)]
        if tangents:
            forward.level.give(self, unpacked)
        op = plan.op
        if op.backward is not None:
            made = op.backward(Context(self, unpacked, wanted), g)
            return made if len(made) == len(edges) else (*made, *(None,) * (len(edges) - len(made)))
        if rule.missing:
            raise NoDerivativeError(
                f"{op.name}: the derivative for {' and '.join(rule.missing)} is not implemented. "
                f"Expected an op with a derivative on the way to a leaf. Hint: detach() its input "
                "if no gradient should flow there."
            )
        results: list[Any] = [None] * len(edges)
        if rule.restored is not None and g._meta.ndim:  # a 0-d one broadcasts as it is
            g = g.reshape(rule.restored)
            if rule.result:
                unpacked[-1] = unpacked[-1].reshape(rule.restored)
        environment = [g, rule.count, *unpacked, *self.numbers]
        for k, formula, places in rule.formulas:
            if edges[k] is None or (wanted is not None and not wanted[k]):
                continue
            if formula is None:
                result = g
            elif places:
                result = handed.apply(formula, tuple([environment[p] for p in places]))
            else:
                result = handed.apply(constant_of(formula), (g,))
            if rule.restored is not None and result.shape != plan.kinds[k].shape:
                result = result.expand(plan.kinds[k].shape)
            results[k] = result
        return results

    def _quick(
        self, g: Any, saved: Sequence[SavedTensor], values: Sequence[Any],
        wanted: Sequence[bool] | None,
    ) -> Grads:  # fmt: skip
        """Do the same on values: where nothing is recorded, saved tensors need not be made."""
        rule, edges = self.rule, self._edges
        key = self.steps_key(g)
        steps = rule.steps.get(key) or rule.make_steps(key, self.plan, saved)
        results: list[Any] = [None] * len(edges)
        for k, plan, places, numbers, meta in steps:
            if edges[k] is None or (wanted is not None and not wanted[k]):
                continue
            if plan is None:
                result = g
            else:
                given = numbers and tuple([self._number(n) for n in numbers])
                if len(places) == 1:
                    result = handed.compute(plan, (values[places[0]],), given)
                else:
                    result = handed.compute(plan, tuple([values[p] for p in places]), given)
            results[k] = result if meta is None else handed.wrap(result._storage, meta)
        return results

    def steps_key(self, g: Any) -> Any:
        """Return the key in `rule.steps` for the gradient `g` of the result."""
        if self.rule.result:
            saved = self.saved
            if saved:
                return g._meta, saved[-1].meta
        return g._meta

    def _number(self, place: int) -> Any:
        return self.rule.count if place < 0 else self.numbers[place]

    def _release(self) -> None:
        kept = self.kept
        if kept:
            self.kept = None
            for one in kept:
                if one.__class__ is not Pin:
                    one.release()  # type: ignore[union-attr]  # a saved tensor

    def _saved_items(self) -> Iterable[tuple[str, Any]]:
        return zip(self.rule.names, self.saved or (), strict=False)

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each input that PyTorch could differentiate by, where its gradient goes."""
        return next_functions(self)

    def __getattr__(self, attribute: str) -> Any:
        """Read `_saved_self`, `_saved_result`, `_saved_dim`, … or any name of the op's record."""
        if attribute.startswith(("_saved_", "_raw_saved_")):
            found = saved_attribute(self, attribute)
            if found is not MISSING:
                return found
        raise AttributeError(f"{self.name()} has no attribute {attribute!r}")


def record(
    plan: Plan,
    operands: Sequence[Any],
    numbers: tuple[Any, ...],
    edges: Sequence[Edge | None],
    mask: int,
    old: bool = False,
) -> tuple[OpNode, Rule]:
    """Return a new node that has saved its inputs; results are saved by `save_results`.

    Args:
        operands: tensors and numbers, as in `plan.kinds`.
        edges: of each input; `mask` says which are there.
        old: whether the op is about to overwrite operand 0.
    """
    rule = plan.rules.get(mask) or plan.rule(mask)
    node: OpNode = _new(OpNode)
    node._edges = tuple(edges)
    node._metas = plan.metas
    node._hooks = None
    node.plan = plan
    node.rule = rule
    node.numbers = numbers
    node._seq = next_sequence()
    frame: Any = _getframe(3)  # nearer ones are in the library: with them, 0.2 µs instead of 0.15
    while inside[frame.f_code.co_filename]:
        frame = frame.f_back
    node._code = frame.f_code
    node._at = frame.f_lasti
    # only now, because setting attributes is twice as fast where all objects are of one class
    node.__class__ = plan.node  # type: ignore[assignment]  # callers have tested for None
    if noting.Switch.open:
        noting.note(node)
    places = rule.operands
    if not places:
        node.kept = ()
    elif old:
        node.kept = tuple([(save if k else save_old)(operands[k], edges[k]) for k in places])
    elif len(places) == 1:
        k = places[0]
        node.kept = (keep(operands[k], edges[k]),)
    elif len(places) == 2:
        k, j = places
        node.kept = (keep(operands[k], edges[k]), keep(operands[j], edges[j]))
    else:
        node.kept = tuple([keep(operands[k], edges[k]) for k in places])
    return node, rule


def save_results(node: OpNode, rule: Rule, result: Any, view: Callable[[], Any] | None) -> None:
    """Let the node save its result, once the result has its history."""
    if rule.result:
        assert node.kept is not None
        node.kept = (*node.kept, keep_result(result, view))


def save_further(node: OpNode, rule: Rule, results: Sequence[Any]) -> None:
    """Let the node of a composite save those of its other results that its gradient reads."""
    assert node.kept is not None
    node.kept = (
        *node.kept,
        *(
            save_result(results[k], k) if results[k].is_floating_point() else save(results[k], None)
            for k in rule.further
        ),
    )
