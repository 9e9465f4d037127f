"""What is to be dumped: an op, a function or an expression, and the operands it gets.

Operands are samples: what is not given on the command line is chosen so that the op takes it.
They live on a device that computes nothing (see `graph.rehearsal`), so that only shapes and dtypes
count.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import clgrad
from clgrad import creation, dispatch, dtypes
from clgrad.cli.samples import SAMPLES
from clgrad.dtypes import DType
from clgrad.errors import ClgradError, ClgradTypeError, ClgradValueError
from clgrad.ops.registry import OPS, REQUIRED, Op
from clgrad.tensor import Tensor

Shape = tuple[int, ...]

SHAPE = (64, 128)
# Where one shape for all operands is not what the op takes, or shows little of it.
_SHAPES: dict[str, tuple[Shape, ...]] = {
    "mm": ((64, 128), (128, 32)),
    "bmm": ((4, 64, 128), (4, 128, 32)),
    "squeeze": ((64, 1, 128),),
    "squeeze_dim": ((64, 1, 128),),
    "squeeze_dims": ((64, 1, 128),),
}
_MODULES = ("clgrad", "clgrad.nn.functional", "clgrad.special", "clgrad.linalg")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says of the operands; None where it says nothing."""

    shapes: tuple[Shape, ...] | None = None
    dtypes: tuple[DType, ...] | None = None
    strided: bool = False
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """An op or a plain function with sample operands.

    Attributes:
        op: its record; None for a function that is made of ops.
        operands: (name, tensor) of each.
        params: parameters as they are passed.
        call: computes it; returns a tensor or a tuple of them.
        source: the expression, where it is not an op on its operands.
    """

    name: str
    op: Op | None
    operands: tuple[tuple[str, Tensor], ...]
    params: tuple[tuple[str, Any], ...]
    call: Callable[[], Any]
    source: str = ""

    @property
    def differentiable(self) -> list[tuple[str, Tensor]]:
        """The operands that may have a gradient."""
        masks = self.op.masks if self.op is not None else frozenset()
        return [(n, t) for n, t in self.operands if t.dtype.is_floating_point and n not in masks]

    def text(self) -> str:
        """Return the call as one would write it."""
        parts = [f"{n}: {t.dtype.name}{list(t.shape)}" for n, t in self.operands]
        if self.source:
            return f"{self.source}{' of ' * bool(parts)}{', '.join(parts)}"
        parts += [f"{n}={v!r}" for n, v in self.params]
        return f"{self.name}({', '.join(parts)})"


def make_case(name: str, wanted: Wanted, device: Any) -> Case:
    """Return the call of the op or function called `name`.

    Raises:
        ClgradValueError: there is none, or a parameter has no sample value.
        ClgradError: what the op says of these operands.
    """
    op = OPS.get(name)
    if op is not None:
        return _op_case(op, wanted, device)
    if name.isidentifier():
        function = _function(name)
        if function is None:
            raise _unknown(name)
        return _function_case(name, function, wanted, device)
    try:
        ast.parse(name, mode="eval")
    except SyntaxError as error:
        raise ClgradValueError(
            f"dump: {name!r} is no expression ({error.msg}). Expected the name of an op, or Python "
            "such as 'softmax(x @ w, dim=1)'."
        ) from None
    if wanted.params:
        raise ClgradTypeError(f"dump: --set goes with a name. Expected the values within {name!r}.")
    return _expression_case(name, name, "", wanted, device)


def names() -> list[str]:
    """Return the names of all ops and of the functions with a sample call."""
    return sorted({name for name in OPS if not name.startswith("_")} | set(SAMPLES))


def _unknown(name: str) -> ClgradValueError:
    near = get_close_matches(name, names(), n=4, cutoff=0.5)
    known = f"Near are {', '.join(near)}." if near else "Expected one of the table."
    return ClgradValueError(
        f"dump: no op is called {name!r}. {known} Hint: `clgrad dump --list` names them all."
    )


# ---- ops ----------------------------------------------------------------------------------------


def _op_case(op: Op, wanted: Wanted, device: Any) -> Case:
    given = {key: _literal(text) for key, text in wanted.params}
    known = [p for p, _ in op.params]
    for key in given:
        if key not in known:
            raise ClgradTypeError(
                f"dump: {op.name} has no parameter {key!r}. "
                f"Expected one of {', '.join(known) or '(none)'}."
            )
    shapes = _shapes(op.name, wanted, _SHAPES.get(op.name, (SHAPE,) * len(op.inputs)))
    kinds = [dtypes.bool_ if name in op.masks else _dtype(op, name) for name in op.inputs]
    operands = _operands(op.inputs, shapes, kinds, wanted, device)
    shape = shapes[0] if shapes else (wanted.shapes or (SHAPE,))[0]
    params = [(p, given[p] if p in given else _sample(op, p, d, shape)) for p, d in op.params]
    if op.kind == "creation":
        dtype = wanted.dtypes[0] if wanted.dtypes else dtypes.get_default_dtype()
        params = [(p, {"shape": shape, "dtype": dtype}.get(p, v)) for p, v in params]
    numbers = tuple(v for p, v in params if p in op.numeric)
    static = tuple(_fixed(p, v) for p, v in params if p not in op.numeric)
    tensors = tuple(t for _, t in operands)

    def call() -> Any:
        if op.kind == "view":
            made = dispatch.apply_view(op, tensors[0], static)
            if made is None:
                raise ClgradValueError(
                    f"{op.name}: only a copy has this shape. Expected a layout that has a view. "
                    "Hint: leave out --strided."
                )
            return made
        return dispatch.apply(op, (*tensors, *numbers), static, device)

    return Case(op.name, op, operands, tuple(params), call)


def _dtype(op: Op, name: str) -> DType:
    """Return a dtype that an operand may have."""
    if name in ("index", "indices"):
        return dtypes.int64
    return dtypes.get_default_dtype() if "f" in op.takes else dtypes.int32


def _sample(op: Op, param: str, default: Any, shape: Shape) -> Any:
    """Return a value for a parameter: its default where it has one."""
    if default is not REQUIRED and (op.name, param) != ("slice", "step"):
        return default
    last = len(shape) - 1
    samples: dict[str, Any] = {
        "dims": tuple(reversed(range(len(shape)))),
        "dim0": 0, "dim1": last, "dim": 1 if last else 0, "dimension": last, "index": 1,
        "start": 1, "length": max(shape[-1] // 2, 1) if shape else 1, "shape": (-1,),
        "step": 2, "dtype": dtypes.float16, "value": 1.0, "seed": 0, "offset": 0,
        "p": 0.5 if op.name == "bernoulli" else 2.0, "k": 3, "low": 0, "high": 10, "end": 1.0,
        "rate": 0.5, "mean": 0.0, "std": 1.0, "median": 0.0, "sigma": 1.0, "last": 99,
        "count": 10, "width": 1.0,
        "size": {"unfold": 3, "as_strided": shape[::-1]}.get(op.name, (4, *shape)),
        "stride": tuple(range(1, len(shape) + 1)),
    }  # fmt: skip
    if param not in samples:
        raise ClgradValueError(
            f"dump: the parameter {param!r} of {op.name} has no sample value. "
            f"Expected one on the command line. Hint: --set {param}=..."
        )
    return samples[param]


def _fixed(param: str, value: Any) -> Any:
    if param == "dtype":
        return None if value is None else dtypes.as_dtype(value)
    return tuple(value) if isinstance(value, list) else value


# ---- functions and expressions ------------------------------------------------------------------


def _function(name: str) -> Callable[..., Any] | None:
    """Return the public function or method called `name`, or None."""
    found = _namespace().get(name)
    if callable(found) and not isinstance(found, type) and not name.startswith("_"):
        return found  # type: ignore[no-any-return]  # it is callable, as was asked
    found = getattr(Tensor, name, None)
    return found if inspect.isfunction(found) and not name.startswith("_") else None


def _namespace() -> dict[str, Any]:
    """Return what the names in an expression stand for."""
    known: dict[str, Any] = {}
    for name in reversed(_MODULES):
        module = importlib.import_module(name)
        known |= {key: getattr(module, key) for key in module.__all__}
    return known | {"clgrad": clgrad, "nn": clgrad.nn, "F": clgrad.nn.functional}


def _function_case(
    name: str, function: Callable[..., Any], wanted: Wanted, device: Any
) -> Case:  # fmt: skip
    """Return the sample call of a function, with the arguments that the command line sets."""
    plain = name.removesuffix("_")
    text, operands = SAMPLES.get(name) or SAMPLES.get(plain) or _guess(function)
    if plain in OPS and "f" not in OPS[plain].takes:
        wanted = replace(wanted, dtypes=wanted.dtypes or (dtypes.int32,))
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    call.func = ast.Name(name)
    if wanted.params:
        _set(call, function, wanted.params)
    return _expression_case(name, ast.unparse(call), operands, wanted, device, function)


def _guess(function: Callable[..., Any]) -> tuple[str, str]:
    """Return a call whose arguments without a default are tensors of one shape."""
    kinds = inspect.Parameter
    parameters = inspect.signature(function).parameters.values()
    names = [
        p.name for p in parameters
        if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
        and p.default is kinds.empty
    ]  # fmt: skip
    if "tensors" in (p.name for p in parameters):
        names, call = ["a", "b"], "f([a, b])" if names else "f(a, b)"
    else:
        names = names or ["input"]
        call = f"f({', '.join(names)})"
    return call, ", ".join(f"{name} {'x'.join(map(str, SHAPE))}" for name in names)


def _set(
    call: ast.Call, function: Callable[..., Any], params: tuple[tuple[str, str], ...]
) -> None:  # fmt: skip
    """Give arguments of a call other values."""
    given = {key: ast.parse(repr(_literal(text)), mode="eval").body for key, text in params}
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*call.args, **{k.arg or "": k.value for k in call.keywords})
        for key in given:
            bound.arguments.pop(key, None)
        signature.bind(*bound.args, **bound.kwargs, **given)
    except TypeError as error:
        raise ClgradTypeError(
            f"dump: {ast.unparse(call.func)} does not take these arguments ({error}). "
            f"Expected {signature}. Hint: --set name=value"
        ) from None
    call.args = list(bound.args)
    call.keywords = [ast.keyword(key, value) for key, value in (bound.kwargs | given).items()]


def _expression_case(
    name: str, text: str, operands: str, wanted: Wanted, device: Any,
    function: Callable[..., Any] | None = None,
) -> Case:  # fmt: skip
    """Return the case of an expression: names that nothing else has are operands.

    Args:
        name: what to call it.
        operands: shapes and dtypes of operands, as in `SAMPLES`.
        function: what the name in it stands for, where it is not one that an expression knows.
    """
    known = _namespace() if function is None else _namespace() | {name: function}
    tree = ast.parse(text, mode="eval")
    used = [node.id for node in _in_order(tree) if isinstance(node, ast.Name)]
    listed = dict(part.split() for part in operands.split(",") if part)
    labels = {label: mark for label, mark in listed.items() if label in used}
    for label in used:
        if label not in known:
            labels.setdefault(label, "x".join(map(str, SHAPE)))
    marks = [mark.partition(":") for mark in labels.values()]
    shapes = tuple(tuple(int(size) for size in mark.split("x")) for mark, _, _ in marks)
    kinds = tuple(dtypes.by_name(d) if d else dtypes.get_default_dtype() for _, _, d in marks)
    made = _operands(tuple(labels), _shapes(name, wanted, shapes), kinds, wanted, device)
    code = compile(tree, "<dump>", "eval")
    writes = any(
        str(getattr(f, "attr", getattr(f, "id", ""))).endswith("_")
        for f in (node.func for node in _in_order(tree) if isinstance(node, ast.Call))
    )

    def call() -> Any:
        # an in-place op does not take a leaf
        values = {n: t.clone() if writes and t.requires_grad else t for n, t in made}
        try:
            result = eval(code, known | values)
        except (TypeError, AttributeError) as error:
            if isinstance(error, ClgradError):
                raise
            raise ClgradTypeError(
                f"dump: {text}: {error}. Expected an expression over tensors. "
                "Hint: clgrad dump 'softmax(x @ w, dim=1)' --shape 64x128,128x32"
            ) from None
        return _tensors(text, result)

    return Case(name, None, made, (), call, text)


def _in_order(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of an expression as they are written, from left to right."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        yield from _in_order(node)


def _tensors(text: str, result: Any) -> tuple[Tensor, ...]:
    """Return the tensors of a result."""
    parts = result if isinstance(result, tuple | list) else (result,)
    found = [t for part in parts for t in (part if isinstance(part, tuple | list) else (part,))]
    found = [t for t in found if isinstance(t, Tensor)]
    if not found:
        raise ClgradTypeError(
            f"dump: {text} is a {type(result).__name__}. Expected a tensor, or several: "
            "something else has no kernels."
        )
    return tuple(found)


# ---- operands -----------------------------------------------------------------------------------


def _shapes(name: str, wanted: Wanted, samples: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Return the shapes that are given, or the samples; one shape is that of all operands."""
    given, count = wanted.shapes, len(samples)
    if given is None:
        return samples
    if count and len(given) == 1:
        return given * count
    if count and len(given) != count:
        raise ClgradValueError(
            f"dump: {len(given)} shapes are given. Expected {count} for {name}, or one for all. "
            "Hint: --shape 3x4,4"
        )
    return given[:count]


def _operands(
    labels: Sequence[str], shapes: Sequence[Shape], kinds: Sequence[DType], wanted: Wanted,
    device: Any,
) -> tuple[tuple[str, Tensor], ...]:  # fmt: skip
    """Return tensors of dtypes that are given, or of the sample's."""
    given = wanted.dtypes or ()
    made = []
    for k, (label, shape, kind) in enumerate(zip(labels, shapes, kinds, strict=True)):
        dtype = given[min(k, len(given) - 1)] if given else kind
        made.append((label, sample_tensor(shape, dtype, device, wanted.strided)))
    return tuple(made)


def sample_tensor(shape: Shape, dtype: DType, device: Any, strided: bool = False) -> Tensor:
    """Return a leaf of unspecified values; a strided one has its dimensions in reverse order."""
    if not strided:
        return creation.empty(shape, dtype=dtype, device=device)
    made = creation.empty(shape[::-1], dtype=dtype, device=device)
    turned: Tensor = clgrad.permute(made, tuple(reversed(range(len(shape)))))
    return turned.detach()


def _literal(text: str) -> Any:
    """Return what a value on the command line stands for: a Python literal, else itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
