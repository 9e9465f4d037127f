"""Tangents of the results of ops: the push-forward, op by op.

That of a pointwise op takes its derivative's formula, with the tangent in the place of the
gradient. Any other op is differentiated twice: the pull-back of cotangents is linear, and its own
pull-back, applied to the tangents, is the push-forward. So every op with a derivative has this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clgrad.autograd.backward import grad
from clgrad.autograd.reach import reaches
from clgrad.autograd.running import running
from clgrad.dispatch import NUMBERS, apply
from clgrad.errors import NoDerivativeError
from clgrad.ops.registry import Op, derived
from clgrad.tape import grad_mode
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import edge_of, requires_grad_of
from clgrad.tape.record import OpNode, Plan, constant_of
from clgrad.tape.tangents import forward, put, suspended, tangent_of, written
from clgrad.tensor import Tensor

Tangents = Sequence[Tensor | None]


def push(plan: Plan, operands: Sequence[Any], results: Sequence[Tensor]) -> None:
    """Give the results of an op their tangents, if an operand has one."""
    tangents = [
        None if type(o) in NUMBERS else tangent_of(o) for o in operands[: len(plan.op.inputs)]
    ]
    if all(t is None for t in tangents):
        return
    with suspended():
        op = plan.op
        if op.kind == "pointwise" and op.backward is None:
            made: Tangents = (_by_formula(op, operands, tangents, results[0]),)
        else:
            made = twice(lambda *xs: apply(op, xs, plan.static), operands, tangents, results)
        used = {t._storage for t in tangents if t is not None}
        made = [t.clone() if t is not None and t._storage in used else t for t in made]
    for result, tangent in zip(results, made, strict=True):
        if tangent is not None:
            put(result, tangent)
    node = results[0]._node
    if isinstance(node, OpNode) and node.plan is plan:
        keep(node, operands, results)


def keep(node: OpNode, operands: Sequence[Any], results: Sequence[Tensor]) -> None:
    """Remember the tangents of what the node of an op has saved."""
    rule = node.rule
    numbers = (*((0,) if rule.result else ()), *rule.further)
    saved = [*(operands[k] for k in rule.operands), *(results[k] for k in numbers)]
    found = [tangent_of(x) for x in saved]
    with suspended():
        forward.level.keep(node, [None if t is None else t.clone() for t in found])


def _by_formula(op: Op, operands: Sequence[Any], tangents: Tangents, result: Tensor) -> Tensor:
    names = (*op.inputs, *(p for p, _ in op.params if p in op.numeric))
    known = dict(zip(names, operands, strict=True))
    known["y"] = result
    total: Any = None
    for name, tangent in zip(op.inputs, tangents, strict=True):
        if tangent is None:
            continue
        formula = op.derivatives.get(name)
        if formula is None:
            raise NoDerivativeError(
                f"Trying to use forward AD with {op.name} that does not support it because it has "
                f"not been implemented yet: no derivative for {name}. Hint: detach() it if no "
                "tangent should flow there."
            )
        made, sources = derived(op, name)
        if formula.op == "name" and formula.value == "g":
            part: Any = tangent
        elif sources:
            part = apply(made, tuple([tangent if s == "g" else known[s] for s in sources]))
        else:
            part = apply(constant_of(made), (tangent,))
        if part.dtype is not result.dtype:
            part = part.to(result.dtype)
        total = part if total is None else total + part
    assert total is not None
    wide: Tensor = total if total.shape == result.shape else total.expand(result.shape)
    return wide


def twice(
    call: Callable[..., Any], operands: Sequence[Any], tangents: Tangents,
    results: Sequence[Tensor],
) -> list[Tensor | None]:  # fmt: skip
    """Return the tangents of what `call(*operands)` gives, from its pull-back and that one's.

    Args:
        tangents: of the operands, None for what has none.
        results: what the call gave; floats alone have tangents.
    """
    record = mode.grad
    given = list(operands)
    outside = set()
    sources, pushed = [], []
    running.composing += 1
    try:
        with grad_mode.enable_grad():
            for k, x in enumerate(operands):
                if not isinstance(x, Tensor):
                    continue
                tangent = tangents[k] if k < len(tangents) else None
                if not record or (tangent is not None and not requires_grad_of(x)):
                    given[k] = x.detach()
                elif tangent is not None:
                    given[k] = x.view_as(x)
                for one in (x, tangent):
                    edge = edge_of(one) if record and one is not None else None
                    if edge is not None:
                        outside.add(edge[0])
                if tangent is not None:
                    if not requires_grad_of(given[k]):
                        given[k].requires_grad_()
                    sources.append(given[k])
                    pushed.append(tangent)
            made = call(*given)
            outputs = [made] if isinstance(made, Tensor) else list(made)
            found = _twice(outputs, sources, pushed, record)
    finally:
        running.composing -= 1
    done: list[Tensor | None] = []
    for result, one in zip(results, found, strict=True):
        if result.dtype.kind != "f":
            done.append(None)
        elif one is None:
            done.append(result._zeros(result.shape))
        else:
            done.append(one if reaches(one, outside) else one.detach())
    return done


def _twice(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], tangents: Sequence[Tensor], record: bool
) -> list[Tensor | None]:
    places = [k for k, o in enumerate(outputs) if requires_grad_of(o)]
    found: list[Tensor | None] = [None] * len(outputs)
    if not places:
        return found
    seeds = [outputs[k]._zeros(outputs[k].shape).requires_grad_() for k in places]
    pulled = grad(
        [outputs[k] for k in places], sources, seeds, retain_graph=True, create_graph=True,
        allow_unused=True,
    )  # fmt: skip
    linear = [
        (p, t)
        for p, t in zip(pulled, tangents, strict=True)
        if p is not None and requires_grad_of(p)
    ]
    if linear:
        made = grad(
            [p for p, _ in linear], seeds, [t for _, t in linear], retain_graph=record,
            create_graph=record, allow_unused=True,
        )  # fmt: skip
        for k, one in zip(places, made, strict=True):
            found[k] = one
    return found


class Ahead:
    """What an in-place op is about to do to the tangent of operand 0."""

    __slots__ = ("operands", "result")

    def __init__(self, op: Op, operands: Sequence[Any], static: tuple[Any, ...]) -> None:
        self.operands: tuple[Any, ...] = ()
        self.result: Any = None
        if any(isinstance(o, Tensor) and tangent_of(o) is not None for o in operands):
            target = operands[0]
            old = target.clone()  # which keeps its version when the target is written
            self.operands = tuple([old if o is target else o for o in operands])
            self.result = apply(op, self.operands, static)

    def done(self, target: Tensor, node: OpNode | None) -> None:
        """Write the tangent, after the op has written its result and made its node."""
        if self.result is not None:
            written(target, tangent_of(self.result))
            if node is not None:
                keep(node, self.operands, (self.result,))


forward.push = push
forward.ahead = Ahead
