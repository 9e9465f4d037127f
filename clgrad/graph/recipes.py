"""Recipes: values that were left unrealised because computing them again is cheaper than keeping.

A recipe is nothing but the recorded op, kept: its signature, the values it reads, its numbers. It
is made when a flush ends and recorded again when somebody reads the value.
"""

from __future__ import annotations

from typing import Any

from clgrad.graph.storage import Value
from clgrad.ops.signature import Signature


class Recipe:
    """How to compute a value again; `sources` are held strongly and may be recipes themselves."""

    __slots__ = ("scalars", "sig", "sources")

    def __init__(
        self, sig: Signature, sources: tuple[Value, ...], scalars: tuple[Any, ...]
    ) -> None:
        self.sig = sig
        self.sources = sources
        self.scalars = scalars


def unmade(value: Value) -> list[Value]:
    """Return the recipes that `value` needs, itself included, each after those that it reads."""
    order: list[Value] = []
    seen: set[int] = set()
    stack: list[tuple[Value, bool]] = [(value, False)]
    while stack:
        item, ready = stack.pop()
        if ready:
            order.append(item)
            continue
        if item.recipe is None or id(item) in seen:
            continue
        seen.add(id(item))
        stack.append((item, True))
        stack.extend((source, False) for source in item.recipe.sources)
    return order
