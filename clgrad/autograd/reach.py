"""Where the history of a tensor leads."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from clgrad.tape.inplace import edge_of
from clgrad.tensor import Tensor


def reaches(tensor: Tensor, nodes: Container[Any], but: Container[Any] | None = None) -> bool:
    """Whether the history of `tensor` comes to one of `nodes`, or to a leaf not in `but`."""
    edge = edge_of(tensor)
    stack = [] if edge is None else [edge[0]]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if node in nodes or (but is not None and node._leaf is not None and node not in but):
            return True
        for after in node._edges:
            if after is not None and after[0] not in seen:
                seen.add(after[0])
                stack.append(after[0])
    return False


def without_own(tensor: Tensor, own: Container[Any]) -> Tensor:
    """Return `tensor`, detached if its history leads to no leaf but those whose nodes are `own`."""
    if edge_of(tensor) is None or reaches(tensor, (), own):
        return tensor
    return tensor.detach()
