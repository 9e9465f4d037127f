"""The dump of one op: its record in words, then the kernels of its forward and its derivatives.

The call is rehearsed (see `graph.rehearsal`): recording, the engine, fusion and lowering are the
real ones, and only the launches are missing. So nothing is said here that the library would not do.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from clgrad import autograd, dispatch
from clgrad.cli.dump_case import Case, sample_tensor
from clgrad.errors import NoDerivativeError
from clgrad.expr import free_names
from clgrad.expr.text import to_text
from clgrad.graph.trace import KernelTrace, Trace, formula
from clgrad.layout import Layout
from clgrad.ops.registry import OPS, Op, derived
from clgrad.tape.record import OpNode
from clgrad.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the dump: a title, sentences, and the kernels that were launched for it."""

    title: str
    lines: tuple[str, ...]
    kernels: tuple[KernelTrace, ...] = ()


def sections(case: Case, derivative: int, device: Any) -> Iterator[Section]:
    """Yield the parts of the dump of a call.

    Args:
        derivative: how often to differentiate it.

    Raises:
        ClgradError: what the op says of its operands; AutogradError where it has no derivative.
    """
    leaves = case.differentiable if derivative else []
    for _, leaf in leaves:
        leaf.requires_grad = True
    _flushed(lambda: None)  # what made the operands is no part of the op
    result, kernels = _flushed(case.call)
    results: tuple[Tensor, ...] = result if isinstance(result, tuple) else (result,)
    made = ", ".join(f"{r.dtype.name}{list(r.shape)}" for r in results)
    yield Section(f"{case.text()} -> {made}", tuple(_record(case, results)), kernels)
    if case.op is not None and case.op.kind == "view":
        _, kernels = _flushed(lambda: dispatch.apply(OPS["copy"], (results[0],)))
        yield Section("a reader of the view, here a copy", (), kernels)
    if derivative:
        yield from _derivatives(case, results, derivative, device)


def _flushed(call: Callable[[], Any]) -> tuple[Any, tuple[KernelTrace, ...]]:
    """Return what `call` returns, and the kernels that are launched for it."""
    trace = Trace(places=False).open()
    with closing(trace):
        result = call()
        dispatch.backend.flush()
    return result, tuple(trace.kernels)


# ---- the record in words ------------------------------------------------------------------------


def _record(case: Case, results: tuple[Tensor, ...]) -> Iterator[str]:
    op = case.op
    if op is None:
        yield "A function made of ops; each of them has a derivative of its own."
        return
    yield f"{op.doc} ({op.kind})"
    if op.formula is not None or op.reduction is not None:
        yield f"{op.name} = {formula(op)}"
    for name in op.inputs:
        if name in op.derivatives:
            yield f"d{name} = {to_text(op.derivatives[name])}"
    if op.kind == "view":
        yield from _view(op, case, results[0])
    for title, function in (("forward", op.forward), ("backward", op.backward)):
        if function is not None:
            yield from _host(title, function)
    node = results[0].grad_fn
    if isinstance(node, OpNode):
        yield from _saved(op, node)


def _view(op: Op, case: Case, result: Tensor) -> Iterator[str]:
    yield "A view has no kernel: whoever reads it reaches its elements by an index expression."
    before, after = case.operands[0][1]._meta.layout, result._meta.layout
    yield f"{case.operands[0][0]}: element {_element(before)}"
    yield f"result: element {_element(after)}"


def _element(layout: Layout) -> str:
    """Return where in its storage the element of a layout is."""
    dims = [f"c{d}" for d in range(len(layout.shape))]
    terms = [c if s == 1 else f"{c} * {s}" for c, s in zip(dims, layout.strides, strict=True) if s]
    if layout.offset:
        terms.insert(0, str(layout.offset))
    return f"[{', '.join(dims)}] of {list(layout.shape)} is at {' + '.join(terms) or '0'}"


def _host(title: str, function: Callable[..., Any]) -> Iterator[str]:
    """Yield the text of a host function of a record."""
    texts = []
    for named in _named(function):
        try:
            texts.append(textwrap.dedent(inspect.getsource(named)).rstrip())
        except (OSError, TypeError):
            continue
    yield f"{title}: a host function over ops{':' * bool(texts)}"
    for text in texts:
        for line in text.splitlines():
            yield f"    {line}".rstrip()


def _named(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return the function itself, or for a lambda those of its module that it calls.

    The text of a lambda is that of whatever statement it stands in.
    """
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None or code.co_name != "<lambda>":
        return [function]
    found = [getattr(function, "__globals__", {}).get(name) for name in code.co_names]
    return [f for f in found if inspect.isfunction(f)]


def _saved(op: Op, node: OpNode) -> Iterator[str]:
    """Yield what the node keeps, and who reads it."""
    names = node.rule.names
    if not names:
        yield "saved for backward: nothing"
    for name in names:
        what = "the result" if name == "y" else "the operand"
        readers = [f"d{k}" for k, d in op.derivatives.items() if name in free_names(d)]
        by = ", ".join(readers) or "the backward function"
        yield f"saved for backward: {name}, {what}, because {by} reads it"


# ---- derivatives --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Level:
    """Results to differentiate.

    Attributes:
        name: `da` for a gradient, `da.db` for a gradient of that; empty for the call itself.
        op: what made them, if it is one op.
        inputs: what to differentiate by: operands, and the incoming gradients of earlier levels.
    """

    name: str
    results: tuple[Tensor, ...]
    op: Op | None
    inputs: tuple[tuple[str, Tensor], ...]


def _derivatives(
    case: Case, results: tuple[Tensor, ...], derivative: int, device: Any
) -> Iterator[Section]:
    results = tuple(r for r in results if r.requires_grad)
    if not results:
        yield Section("no derivative", (f"No result of {case.name} has a gradient.",))
        return
    levels = [_Level("", results, case.op, tuple(case.differentiable))]
    for order in range(1, derivative + 1):
        following: list[_Level] = []
        for level in levels:
            for section, deeper in _gradients(level, order, order < derivative, device):
                yield section
                following += deeper
        levels = following


def _gradients(
    level: _Level, order: int, again: bool, device: Any
) -> Iterator[tuple[Section, list[_Level]]]:
    """Yield a section per input, with what to differentiate next if that is to be done `again`."""
    seeds = tuple(sample_tensor(tuple(r.shape), r.dtype, device) for r in level.results)
    labels = [f"g{order}" if len(seeds) == 1 else f"g{order}_{k}" for k in range(len(seeds))]
    for seed in seeds:
        seed.requires_grad = again
    inputs = (*level.inputs, *zip(labels, seeds, strict=True))
    for name, leaf in level.inputs:

        def differentiate(leaf: Tensor = leaf) -> Any:
            return autograd.grad(
                level.results, leaf, seeds, retain_graph=True, create_graph=again,
                allow_unused=True,
            )[0]  # fmt: skip

        target = f"{level.name}.d{name}".removeprefix(".")
        try:
            gradient, kernels = _flushed(differentiate)
        except NoDerivativeError as error:
            yield Section(target, (str(error),)), []
            continue
        made = _made(level.op, name)
        deeper = []
        if again and gradient is not None and gradient.requires_grad:
            deeper.append(_Level(target, (gradient,), made, inputs))
        yield Section(target, tuple(_derivative(gradient, made, kernels)), kernels), deeper


def _made(op: Op | None, name: str) -> Op | None:
    """Return the derived op of one input, where the record has a formula for it."""
    if op is None or name not in op.inputs or name not in op.derivatives:
        return None
    return derived(op, name)[0]


def _derivative(
    gradient: Tensor | None, op: Op | None, kernels: tuple[KernelTrace, ...]
) -> Iterator[str]:
    if gradient is None:
        yield "zero: it does not depend on this"
        return
    if op is not None:
        yield f"{op.name}({', '.join(op.inputs)}) = {formula(op)}"
    if not kernels:
        yield "no kernel: the gradient is one that exists already, or a view of it"
