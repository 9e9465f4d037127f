"""The ops of a checkpoint's two runs, with their lines, for the error of `debug=True`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from clgrad.graph import watch
from clgrad.graph.position import Position, caller, describe

Entry = tuple[str, Position | None]


class _Run:
    """Logs into `ops` what this thread records inside a `with` block."""

    def __init__(self) -> None:
        self.ops: list[Entry] = []

    def __enter__(self) -> None:
        thread = threading.get_ident()
        ops = self.ops = []

        def recorded(batch: Any, sig: Any, values: Sequence[Any], result: Any) -> None:
            if threading.get_ident() == thread:
                meta = sig.meta
                ops.append((f"{sig.op.name} -> {meta.dtype.name}{list(meta.shape)}", caller()))

        self._stop = watch.listen(recorded)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()


class Log:
    """What the forward pass and its repetition recorded."""

    def __init__(self) -> None:
        self.forward = _Run()
        self.again = _Run()

    def contexts(self) -> tuple[_Run, _Run]:
        """Return the context managers under which the two runs are logged."""
        return self.forward, self.again

    def text(self) -> str:
        """Return both runs as text, the first op in which they differ marked."""
        first, second = self.forward.ops, self.again.ops
        same = 0
        while same < min(len(first), len(second)) and first[same][0] == second[same][0]:
            same += 1
        parts = [
            _listed("Operations executed during the original forward:", first, same),
            _listed("Operations executed during recomputation:", second, same),
        ]
        return (
            "\n".join(parts)
            + "\nYou are seeing this error because you passed `debug=True` to checkpoint and "
            "tensors to be saved during the original forward differ from those saved during "
            "recomputation. Early stop ends the second list where everything was there."
        )


def _listed(title: str, run: list[Entry], marked: int) -> str:
    lines = [
        f"  {'>' if k == marked else ' '} {k + 1}. {what} at {describe(place)}"
        for k, (what, place) in enumerate(run)
    ]
    return "\n".join(["", title, *lines])
