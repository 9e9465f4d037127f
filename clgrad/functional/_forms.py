"""The three forms of a function that chooses among ops: plain, with `out=`, and in place."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from clgrad import writing
from clgrad.calls import OF_NUMBERS, check_numbers, into
from clgrad.creation import tensor
from clgrad.dispatch import NUMBERS, apply, operand
from clgrad.errors import ClgradTypeError
from clgrad.functional._names import translation
from clgrad.ops.registry import OPS, Op
from clgrad.tensor import Tensor

Call = Callable[..., Any]
Choice = tuple[Op, tuple[Any, ...]]
"""An op, and its operands: tensors and Python numbers, its numeric parameters last."""


def choice(name: str, *operands: Any) -> Choice:
    """Return the op `name` with its operands, which must be tensors or numbers, not numbers alone.

    Raises:
        ClgradTypeError: they are not.
    """
    op = OPS[name]
    made = tuple([operand(op.label, o) for o in operands])
    check_numbers(op, made)
    if all(type(o) in NUMBERS for o in made[: len(op.inputs)]):
        if name in OF_NUMBERS:
            return op, (tensor(made[0]), *made[1:])
        raise ClgradTypeError(
            f"{op.label}: got numbers alone. Expected at least one tensor. "
            "Hint: clgrad.tensor(...) makes one."
        )
    return op, made


def forms(choose: Callable[..., Choice]) -> tuple[Call, Call]:
    """Return what calls the op that `choose` names, and what writes its result over the input.

    The first takes `out=`. Names and docs are those of `choose`, less its underscore.
    """
    translated = translation(choose)

    @functools.wraps(choose)
    def call(*args: Any, out: Any = None, **named: Any) -> Any:
        if named:
            named = translated(named)
        op, operands = choose(*args, **named)
        if out is None:
            return apply(op, operands)
        return into(op, out, operands, ())

    @functools.wraps(choose)
    def call_(*args: Any, **named: Any) -> Any:
        op, operands = choose(*args, **translated(named))
        if not isinstance(operands[0], Tensor):
            raise ClgradTypeError(f"{op.label}_: got a number. Expected a tensor to write to.")
        return writing.apply_(op, operands)

    name = choose.__name__.strip("_")
    choose.__qualname__ = name  # what Python says of wrong arguments
    for made, shown in ((call, name), (call_, f"{name}_")):
        made.__name__ = made.__qualname__ = shown
        made.__signature__ = _without_choice(choose)  # type: ignore[attr-defined]  # for inspect
    return call, call_


def _without_choice(choose: Call) -> inspect.Signature:
    return inspect.signature(choose).replace(return_annotation=Tensor)


def in_place(call: Call) -> Call:
    """Return the in-place form of a composition: `call` of the old values, written over them."""
    translated = translation(call)

    @functools.wraps(call)
    def call_(input: Tensor, *args: Any, **named: Any) -> Tensor:
        # a clone shares the value, and what it saves for backward outlives the write
        result = call(input.clone(), *args, **translated(named))
        writing.check_cast(call_.__name__, result.dtype, input.dtype)
        return writing.copy_(input, result)

    call_.__name__ = call_.__qualname__ = f"{call.__name__}_"
    return call_
