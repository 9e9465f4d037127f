"""A signature: one op applied to operands of known dtype and layout; everything but the values.

Signatures are interned per (op, operand metas, static params), so dtype promotion, shape rules and
typing of the formula happen once, and recording an op is one lookup. A signature is what the graph
schedules: it says which elements of which operands each element of the result is computed from.

Kinds (what the graph distinguishes):
    map      result element = expr(operand elements at the same place of the iteration space)
    reduce   fold along the last `reduced` dims of the iteration space
    kernel   whatever a kernel family computes (matmul, conv, gather, sort)
    write    a map whose result replaces a part of operand 0's storage, `target` its layout there
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clgrad.codegen.spec import Lowered
from clgrad.dtypes import DType, bool_, by_name
from clgrad.errors import DeviceError, DTypeError, ShapeError
from clgrad.expr import Expr, call, const, count_ops, free_names, typed
from clgrad.expr import name as leaf
from clgrad.layout import Layout, broadcast_shapes, wrap_dim
from clgrad.ops.folds import Reduction
from clgrad.ops.meta import LIMIT, Meta, fresh_meta, meta_of
from clgrad.ops.promotion import computing_dtype
from clgrad.ops.registry import Op
from clgrad.traits import DeviceTraits

INDEX = "i"
"""Leaf that stands for the flat index of the element in the iteration space (int64)."""

Lower = Callable[..., Lowered]
"""What turns a signature of the kind `kernel` into launches: of signature, traits, epilogue
(or None) and, where there is one, a tuple of the operands' prologues (or None)."""
TakesPrologue = Callable[["Signature", int, DeviceTraits], bool]
"""Whether operand k is better made where the kernel reads it than stored before."""

_ids = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """The typed formulas of a reduction; leaves: operand leaves and `i`, `a0…`, `b0…`, `n`.

    `i` in `element` is the position among the reduced elements.
    """

    dtypes: tuple[DType, ...]
    init: tuple[Expr, ...]
    element: tuple[Expr, ...]
    combine: tuple[Expr, ...]
    finish: Expr
    count: int


class Signature:
    """See the module. Compare by identity.

    Attributes:
        id: small number, the key in plans.
        op, kind: what it came from, and one of the kinds above.
        space: shape of the iteration space; `reduced` how many of its last dims are folded, and
            `order` which dim of the operand each dim of the space is.
        reads: for each operand, the layout that takes a point of the space to an element of the
            operand's storage.
        dtypes: dtype of each operand's storage.
        expr: typed formula over `x0…` (operands), `s0…` (numbers) and `i`.
        scalars: computing dtype of each number.
        fold: for `reduce`.
        meta: of the result; contiguous, or for `write` that of the whole storage.
        target: for `write`, where in the storage the result goes; `covers`: all of it is replaced.
        lower: for `kernel`, `(signature, traits, epilogue or None) -> Lowered`; its operands are
            read through layouts of their own shapes.
        epilogue: for `kernel`, whether pointwise ops on the result may be part of it.
        prologue: for `kernel`, which operands may be made where they are read; None: none.
        flagged: for `kernel`, whether it reports errors that only the device can see.
        cost: operations per element.
        work: for `kernel`, all of its operations, or 0 where nobody has counted them.
        static: for a primitive op, its static parameters.
    """

    __slots__ = (
        "cost", "covers", "dtypes", "epilogue", "expr", "flagged", "fold", "id", "kind", "lower",
        "meta", "op", "order", "prologue", "reads", "reduced", "scalars", "space", "static",
        "target", "work",
    )  # fmt: skip

    def __init__(
        self,
        op: Op,
        kind: str,
        *,
        space: tuple[int, ...],
        reads: tuple[Layout, ...],
        dtypes: tuple[DType, ...],
        meta: Meta,
        expr: Expr | None = None,
        scalars: tuple[DType, ...] = (),
        fold: Fold | None = None,
        reduced: int = 0,
        target: Layout | None = None,
        covers: bool = False,
        order: tuple[int, ...] = (),
        lower: Lower | None = None,
        epilogue: bool = False,
        prologue: TakesPrologue | None = None,
        flagged: bool = False,
        work: int = 0,
    ) -> None:
        self.id = next(_ids)
        self.op = op
        self.kind = kind
        self.space = space
        self.reads = reads
        self.dtypes = dtypes
        self.meta = meta
        self.expr = expr
        self.scalars = scalars
        self.fold = fold
        self.reduced = reduced
        self.target = target
        self.covers = covers
        self.order = order
        self.lower = lower
        self.epilogue = epilogue
        self.prologue = prologue
        self.flagged = flagged
        self.work = work
        self.static: dict[str, Any] = {}
        self.cost = count_ops(expr) if expr is not None else 0

    def __repr__(self) -> str:
        return f"<{self.kind} {self.op.name} {self.meta.dtype.name}{list(self.meta.shape)}>"


_table: dict[Any, Signature] = {}


def signature(
    op: Op, operands: tuple[Meta | type, ...], static: tuple[Any, ...], device: Any = None
) -> Signature:
    """Return the signature of `op` on these operands.

    Args:
        operands: for each input and then each numeric param of the op the meta of a tensor, or
            the type (bool, int, float) of a Python number.
        static: values of the op's other params, in order; hashable.
        device: where the result lives if no operand says so.

    Raises:
        ShapeError, DTypeError, DeviceError, ClgradIndexError: as the op's rule finds.
    """
    key = (op, operands, static, device)
    found = _table.get(key)
    if found is None:
        if len(_table) > LIMIT:
            _table.clear()
        found = _table.setdefault(key, _RULES[op.kind](op, operands, static, device))
    return found


def forget() -> None:
    """Drop every signature: they depend on the default dtype, which has changed."""
    _table.clear()


def common_device(op: Op, metas: Sequence[Meta], fallback: Any) -> Any:
    """Return the device that all operands share; raises `DeviceError` where they differ."""
    devices = {m.device for m in metas}
    if len(devices) > 1:
        names = " and ".join(sorted(str(d) for d in devices))
        raise DeviceError(
            f"{op.label}: operands are on {names}. Expected all on one device. "
            "Hint: move one with .to(device); nothing moves by itself."
        )
    return devices.pop() if devices else fallback


def _result_dtype(op: Op, computed: DType, static: Mapping[str, Any]) -> DType:
    if op.result == "same":
        return computed
    if op.result == "param:dtype":
        wanted = static.get("dtype")
        return computed if wanted is None else wanted
    return by_name(op.result)


def _static_params(op: Op, static: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((p for p, _ in op.params if p not in op.numeric), static, strict=True))


def _cast(expr: Expr, dtype: DType) -> Expr:
    return expr if expr.dtype is dtype else call("cast", expr, dtype=dtype)


def _pointwise(
    op: Op, operands: tuple[Meta | type, ...], static: tuple[Any, ...], device: Any
) -> Signature:
    numeric = [p for p, _ in op.params if p in op.numeric]
    named = list(zip((*op.inputs, *numeric), operands, strict=True))
    metas = [m for m in operands if isinstance(m, Meta)]
    device = common_device(op, metas, device)
    for name, operand in named:
        if name in op.masks and isinstance(operand, Meta) and operand.dtype is not bool_:
            raise DTypeError(
                f"{op.label}: {name} has dtype {operand.dtype.name}. Expected bool. "
                f"Hint: {name} != 0 makes a mask."
            )
    params = _static_params(op, static)
    computed = computing_dtype(op, named[: len(op.inputs)])
    result = _result_dtype(op, computed, params)
    space = broadcast_shapes(*(m.shape for m in metas), op=op.label)
    leaves, scalars, reads, dtypes = _bind(op, named, computed, space)
    assert op.formula is not None
    expr = _cast(typed(op.formula, leaves, computed.compute), result)
    return Signature(
        op, "map", space=space, reads=tuple(reads), dtypes=tuple(dtypes), expr=expr,
        scalars=tuple(scalars), meta=fresh_meta(result, space, device),
    )  # fmt: skip


def _bind(
    op: Op, named: Sequence[tuple[str, Meta | type]], computed: DType, space: tuple[int, ...]
) -> tuple[dict[str, Expr], list[DType], list[Layout], list[DType]]:
    """Give each operand its leaf: `x0…` in the order of tensors, `s0…` in that of numbers."""
    leaves: dict[str, Expr] = {}
    scalars: list[DType] = []
    reads: list[Layout] = []
    dtypes: list[DType] = []
    compute = computed.compute
    for name, operand in named:
        if isinstance(operand, Meta):
            leaves[name] = leaf(f"x{len(reads)}", operand.dtype)
            reads.append(operand.layout.broadcast_to(space))
            dtypes.append(operand.dtype)
        else:
            dtype = bool_ if name in op.masks else compute
            leaves[name] = leaf(f"s{len(scalars)}", dtype)
            scalars.append(dtype)
        if not op.opmath and compute is not computed and name in op.inputs:
            leaves[name] = _cast(leaves[name], computed)
    leaves[INDEX] = leaf(INDEX, by_name("int64"))
    return leaves, scalars, reads, dtypes


def _creation(
    op: Op, operands: tuple[Meta | type, ...], static: tuple[Any, ...], device: Any
) -> Signature:
    params = _static_params(op, static)
    shape, dtype = params["shape"], params["dtype"]
    compute = dtype.compute
    leaves: dict[str, Expr] = {}
    numbers: list[DType] = []
    for p in (p for p, _ in op.params if p in op.numeric):
        number = by_name(op.number_dtypes[p]) if p in op.number_dtypes else compute
        leaves[p] = leaf(f"s{len(numbers)}", number)
        numbers.append(number)
    leaves[INDEX] = leaf(INDEX, by_name("int64"))
    assert op.formula is not None
    expr = _cast(typed(op.formula, leaves, compute), dtype)
    return Signature(
        op, "map", space=shape, reads=(), dtypes=(), expr=expr, scalars=tuple(numbers),
        meta=fresh_meta(dtype, shape, device),
    )  # fmt: skip


def reduced_dims(op: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """Return the dims to fold, wrapped, sorted; None and () mean all of them.

    Raises:
        ClgradIndexError: a dim out of range. ShapeError: a dim named twice.
    """
    if dim is None or dim == ():
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    wrapped = sorted(wrap_dim(d, ndim, op) for d in dims) if ndim else []
    if not ndim:
        for d in dims:
            wrap_dim(d, 1, op)
    if len(set(wrapped)) != len(wrapped):
        raise ShapeError(f"{op}: dim {dims} names one dimension twice. Expected each once.")
    return tuple(wrapped)


def _reduction(
    op: Op, operands: tuple[Meta | type, ...], static: tuple[Any, ...], device: Any
) -> Signature:
    (x,) = operands
    assert isinstance(x, Meta) and op.reduction is not None
    params = _static_params(op, static)
    rule = op.reduction
    dims = reduced_dims(op.label, params["dim"], x.ndim)
    computed = x.dtype if params.get("dtype") is None else params["dtype"]
    if op.promote == "float" and not computed.is_floating_point:
        raise DTypeError(
            f"{op.label}: input has dtype {computed.name}. Expected a floating-point dtype. "
            f"Hint: x.float().{op.label}(…) or dtype=clgrad.float32."
        )
    wanted = params.get("dtype")
    if op.promote == "integer" and (computed is bool_ or (wanted is None and computed.is_integral)):
        computed = by_name("int64")
    kept = [d for d in range(x.ndim) if d not in dims]
    moved = x.layout.permute((*kept, *dims))
    count = 1
    for d in dims:
        count *= x.shape[d]
    shape = tuple(x.shape[d] for d in kept)
    if count == 0 and not rule.empty and fresh_numel(shape):
        raise EmptyReductionError(op.label, x.shape, dims)
    result = wanted or computed if op.result == "same" else by_name(op.result)
    fold = fold_of(rule, op.inputs[0], x.dtype, computed, result, count, wanted)
    final = shape
    if params["keepdim"]:
        final = tuple(1 if d in dims else n for d, n in enumerate(x.shape))
    return Signature(
        op, "reduce", space=moved.shape, reduced=len(dims), order=(*kept, *dims), reads=(moved,),
        dtypes=(x.dtype,), fold=fold,
        meta=fresh_meta(result, final, common_device(op, [x], device)),
    )  # fmt: skip


def fold_of(
    rule: Reduction, operand: str, stored: DType, computed: DType, result: DType, count: int,
    wanted: DType | None = None,
) -> Fold:  # fmt: skip
    """Return the typed formulas of a reduction.

    Args:
        operand: what `element` calls the element, which is stored as `stored`.
        computed: the dtype in which it is folded; `result` that of what is finished.
        count: number of elements folded.
        wanted: the dtype to which elements are cast first, if it says more than `computed`: bool.
    """
    acc = computed.compute
    dtypes = tuple(acc if d == "acc" else by_name(d) for d in rule.accumulate)
    element_leaves = {
        operand: _cast(
            _cast(leaf("x0", stored), bool_) if wanted is bool_ else leaf("x0", stored), acc
        ),
        INDEX: leaf(INDEX, by_name("int64")),
    }
    sides = {f"{s}{k}": leaf(f"{s}{k}", d) for s in "ab" for k, d in enumerate(dtypes)}
    return Fold(
        dtypes=dtypes,
        init=tuple(_initial(text, d) for text, d in zip(rule.init, dtypes, strict=True)),
        element=tuple(
            _cast(typed(e, element_leaves, d if e.op != "name" else acc), d)
            for e, d in zip(rule.element, dtypes, strict=True)
        ),
        combine=tuple(
            _cast(typed(c, sides, d), d) for c, d in zip(rule.combine, dtypes, strict=True)
        ),
        finish=_cast(
            typed(rule.finish, sides | {"n": leaf("n", acc)}, _finish_dtype(rule, dtypes, acc)),
            result,
        ),
        count=count,
    )


def _finish_dtype(rule: Any, dtypes: tuple[DType, ...], acc: DType) -> DType:
    names = free_names(rule.finish)
    used = [d for k, d in enumerate(dtypes) if f"a{k}" in names]
    return used[0] if len(used) == 1 else acc


def fresh_numel(shape: Sequence[int]) -> int:
    """Return the number of elements of `shape`."""
    count = 1
    for n in shape:
        count *= n
    return count


class EmptyReductionError(ShapeError, IndexError):
    """A reduction without a neutral element was asked to fold nothing."""

    def __init__(self, op: str, shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
        super().__init__(
            f"{op}: Expected reduction dim {list(dims)} to have non-zero size, but the input has "
            f"shape {list(shape)}. Hint: {op} has no value for no elements."
        )


def _initial(text: str, dtype: DType) -> Expr:
    if text in ("lowest", "highest"):
        return const(extreme(dtype, text == "highest"), dtype)
    return const(int(text) if not dtype.is_floating_point else float(text), dtype)


def extreme(dtype: DType, highest: bool) -> float | int:
    """Return the largest or smallest value of `dtype` (±inf for floats)."""
    if dtype.is_floating_point:
        return float("inf") if highest else float("-inf")
    if dtype is bool_:
        return int(highest)
    bits = dtype.itemsize * 8
    if dtype.kind == "u":
        return (1 << bits) - 1 if highest else 0
    return (1 << bits - 1) - 1 if highest else -(1 << bits - 1)


def _primitive(
    op: Op, operands: tuple[Meta | type, ...], static: tuple[Any, ...], device: Any
) -> Signature:
    assert op.shape is not None
    metas = [m for m in operands if isinstance(m, Meta)]
    params = _static_params(op, static)
    made: Signature = op.shape(op, operands, params, common_device(op, metas, device))
    made.static = params
    return made


_RULES: dict[str, Callable[..., Signature]] = {
    "pointwise": _pointwise,
    "creation": _creation,
    "reduction": _reduction,
    "primitive": _primitive,
}

_views: dict[Any, Meta | None] = {}


def view_meta(op: Op, x: Meta, static: tuple[Any, ...]) -> Meta | None:
    """Return the meta of a view of `x`, or None where only a copy has that shape (reshape)."""
    key = (op, x, static)
    if key not in _views:
        if len(_views) > LIMIT:
            _views.clear()
        assert op.layout is not None
        layout = op.layout(x.layout, *static)
        _views[key] = None if layout is None else meta_of(x.dtype, layout, x.device)
    return _views[key]


_writes: dict[Any, Signature] = {}


def write_signature(base: Meta, target: Layout, source: Signature) -> Signature:
    """Return the signature that computes `source`'s expression into a storage, in place.

    Args:
        base: meta of the whole storage: flat, contiguous.
        target: where in it; its shape is `source.space`.
        source: a `map`; for the kind `write` its operands come after the storage's old value.

    Returns:
        A `map` where the target is the whole storage in order (the old value is then no operand),
        else a `write`, whose `covers` says whether every element is replaced.
    """
    key = (base, target, source)
    found = _writes.get(key)
    if found is None:
        if len(_writes) > LIMIT:
            _writes.clear()
        assert source.kind == "map" and source.expr is not None
        expr = _cast(source.expr, base.dtype)
        whole = target.numel == base.numel and target.offset == 0 and target.is_contiguous
        covers = target.numel == base.numel and not target.has_overlap
        made = Signature(
            source.op, "map" if whole else "write", space=source.space, reads=source.reads,
            dtypes=source.dtypes, expr=expr, scalars=source.scalars, meta=base,
            target=None if whole else target, covers=covers,
        )  # fmt: skip
        found = _writes.setdefault(key, made)
    return found
