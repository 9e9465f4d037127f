"""Which leaves the history of a tensor leads to."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from clgrad.tape.inplace import edge_of
from clgrad.tensor import Tensor


def without_own(tensor: Tensor, own: Container[Any]) -> Tensor:
    """Return `tensor`, detached if its history leads to no leaf but those whose nodes are `own`."""
    edge = edge_of(tensor)
    stack = [] if edge is None else [edge[0]]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if node._leaf is not None and node not in own:
            return tensor
        for after in node._edges:
            if after is not None and after[0] not in seen:
                seen.add(after[0])
                stack.append(after[0])
    return tensor if edge is None else tensor.detach()
