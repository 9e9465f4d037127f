"""How one function of the table is written in OpenCL C: the makers of emission rules.

A rule takes the site (dtype of the operands, vector width) and the operands' texts and returns a
text. What it is not: it orders no statements (that is `render`) and holds no helper's body (that
is `helpers`); a helper is called by its key, `cg_<function>_<register type>`.

Registers: bool is `int` 0 or 1 at width 1, `intW` 0 or -1 otherwise. Comparisons of vectors give
masks as wide as their operands; rules bring them to `intW`, and selects bring a mask to the size
of what they select.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clgrad.dtypes import DType, bool_, float32, int32, int64, uint32, uint64

# C's precedences, as far as they are needed; a text binds at least as strongly as its number.
PRIMARY, UNARY, PRODUCT, SUM, SHIFT, RELATION, EQUALITY, AND, XOR, OR, TERNARY = range(11, 0, -1)


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of OpenCL C; `scalar` marks a literal that a vector operator would widen."""

    code: str
    precedence: int = PRIMARY
    scalar: bool = False

    def within(self, precedence: int) -> str:
        """Return the code, in parentheses where it binds weaker than `precedence`."""
        return self.code if self.precedence >= precedence else f"({self.code})"


def vector_type(element: str, width: int) -> str:
    """Return OpenCL C's name of `width` elements: `float`, `float16`."""
    return element if width == 1 else f"{element}{width}"


def unsigned(element: str) -> str:
    """Return the unsigned type of the same size: `int` gives `uint`, `uchar` itself."""
    return element if element.startswith("u") else f"u{element}"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a function is written: what its operands are and how many elements at once."""

    operand: DType
    result: DType
    width: int
    operands: tuple[DType, ...] = ()

    @property
    def type(self) -> str:
        return vector_type(self.operand.register, self.width)

    def full(self, text: Text, dtype: DType | None = None) -> str:
        """Return an operand as a value of the whole register type, ready for an argument list."""
        if not text.scalar or self.width == 1:
            return text.code
        return f"({vector_type((dtype or self.operand).register, self.width)})({text.code})"


class Emit(Protocol):
    """The rule that writes one function."""

    def __call__(self, site: Site, args: Sequence[Text], /) -> Text: ...


def _binary(site: Site, symbol: str, precedence: int, args: Sequence[Text]) -> Text:
    left, right = args
    first = Text(site.full(left)) if left.scalar and right.scalar and site.width > 1 else left
    # Bitwise operators under comparisons and each other read badly without parentheses.
    need = precedence if precedence >= SUM or first.precedence == precedence else UNARY
    above = precedence + 1 if precedence >= SUM else UNARY
    return Text(f"{first.within(need)} {symbol} {right.within(above)}", precedence)


def _wrapped(site: Site, symbol: str, precedence: int, args: Sequence[Text]) -> Text:
    """Integer arithmetic that wraps: signed overflow is undefined in C, PyTorch's wraps."""
    element = site.operand.register
    if site.width == 1:
        if site.operand.itemsize < 4:
            # C promotes to int; ushort * ushort would overflow that, so through uint.
            inner = _binary(site, symbol, precedence, [_as_uint(args[0]), args[1]])
            return Text(f"({element})({inner.code})", UNARY)
        if element.startswith("u"):
            return _binary(site, symbol, precedence, args)
        casts = [Text(f"({unsigned(element)}){a.within(UNARY)}", UNARY) for a in args]
        return Text(f"({element})({_binary(site, symbol, precedence, casts).code})", UNARY)
    if element.startswith("u"):
        return _binary(site, symbol, precedence, args)
    vector = vector_type(unsigned(element), site.width)
    views = [Text(f"as_{vector}({site.full(a)})") for a in args]
    return Text(f"as_{site.type}({_binary(site, symbol, precedence, views).code})")


def _as_uint(text: Text) -> Text:
    return Text(f"(uint){text.within(UNARY)}", UNARY)


def arithmetic(symbol: str, precedence: int, logical: str | None = None) -> Emit:
    """Return the rule of `+ - *`; `logical` is the operator that it is on bools."""

    def emit(site: Site, args: Sequence[Text]) -> Text:
        if site.operand.is_floating_point:
            return _binary(site, symbol, precedence, args)
        if site.operand is bool_:
            assert logical is not None  # typed() refuses the others
            return _binary(site, logical, OR if logical == "|" else AND, args)
        return _wrapped(site, symbol, precedence, args)

    return emit


def infix(symbol: str, precedence: int) -> Emit:
    """Return the rule of an operator that is right as it stands in C."""

    def emit(site: Site, args: Sequence[Text]) -> Text:
        return _binary(site, symbol, precedence, args)

    return emit


def negate(site: Site, args: Sequence[Text]) -> Text:
    """Write `-x`; integers wrap."""
    (x,) = args
    if site.operand.is_floating_point:
        inner = site.full(x) if x.scalar else x.within(UNARY)
        return Text(f"-({inner})" if inner.startswith("-") else f"-{inner}", UNARY)
    element = site.operand.register
    if site.width == 1:
        wide, zero = ("ulong", "0UL") if site.operand.itemsize == 8 else ("uint", "0u")
        return Text(f"({element})({zero} - ({wide}){x.within(UNARY)})", UNARY)
    vector = vector_type(unsigned(element), site.width)
    return Text(f"as_{site.type}(-as_{vector}({site.full(x)}))")


def invert(site: Site, args: Sequence[Text]) -> Text:
    """Write `~x`, which on bools is `not`."""
    (x,) = args
    if site.width == 1 and site.operand is bool_:
        return Text(f"!{x.within(UNARY)}", UNARY)
    if site.width == 1 and site.operand.itemsize < 4:
        return Text(f"({site.type})~{x.within(UNARY)}", UNARY)
    inner = Text(site.full(x), x.precedence) if not x.scalar else Text(site.full(x))
    return Text(f"~{inner.within(UNARY)}", UNARY)


# On masks 0/-1 the order of bools is upside down, so comparisons become logic: `a < b` is `~a & b`.
_BOOL_COMPARE: dict[str, tuple[bool, str, bool]] = {
    "<": (True, "&", False), "<=": (True, "|", False), ">": (False, "&", True),
    ">=": (False, "|", True), "==": (True, "^", False), "!=": (False, "^", False),
}  # fmt: skip


def mask_of(site: Site, code: str, precedence: int) -> Text:
    """Return a native comparison as a bool register: `intW` masks at every operand size."""
    if site.width == 1 or site.operand.itemsize == 4 or site.operand.register in ("int", "float"):
        return Text(code, precedence)
    return Text(f"convert_int{site.width}({code})")


def compare(symbol: str) -> Emit:
    """Return the rule of a comparison."""
    precedence = EQUALITY if symbol in ("==", "!=") else RELATION

    def emit(site: Site, args: Sequence[Text]) -> Text:
        if site.operand is bool_ and site.width > 1:
            flip_left, joint, flip_right = _BOOL_COMPARE[symbol]
            left = invert(site, [args[0]]) if flip_left else args[0]
            right = invert(site, [args[1]]) if flip_right else args[1]
            return _binary(site, joint, {"&": AND, "|": OR, "^": XOR}[joint], [left, right])
        text = _binary(site, symbol, precedence, args)
        return mask_of(site, text.code, precedence)

    return emit


def select(site: Site, args: Sequence[Text]) -> Text:
    """Write `c ? a : b`; the mask is brought to the size of the elements."""
    condition, a, b = args
    mask = condition.within(EQUALITY)
    size = 4 if site.operand is bool_ else site.operand.compute.itemsize
    if site.width > 1:
        mask = f"(int{site.width})({mask})" if condition.scalar else mask
        if size != 4:
            signed = {1: "char", 2: "short", 8: "long"}[size]
            code = mask if condition.scalar else condition.code
            mask = f"convert_{signed}{site.width}({code})"
    first, second = (Text(site.full(t)) if t.scalar and site.width > 1 else t for t in (a, b))
    return Text(f"{mask} ? {first.within(SHIFT)} : {second.within(SHIFT)}", TERNARY)


def helper(key: str) -> Emit:
    """Return the rule that calls the helper `cg_<key>_<type>`."""

    def emit(site: Site, args: Sequence[Text]) -> Text:
        listed = ", ".join(site.full(a) for a in args)
        return Text(f"cg_{key}_{site.type}({listed})")

    return emit


def builtin(key: str) -> Emit:
    """Return the rule that calls a built-in whose result is exact, hence the same everywhere."""

    def emit(site: Site, args: Sequence[Text]) -> Text:
        return Text(f"{key}({', '.join(site.full(a) for a in args)})")

    return emit


def mathematical(key: str, of_double: str | None = None) -> Emit:
    """Return the rule of a transcendental: our helper in float32, the built-in in float64.

    Some runtimes compute the scalar form of a float64 built-in otherwise than the vector form
    (exp differs in one value of ten on PoCL), while all vector forms agree. So width 1 asks the
    form for two elements, through a helper, and every width gives the same bits.
    """

    def emit(site: Site, args: Sequence[Text]) -> Text:
        if site.operand is float32 or of_double is None or site.width == 1:
            return helper(key)(site, args)
        return builtin(of_double)(site, args)

    return emit


def by_kind(*, floats: Emit, integers: Emit, bools: Emit | None = None) -> Emit:
    """Return the rule that differs between floats, integers and bools."""

    def emit(site: Site, args: Sequence[Text]) -> Text:
        if site.operand.is_floating_point:
            return floats(site, args)
        return bools(site, args) if bools and site.operand is bool_ else integers(site, args)

    return emit


def unchanged(site: Site, args: Sequence[Text]) -> Text:
    """Write the operand itself, as `floor` of an integer."""
    return args[0]


def never(site: Site, args: Sequence[Text]) -> Text:
    """Write false, as `isnan` of an integer."""
    return literal(False, bool_, site.width)


def always(site: Site, args: Sequence[Text]) -> Text:
    """Write true, as `isfinite` of an integer."""
    return literal(True, bool_, site.width)


def negative(site: Site, args: Sequence[Text]) -> Text:
    """Write whether an integer is below zero."""
    return compare("<")(site, [args[0], literal(0, site.operand, site.width)])


def predicate(key: str) -> Emit:
    """Return the rule of a built-in question about a float; vectors answer with masks."""

    def emit(site: Site, args: Sequence[Text]) -> Text:
        return mask_of(site, f"{key}({site.full(args[0])})", PRIMARY)

    return emit


def random(key: str) -> Emit:
    """Return the rule of a counter-based random function, named after its result's type."""

    def emit(site: Site, args: Sequence[Text]) -> Text:
        listed = [site.full(a, d) for a, d in zip(args, site.operands, strict=True)]
        result = vector_type(site.result.register, site.width)
        return Text(f"cg_{key}_{result}({', '.join(listed)})")

    return emit


def cast(site: Site, args: Sequence[Text]) -> Text:
    """Write a conversion between dtypes, rounding as the target stores, held as it computes."""
    (x,) = args
    source, target = site.operand, site.result
    if target is bool_:
        return compare("!=")(site, [x, literal(0, source.compute, site.width)])
    text = _to_register(site, x, source.compute, target.compute)
    if target.compute is not target and source is not target:
        # Bytes and bools are exact in every 16-bit float.
        inexact = source.is_floating_point or source.itemsize > 1
        if inexact and source is not bool_:
            register = vector_type("float", site.width)
            return Text(f"cg_round_{target.name}_{register}({text.code})")
    return text


def _to_register(site: Site, x: Text, source: DType, target: DType) -> Text:
    if source.register == target.register and source is not bool_:
        return x
    width = site.width
    code = site.full(x)
    through = source
    if source is bool_ and width > 1:
        code, through = f"{Text(code, x.precedence).within(UNARY)} & 1", int32
        if target.register == "int":
            return Text(code, AND)
    elif source.is_floating_point and target.is_integral and target.itemsize < 4:
        # Out of range is undefined in C; through int it wraps, as in PyTorch on CPUs.
        code, through = _convert("int", width, Text(code, x.precedence)).code, int32
    elif source.is_floating_point and target is uint32:
        code, through = _convert("long", width, Text(code, x.precedence)).code, int64
    if width == 1 and through is source:
        return _convert(target.register, 1, Text(code, x.precedence))
    return _convert(target.register, width, Text(code, UNARY))


def _convert(register: str, width: int, x: Text) -> Text:
    if width == 1:
        return Text(f"({register}){x.within(UNARY)}", UNARY)
    return Text(f"convert_{register}{width}({x.code})")


def literal(value: bool | int | float, dtype: DType, width: int) -> Text:
    """Return a constant of `dtype`: exact, with the right suffix, safe at the ends of the range.

    Narrow integers are cast in vector code, because an `int` does not widen to a `charW`.
    """
    if dtype is bool_:
        return Text("0" if not value else ("1" if width == 1 else "-1"), scalar=True)
    if dtype.is_floating_point:
        return _float_literal(float(value), dtype)
    number = int(value)
    if dtype in (int32, int64):
        suffix = "L" if dtype is int64 else ""
        if number == -(1 << (8 * dtype.itemsize - 1)):
            return Text(f"(-{-(number + 1)}{suffix} - 1)", scalar=True)
    else:
        suffix = "UL" if dtype is uint64 else "u" if dtype is uint32 else ""
    code = f"{number}{suffix}"
    if dtype.itemsize < 4 and width > 1:
        return Text(f"({dtype.register}){code}", UNARY, scalar=True)
    return Text(code, PRIMARY if number >= 0 else UNARY, scalar=True)


def _float_literal(value: float, dtype: DType) -> Text:
    if value != value:
        return Text("NAN", scalar=True)
    sign = PRIMARY if not str(value).startswith("-") else UNARY
    if value in (float("inf"), -float("inf")):
        return Text("INFINITY" if value > 0 else "-INFINITY", sign, scalar=True)
    if dtype.itemsize == 8:
        return Text(repr(value), sign, scalar=True)
    # The shortest decimal that reads back as the same float32.
    single = np.float32(value)
    plain = 1e-5 <= abs(value) < 1e9 or value == 0
    digits = np.format_float_positional(single, trim="0") if plain else str(single)
    return Text(digits + "f", sign, scalar=True)
