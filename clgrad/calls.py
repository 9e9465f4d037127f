"""From an op record to the Python function that users call.

One function per op serves as `clgrad.<name>` and, with the tensor as first argument, as the method
of `Tensor`; a second one writes in place. Both only sort arguments: what happens is in `dispatch`
and `writing`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from clgrad import creation, dtypes, writing
from clgrad.dispatch import NUMBERS, apply, binary, operand, unary
from clgrad.dtypes import as_dtype
from clgrad.errors import (
    ClgradRuntimeError,
    ClgradTypeError,
)
from clgrad.ops import activation, bessel, logical, pointwise, rounding, special, trigonometric  # noqa: F401  # they enter the table
from clgrad.ops.registry import OPS, REQUIRED, Op
from clgrad.ops.scaled import add_scaled, rsub_scaled, sub_scaled
from clgrad.outputs import check_outs, store_out
from clgrad.shapes import dims_of
from clgrad.tensor import Tensor

Call = Callable[..., Any]


ALIASES = {"axis": "dim", "keepdims": "keepdim", "x2": "other"}
"""NumPy's names, which PyTorch takes too."""
FIRST = ("input", "self", "x", "a", "x1")
"""Names of the first argument."""


def sort_arguments(op: Op, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Return the operands and the static parameters that a call of `op` passes.

    Raises:
        ClgradTypeError: too many arguments, an unknown or a missing one.
    """
    count = len(op.inputs)
    aliases = ALIASES | dict.fromkeys(FIRST, op.inputs[0])
    if count > 1:
        aliases |= dict.fromkeys(("other", "x2"), op.inputs[1])
    values: dict[str, Any] = dict(zip((*op.inputs, *(p for p, _ in op.params)), args, strict=False))
    if len(args) > count + len(op.params):
        raise ClgradTypeError(
            f"{op.label}() takes {count + len(op.params)} arguments but {len(args)} were given."
        )
    known = {*op.inputs, *(p for p, _ in op.params)}
    for name, value in named.items():
        target = name if name in known else aliases.get(name, name)
        if target not in known:
            raise ClgradTypeError(
                f"{op.label}() got an unexpected keyword argument {name!r}. "
                f"Expected some of {', '.join((*op.inputs, *(p for p, _ in op.params)))}."
            )
        if target in values:
            raise ClgradTypeError(f"{op.label}() got multiple values for argument {name!r}.")
        values[target] = value
    operands: list[Any] = []
    for name in op.inputs:
        if name not in values:
            raise ClgradTypeError(f"{op.label}() missing required argument {name!r}.")
        operands.append(operand(op.label, values[name]))
    check_numbers(op, operands)
    static: list[Any] = []
    for name, default in op.params:
        value = values.get(name, default)
        if value is REQUIRED:
            raise ClgradTypeError(f"{op.label}() missing required argument {name!r}.")
        if name in op.numeric:
            number = operand(op.label, value)
            operands.append(number.item() if isinstance(number, Tensor) else number)
        else:
            static.append(_static(name, value))
    return tuple(operands), tuple(static)


def check_numbers(op: Op, operands: Sequence[Any]) -> None:
    """Raise `ClgradTypeError` for a number where only a tensor may stand."""
    if op.numbers is None:
        return
    for k, (name, value) in enumerate(zip(op.inputs, operands, strict=False), 1):
        if type(value) in NUMBERS and name not in op.numbers:
            raise ClgradTypeError(
                f"{op.label}(): argument {name!r} (position {k}) must be Tensor, not "
                f"{type(value).__name__}. Hint: clgrad.tensor({value})."
            )


def _static(name: str, value: Any) -> Any:
    """Return a parameter as something hashable."""
    if name == "dtype":
        return None if value is None else as_dtype(value)
    return dims_of(value) if name == "dim" else tuple(value) if isinstance(value, list) else value


_SCALED = {OPS["add"]: add_scaled, OPS["sub"]: sub_scaled, OPS["rsub"]: rsub_scaled}
"""What computes an op that was given `alpha`."""


def _take_alpha(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """Return the arguments without `alpha`, which may also stand third, and `alpha` or None."""
    args, alpha = (args[:2], args[2]) if len(args) == 3 else (args, named.pop("alpha", None))
    if alpha is None:
        return args, None
    number = operand("alpha", alpha)
    return args, number.item() if isinstance(number, Tensor) else number


def _check_alpha(name: str, alpha: Any, operands: tuple[Any, ...]) -> None:
    """Raise where `alpha` is of a higher category than what it scales, as PyTorch does."""
    kinds = {
        dtypes.of_number(o).kind if type(o) in NUMBERS else o._meta.dtype.kind for o in operands
    }
    if isinstance(alpha, float) and "f" not in kinds:
        raise ClgradRuntimeError(
            f"{name}: For integral input tensors, argument alpha must not be a floating point "
            f"number, got {alpha}. Hint: cast an operand with .float()."
        )
    if isinstance(alpha, bool) and kinds != {"b"}:
        raise ClgradRuntimeError(
            f"{name}: Boolean alpha only supported for Boolean results. Hint: alpha=int({alpha})."
        )


def function(op: Op) -> Call:
    """Return the function that computes `op`; it takes `out=` as PyTorch's do."""
    plain = not op.params and op.kind == "pointwise" and len(op.inputs) <= 2
    quick: Call | None = None
    if plain:
        quick = unary(op) if len(op.inputs) == 1 else binary(op)
    count = len(op.inputs)
    scaled = _SCALED.get(op)
    if count == 1 and op.params and not op.numeric:
        return _named(_with_static(op), op, op.label)

    def call(*args: Any, **named: Any) -> Any:
        if quick is not None and not named and len(args) == count and isinstance(args[0], Tensor):
            if op.numbers is not None and type(args[-1]) in NUMBERS:
                check_numbers(op, args)
            result = quick(*args)
            if result is not NotImplemented:
                return result
        out = named.pop("out", None)
        used = op
        if scaled is not None:
            args, alpha = _take_alpha(args, named)
            used = op if alpha is None or (type(alpha) is int and alpha == 1) else scaled
        operands, static = sort_arguments(used, args, named)
        if used is not op:
            _check_alpha(op.label, alpha, operands[:count])
            operands = (*operands[:count], alpha)
        if all(type(o) in NUMBERS for o in operands[:count]):
            if op.name in OF_NUMBERS:
                return call(creation.tensor(operands[0]), *operands[1:], out=out)
            raise ClgradTypeError(
                f"{op.label}: got numbers alone. Expected at least one tensor. "
                "Hint: clgrad.tensor(...) makes one."
            )
        if out is None:
            return apply(used, operands, static)
        return into(used, out, operands, static)

    return _named(call, op, op.label)


def _with_static(op: Op) -> Call:
    """Return the function of an op of one tensor and static parameters.

    Sorting the arguments takes 3 µs, so their meaning is kept for each way of writing them.
    """
    seen: dict[Any, Call] = {}

    def call(*args: Any, **named: Any) -> Any:
        known = None
        key: Any = None
        if args and isinstance(args[0], Tensor):
            try:
                key = (args[1:], tuple(named.items())) if named else args[1:]
                known = seen.get(key)
            except TypeError:  # a list of dims
                key = None
            if known is not None:
                return known(args[0])
        out = named.pop("out", None)
        operands, static = sort_arguments(op, args, named)
        if type(operands[0]) in NUMBERS:
            raise ClgradTypeError(
                f"{op.label}: got a number. Expected a tensor. Hint: clgrad.tensor(...) makes one."
            )
        if out is not None:
            return into(op, out, operands, static)
        given = (*args[1:], *named.values())
        if (
            key is not None
            and len(seen) < _WAYS
            and not any(a is float or isinstance(a, Tensor) for a in given)
        ):
            seen[key] = unary(op, static)
        return apply(op, operands, static)

    return call


OF_NUMBERS = frozenset(
    ("add", "sub", "mul", "div", "floor_divide", "_divide_down", "_divide_trunc")
)
"""Ops that PyTorch computes of two numbers as of 0-d tensors."""
_WAYS = 1024
"""Ways of writing the arguments of one op that are kept."""


def into(op: Op, out: Any, operands: tuple[Any, ...], static: tuple[Any, ...]) -> Tensor:
    """Compute `op` and write the result into `out`; see `outputs`."""
    check_outs(op.label, (out,), operands)
    return store_out(op.label, out, apply(op, operands, static))


def inplace(op: Op) -> Call:
    """Return the function that computes `op` and writes the result over its first operand."""
    count = len(op.inputs) if not op.params and len(op.inputs) < 3 else -1
    scaled = _SCALED.get(op)

    def call(*args: Any, **named: Any) -> Any:
        if not named and len(args) == count:
            operands = args
            if op.numbers is not None and type(args[-1]) in NUMBERS:
                check_numbers(op, args)
            if count == 2 and type(args[1]) not in NUMBERS and not isinstance(args[1], Tensor):
                operands = (args[0], operand(op.label, args[1]))
            return writing.apply_(op, operands)
        used = op
        if scaled is not None:
            args, alpha = _take_alpha(args, named)
            used = op if alpha is None else scaled
        operands, static = sort_arguments(used, args, named)
        if used is not op:
            _check_alpha(op.label, alpha, operands[: len(op.inputs)])
            operands = (*operands[: len(op.inputs)], alpha)
        if type(operands[0]) in NUMBERS:
            raise ClgradTypeError(f"{op.label}_: got a number. Expected a tensor to write to.")
        return writing.apply_(used, operands, static)

    return _named(call, op, f"{op.label}_")


def _named(call: Call, op: Op, name: str) -> Call:
    """Give a function the name, signature and docs that its record says."""
    kinds = inspect.Parameter
    params = [kinds(n, kinds.POSITIONAL_OR_KEYWORD) for n in op.inputs]
    for n, default in op.params:
        given = kinds.empty if default is REQUIRED else default
        params.append(kinds(n, kinds.KEYWORD_ONLY, default=given))
    call.__name__ = call.__qualname__ = name
    call.__doc__ = op.doc
    call.__signature__ = inspect.Signature(params)  # type: ignore[attr-defined]  # read by inspect
    return call
