"""Tangents of the outputs of custom functions: what their `jvp` says, by PyTorch's rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.autograd.context import FunctionNode
from clgrad.errors import AutogradError
from clgrad.tape.tangents import forward, put, suspended, tangent_of, written
from clgrad.tensor import Tensor


class CustomTangents:
    """The tangents of one call, before and after it.

    Attributes:
        node: of the call.
        tangents: of its arguments, None for what has none.
        raw: what `forward` returned.
    """

    def __init__(self, node: FunctionNode, args: Sequence[Any], raw: Sequence[Any]) -> None:
        self.node = node
        self.args = args
        self.raw = tuple(raw)
        self.tangents = [tangent_of(a) if isinstance(a, Tensor) else None for a in args]
        self.versions = [None if t is None else t._version for t in self.tangents]
        self.dirty = {id(t) for t in node.dirty_tensors}
        self.saved = node.to_save

    def push(self, outputs: Sequence[Any]) -> None:
        """Call `jvp`, if an argument has a tangent, and give the outputs theirs."""
        if all(t is None for t in self.tangents):
            return
        node = self.node
        with suspended():
            given = [
                a._zeros(a.shape) if t is None and self._zeros(a) else t
                for a, t in zip(self.args, self.tangents, strict=True)
            ]
            node._pushing = True
            try:
                made = node._forward_cls.jvp(node, *given)
            finally:
                node._pushing = False
                node.saved_for_forward = ()
        found = made if isinstance(made, tuple) else (made,)
        if len(found) != len(outputs):
            raise AutogradError(
                "Function's jvp returned an invalid number of forward gradients (expected "
                f"{len(outputs)} but got {len(found)}). Hint: one, or None, for each output."
            )
        for k, (out, tangent) in enumerate(zip(outputs, found, strict=True)):
            self._one(k, out, tangent)
        known = {id(r): o for r, o in zip(self.raw, outputs, strict=True)}
        kept = [None if t is None else tangent_of(known.get(id(t), t)) for t in self.saved]
        forward.level.keep(node, kept)

    def _zeros(self, arg: Any) -> bool:
        wanted = self.node.materialize_grads and isinstance(arg, Tensor)
        return wanted and arg.is_floating_point()

    def _one(self, k: int, out: Any, tangent: Tensor | None) -> None:
        raw = self.raw[k]
        if not isinstance(out, Tensor) or not self.node._differentiable[k]:
            if tangent is not None:
                raise AutogradError(
                    f"jvp function of {type(self.node).__name__} returned a tangent at position "
                    f"{k}, but the corresponding forward output is not a differentiable Variable. "
                    "You should return None at that position instead."
                )
            return
        if tangent is None:
            return
        place = next((i for i, a in enumerate(self.args) if a is raw), None)
        if id(raw) in self.dirty and place is not None:
            self._dirty(out, tangent, place)
            return
        source = self._source(raw, place)
        if source is not None:
            above = self.tangents[source]
            if above is None:
                written(out, tangent)
                return
            _check_view(tangent, above)
        put(out, tangent)

    def _dirty(self, out: Tensor, tangent: Tensor, place: int) -> None:
        old = self.tangents[place]
        if old is None:
            written(out, tangent)
            return
        if old._version == self.versions[place]:
            raise AutogradError(
                "An inplace custom Function is not modifying the forward mode gradients inplace. "
                "If the forward is modifying an input inplace, then the jvp function must modify "
                "the corresponding gradient inplace."
            )
        if tangent is not old:
            raise AutogradError(
                "An inplace custom Function is not returning the forward mode gradients as-is. If "
                "the forward is modifying an input inplace, then the jvp function must modify the "
                "gradient inplace and return it as-is."
            )

    def _source(self, raw: Tensor, place: int | None) -> int | None:
        """Return which argument an output is, or is a view of."""
        if place is not None or raw._view is None:
            return place
        root = raw._view.base
        for i, arg in enumerate(self.args):
            if isinstance(arg, Tensor) and _root(arg) is root:
                return i
        return None


def _root(tensor: Tensor) -> Tensor:
    return tensor if tensor._view is None else tensor._view.base


def _check_view(tangent: Tensor, above: Tensor) -> None:
    """Raise unless the tangent of a view is a view of the tangent above."""
    if tangent._view is None:
        raise AutogradError(
            "A custom Function's forward is returning a view (or an input as-is) but the jvp is "
            "not returning a view. Hint: do to the tangent what forward does; x.view_as(x) for "
            "an input returned as it is."
        )
    if tangent._view.base is not _root(above):
        same = "the same base as the given" if above._view is not None else "the given"
        raise AutogradError(
            f"A custom Function is returning a view but the jvp is not returning a view of {same} "
            "grad input. Hint: do to the tangent what forward does."
        )
