"""Tangents of tensors while a level of forward-mode derivatives is open.

A level knows tangents by tensor, weakly, so that a tensor need not know of levels. A tangent lies
in memory as its tensor does: that of a view is the same view of the base's tangent, and an in-place
op writes it in place. How the tangent of an op's result is computed is in `autograd.pushing`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from clgrad.errors import NoDerivativeError, ShapeError
from clgrad.ops.meta import meta_of
from clgrad.tape.grad_mode import mode
from clgrad.tape.handed import handed
from clgrad.tape.inplace import requires_grad_of


class _Entry:
    """What a level knows of a tensor.

    Attributes:
        ref: to the tensor; entries go when it does.
        tangent: its tangent, or None.
        base: of which it is a differentiable view, or None.
    """

    __slots__ = ("base", "ref", "tangent")

    def __init__(self, ref: Any, base: Any) -> None:
        self.ref = ref
        self.tangent: Any = None
        self.base = base


class Level:
    """The tangents of one level.

    Attributes:
        known: entries by id of the tensor.
        saved: tangents of what nodes have saved, in that order, by id of the node.
    """

    def __init__(self) -> None:
        self.known: dict[int, _Entry] = {}
        self.saved: dict[int, tuple[Any, Sequence[Any]]] = {}

    def entry(self, tensor: Any, base: Any) -> _Entry:
        """Return the entry of a tensor, a new one if there is none."""
        key = id(tensor)
        found = self.known.get(key)
        if found is None:
            known = self.known
            ref = weakref.ref(tensor, lambda _: known.pop(key, None))
            found = known[key] = _Entry(ref, base)
        return found

    def keep(self, node: Any, tangents: Sequence[Any]) -> None:
        """Remember the tangents of what `node` has saved."""
        if any(t is not None for t in tangents):
            key, saved = id(node), self.saved
            saved[key] = weakref.ref(node, lambda _: saved.pop(key, None)), tangents

    def give(self, node: Any, unpacked: Sequence[Any]) -> None:
        """Give tensors that `node` has saved their tangents again."""
        found = self.saved.get(id(node))
        for tensor, tangent in zip(unpacked, found[1] if found else (), strict=False):
            if tangent is not None and tangent_of(tensor) is None:
                put(tensor, tangent)


class Forward:
    """Whether tangents are looked for.

    Attributes:
        open: whether a level is open in any thread: what makes the common case one test.
        level: that level.
        push: `(plan, operands, results)`: give the results of an op their tangents.
        ahead: `(op, operands, static)`: what an in-place op is about to do to a tangent.
    """

    __slots__ = ("ahead", "level", "open", "push")

    push: Callable[..., None]
    ahead: Callable[..., Any]

    def __init__(self) -> None:
        self.open = False
        self.level = Level()


forward = Forward()


class suspended:  # noqa: N801  # a context manager
    """Look for no tangents in this thread inside of the block."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = mode.forward
        mode.forward = False

    def __exit__(self, *_: object) -> None:
        mode.forward = self._before


def base_of(tensor: Any) -> Any:
    """Return the tensor of which `tensor` is a view that tangents follow, or None."""
    found = forward.level.known.get(id(tensor))
    if found is not None:
        return found.base
    return None if tensor._view is None else tensor._view.base


def tangent_of(tensor: Any) -> Any:
    """Return the tangent of a tensor, or None; that of a view may come from its base."""
    found = forward.level.known.get(id(tensor))
    if found is not None and found.tangent is not None:
        return found.tangent
    base = base_of(tensor)
    above = None if base is None else tangent_of(base)
    if above is None:
        return None
    with suspended():
        tangent = _seen_as(above, tensor._meta)
    forward.level.entry(tensor, base).tangent = tangent
    return tangent


def _seen_as(tangent: Any, meta: Any) -> Any:
    layout = meta.layout
    return tangent.as_strided(layout.shape, layout.strides, layout.offset)


def differentiated(tensor: Any) -> bool:
    """Return whether what is computed of a tensor needs a derivative, backwards or forwards."""
    if mode.grad and requires_grad_of(tensor):
        return True
    return forward.open and mode.forward and tangent_of(tensor) is not None


def cut(tensor: Any) -> None:
    """Make a new view one that tangents do not follow."""
    forward.level.entry(tensor, None)


def adopt(tensor: Any, view: Any) -> None:
    """Give a tensor that came to show what `view` shows the tangent of that."""
    if mode.forward:
        tangent = tangent_of(view)
        if tangent is not None:
            forward.level.entry(tensor, base_of(tensor)).tangent = tangent


def forget(tensor: Any) -> None:
    """Take the tangent off a tensor."""
    forward.level.known.pop(id(tensor), None)


def put(tensor: Any, tangent: Any) -> None:
    """Give a tensor a tangent, copied if it lies otherwise in memory."""
    base = base_of(tensor)
    with suspended():
        forward.level.entry(tensor, base).tangent = _alike(tangent, tensor)


def follow(source: Any, view: Any, again: Callable[[Any], Any]) -> None:
    """Give a view of `source` that was made just now the same view of its tangent."""
    level = forward.level
    tangent = tangent_of(source)
    known = level.known.get(id(source))
    if tangent is None and known is None:
        return  # then the base of the view is what tangents go by
    entry = level.entry(view, source if known is None or known.base is None else known.base)
    if tangent is not None:
        with suspended():
            made = again(tangent)
            entry.tangent = made = _seen_as(tangent, view._meta) if made is None else made
        layout = made._meta.layout
        if layout.numel and layout.span[1] > made._storage.numel:
            raise ShapeError(
                f"forward AD: result = tensor.as_strided({list(layout.shape)}, "
                f"{list(layout.strides)}, {layout.offset}) can access memory outside of `tensor` "
                f"where that is the tangent: it has {made._storage.numel} elements."
            )


def written(tensor: Any, tangent: Any) -> None:
    """Give a tensor that was overwritten its new tangent; `tangent` None stands for zeros."""
    old = tangent_of(tensor)
    if tangent is None and old is None:
        return
    with suspended():
        if old is not None:
            if tangent is None:
                old.zero_()
            elif tangent is not old:
                old.copy_(tangent)
            return
        base = base_of(tensor)
        if base is not None and tangent_of(base) is None:
            if _same_place(tangent, base) and _same_place(tangent, tensor):
                forward.level.entry(base, None).tangent = tangent
            else:
                whole = _zeros_as(base, tangent)
                forward.level.entry(base, None).tangent = whole
                part = _seen_as(whole, tensor._meta)
                part.copy_(tangent)
                tangent = part
    put(tensor, tangent)


def _alike(tangent: Any, tensor: Any) -> Any:
    """Return the tangent in memory as the tensor is; as it is where the tensor's elements meet."""
    meta = tensor._meta
    if _same_place(tangent, tensor) or meta.layout.has_overlap:
        return tangent
    whole = meta.contiguous and tensor._storage.value.numel == meta.numel
    if whole and tangent.dtype is meta.dtype:
        return tangent.clone() if tangent._meta.layout.is_contiguous else tangent.contiguous()
    made = _zeros_as(tensor, tangent)
    made.copy_(tangent)
    return made


def _same_place(a: Any, b: Any) -> bool:
    """Whether two tensors have the same layout in storages of the same size.

    Samples of `vmap` have no storage of their own, so that of `a` may be of another size then.
    """
    x, y = a._meta.layout, b._meta.layout
    if x.shape != y.shape:
        return False
    if not x.numel:
        return True
    value = a._storage.value
    if x.offset != y.offset or (value.numel != b._storage.value.numel and not value.own):
        return False
    return all(s == t or n == 1 for n, s, t in zip(x.shape, x.strides, y.strides, strict=True))


def _zeros_as(tensor: Any, tangent: Any) -> Any:
    """Return zeros of the dtype of `tangent` that lie in memory as `tensor` does."""
    meta = tensor._meta
    memory = tangent._zeros((tensor._storage.value.numel,))
    return handed.wrap(memory._storage, meta_of(tangent.dtype, meta.layout, meta.device))


def check_out(name: str, tensors: Sequence[Any]) -> None:
    """Raise `NoDerivativeError` if a tensor among the arguments of an `out=` call has a tangent."""
    if any(tangent_of(t) is not None for t in tensors):
        raise NoDerivativeError(
            f"Trying to use forward AD with {name} that does not support it because it is an out= "
            "function. Expected arguments without a tangent. Hint: assign the result."
        )
