"""Values that have many samples: how ops are recorded for all samples of `vmap` at once.

Inside of `vmap` a tensor has the shape of one sample, and its value is `Batched`: the samples of a
`Level`, one after the other. Everything above the recorder (shape rules, views, nodes, the backward
pass) sees one sample; here the signature of an op is made one over all of them (`ops/batched.py`).
What has no rule there is recorded sample by sample.

`enter` and `leave` are the border: nodes there turn gradients of samples into those of the batch
and back. What came from outside without samples gets the sum of their gradients (`narrowed`).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from clgrad import dispatch
from clgrad.errors import AutogradError
from clgrad.generator import default_generator
from clgrad.graph.storage import Storage, Value
from clgrad.layout import Layout
from clgrad.ops.batched import batched_signature, prefixed
from clgrad.ops.joining import join_signature
from clgrad.ops.meta import fresh_meta, meta_of
from clgrad.ops.registry import OPS
from clgrad.ops.signature import Signature, fresh_numel, signature
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import edge_of
from clgrad.tape.node import Grads, Node, next_sequence
from clgrad.tape.tangents import follow, forward
from clgrad.tensor import Tensor, wrap


class Level:
    """One call of `vmap`: its number of samples.

    Attributes:
        size: how many samples. `number`: larger for inner ones.
        start: sequence number of the first node that can be inside.
        randomness: see `vmap`; `never` where nobody can choose.
    """

    __slots__ = ("number", "randomness", "size", "start")

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.size = size
        self.number = next(_numbers)
        self.start = next_sequence()
        self.randomness = randomness


_numbers = itertools.count()


class _Active(threading.local):
    def __init__(self) -> None:
        self.levels: list[Level] = []


active = _Active()
"""The levels in which this thread is, from the outermost."""


class Used:
    """Whether any level was ever opened: while none was, nothing looks for samples."""

    yet = False


class Batched(Value):
    """The values of samples.

    Attributes:
        value: all of them: (sizes of `own`, elements of a sample), contiguous.
        own: the levels of which it has a sample each, from the outermost.
        levels: these, and those in which it was made but whose samples share it.
    """

    own: tuple[Level, ...]  # type: ignore[misc]  # of each, here
    levels: frozenset[Level]  # type: ignore[misc]  # of each, here

    def __init__(
        self, value: Value, own: tuple[Level, ...], levels: frozenset[Level], numel: int
    ) -> None:
        super().__init__(numel, value.dtype, value.device)
        self.value = value
        self.own = own
        self.levels = levels
        self.bounds = value.bounds
        self.shared = value.shared


def own_of(value: Value) -> tuple[Level, ...]:
    """Return the levels of which a value has samples."""
    return value.own if isinstance(value, Batched) else ()


def _count(levels: Sequence[Level]) -> int:
    count = 1
    for level in levels:
        count *= level.size
    return count


def _outside(value: Value) -> Value:
    return value.value if isinstance(value, Batched) else value


@contextmanager
def opened(size: int, randomness: str = "error") -> Iterator[Level]:
    """Open a level for the duration of a block."""
    if not isinstance(dispatch.backend, _Batching):
        dispatch.backend.flush  # noqa: B018  # what stands for the graph until its first use, goes
        dispatch.backend = _Batching(dispatch.backend)
    Used.yet = True
    level = Level(size, randomness)
    active.levels.append(level)
    try:
        yield level
    finally:
        active.levels.remove(level)


# ---- recording ---------------------------------------------------------------------------------


class _Batching:
    """A backend that records ops on samples for all samples at once, by another backend."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def record(self, sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...]) -> Value:
        if not active.levels and Batched not in [v.__class__ for v in values]:
            made: Value = self.inner.record(sig, values, scalars)
            return made
        return self._run(sig, None, values, scalars)

    def write(
        self, sig: Signature, base: Value, values: tuple[Value, ...], scalars: tuple[Any, ...]
    ) -> Value:
        if not active.levels and Batched not in [v.__class__ for v in (base, *values)]:
            made: Value = self.inner.write(sig, base, values, scalars)
            return made
        return self._run(sig, base, values, scalars)

    def empty(self, device: Any, numel: int, dtype: Any) -> Value:
        return _inside(self.inner.empty(device, numel, dtype))

    def from_host(self, device: Any, array: Any, dtype: Any) -> Value:
        return _inside(self.inner.from_host(device, array, dtype))

    def to_host(self, value: Value) -> Any:
        if own_of(value):
            raise AutogradError(
                "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap "
                "over calling .item() on a Tensor, please try to rewrite what you're doing with "
                "other operations. Hint: numpy(), tolist() and the like read all samples outside."
            )
        return self.inner.to_host(_outside(value))

    def _run(
        self, sig: Signature, base: Value | None, values: tuple[Value, ...],
        scalars: tuple[Any, ...],
    ) -> Value:  # fmt: skip
        given = values if base is None else (*values, base)
        levels = frozenset(active.levels).union(*[v.levels for v in given if type(v) is Batched])
        found = {level for v in given for level in own_of(v)}
        own = tuple(sorted(found, key=lambda level: level.number))
        if not values and sig.op.kind == "creation" and "seed" in sig.op.numeric:
            own = _drawn(sig, own)
        numel = sig.meta.numel
        if not own:
            plain = tuple([_outside(v) for v in values])
            if base is None:
                made = self.inner.record(sig, plain, scalars)
            else:
                made = self.inner.write(sig, _outside(base), plain, scalars)
            return Batched(made, (), levels, numel) if levels else made
        if base is not None and own_of(base) != own:
            base = self.dense(base, own, Layout.contiguous((base.numel,)))
        sizes = tuple([level.size for level in own])
        lying = tuple([tuple([level in own_of(v) for level in own]) for v in values])
        if not _count(own) or not numel:
            made = self.inner.empty(sig.meta.device, _count(own) * numel, sig.meta.dtype)
            return Batched(made, own, levels, numel)
        how = batched_signature(sig, sizes, lying, tuple([v.numel for v in values]))
        if how is None:
            made = self._each(sig, base, values, scalars, own)
        else:
            over, dense, turned = how
            operands = tuple([
                _outside(self.dense(v, own, sig.reads[k])) if dense[k] else _outside(v)
                for k, v in enumerate(values)
            ])  # fmt: skip
            if turned:
                operands = operands[::-1]
            if base is None:
                made = self.inner.record(over, operands, scalars)
            else:
                made = self.inner.write(over, _outside(base), operands, scalars)
        return Batched(made, own, levels, numel)

    def dense(self, value: Value, own: tuple[Level, ...], layout: Layout) -> Batched:
        """Return what `layout` shows of each sample, contiguous, with samples of all of `own`."""
        sizes = tuple([level.size for level in own])
        lying = tuple([level in own_of(value) for level in own])
        over = prefixed(layout, sizes, lying, value.numel)
        levels = frozenset(own)
        source = _outside(value)
        if over.offset == 0 and over.is_contiguous and over.numel == source.numel:
            return Batched(source, own, levels, layout.numel)
        sig = signature(OPS["copy"], (meta_of(value.dtype, over, value.device),), ())
        return Batched(self.inner.record(sig, (source,), ()), own, levels, layout.numel)

    def _each(
        self, sig: Signature, base: Value | None, values: tuple[Value, ...],
        scalars: tuple[Any, ...], own: tuple[Level, ...],
    ) -> Value:  # fmt: skip
        """Record an op that has no rule sample by sample, and join the results."""
        results = []
        for place in itertools.product(*[range(level.size) for level in own]):
            at = dict(zip(own, place, strict=True))
            one = tuple([self._sample(v, at) for v in values])
            if base is None:
                results.append(self.inner.record(sig, one, scalars))
            else:
                results.append(self.inner.write(sig, self._sample(base, at), one, scalars))
        row = fresh_meta(sig.meta.dtype, (1, sig.meta.numel), sig.meta.device)
        whole = fresh_meta(sig.meta.dtype, (len(results), sig.meta.numel), sig.meta.device)
        join = join_signature(OPS["copy"], (row,) * len(results), 0, whole)
        made: Value = self.inner.record(join, tuple(results), ())
        return made

    def _sample(self, value: Value, at: dict[Level, int]) -> Value:
        """Return the value of one sample."""
        own = own_of(value)
        if not own:
            return _outside(value)
        offset = 0
        for level in own:
            offset = offset * level.size + at[level]
        layout = Layout((value.numel,), (1,), offset * value.numel)
        sig = signature(OPS["copy"], (meta_of(value.dtype, layout, value.device),), ())
        made: Value = self.inner.record(sig, (_outside(value),), ())
        return made


def _inside(value: Value) -> Value:
    if active.levels and not isinstance(value, Batched):
        return Batched(value, (), frozenset(active.levels), value.numel)
    return value


def random_error(chosen: bool = True) -> AutogradError:
    """Return the error of random numbers in a `vmap` that did not say what they should be.

    Args:
        chosen: whether whoever opened the level could have said so.
    """
    if not chosen:
        return AutogradError(
            "vmap: We do not yet support calling random operations inside of vmap. Please perform "
            "random operations outside of vmap as a workaround."
        )
    return AutogradError(
        "vmap: called random operation while in randomness error mode. Please either use the "
        "'same' or 'different' randomness flags on vmap or perform the randomness operation "
        "out of vmap."
    )


def _drawn(sig: Signature, own: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return the levels whose samples get random numbers of their own."""
    for level in active.levels:
        if level.randomness in ("error", "never"):
            raise random_error(level.randomness == "error")
    levels = tuple([level for level in active.levels if level.randomness == "different"])
    # what was drawn just now was for one sample
    default_generator.advance((_count(levels) - 1) * sig.meta.numel)
    return levels


# ---- the border --------------------------------------------------------------------------------


class BatchedBackward(Node):
    """Node of what entered a level: its gradient is one of samples."""

    __slots__ = ("level",)

    level: Level

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        return (None if grads[0] is None else leave(grads[0], self.level),)


class UnbatchedBackward(Node):
    """Node of what left a level: its gradient is one of the batch."""

    __slots__ = ("level",)

    level: Level

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        return (None if grads[0] is None else enter(grads[0], 0, self.level),)


def _crossed(
    source: Tensor, made: Tensor, level: Level,
    node: type[BatchedBackward | UnbatchedBackward],
) -> Tensor:  # fmt: skip
    edge = edge_of(source) if mode.grad else None
    if edge is not None and made._meta.dtype.kind == "f":
        made._node = node((edge,), (made._meta,))
        made._node.level = level
        made._requires_grad = True
    return made


def _share_version(source: Tensor, made: Tensor) -> None:
    """Let a write to one side of the border count on the other: what was saved may be of either."""
    if not source._inference:
        made._counter = source._family()


def _turned(value: Value, have: tuple[Level, ...], want: Sequence[Level], numel: int) -> Value:
    """Return samples of `numel` elements that lie in the order of `have` in that of `want`."""
    strides, step = {}, numel
    for level in reversed(have):
        strides[level] = step
        step *= level.size
    if not step:
        return value
    layout = Layout(
        (*[level.size for level in want], numel), (*[strides[level] for level in want], 1), 0
    )
    sig = signature(OPS["copy"], (meta_of(value.dtype, layout, value.device),), ())
    return _outside(dispatch.backend.record(sig, (value,), ()))


def enter(x: Tensor, dim: int, level: Level) -> Tensor:
    """Return what stands within a level for a sample of `x`, which has them along `dim`."""
    moved: Any = x.movedim(dim, 0)
    value = moved._storage.value
    if not moved._meta.contiguous or value.numel != moved._meta.numel or value.shared:
        moved = dispatch.apply(OPS["copy"], (moved,))
        value = moved._storage.value
    meta = moved._meta
    numel = fresh_numel(meta.shape[1:])
    levels = frozenset((level,))
    if isinstance(value, Batched):
        levels |= value.levels
    have = (*own_of(value), level)
    own = tuple(sorted(have, key=lambda one: one.number))
    inside = _outside(value)
    if own != have:  # the backward pass of a level that is older than those that are open
        inside = _turned(inside, have, own, numel)
    inner = Batched(inside, own, levels, numel)
    made = wrap(Storage(inner), fresh_meta(meta.dtype, meta.shape[1:], meta.device))
    _share_version(x, made)
    if forward.open and mode.forward:
        follow(moved, made, lambda tangent: enter(tangent, 0, level))
    return _crossed(moved, made, level, BatchedBackward)


def leave(x: Tensor, level: Level) -> Tensor:
    """Return all samples of `x` outside of a level, along a new dim 0."""
    value, meta = x._storage.value, x._meta
    own, numel, step = own_of(value), value.numel, 0
    levels = (value.levels if isinstance(value, Batched) else frozenset()) - {level}
    made = _outside(value)
    if level in own:
        have, own, step = own, tuple([one for one in own if one is not level]), numel
        if have != (*own, level):
            made = _turned(made, have, (*own, level), numel)
        numel *= level.size
    layout = meta.layout
    over = Layout((level.size, *layout.shape), (step, *layout.strides), layout.offset)
    inner = Batched(made, own, levels, numel) if levels else made
    result = wrap(Storage(inner), meta_of(meta.dtype, over, meta.device))
    _share_version(x, result)
    if forward.open and mode.forward:
        follow(x, result, lambda tangent: leave(tangent, level))
    return _crossed(x, result, level, UnbatchedBackward)


def whole(x: Tensor) -> Tensor:
    """Return `x` without history and, if it has samples, all of them: for checks of values."""
    found: Tensor = x.detach()
    for level in reversed(own_of(x._storage.value)):
        found = leave(found, level)
    return found


def narrowed(grad: Any, target: Node) -> Any:
    """Return a gradient for a node: summed over the samples of levels in which that is not.

    Levels that are still open are left: there, each sample has its own gradient.
    """
    own = own_of(grad._storage.value)
    leaf = target._leaf
    known = own_of(leaf._storage.value) if leaf is not None else ()
    for level in reversed(own):
        if level in active.levels or level in known:
            continue
        if leaf is not None or target._seq < level.start:
            grad = leave(grad, level).sum(dim=0)
    return grad
