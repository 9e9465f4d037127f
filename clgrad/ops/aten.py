"""PyTorch's names for ops: `ops.aten.mm.default`, for policies that say what a checkpoint keeps.

An op here has no overloads: whatever is asked of a packet (`default`, `Tensor`, …) is its one
`OpOverload`. Names are those of PyTorch's derivatives, which the records' nodes have.
"""

from __future__ import annotations

import re
from functools import cache

from clgrad.ops.registry import Op

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_DIMS = re.compile(r"(\d)D")
_NODE = re.compile(r"Backward\d*$")


class OpOverload:
    """Stands for one op; compared by identity."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        """Return the name with its namespace, `aten::mm`."""
        return f"aten::{self._name}"

    def __str__(self) -> str:
        return f"aten.{self._name}.default"

    def __repr__(self) -> str:
        return f"<OpOverload(op='aten.{self._name}')>"


class OpOverloadPacket:
    """What has the overloads of an op as attributes: they are one."""

    __slots__ = ("_overload",)

    def __init__(self, overload: OpOverload) -> None:
        self._overload = overload

    def __getattr__(self, name: str) -> OpOverload:
        if name.startswith("__"):
            raise AttributeError(f"{self} has no attribute {name!r}.")
        return self._overload

    def __str__(self) -> str:
        return f"aten.{self._overload._name}"

    __repr__ = __str__


@cache
def _packet(name: str) -> OpOverloadPacket:
    return OpOverloadPacket(OpOverload(name))


def _name(op: Op) -> str:
    words = _DIMS.sub(r"\1d", _NODE.sub("", op.node_name))
    if not words or words == "NotImplemented":
        return op.label
    return _WORD.sub("_", words).lower()


@cache
def overload_of(op: Op) -> OpOverload:
    """Return what stands for a record."""
    return _packet(_name(op).strip("_"))._overload


def __getattr__(name: str) -> OpOverloadPacket:
    if name.startswith("__"):
        raise AttributeError(f"module 'clgrad.ops.aten' has no attribute {name!r}.")
    return _packet(name.strip("_"))
