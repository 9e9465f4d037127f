"""Exchanging the contents of two tensors, whoever refers to them."""

from __future__ import annotations

from typing import Any

from clgrad.errors import AutogradError, ClgradTypeError
from clgrad.tape.node import AccumulateGrad
from clgrad.tensor import Tensor

_STATE = tuple(n for n in Tensor.__slots__ if n not in ("__weakref__", "_accumulate"))


class _Swapped(AccumulateGrad):
    """The node of a leaf that has other contents now."""

    __slots__ = ()

    @property
    def _metas(self) -> tuple[Any, ...]:  # type: ignore[override]  # what comes here is too late
        raise AutogradError(
            "AccumulateGrad: Trying to execute AccumulateGrad node that was poisoned by "
            "swap_tensors: a leaf of this graph has had its contents exchanged since. Expected "
            "forward and backward with the same leaf. Hint: swap before the forward pass."
        )


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Exchange class, memory, history, gradient, hooks and attributes of two tensors.

    Graphs that end in one of them raise when they come to it.

    Raises:
        ClgradTypeError: something that is no tensor.
        AutogradError: one is a view of the other.
    """
    for one in (t1, t2):
        if not isinstance(one, Tensor):
            raise ClgradTypeError(f"swap_tensors: got {type(one).__name__}. Expected tensors.")
    if t1._base is t2 or t2._base is t1:
        raise AutogradError(
            "swap_tensors: one tensor is a view of the other. Expected tensors of their own. "
            "Hint: clone() the view."
        )
    if t1 is t2:
        return
    for one in (t1, t2):
        node = one._accumulate and one._accumulate()
        if node is not None:
            node.__class__ = _Swapped
        one._accumulate = None
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    for name in _STATE:
        mine = getattr(t1, name)
        setattr(t1, name, getattr(t2, name))
        setattr(t2, name, mine)
