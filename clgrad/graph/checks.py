"""Values that are looked at for NaN: which of a tape's entries, and where kernels note them.

Somebody who wants to know asks for an entry (`look`). The plan that computes it then tests the
value where it has it in a register, and sets a flag; the flags are read after the flush. What is
said of a bad value is in `diagnosis`. Nothing here knows gradients, nor what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clgrad.codegen.checks import NAN, NOT_FINITE, CheckSpec
from clgrad.expr import Expr, substitute
from clgrad.expr.node import NAME, postorder
from clgrad.graph.group import Group, Ref

__all__ = ["NAN", "NOT_FINITE", "Report", "Tested", "look"]

Report = Callable[[str], BaseException]
"""Makes the error of a bad value from what is known of it."""
Wanted = dict[Ref, tuple[str, Report]]
"""Entry -> what is looked for, and who is told."""
Found = tuple[Ref, Expr, int]
"""(entry, its value over the leaves of a group, pass)."""


def look(value: Any, kind: str, report: Report) -> bool:
    """Have a pending value looked at when it is computed; a later request takes the place.

    Returns:
        False where it is not pending: it is in memory, or nobody will compute it now.
    """
    batch = value.tape
    if batch is None or value.index < 0 or not value.dtype.is_floating_point:
        return False
    if batch.checks is None:
        batch.checks = {}
    batch.checks[value.index] = (kind, report)
    return True


class Tested:
    """What a plan tests, while it is made.

    Attributes:
        kinds: entry -> what is looked for in its result.
        buffer: the ref of the flags.
        slots: the entry of each flag.
        missing: results that their own kernels cannot test, with their sizes: who reads all of one
            does.
    """

    def __init__(self, kinds: Mapping[Ref, str], buffer: Ref) -> None:
        self.kinds = kinds
        self.buffer = buffer
        self.slots: list[Ref] = []
        self.missing: dict[Ref, int] = {}

    def arguments(self, found: Sequence[Found]) -> dict[Any, tuple[Any, ...]]:
        """Return what a launch with these tests passes: the flags, and the place of its first."""
        first = len(self.slots)
        self.slots += [e for e, _, _ in found]
        return {("checks",): ("ref", self.buffer), ("check",): ("int", first)}

    def found(self, group: Group, used: Sequence[tuple[Expr, int]]) -> list[Found]:
        """Return what can be tested in a group, as (entry, its value, pass).

        Args:
            used: what the group computes in any case, and in which pass.
        """
        phases: dict[Expr, int] = {}
        for root, phase in used or [(x, 0) for x in group.reads.values()]:
            for part in postorder((root,)):
                phases[part] = min(phase, phases.get(part, phase))
        values = group.inlined | {e: member.expr for e, member in group.members.items()}
        made = [
            (e, expr, phases[expr])
            for e, expr in sorted(values.items())
            if e in self.kinds
            and expr in phases
            and (expr.op != NAME or expr.label[0] not in "xsi")
        ]
        for (ref, layout), x in group.reads.items():
            whole = layout.offset == 0 and layout.is_contiguous
            if whole and ref in self.missing and x in phases and layout.numel == self.missing[ref]:
                del self.missing[ref]
                made.append((ref, x, phases[x]))
        return made

    def specs(self, found: Sequence[Found], rename: Mapping[str, Expr]) -> tuple[CheckSpec, ...]:
        """Return tests over the leaves of a kernel."""
        return tuple(
            CheckSpec(substitute(x, rename), self.kinds[e], phase) for e, x, phase in found
        )
