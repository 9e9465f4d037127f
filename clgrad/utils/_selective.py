"""Selective checkpointing: a policy says which ops' results a checkpoint keeps.

While the function runs for the first time, what stands before the recorder (`_Watching`) and the
listener for composites ask the policy about every op; while it runs again, they hand out what was
kept in place of recording it once more. What is kept are values, so nothing is copied, and a later
write in place does them no harm; that it is an error all the same is PyTorch's rule. Views are not
asked about: they cost nothing.
"""

from __future__ import annotations

import contextlib
import enum
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from clgrad import dispatch
from clgrad.errors import AutogradError, ClgradTypeError, ClgradValueError
from clgrad.graph.storage import Storage, Value
from clgrad.ops.aten import OpOverload, OpOverloadPacket, overload_of
from clgrad.ops.meta import meta_of
from clgrad.ops.registry import Op
from clgrad.ops.signature import Signature
from clgrad.tape import noting
from clgrad.tensor import Tensor, wrap

_CAUSE = (
    "This can happen if the operations in the checkpointed region are nondeterministic or depend "
    "on global state that changed between forward and backward."
)


class CheckpointPolicy(enum.Enum):
    """What becomes of the result of an op; MUST and PREFER mean the same here.

    Results that are to be offloaded are computed again, as PyTorch does where it compiles nothing.
    """

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


Results = list[tuple[Value, Any]]
_SAVING = (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE, True)


class SelectiveCheckpointContext:
    """What a policy is told: `op_output`; it is asked in the first run alone."""

    def __init__(self, *, is_recompute: bool, op_output: Any = None) -> None:
        self.is_recompute = is_recompute
        self.op_output = op_output


class _Kept:
    """What was kept of one call of an op.

    Attributes:
        results: value and meta of each; None once they were handed out.
        single: whether the op returns one tensor and no tuple.
        storages: weak references to the storages of the results, once they have some.
        overwritten: whether one of them was written in place since.
    """

    __slots__ = ("overwritten", "results", "single", "storages")

    def __init__(self, results: Results, single: bool) -> None:
        self.results: Results | None = results
        self.single = single
        self.storages: list[weakref.ref[Storage]] = []
        self.overwritten = False

    def settle(self) -> None:
        """Find out which storages the results came to; before anything may write there."""
        for value, _ in self.results or ():
            holder = value.holder
            for one in holder if type(holder) is tuple else (holder,):
                if one is not None:
                    self.storages.append(weakref.ref(one) if isinstance(one, Storage) else one)

    def look(self, storage: Any = None) -> None:
        """Note a write to a storage that had one of the results, or that was left with another."""
        kept = [value for value, _ in self.results or ()]
        for one in self.storages:
            there = one()
            if there is not None and storage in (None, there):
                self.overwritten |= not any(there.value is value for value in kept)


class _Local(threading.local):
    mode: _Mode | None = None


_local = _Local()


class _Watching:
    """Stands before the recorder while a selective checkpoint runs in any thread."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def record(self, sig: Signature, values: tuple[Value, ...], scalars: tuple[Any, ...]) -> Value:
        mode = _local.mode
        made: Value
        if mode is None or mode.inside:
            made = self._real.record(sig, values, scalars)
            return made
        mode.settle()
        op = overload_of(sig.op)
        kept = mode.before(op)
        if kept is not None:
            return kept.results[0][0]  # type: ignore[index]  # `before` gives nothing without
        made = self._real.record(sig, values, scalars)
        parts = zip(values, sig.reads, sig.dtypes, strict=False)
        device = sig.meta.device
        args = [_tensor(v, meta_of(dtype, read, device)) for v, read, dtype in parts]
        mode.after(op, [(made, sig.meta)], True, (*args, *scalars))
        return made

    def write(self, *call: Any) -> Any:
        if _local.mode is not None:
            _local.mode.settle()
        return self._real.write(*call)


class _Installed:
    """How many contexts are entered, and what stands before the recorder meanwhile."""

    count = 0
    lock = threading.Lock()
    watching: _Watching | None = None


def _install(step: int) -> None:
    with _Installed.lock:
        _Installed.count += step
        if step > 0 and _Installed.count == 1:
            _Installed.watching = dispatch.backend = _Watching(dispatch.backend)
        elif not _Installed.count and dispatch.backend is _Installed.watching:
            dispatch.backend = _Installed.watching._real


def _tensor(value: Value, meta: Any) -> Tensor:
    return wrap(Storage(value), meta)


class _Mode(contextlib.AbstractContextManager["_Mode"]):
    """One of the two runs of a function.

    Attributes:
        kept: op and how often it was called before -> what was kept, or None.
        inside: whether the forward function of a composite runs.
    """

    def __init__(self, kept: dict[tuple[OpOverload, int], _Kept | None]) -> None:
        self.kept = kept
        self.counts: Counter[OpOverload] = Counter()
        self.inside = False

    def __enter__(self) -> _Mode:  # noqa: PYI034  # Self needs Python 3.11
        self.counts.clear()
        self._outer = _local.mode, noting.listeners.composite
        _local.mode, noting.listeners.composite = self, self.composite
        self._stop = noting.listen(_ignore, self.event)
        _install(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        _install(-1)
        self.settle()
        self._stop()
        del self._stop  # it refers back to this, and nothing else must hold what was kept
        _local.mode, noting.listeners.composite = self._outer

    def composite(self, record: Op, operands: Sequence[Any], static: Sequence[Any]) -> Any:
        """Stand for the forward function of a composite: what it does inside is part of it."""
        assert record.forward is not None
        if self.inside:
            return record.forward(*operands, *static)
        op = overload_of(record)
        kept = self.before(op)
        if kept is not None and kept.results is not None:
            tensors = tuple([_tensor(*one) for one in kept.results])
            return tensors[0] if kept.single else tensors
        self.inside = True
        try:
            made = record.forward(*operands, *static)
        finally:
            self.inside = False
        single = isinstance(made, Tensor)
        results = (made,) if single else made
        new = not any(one is o for one in results for o in operands)
        self.after(
            op, [(t._storage.value, t._meta) for t in results] if new else [], single,
            (*operands, *static),
        )  # fmt: skip
        return made

    def number(self, op: OpOverload) -> tuple[OpOverload, int]:
        """Count a call of an op; return its place."""
        count = self.counts[op]
        self.counts[op] += 1
        return op, count

    def settle(self) -> None:
        """Find out which storages the results of the ops so far came to."""

    def event(self, kind: str, thing: Any) -> None:
        """Hear of a write in place."""

    def before(self, op: OpOverload) -> _Kept | None:
        """Return what was kept of this call, if anything."""
        return None

    def after(
        self, op: OpOverload, results: Results, single: bool, args: tuple[Any, ...]
    ) -> None:  # fmt: skip
        """Learn what a call has made of its arguments."""


def _ignore(node: Any) -> None:
    """Do not care about nodes."""


class _First(_Mode):
    """The first run: ask the policy, and keep."""

    def __init__(self, policy: Callable[..., Any], kept: Any) -> None:
        super().__init__(kept)
        self.policy = policy
        self.recent: list[_Kept] = []  # what has no storages yet

    def after(
        self, op: OpOverload, results: Results, single: bool, args: tuple[Any, ...]
    ) -> None:  # fmt: skip
        place = self.number(op)
        outputs = tuple([_tensor(*one) for one in results])
        output = outputs[0] if single and outputs else outputs
        self.inside = True  # what the policy computes is its own affair
        try:
            context = SelectiveCheckpointContext(is_recompute=False, op_output=output)
            choice = self.policy(context, op, *args)
        finally:
            self.inside = False
        kept = _Kept(results, single) if choice in _SAVING and results else None
        self.kept[place] = kept
        if kept is not None:
            self.recent.append(kept)

    def settle(self) -> None:
        for one in self.recent:
            one.settle()
        self.recent.clear()

    def event(self, kind: str, thing: Any) -> None:
        if kind == "write":
            for one in self.kept.values():
                if one is not None:
                    one.look(thing._storage)


class _Second(_Mode):
    """Every later run: hand out what was kept, each once."""

    def __init__(self, kept: Any, overwriting: bool) -> None:
        super().__init__(kept)
        self.overwriting = overwriting

    def before(self, op: OpOverload) -> _Kept | None:
        place = self.number(op)
        if place not in self.kept:
            raise AutogradError(
                f"{op} invocation index {place[1]} encountered during backward but not found in "
                f"storage. {_CAUSE}"
            )
        kept = self.kept[place]
        if kept is None:
            return None
        if kept.results is None:
            raise AutogradError(
                "Trying to backward an extra time. You are only allowed to backward once on any "
                "region computed under selective activation checkpoint. Hint: run the forward "
                "pass again, or keep nothing (a plain checkpoint may be repeated)."
            )
        kept.look()
        if kept.overwritten and not self.overwriting:
            raise AutogradError(
                f"Tensor cached during selective activation checkpoint has been mutated: a result "
                f"of {op}. Expected nothing to write what a policy keeps. Hint: "
                "allow_cache_entry_mutation=True goes on with what the op had computed."
            )
        handed = _Kept(kept.results, kept.single)
        kept.results = None
        return handed


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[_Mode, _Mode]:
    """Return contexts for `checkpoint(context_fn=…)` in which a policy says what is kept.

    Args:
        policy_fn_or_list: `policy(context, op, *args)`, called with every op of the first run and
            returning a `CheckpointPolicy` or a bool; or a list of ops whose results are kept.
            Ops are `clgrad.ops.aten.mm.default` and the like.
        allow_cache_entry_mutation: that what is kept was written in place since is no error.

    Raises:
        ClgradValueError: the list has something that is no op. ClgradTypeError: neither of both.

    Example:
        >>> from functools import partial
        >>> from clgrad.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
        >>> keep = partial(create_selective_checkpoint_contexts, [clgrad.ops.aten.mm.default])
        >>> x = clgrad.ones(2, 2, requires_grad=True)
        >>> y = checkpoint(lambda t: (t @ t).exp(), x, use_reentrant=False, context_fn=keep)
        >>> y.sum().backward()
    """
    policy = policy_fn_or_list
    if isinstance(policy, list):
        for op in policy:
            if not isinstance(op, OpOverload):
                hint = ""
                if isinstance(op, OpOverloadPacket):
                    hint = " Please update the OpOverloadPacket to a specific OpOverload."
                raise ClgradValueError(
                    f"Expected op in `op_list` to be an OpOverload but got: {op} of type "
                    f"{type(op)}.{hint} Hint: clgrad.ops.aten.mm.default is one."
                )
        chosen = frozenset(policy)

        def policy(context: Any, op: OpOverload, *args: Any) -> CheckpointPolicy:
            saved = op in chosen
            return CheckpointPolicy.MUST_SAVE if saved else CheckpointPolicy.PREFER_RECOMPUTE

    elif not callable(policy):
        raise ClgradTypeError(
            "policy_fn_or_list must be either a function or a list of ops, but got "
            f"{type(policy).__name__}."
        )
    kept: dict[tuple[OpOverload, int], _Kept | None] = {}
    return _First(policy, kept), _Second(kept, allow_cache_entry_mutation)
