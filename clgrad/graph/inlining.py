"""What a group computes again instead of reading it from memory, and from what.

The expression of a value is taken over from its home group, cut where the reader gets a part
otherwise: what the reader has in registers itself, what folds made of a row (a value per row is
read, so that `(x - mean) / deviation` needs no memory of its own), and long parts that others read
from memory too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clgrad.expr import TABLE, Expr, free_names, replace_parts
from clgrad.graph.group import Group, Member, Ref, kept_layout
from clgrad.layout import Layout
from clgrad.windowed import Windowed, compose

if TYPE_CHECKING:
    from clgrad.graph.fusion import Fusion

CHEAP, DEAR = 4, 16
"""Operations that are rather computed again than read from memory: always, and where that takes no
more memory traffic than reading the value does (16 of them take as long as writing and reading)."""

MAX_OPS = 64
"""Operations of one kernel, per element; longer ones spill registers and compile slowly."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a reader gets a part of an expression.

    Attributes:
        how: `member` of the reader itself; `read` from memory, or an index, whose ref is None; a
            `number`.
    """

    how: str
    ref: Ref | None = None
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """An expression of another group: its parts that a reader gets otherwise, and what is left.

    Attributes:
        cost: operations that are left.
        reads: what is read from memory.
    """

    parts: dict[Expr, Part]
    cost: int
    reads: set[tuple[Ref, Layout]]


def cut(
    fusion: Fusion, group: Group, ref: Ref, layout: Layout, row: bool, most: int = MAX_OPS
) -> Cut | None:
    """Return how `group` would compute `ref`, reached through `layout`, or None if it cannot.

    It cannot where that takes more operations than a kernel has.

    Args:
        row: whether it is needed once per row.
        most: operations from which on it is not worth it, unless all it reads is numbers.
    """
    home = fusion.home[ref]
    root = home.members.get(ref)
    if root is None or home.single is not None or (root.row and root.phase):
        return None
    copied = root.expr.op == "name" and root.expr.label in home.leaves
    if isinstance(layout, Windowed) and layout.zeros and not copied:
        return None  # outside there are zeros, not what becomes of zeros
    parts: dict[Expr, Part] = {}
    left: set[Expr] = set()
    budget = MAX_OPS - group.cost if group.members else MAX_OPS
    cost = 0
    stack = [root.expr]
    while stack:
        e = stack.pop()
        if e in parts or e in left:
            continue
        part = _part(fusion, group, home, root, e, layout, row)
        if part is not None:
            parts[e] = part
            if part.how != "number":
                budget = min(budget, most)
        elif e.op == "name":
            return None
        else:
            left.add(e)
            if e.args:
                cost += TABLE[e.op].cost
                stack.extend(e.args)
        if cost > budget:
            return None
    reads = {
        (p.ref, p.layout)
        for p in parts.values()
        if p.how == "read" and p.ref is not None and p.layout is not None
    }
    return Cut(parts, cost, reads)


def _part(
    fusion: Fusion, group: Group, home: Group, root: Member, e: Expr, layout: Layout, row: bool
) -> Part | None:
    if e.op == "name" and e.label[0] == "s":
        return Part("number")
    if e.op == "name" and e.label in home.leaves:
        source, inner = home.leaves[e.label]
    elif e is root.expr or (source := _shared(fusion, home, e)) is None:
        return None
    else:
        inner = home.own_layout(home.members[source].row)
    if root.row:
        inner = kept_layout(inner, home.reduced or ())
    composed = compose(layout, inner)
    if composed is None:
        return None
    if isinstance(composed, Windowed) and (source is None or not group.takes_windows):
        return None
    if source is None:
        return Part("read", None, composed)
    own = group.members.get(source)
    if own is not None:
        fits = (own.row or not row) and composed == group.own_layout(own.row)
        return Part("member", source) if fits else None
    origin = fusion.home.get(source)
    if origin is not None and fusion.depends(origin, group):
        return None
    return Part("read", source, composed)


def _shared(fusion: Fusion, home: Group, e: Expr) -> Ref | None:
    """Return the member of `home` with this expression, if its value is better read."""
    ref = home.values.get(e)
    if ref is None:
        return None
    member = home.members[ref]
    if member.row:
        return ref if member.phase else None
    wanted = fusion.stored[ref] or ref in home.stores or fusion.readers[ref] > 1
    return ref if wanted and _dear(home, e) else None


def _dear(home: Group, expr: Expr) -> bool:
    """Whether an expression is dear to compute, beyond what folds made of its row."""
    seen: set[Expr] = set()
    stack, cost = [expr], 0
    while stack and cost <= DEAR:
        e = stack.pop()
        ref = home.values.get(e)
        if e in seen or not e.args or (ref is not None and home.members[ref].row):
            continue
        seen.add(e)
        cost += TABLE[e.op].cost
        stack.extend(e.args)
    return cost > DEAR


def inlined(
    fusion: Fusion, group: Group, ref: Ref, layout: Layout, row: bool, most: int
) -> Cut | None:
    """Return the cut by which `group` is to compute `ref` again, if it should.

    Args:
        most: operations that this may cost at each point.
    """
    home = fusion.home[ref]
    found = cut(fusion, group, ref, layout, row, max(most, DEAR))
    if found is None:
        return None
    fresh = found.reads - group.reads.keys()
    if (fusion.stored[ref] and found.reads) or not fusion.room(group, found.cost, len(fresh)):
        return None
    if all(p.how == "number" for p in found.parts.values()):
        return found
    if ref not in home.stores and sum(touched(x) for _, x in fresh) < 2 * touched(layout):
        most = max(most, DEAR)
    return found if found.cost <= most else None


def take_inlined(fusion: Fusion, group: Group, ref: Ref, layout: Layout, row: bool) -> Expr:
    """Return the expression of `ref` within `group`, which `inlined` allowed."""
    home = fusion.home[ref]
    found = cut(fusion, group, ref, layout, row)
    assert found is not None
    mapping: dict[Expr, Expr] = {}
    for part, got in found.parts.items():
        assert part.dtype is not None
        if got.how == "number":
            mapping[part] = group.number(*home.scalars[int(part.label[1:])])
        elif got.how == "member":
            assert got.ref is not None
            mapping[part] = group.members[got.ref].expr
        else:
            assert got.layout is not None
            if got.ref is not None:
                fusion.store(got.ref, group)
            mapping[part] = group.read(got.ref, got.layout, part.dtype)
    expr = replace_parts(home.members[ref].expr, mapping)
    if fusion.traced:
        for e, other in (home.inlined | {ref: home.members[ref].expr}).items():
            if _covered(other, mapping):
                group.inlined[e] = replace_parts(other, mapping)
    return expr


def _covered(expr: Expr, mapping: Mapping[Expr, Expr]) -> bool:
    """Whether nothing of `expr` is left when the keys of `mapping` are replaced."""
    stack = [expr]
    while stack:
        e = stack.pop()
        if e not in mapping:
            if e.op == "name":
                return False
            stack.extend(e.args)
    return True


def touched(layout: Layout) -> int:
    """Return how many elements a layout reaches, those that it repeats once."""
    numel = 1
    for size, stride in zip(layout.shape, layout.strides, strict=True):
        numel *= size if stride else 1
    return numel


def origins(fusion: Fusion, refs: Iterable[Ref]) -> set[Ref]:
    """Return what `refs` are, or are computed from where they are computed again."""
    found = set(refs)
    for ref in refs:
        home = fusion.home.get(ref)
        member = None if home is None else home.members.get(ref)
        if home is None or member is None or fusion.stored[ref]:
            continue
        for label in free_names(member.expr) & home.leaves.keys():
            source = home.leaves[label][0]
            if source is not None:
                found.add(source)
    return found
