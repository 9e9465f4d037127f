"""Write a formula as people read it: infix, with the names of its leaves.

The inverse of `parse` as far as there is one (a typed formula loses the dtypes of its leaves and
numbers). What it is not: OpenCL C, which is `render`'s; nothing is ever compiled from this text.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clgrad.dtypes import DType
from clgrad.expr.node import CONST, NAME, Expr, Number, name, postorder, rebuild, with_args

# Python's precedences; an operand in a weaker place stands in parentheses.
TERNARY, OR, AND, NOT, RELATION, BITOR, BITXOR, BITAND, SHIFT, SUM, PRODUCT, UNARY, ATOM = range(13)

_LEFT: dict[str, tuple[str, int]] = {
    "add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT), "div": ("/", PRODUCT),
    "floor_divide": ("//", PRODUCT), "remainder": ("%", PRODUCT), "shl": ("<<", SHIFT),
    "shr": (">>", SHIFT), "bitand": ("&", BITAND), "bitor": ("|", BITOR), "bitxor": ("^", BITXOR),
    "and": ("and", AND), "or": ("or", OR),
}  # fmt: skip
_RELATIONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_PREFIX = {"neg": ("-", UNARY), "bitnot": ("~", UNARY), "not": ("not ", NOT)}

ELLIPSIS = "..."
"""Stands for a part that was left out; not in the language, so that nobody parses it by mistake."""
_SHORTEST = 6

Piece = str | tuple[Expr, int]
"""Text, or an operand with the precedence that its place asks for."""


def to_text(expr: Expr, limit: int | None = 400, names: Mapping[Expr, str] | None = None) -> str:
    """Return `expr` in Python expression syntax.

    Args:
        expr: typed or untyped.
        limit: about how many characters to write at most; inner parts of longer formulas are
            left out, the largest first. None writes everything, which for a formula that shares
            its parts can be exponentially long.
        names: parts that have a name, written by that name.
    """
    if names:
        expr = rebuild(
            expr, lambda e, args: name(names[e], e.dtype) if e in names else with_args(e, args)
        )
    known: dict[Expr, str | None] = {}
    for node in postorder((expr,)):
        known[node] = _whole(node, known, limit)
    out: list[str] = []
    stack: list[tuple[Piece, int]] = [((expr, TERNARY), 0 if limit is None else limit)]
    while stack:
        piece, room = stack.pop()
        if isinstance(piece, str):
            out.append(piece)
            continue
        node, place = piece
        text = known[node]
        if text is not None and (limit is None or len(text) <= room):
            out.append(text if _precedence(node) >= place else f"({text})")
        elif room < _SHORTEST:
            out.append(ELLIPSIS)
        else:
            stack += _shared_out(node, place, room, known)[::-1]
    return "".join(out)


def _whole(node: Expr, known: dict[Expr, str | None], limit: int | None) -> str | None:
    """Return the complete text of a node, or None where it is longer than `limit`."""
    parts = []
    for piece in _pieces(node):
        if isinstance(piece, str):
            parts.append(piece)
            continue
        text = known[piece[0]]
        if text is None:
            return None
        parts.append(text if _precedence(piece[0]) >= piece[1] else f"({text})")
    whole = "".join(parts)
    return whole if limit is None or len(whole) <= limit else None


def _shared_out(
    node: Expr, place: int, room: int, known: dict[Expr, str | None]
) -> list[tuple[Piece, int]]:
    """Return the pieces of a node with the room that each gets: short ones all that they need."""
    pieces = _pieces(node)
    if _precedence(node) < place:
        pieces = ["(", *pieces, ")"]
    rest = room - sum(len(p) for p in pieces if isinstance(p, str))
    wanted = []
    for position, piece in enumerate(pieces):
        if not isinstance(piece, str):
            text = known[piece[0]]
            wanted.append((room + 1 if text is None else len(text) + 2, position))
    given: dict[int, int] = {}
    for left, (length, position) in zip(range(len(wanted), 0, -1), sorted(wanted), strict=True):
        given[position] = min(length, max(rest, 0) // left)
        rest -= given[position]
    return [(piece, given.get(position, 0)) for position, piece in enumerate(pieces)]


def _precedence(node: Expr) -> int:
    if node.op == CONST:
        return UNARY if _number(node.number, node.dtype).startswith("-") else ATOM
    if node.op in _LEFT:
        return _LEFT[node.op][1]
    if node.op in _PREFIX:
        return _PREFIX[node.op][1]
    if node.op in _RELATIONS:
        return RELATION
    return TERNARY if node.op == "where" else ATOM


def _pieces(node: Expr) -> list[Piece]:
    args = node.args
    if node.op == CONST:
        return [_number(node.number, node.dtype)]
    if node.op == NAME:
        return [str(node.value)]
    if node.op in _LEFT:
        sign, level = _LEFT[node.op]
        return [(args[0], level), f" {sign} ", (args[1], level + 1)]
    if node.op in _RELATIONS:
        # a < b < c is a chain in Python, so that a comparison within one needs parentheses
        return [(args[0], BITOR), f" {_RELATIONS[node.op]} ", (args[1], BITOR)]
    if node.op in _PREFIX:
        sign, level = _PREFIX[node.op]
        return [sign, (args[0], level if node.op == "not" else ATOM)]
    if node.op == "where":
        return [(args[1], OR), " if ", (args[0], OR), " else ", (args[2], TERNARY)]
    function = node.op
    if node.op == "cast" and node.dtype is not None:
        function = node.dtype.name
    pieces: list[Piece] = [f"{function}("]
    for position, arg in enumerate(args):
        pieces += [", "] * (position > 0)
        pieces.append((arg, TERNARY))
    return [*pieces, ")"]


def _number(value: Number, dtype: DType | None) -> str:
    """Return a constant: as it was written, or in a typed formula the shortest that means it."""
    if isinstance(value, int):  # bools are among them
        return str(value)
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if dtype is None:
        return repr(value)
    text = repr(value) if dtype.itemsize == 8 else str(np.float32(value))
    return text.removesuffix(".0")
