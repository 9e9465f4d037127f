"""What a graph holds for backward: every saved tensor with its memory and where it was saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from clgrad import dispatch
from clgrad.dtypes import DType
from clgrad.errors import ClgradTypeError
from clgrad.graph.position import describe
from clgrad.runtime.memory import format_bytes
from clgrad.tape.inplace import edge_of
from clgrad.tape.node import Node
from clgrad.tape.saved import Packed
from clgrad.tensor import Size, Tensor


@dataclass(frozen=True, slots=True)
class SavedRecord:
    """One saved tensor.

    Attributes:
        node: name of the node that saved it.
        name: which argument of the node's op it is, or `y` for its result.
        shape, dtype: what was saved.
        nbytes: of the memory that it keeps: all of the buffer in which it lies, nothing for a
            recipe.
        kind: `memory`; `recipe` for what is computed again when it is read; `packed` for what
            hooks took; `overwritten` for what can only raise when it is read.
        storage: equal numbers share one buffer; None without memory.
        alone: whether no tensor of the program has that memory too.
        place: where in the program it was saved.
    """

    node: str
    name: str
    shape: tuple[int, ...]
    dtype: DType
    nbytes: int
    kind: str
    storage: int | None
    alone: bool
    place: str


def saved_tensors(*outputs: Any) -> list[SavedRecord]:
    """Return what the graph of some tensors holds for backward, oldest first.

    Args:
        outputs: tensors, or edges of the graph; sequences of them are taken apart.

    Returns:
        A record for each saved tensor; none for what was released. What is pending is enqueued, so
        that it is known what is a recipe.
    """
    dispatch.backend.flush()
    numbers: dict[Any, int] = {}
    return [
        _record(node, name, saved, numbers)
        for node in sorted(_nodes(outputs), key=lambda n: n._seq)
        for name, saved in node._saved_items()
    ]


def _starts(outputs: Iterable[Any]) -> Iterable[Node]:
    for output in outputs:
        if isinstance(output, Tensor):
            edge = edge_of(output)
            if edge is not None:
                yield edge[0]
        elif isinstance(getattr(output, "node", output), Node):
            yield getattr(output, "node", output)
        elif isinstance(output, Sequence):
            yield from _starts(output)
        else:
            raise ClgradTypeError(
                f"saved_tensors: got {type(output).__name__}. Expected tensors or edges."
            )


def _nodes(outputs: Iterable[Any]) -> set[Node]:
    stack = list(_starts(outputs))
    found = set(stack)
    while stack:
        for edge in stack.pop()._edges:
            if edge is not None and edge[0] not in found:
                found.add(edge[0])
                stack.append(edge[0])
    return found


def _record(node: Node, name: str, saved: Any, numbers: dict[Any, int]) -> SavedRecord:
    kind, value, meta = "memory", None, saved._meta if isinstance(saved, Tensor) else saved.meta
    if isinstance(saved, Tensor):
        value = saved._storage.value
    elif isinstance(saved.pin, Packed):
        kind = "packed"
        if isinstance(saved.pin.obj, Tensor):
            value = saved.pin.obj._storage.value
    else:
        value = saved.pin.value
        if value is None:
            kind = "overwritten"
        elif value.recipe is not None:
            kind, value = "recipe", None
    return SavedRecord(
        node=type(node).__name__,
        name=name,
        shape=Size(meta.shape),
        dtype=meta.dtype,
        nbytes=0 if value is None else value.nbytes,
        kind=kind,
        storage=None if value is None else numbers.setdefault(value, len(numbers) + 1),
        alone=value is None or not value.held,
        place=describe(node._place),
    )


def memory_report(*outputs: Any) -> str:
    """Return a table of what the graph of some tensors holds for backward, and the sums."""
    records = saved_tensors(*outputs)
    buffers = {r.storage: r for r in records if r.storage is not None}
    total = sum(r.nbytes for r in buffers.values())
    alone = sum(r.nbytes for r in buffers.values() if r.alone)
    recipes = sum(r.kind == "recipe" for r in records)
    head = (
        f"saved for backward: {len(records)} tensors in {len(buffers)} buffers of "
        f"{format_bytes(total)}, {format_bytes(alone)} of it held by the graph alone"
    )
    if recipes:
        head += f"; {recipes} recipes, which are computed again and take no memory"
    rows = [("node", "tensor", "shape", "dtype", "memory", "buffer", "saved at")]
    rows += [
        (
            r.node, r.name, str(list(r.shape)), r.dtype.name,
            r.kind if r.storage is None else format_bytes(r.nbytes),
            "" if r.storage is None else f"#{r.storage}" + ("" if r.alone else " (live)"),
            r.place,
        )
        for r in records
    ]  # fmt: skip
    widths = [max(len(row[c]) for row in rows) for c in range(6)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join([head, *(lines if records else [])])
