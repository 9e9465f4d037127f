"""The nodes of scalar formulas: immutable, hash-consed, compared by identity.

What it is not: it knows no function table, no OpenCL and no arrays. Equal formulas are the very
same object for as long as anybody holds it, so that common subexpressions are shared by
construction and caches may key on identity. Lowest file of the floor `expr`.
"""

from __future__ import annotations

import struct
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from clgrad.dtypes import DType, by_name
from clgrad.errors import DTypeError, FormulaError

Number = bool | int | float

CONST = "const"
NAME = "name"


class Expr:
    """One node of a formula. Made by `const`, `name` and `call`, never directly.

    Attributes:
        op: `"const"`, `"name"`, or the name of a function of the table.
        args: operands, empty for the two leaves.
        value: a constant's number, a name's string, None for a call.
        dtype: the dtype of the value, None in an untyped formula. A `cast` always has one.
    """

    __slots__ = ("__weakref__", "args", "dtype", "names", "op", "value")

    op: str
    args: tuple[Expr, ...]
    value: Number | str | None
    dtype: DType | None
    names: frozenset[str] | None  # what `free_names` found

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError(f"Expr.{key}: expressions are immutable. Hint: build a new one.")

    def __repr__(self) -> str:
        """Return the node as text, nested at most four deep (formulas can be very deep)."""
        return _brief(self, 4)

    def __reduce__(self) -> tuple[Callable[..., Expr], tuple[object, ...]]:
        return _restore, (linearize(self),)

    @property
    def number(self) -> Number:
        """The number of a constant; raises `FormulaError` for any other node."""
        if self.op != CONST or isinstance(self.value, str) or self.value is None:
            raise FormulaError(f"expr: {self!r} is not a constant. Expected a number.")
        return self.value

    @property
    def label(self) -> str:
        """The string of a name; raises `FormulaError` for any other node."""
        if self.op != NAME or not isinstance(self.value, str):
            raise FormulaError(f"expr: {self!r} is not a name. Expected a leaf.")
        return self.value


_Key = tuple[str, tuple[Expr, ...], object, DType | None]
# Weak values: an entry lives as long as its node is held by someone. The key holds only the
# node's operands, which the node holds anyway.
_table: weakref.WeakValueDictionary[_Key, Expr] = weakref.WeakValueDictionary()
# Reentrant: the collector may run while the lock is held and drop nodes in this very thread.
_lock = threading.RLock()
_NO_NAMES: frozenset[str] = frozenset()


def _intern(
    op: str,
    args: tuple[Expr, ...],
    value: Number | str | None,
    dtype: DType | None,
    tag: object,
) -> Expr:
    key = (op, args, tag, dtype)
    with _lock:
        found = _table.get(key)
        if found is None:
            found = Expr.__new__(Expr)
            put = object.__setattr__
            put(found, "op", op)
            put(found, "args", args)
            put(found, "value", value)
            put(found, "dtype", dtype)
            put(found, "names", None)
            _table[key] = found
        return found


def const(value: Number, dtype: DType | None = None) -> Expr:
    """Return the constant `value`.

    Args:
        value: a Python (or NumPy) bool, int or float.
        dtype: None for a number that still takes the dtype of its surroundings. Otherwise the
            number is brought to what that dtype can hold: floats are rounded, integers wrap.

    Raises:
        DTypeError: a number with a fraction, an infinity or a NaN as an integer.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, bool | int | float):
        raise FormulaError(f"const: got {value!r}. Expected a bool, an int or a float.")
    if dtype is not None:
        value = _held(value, dtype)
    # 0.0 and -0.0 differ, and so do 1, 1.0 and True; every NaN is the same one.
    tag: object = (type(value), value)
    if isinstance(value, float):
        tag = "nan" if value != value else struct.pack("<d", value)
    return _intern(CONST, (), value, dtype, tag)


def name(text: str, dtype: DType | None = None) -> Expr:
    """Return the leaf called `text`; with a dtype it is a value stored in that dtype."""
    return _intern(NAME, (), text, dtype, text)


def call(fn: str, *args: Expr, dtype: DType | None = None) -> Expr:
    """Return the application of the table's function `fn`; the table is not consulted here."""
    return _intern(fn, args, None, dtype, None)


def _held(value: Number, dtype: DType) -> Number:
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind in "ui":
        if value != value or value in (float("inf"), float("-inf")) or int(value) != value:
            raise DTypeError(
                f"const: {value!r} is no {dtype.name}. Expected a whole number. "
                "Hint: compute the formula in a floating-point dtype."
            )
        bits = 8 * dtype.itemsize
        wrapped = int(value) & ((1 << bits) - 1)
        return wrapped - (1 << bits) if dtype.kind == "i" and wrapped >> (bits - 1) else wrapped
    return round_to(float(value), dtype)


def round_to(value: float, dtype: DType) -> float:
    """Return `value` rounded to what the floating-point `dtype` can hold (to nearest, even)."""
    if dtype.itemsize == 8:
        return value
    with np.errstate(over="ignore"):
        single = np.float32(value)
        if dtype.itemsize == 4:
            return float(single)
        if dtype.name == "float16":
            return float(np.float16(single))
    if value != value:
        return value
    bits = int(single.view(np.uint32))
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return float(np.uint32(bits).view(np.float32))


def postorder(roots: Iterable[Expr]) -> Iterator[Expr]:
    """Yield every node below `roots` once, operands before their readers; never recursive."""
    seen: set[Expr] = set()
    for root in roots:
        stack: list[tuple[Expr, int]] = [(root, 0)]
        while stack:
            node, position = stack.pop()
            if position == 0 and node in seen:
                continue
            if position < len(node.args):
                stack.append((node, position + 1))
                if node.args[position] not in seen:
                    stack.append((node.args[position], 0))
            elif node not in seen:
                seen.add(node)
                yield node


def rebuild(expr: Expr, make: Callable[[Expr, tuple[Expr, ...]], Expr]) -> Expr:
    """Return `make(node, new operands)` of the root, applied from the leaves upwards."""
    new: dict[Expr, Expr] = {}
    for node in postorder((expr,)):
        new[node] = make(node, tuple([new[a] for a in node.args]))
    return new[expr]


def with_args(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """Return `node` with other operands, the node itself where they are the same."""
    return node if args == node.args else call(node.op, *args, dtype=node.dtype)


def free_names(expr: Expr) -> frozenset[str]:
    """Return the names that the formula reads; each node remembers them once it was asked."""
    stack = [expr]
    while stack:
        node = stack[-1]
        if node.names is not None:
            stack.pop()
            continue
        missing = [a for a in node.args if a.names is None]
        if missing:
            stack += missing
            continue
        found = frozenset((node.label,)) if node.op == NAME else _NO_NAMES
        for a in node.args:
            assert a.names is not None
            if not a.names <= found:
                found = a.names | found if found else a.names
        object.__setattr__(node, "names", found)
    assert expr.names is not None
    return expr.names


def substitute(expr: Expr, replacements: Mapping[str, Expr]) -> Expr:
    """Return the formula with names replaced, all at once; other names stay."""
    return substitute_all((expr,), replacements)[0]


def substitute_all(exprs: Sequence[Expr], replacements: Mapping[str, Expr]) -> list[Expr]:
    """Do the same to several formulas, to each part that they share once."""
    new: dict[Expr, Expr] = {}
    for node in postorder(exprs):
        if node.op == NAME:
            new[node] = replacements.get(node.label, node)
        else:
            new[node] = with_args(node, tuple([new[a] for a in node.args]))
    return [new[expr] for expr in exprs]


def linearize(expr: Expr) -> tuple[tuple[str, tuple[int, ...], Number | str | None, str], ...]:
    """Return the formula as rows (op, rows of the operands, value, dtype's name or "").

    They are hashable, the same for equal formulas in every process, and let deep formulas pickle.
    """
    index: dict[Expr, int] = {}
    rows = []
    for node in postorder((expr,)):
        dtype = "" if node.dtype is None else node.dtype.name
        rows.append((node.op, tuple([index[a] for a in node.args]), node.value, dtype))
        index[node] = len(index)
    return tuple(rows)


def _restore(rows: Sequence[tuple[str, tuple[int, ...], Number | str | None, str]]) -> Expr:
    nodes: list[Expr] = []
    for op, args, value, dtype_name in rows:
        dtype = by_name(dtype_name) if dtype_name else None
        if op == NAME:
            nodes.append(name(str(value), dtype))
        elif op == CONST and value is not None and not isinstance(value, str):
            nodes.append(const(value, dtype))
        else:
            nodes.append(call(op, *[nodes[i] for i in args], dtype=dtype))
    return nodes[-1]


def _brief(expr: Expr, depth: int) -> str:
    suffix = "" if expr.dtype is None else f":{expr.dtype.name}"
    if not expr.args:
        return f"{expr.value}{suffix}"
    if depth == 0:
        return "..."
    return f"{expr.op}({', '.join(_brief(a, depth - 1) for a in expr.args)}){suffix}"
