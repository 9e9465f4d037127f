"""Ops with a kernel that the user wrote: from a template and a few host functions to a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from clgrad.codegen.custom import RESERVED, CustomSpec, Part
from clgrad.codegen.gather import INDEX_LIMIT
from clgrad.codegen.spec import Epilogue, Lowered, LoweredLaunch
from clgrad.dtypes import DType, float32, float64, int32
from clgrad.errors import ClgradTypeError, ClgradValueError, ShapeError
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op, camel, declared, register
from clgrad.ops.signature import Signature
from clgrad.traits import PRESETS, DeviceTraits

Shape = tuple[int, ...]
Rule = Callable[..., Any]


def declare(
    name: str, inputs: str, source: str, *, backward: Rule | None,
    saves: Sequence[str] | Mapping[str, Sequence[str]] | None, shape: Rule | None,
    dtype: DType | Rule | None, size: Rule | None, local: Shape | None, doc: str,
) -> Op:  # fmt: skip
    """Enter an op in the table; see `clgrad.primitive`.

    Raises:
        ClgradValueError: the name is taken, or a name that templates have already is used.
    """
    operands, params = declared(inputs)
    wrong = [n for n in (*operands, *(p for p, _ in params)) if n in RESERVED or n == "y"]
    if wrong or not operands:
        raise ClgradValueError(
            f"primitive {name!r}: inputs {inputs!r}. Expected one operand or more, and none of the "
            f"names {', '.join(sorted((*RESERVED, 'y')))}, which the template has already."
        )
    numeric = frozenset(
        p for p, default in params if default is REQUIRED or isinstance(default, int | float)
    )
    kernel = _Kernel(name, source, shape, dtype, size, local)
    reads = tuple(operands) if saves is None else saves
    if not isinstance(reads, Mapping):
        reads = dict.fromkeys(operands, tuple(reads))
    return register(
        Op(
            name=name, kind="primitive", inputs=operands, params=params, numeric=numeric,
            shape=kernel.signature, backward=backward,
            saves={n: tuple(r) for n, r in reads.items()} if backward is not None else {},
            node_name=f"{camel(name)}Backward0", doc=doc,
        )
    )  # fmt: skip


_REGISTERS = {"int": int32, "float": float32, "double": float64}


class _Kernel:
    """The rules of one op: which kernel it is, on which operands, in how many work-items."""

    def __init__(
        self, name: str, source: str, shape: Rule | None, dtype: DType | Rule | None,
        size: Rule | None, local: Shape | None,
    ) -> None:  # fmt: skip
        self.name = name
        self.source = source
        self.shape = shape
        self.dtype = dtype
        self.size = size
        self.local = local

    def signature(
        self, op: Op, operands: tuple[Any, ...], static: dict[str, Any], device: Any
    ) -> Signature:
        """Return the signature of a call; the template is rendered once to find its mistakes."""
        given, kinds = operands[: len(op.inputs)], operands[len(op.inputs) :]
        for n, one in zip(op.inputs, given, strict=True):
            if not isinstance(one, Meta):
                raise ClgradTypeError(f"{self.name}: {n} is a number. Expected a tensor.")
        shapes = {n: m.shape for n, m in zip(op.inputs, given, strict=True)}
        result = self.result(given, shapes, static, device)
        numbers = tuple(zip((p for p, _ in op.params if p in op.numeric), kinds, strict=True))
        double = float64 in (result.dtype, *(m.dtype for m in given))
        real = "double" if double else "float"
        reach = [m.layout.span[1] for m in given]
        spec = CustomSpec(
            self.source, self.name,
            tuple(Part(n, m.dtype, m.ndim) for n, m in zip(op.inputs, given, strict=True)),
            Part("y", result.dtype, result.ndim, reads=False),
            tuple((n, real if kind is float else "int") for n, kind in numbers),
            tuple(static.items()), max(*reach, result.numel) >= INDEX_LIMIT,
        )  # fmt: skip
        spec.render(next(iter(PRESETS.values())))
        work = self.work(result.shape, shapes, static)

        def lower(sig: Signature, traits: DeviceTraits, epilogue: Epilogue | None) -> Lowered:
            if not sig.meta.numel:
                return Lowered((), ())
            args = spec.arguments((*shapes.values(), sig.meta.shape))
            return Lowered((), (LoweredLaunch(spec, args, work, self.local),))

        return Signature(
            op, "kernel", lower=lower, space=result.shape,
            reads=tuple(m.layout for m in given), dtypes=tuple(m.dtype for m in given),
            scalars=tuple(_REGISTERS[kind] for _, kind in spec.numbers), meta=result,
        )  # fmt: skip

    def result(
        self, given: Sequence[Meta], shapes: dict[str, Shape], static: dict[str, Any], device: Any
    ) -> Meta:
        """Return the meta of the result."""
        dtype = self.dtype
        if dtype is None:
            dtype = given[0].dtype
        elif not isinstance(dtype, DType):
            dtype = dtype(*(m.dtype for m in given))
        shape = given[0].shape if self.shape is None else self.shape(**shapes, **static)
        if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            raise ShapeError(f"{self.name}: shape= returned {shape!r}. Expected a tuple of sizes.")
        return fresh_meta(dtype, shape, device)

    def work(self, y: Shape, shapes: dict[str, Shape], static: dict[str, Any]) -> Shape:
        """Return the number of work-items in each dimension; whole groups."""
        size = (prod(y),) if self.size is None else self.size(y=y, **shapes, **static)
        size = (size,) if isinstance(size, int) else tuple(size)
        if self.local is None:
            return tuple(max(n, 1) for n in size)
        if len(size) != len(self.local):
            raise ClgradValueError(
                f"{self.name}: {len(size)} dimensions of work-items and {len(self.local)} of their "
                "groups. Expected as many."
            )
        return tuple(-(-max(n, 1) // w) * w for n, w in zip(size, self.local, strict=True))
