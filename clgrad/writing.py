"""In-place ops: the checks, the write, and the history after it; beside `dispatch`.

The order is PyTorch's: may it be written, edges, saves, overlap, write and count, rebase history,
save the result. An error before the write changes nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from clgrad import dispatch
from clgrad.dispatch import NUMBERS
from clgrad.dtypes import TORCH_NAMES, DType
from clgrad.dtypes import number as as_number
from clgrad.errors import AutogradError, DTypeError, ShapeError
from clgrad.layout import Layout, relation
from clgrad.ops.meta import LIMIT, fresh_meta, meta_of
from clgrad.ops.registry import OPS, Op
from clgrad.ops.signature import Signature, signature, write_signature
from clgrad.tape import noting
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import check_inference, check_inplace, edge_of, rebase, requires_grad_of
from clgrad.tape.node import CopyBackwards, Edge, Node, OverwriteNode
from clgrad.tape.record import Plan, record, save_results
from clgrad.tape.tangents import forward, suspended, tangent_of, written
from clgrad.tensor import Tensor

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def apply_(op: Op, operands: tuple[Any, ...], static: tuple[Any, ...] = ()) -> Tensor:
    """Compute the pointwise `op` and write the result over its operand 0, which is returned.

    Raises:
        AutogradError: the target may not be written now (a leaf, a forbidden view).
        ShapeError: operands broadcast to more than the target's shape.
        DTypeError: the result cannot be cast to the target's dtype.
    """
    target: Tensor = operands[0]
    numbers = tuple([o for o in operands if type(o) in NUMBERS])
    others = operands if not numbers else [o for o in operands if type(o) not in NUMBERS]
    edges = None
    if target._inference:
        check_inference(target)
    if mode.grad:
        inputs = operands[: len(op.inputs)]
        edges = _edges(target, [None if type(o) in NUMBERS else o for o in inputs])
    ahead = forward.ahead(op, operands, static) if forward.open and mode.forward else None
    storage = target._storage
    kinds = tuple([type(o) if type(o) in NUMBERS else o._meta for o in operands])
    key = (op, kinds, static, storage.value.numel)
    plan, made = _targets.get(key) or _make_target(key, target)
    node: Any = None
    rule: Any = None
    if edges is not None and plan.node is not None:
        mask = sum(1 << k for k, edge in enumerate(edges) if edge is not None)
        node, rule = record(plan, operands, numbers, edges, mask, old=True)
        node._metas = (target._meta,)
    for other in others:
        if other is not target and other._storage is storage:
            check_overlap(f"{op.label}_", target, others)
    if made is not None:
        values = tuple([o._storage.value for o in others])
        if made.kind == "map":
            value = dispatch.backend.record(made, values, numbers)
        else:
            value = dispatch.backend.write(made, storage.value, values, numbers)
        storage.replace(value)
    count(f"{op.label}_", target)
    if node is not None:
        view = rebase(target, node)
        if rule.result:
            save_results(node, rule, target, view)
    if ahead is not None:
        ahead.done(target, node)
    return target


_targets: dict[Any, tuple[Plan, Signature | None]] = {}


def _make_target(key: Any, target: Tensor) -> tuple[Plan, Signature | None]:
    """Check what does not depend on values, and work out what to record; None for no elements."""
    op, kinds, static, numel = key
    plan = dispatch._plans.get((op, kinds, static, None))
    if plan is None:
        plan = dispatch.make_plan(op, kinds, static, None)
    source = plan.signature
    assert source is not None
    meta = target._meta
    if plan.node is None and op.derivatives and meta.dtype.kind == "f":
        plan = Plan(op, kinds, static, source, (meta,))  # a comparison, written over floats
    if source.space != meta.shape:
        raise ShapeError(
            f"{op.label}_: output with shape {list(meta.shape)} doesn't match the broadcast shape "
            f"{list(source.space)}. Expected the other operands to broadcast to the target. "
            f"Hint: {op.label} without the underscore makes a new tensor."
        )
    check_cast(f"{op.label}_", source.meta.dtype, meta.dtype)
    check_overlap(f"{op.label}_", target, ())
    made = None
    if meta.numel:
        base = fresh_meta(meta.dtype, (numel,), meta.device)
        made = write_signature(base, meta.layout, source)
    if len(_targets) > LIMIT:
        _targets.clear()
    return _targets.setdefault(key, (plan, made))


def forget_targets() -> None:
    """Drop what was derived from settings that changed (the default dtype)."""
    _targets.clear()


def _edges(target: Tensor, inputs: Sequence[Tensor | None]) -> list[Edge | None] | None:
    """Return the edges of an in-place op if it is to be recorded, after the leaf and view rules."""
    check_inference(target)
    if not mode.grad or not any(t is not None and requires_grad_of(t) for t in inputs):
        return None
    check_inplace(target)
    return [None if t is None else edge_of(t) for t in inputs]


def check_cast(op: str, result: DType, target: DType) -> None:
    """Raise `DTypeError` where writing would drop a category (float into integer, …)."""
    if _CATEGORY[result.kind] > _CATEGORY[target.kind]:
        raise DTypeError(
            f"{op}: result type {TORCH_NAMES[result.name]} can't be cast to the desired output "
            f"type {TORCH_NAMES[target.name]}. Expected a result no wider in kind than the "
            f"target's {target.name}. Hint: cast the target with .to(clgrad.{result.name}) first."
        )


def check_overlap(op: str, target: Tensor, operands: Sequence[Tensor]) -> None:
    """Raise `AutogradError` if elements of the target coincide, or an operand overlaps it partly.

    As in PyTorch, partial overlap is seen between dense layouts only; elsewhere the write reads
    old values throughout, whatever the overlap.
    """
    layout = target._meta.layout
    if layout.has_overlap:
        raise AutogradError(
            f"{op}: unsupported operation: more than one element of the written-to tensor refers "
            f"to a single memory location, shape {list(layout.shape)}, strides "
            f"{list(layout.strides)}. Hint: clone() the tensor before the operation."
        )
    for other in operands:
        if other is target or other._storage is not target._storage:
            continue
        read = other._meta.layout
        if read is layout or not (_dense(layout) and _dense(read)):
            continue
        if relation(layout, read) == "overlapping":
            raise AutogradError(
                f"{op}: unsupported operation: some elements of the input tensor and the "
                "written-to tensor refer to a single memory location. Hint: clone() the input "
                "before the operation."
            )


def _only_expanded(layout: Layout) -> bool:
    """Whether nothing but stride 0 makes elements coincide, with a warning if that does."""
    strides = layout.strides
    still = [d for d, n in enumerate(layout.shape) if strides[d] == 0 and n > 1]
    if not still:
        return False
    for d in reversed(still):
        layout = layout.select(d, 0)
    if layout.has_overlap:
        return False
    warnings.warn(
        "Use of index_put_ on expanded tensors is deprecated. Please clone() the tensor before "
        "performing this operation. This also applies to advanced indexing e.g. x[indices] = y.",
        UserWarning,
        stacklevel=6,
    )
    return True


def _dense(layout: Any) -> bool:
    low, high = layout.span
    return bool(high - low == layout.numel)


def write(
    name: str,
    target: Tensor,
    source: Signature,
    values: Sequence[Any],
    numbers: tuple[Any, ...],
    layout: Layout | None = None,
) -> None:
    """Record what `source` computes as the new elements of `target`, and count the write.

    Args:
        layout: where in the storage they go, if not where the target lies.
    """
    store(target, source, values, numbers, layout)
    count(name, target)


def store(
    target: Tensor,
    source: Signature,
    values: Sequence[Any],
    numbers: tuple[Any, ...],
    layout: Layout | None = None,
) -> None:
    """Do what `write` does, and do not count it."""
    storage = target._storage
    value = storage.value
    if target._meta.numel:
        base = fresh_meta(value.dtype, (value.numel,), target._meta.device)
        made = write_signature(base, layout or target._meta.layout, source)
        if made.kind == "map":
            new = dispatch.backend.record(made, tuple(values), numbers)
        else:
            new = dispatch.backend.write(made, value, tuple(values), numbers)
        storage.replace(new)


def store_tensor(target: Tensor, made: Tensor) -> None:
    """Write a tensor of the target's shape over it; count and record nothing."""
    store(target, signature(OPS["copy"], (made._meta,), ()), (made._storage.value,), ())


def count(name: str, target: Tensor) -> None:
    """Count a write to `target`'s family."""
    if not target._inference:
        target._family().bump(name)
    if noting.Switch.open:
        noting.event("write", target)


def run_(
    op: Op, operands: tuple[Any, ...], static: tuple[Any, ...], work: Callable[[], None]
) -> Tensor:
    """Let `work` write over operand 0 of the composite `op`, and record one node for it.

    Args:
        work: writes by `store` or `dispatch.backend.write`; neither counts nor records.

    Raises:
        AutogradError: the target may not be written now (a leaf, a forbidden view, overlap).
    """
    target: Tensor = operands[0]
    inputs = [None if type(o) in NUMBERS else o for o in operands[: len(op.inputs)]]
    edges = _edges(target, inputs)
    if op.name != "index_put" or not _only_expanded(target._meta.layout):
        check_overlap(f"{op.label}_", target, ())
    node: Any = None
    rule: Any = None
    if edges is not None:
        kinds = tuple([type(o) if type(o) in NUMBERS else o._meta for o in operands])
        key = (op, kinds, static, "in place")
        plan = dispatch._plans.get(key)
        if plan is None:
            plan = dispatch._plans[key] = Plan(op, kinds, static, None, (target._meta,))
        if plan.node is not None:
            mask = sum(1 << k for k, edge in enumerate(edges) if edge is not None)
            numbers = tuple([o for o in operands if type(o) in NUMBERS])
            node, rule = record(plan, operands, numbers, edges, mask, old=True)
            node._metas = (target._meta,)
    before, tangents = mode.grad, mode.forward
    ahead = forward.ahead(op, operands, static) if forward.open and tangents else None
    mode.grad = mode.forward = False
    try:
        work()
    finally:
        mode.grad, mode.forward = before, tangents
    count(f"{op.label}_", target)
    if node is not None:
        view = rebase(target, node)
        if rule.result:
            save_results(node, rule, target, view)
    if ahead is not None:
        ahead.done(target, node)
    return target


def resize(target: Tensor, shape: tuple[int, ...]) -> None:
    """Give `target` another shape, row-major from where it starts; memory grows where it must.

    Elements that the memory had are kept, new ones are not set.
    """
    meta = target._meta
    start = meta.layout.offset
    plain = Layout.contiguous(shape)
    layout = Layout(plain.shape, plain.strides, start)
    storage = target._storage
    old, needed = storage.value, start + layout.numel
    if needed > old.numel:
        value = dispatch.backend.empty(meta.device, needed, meta.dtype)
        if old.numel:
            source = signature(
                OPS["copy"], (fresh_meta(meta.dtype, (old.numel,), meta.device),), ()
            )
            base = fresh_meta(meta.dtype, (needed,), meta.device)
            made = write_signature(base, Layout.contiguous((old.numel,)), source)
            value = dispatch.backend.write(made, value, (old,), ())
        storage.replace(value)
    target._meta = meta_of(meta.dtype, layout, meta.device)


def run_forward_(op: Op, operands: tuple[Any, ...], static: tuple[Any, ...] = ()) -> Tensor:
    """Compute the composite `op`, write its result over operand 0 and return that.

    Raises:
        ShapeError: the result has another shape. DTypeError: it cannot be cast to the target's.
        AutogradError: the target may not be written now.
    """
    target: Tensor = operands[0]

    def work() -> None:
        assert op.forward is not None
        made = op.forward(*operands, *static)
        if made._meta.shape != target._meta.shape:
            raise ShapeError(
                f"{op.name}_: output with shape {list(target._meta.shape)} doesn't match the "
                f"broadcast shape {list(made._meta.shape)}."
            )
        check_cast(f"{op.label}_", made._meta.dtype, target._meta.dtype)
        store_tensor(target, made)

    return run_(op, operands, static, work)


# ---- ops that only write -----------------------------------------------------------------------


class FillBackward0(OverwriteNode):
    """Node of `fill_` with a number."""

    __slots__ = ()


class FillBackward1(OverwriteNode):
    """Node of `fill_` with a tensor of one element."""

    __slots__ = ()


class ZeroBackward0(OverwriteNode):
    """Node of `zero_`."""

    __slots__ = ()


def copy_(
    target: Tensor, source: Tensor, non_blocking: bool = False, node: type[Node] = CopyBackwards
) -> Tensor:
    """Write `source`, broadcast and cast, over `target`, and return it.

    Raises:
        ShapeError: `source` does not broadcast to the target's shape.
        AutogradError: the target may not be written now.
    """
    source = dispatch.operand("copy_", source)
    if type(source) in NUMBERS:
        return fill_(target, source)
    meta = target._meta
    if source._meta.device != meta.device:
        source = source.to(meta.device)
    edges = _edges(target, (target, source))
    read = source._meta
    if read.shape != meta.shape:
        try:
            wide = read.layout.broadcast_to(meta.shape)
        except ShapeError as error:
            raise ShapeError(
                f"copy_: The size of the source {list(read.shape)} does not broadcast to the "
                f"target's {list(meta.shape)}. ({error})"
            ) from None
        read = meta_of(read.dtype, wide, read.device)
    made = None if edges is None or meta.dtype.kind != "f" else node(edges, (meta,))
    if source._storage is target._storage and source._meta is meta:  # whatever its overlap
        count("copy_", target)
    else:
        check_overlap("copy_", target, (source,))
        write("copy_", target, signature(OPS["copy"], (read,), ()), (source._storage.value,), ())
    if made is not None:
        rebase(target, made)
    if forward.open and mode.forward and meta.dtype.kind == "f":
        tangent = tangent_of(source)
        if tangent is not None:
            with suspended():
                tangent = tangent.expand(meta.shape).to(meta.dtype).clone()
        written(target, tangent)
    return target


def fill_(target: Tensor, value: Any) -> Tensor:
    """Write one number, or a tensor of one element, over `target`, and return it."""
    value = dispatch.operand("fill_", value)
    if type(value) not in NUMBERS:
        if value.ndim:
            raise ShapeError(
                "fill_: only supports 0-dimension value tensor but got tensor with "
                f"{value.ndim} dimensions. Hint: use copy_()."
            )
        return copy_(target, value, node=FillBackward1)
    return _fill("fill_", target, value, FillBackward0)


def zero_(target: Tensor) -> Tensor:
    """Write zeros over `target`, and return it."""
    return _fill("zero_", target, 0, ZeroBackward0)


def _fill(name: str, target: Tensor, value: float, node: type[Node]) -> Tensor:
    meta = target._meta
    layout = meta.layout
    for d in range(layout.ndim - 1, -1, -1):
        if layout.strides[d] == 0 and layout.shape[d] > 1:
            layout = layout.select(d, 0)  # one number everywhere: overlap does no harm
    number = as_number(value, meta.dtype)
    source = signature(OPS["full"], (type(number),), (layout.shape, meta.dtype), meta.device)
    return overwrite(name, target, source, (number,), node, layout)


def overwrite(
    name: str,
    target: Tensor,
    source: Signature,
    numbers: tuple[Any, ...],
    node: type[Node] = FillBackward0,
    layout: Layout | None = None,
) -> Tensor:
    """Write what a creation op makes over `target`, and return it.

    Args:
        layout: a layout with the same elements but none of them twice, for a target that has some.
    """
    edges = _edges(target, (target,))
    made = None if edges is None else node(edges, (target._meta,))
    if layout is None:
        check_overlap(name, target, ())
    write(name, target, source, (), numbers, layout)
    if made is not None:
        rebase(target, made)
    if forward.open and mode.forward:
        written(target, None)
    return target
