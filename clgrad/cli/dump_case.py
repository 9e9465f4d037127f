"""One call of an op to be dumped: which op, on which operands, with which parameters.

Operands are samples: what is not given on the command line is chosen so that the op takes it.
They live on a device that computes nothing (see `graph.rehearsal`), so that only shapes and dtypes
count.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import clgrad
from clgrad import creation, dispatch, dtypes
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
    "matmul": ((64, 128), (128, 32)),
    "squeeze": ((64, 1, 128),),
    "index_select": ((64, 128), (32,)),
    "index_add": ((64, 128), (32,), (32, 128)),
    "index_copy": ((64, 128), (32,), (32, 128)),
    "embedding": ((64, 128), (4, 32)),
    "squeeze_dim": ((64, 1, 128),),
    "squeeze_dims": ((64, 1, 128),),
}
_SAMPLES: dict[str, Any] = {
    "dim": 0, "dims": (0,), "shifts": 1, "repeats": 2, "chunks": 2, "pad": (1, 1), "reduce": "sum",
    "split_size_or_sections": 32, "start": 1, "length": 2, "value": 1.0, "offset": 0,
}  # fmt: skip
"""What parameters of plain functions are where the command line does not say."""
_INDICES, _MASKS = ("index", "indices"), frozenset(("mask", "condition"))
_FUNCTIONS = ("clgrad", "clgrad.nn.functional", "clgrad.special", "clgrad.linalg", "clgrad.fft")


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
    """

    name: str
    op: Op | None
    operands: tuple[tuple[str, Tensor], ...]
    params: tuple[tuple[str, Any], ...]
    call: Callable[[], Any]

    @property
    def differentiable(self) -> list[tuple[str, Tensor]]:
        """The operands that may have a gradient."""
        masks = self.op.masks if self.op is not None else frozenset()
        return [(n, t) for n, t in self.operands if t.dtype.is_floating_point and n not in masks]

    def text(self) -> str:
        """Return the call as one would write it."""
        parts = [f"{n}: {t.dtype.name}{list(t.shape)}" for n, t in self.operands]
        parts += [f"{n}={v!r}" for n, v in self.params]
        return f"{self.name}({', '.join(parts)})"


def make_case(name: str, wanted: Wanted, device: Any) -> Case:
    """Return the call of the op or function called `name`.

    Raises:
        ClgradValueError: there is none, or a parameter has no sample value.
        ClgradError: what the op says of these operands.
    """
    op = OPS.get(name)
    if op is None:
        function = _function(name)
        if function is None:
            raise _unknown(name)
        return _function_case(name, function, wanted, device)
    return _op_case(op, wanted, device)


def names() -> list[str]:
    """Return the names of all ops that can be dumped by themselves."""
    return sorted(name for name in OPS if not name.startswith("_"))


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
    shapes = _shapes(op.name, wanted, len(op.inputs))
    operands = _operands(op.inputs, shapes, wanted, device, op.masks)
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


# ---- plain functions ----------------------------------------------------------------------------


def _function(name: str) -> Callable[..., Any] | None:
    """Return the public function or method called `name`, or None."""
    for module in _FUNCTIONS:
        if importlib.util.find_spec(module) is None:
            continue
        found = getattr(importlib.import_module(module), name, None)
        if callable(found) and not isinstance(found, type):
            return found  # type: ignore[no-any-return]  # it is callable, as was asked
    found = getattr(Tensor, name, None)
    return found if inspect.isfunction(found) and not name.startswith("_") else None


def _function_case(
    name: str, function: Callable[..., Any], wanted: Wanted, device: Any
) -> Case:  # fmt: skip
    given = {key: _literal(text) for key, text in wanted.params}
    kinds = inspect.Parameter
    needed = [
        p.name for p in inspect.signature(function).parameters.values()
        if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
        and p.default is kinds.empty
    ]  # fmt: skip
    given = {n: _SAMPLES[n] for n in needed if n in _SAMPLES} | given
    positional = [n for n in needed if n not in given]
    listed = positional[:1] == ["tensors"]  # as of cat and stack
    least = 2 if listed else max(len(positional), 1)
    count = len(wanted.shapes) if wanted.shapes else least
    if listed:
        positional = []
    labels = tuple((*positional, *(f"x{k}" for k in range(len(positional), count)))[:count])
    operands = _operands(labels, _shapes(name, wanted, count), wanted, device, _MASKS)
    params = tuple((p, _fixed(p, v)) for p, v in given.items())

    def call() -> Any:
        try:
            tensors = [t for _, t in operands]
            if listed or any(n not in needed for n in labels):
                return function(*([tensors] if listed else tensors), **dict(params))
            return function(**dict(operands), **dict(params))
        except (TypeError, AttributeError) as error:
            if isinstance(error, ClgradError):
                raise
            raise ClgradTypeError(
                f"dump: {name} does not take {count} tensors like these ({error}). "
                f"Expected {name}{inspect.signature(function)}. "
                "Hint: --shape gives one shape per tensor, --set name=value the other arguments."
            ) from None

    return Case(name, None, operands, params, call)


# ---- operands -----------------------------------------------------------------------------------


def _shapes(name: str, wanted: Wanted, count: int) -> tuple[Shape, ...]:
    given = wanted.shapes
    if given is None:
        return _SHAPES.get(name, (SHAPE,) * count)
    if count and len(given) == 1:
        return given * count
    if count and len(given) != count:
        raise ClgradValueError(
            f"dump: {len(given)} shapes are given. Expected {count} for {name}, or one for all. "
            "Hint: --shape 3x4,4"
        )
    return given[:count]


def _operands(
    labels: Sequence[str], shapes: Sequence[Shape], wanted: Wanted, device: Any,
    masks: frozenset[str] = frozenset(),
) -> tuple[tuple[str, Tensor], ...]:  # fmt: skip
    kinds = wanted.dtypes or (dtypes.get_default_dtype(),)
    made = []
    for k, (label, shape) in enumerate(zip(labels, shapes, strict=True)):
        dtype = dtypes.bool_ if label in masks else kinds[min(k, len(kinds) - 1)]
        if label in _INDICES and not wanted.dtypes:
            dtype = dtypes.int64
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
