"""The library of helper functions that rendered formulas call: lookup and instantiation.

The texts are OpenCL C in which single capital letters stand for types of one width: `F` float, `D`
double, `I` int, `U` uint, `L` long, `K` ulong, `H` ushort; `T` is the type that the key names, `S`
and `V` the signed and unsigned integers of its size, `P` what `V` promotes to in arithmetic.
`T(0)` is a constant, `as_F` and `convert_F` as in OpenCL, `ANY(m)` whether some lane is set,
`BITS` the bits of an element, `C(0.5)` a number with the suffix of `T`, `SAME(exp, x)` a built-in
whose every width must agree, and `cg_exp(x)` another helper of the same element type
(`cg_philox<uint>(...)` of another one).

Each body switches contraction off for itself, so its bits do not depend on the kernel around it.
What it is not: the texts themselves; they are in the `helpers_*` files beside this one.
"""

from __future__ import annotations

import re
from functools import lru_cache

from clgrad.errors import FormulaError
from clgrad.expr.emit import unsigned, vector_type
from clgrad.expr.helpers_basic import BASIC
from clgrad.expr.helpers_bessel import BESSEL
from clgrad.expr.helpers_exponential import EXPONENTIAL
from clgrad.expr.helpers_gamma import GAMMA
from clgrad.expr.helpers_parts import PARTS
from clgrad.expr.helpers_special import SPECIAL
from clgrad.expr.helpers_trigonometric import TRIGONOMETRIC

_TEXTS: dict[str, str] = {
    **BASIC,
    **EXPONENTIAL,
    **TRIGONOMETRIC,
    **SPECIAL,
    **BESSEL,
    **GAMMA,
    **PARTS,
}

_SIZES = {"char": 1, "short": 2, "int": 4, "long": 8, "float": 4, "double": 8}
_SIGNED = {1: "char", 2: "short", 4: "int", 8: "long"}
_FIXED = {
    "F": "float", "D": "double", "I": "int", "U": "uint", "L": "long", "K": "ulong", "H": "ushort",
}  # fmt: skip
_KEY = re.compile(r"cg_(\w+)_((?:u?(?:char|short|int|long))|float|double)(2|3|4|8|16)?")
_CALLED = re.compile(r"\bcg_\w+(?=\()")
_OWN = re.compile(r"\bcg_(?!reduce_huge_float)(\w+?)(?:<(\w+)>)?\(")
_SAME = re.compile(r"\bSAME\((\w+), (\w+(?:, \w+)*)\)")
_STORE = re.compile(r"\bSTORE\((\w+), (\w+)\)")
_LOAD = re.compile(r"\bLOAD\((\w+), (\w+)\)")
_NUMBER = re.compile(r"\bC\(([\d.]+(?: / [\d.]+)?)\)")
_CONSTANT = re.compile(r"\b([TFDIULKHSVP])\(")
_LETTER = re.compile(r"\b((?:as|convert)_)?([TFDIULKHSVP])\b")


def helper_source(key: str, width: int | None = None) -> str:
    """Return the text of the helper `key` (such as `cg_exp_float16`).

    Args:
        key: name of the helper, which says for how many elements it is.
        width: what the caller believes that number to be; None if it does not care.

    Raises:
        FormulaError: there is no such helper, or the key is for another width.
    """
    name, element, own_width = _parse(key)
    if width is not None and own_width not in (1, width):  # some helpers take the lanes one by one
        raise FormulaError(f"helper: {key} is for width {own_width}. Expected width {width}.")
    return _instantiate(name, element, own_width)


def helpers_in(code: str) -> tuple[str, ...]:
    """Return the keys of all helpers that `code` calls, each after those that it calls itself.

    Calls of functions whose names have not the form of a key (kernels, say) are not ours.
    """
    order: dict[str, None] = {}
    # The library is a few levels deep and has no cycles, so recursion is safe here.
    for key in _CALLED.findall(code):
        for needed in _with_needs(key) if _KEY.fullmatch(key) else ():
            order.setdefault(needed)
    return tuple(order)


@lru_cache(maxsize=4096)
def _with_needs(key: str) -> tuple[str, ...]:
    text = _instantiate(*_parse(key))
    order: dict[str, None] = {}
    for called in _CALLED.findall(text):
        if called != key:
            for needed in _with_needs(called):
                order.setdefault(needed)
    order.setdefault(key)
    return tuple(order)


def _parse(key: str) -> tuple[str, str, int]:
    match = _KEY.fullmatch(key)
    if match is None:
        raise FormulaError(f"helper: {key!r} is no key. Expected the form cg_exp_float16.")
    return match[1], match[2], int(match[3] or 1)


@lru_cache(maxsize=4096)
def _instantiate(name: str, element: str, width: int) -> str:
    kind = element[0] if element[0] in "fdu" else "i"
    families = (f"{name}:{kind}", f"{name}:{'r' if kind in 'fd' else 'n'}", name)
    text = next((_TEXTS[f] for f in families if f in _TEXTS), None)
    if text is None:
        raise FormulaError(f"helper: there is no {name} of {element}. Expected a listed one.")
    size = _SIZES[element[1:] if element[0] == "u" else element]
    letters = {k: vector_type(v, width) for k, v in _FIXED.items()}
    letters["T"] = vector_type(element, width)
    letters["S"] = vector_type(_SIGNED[size], width)
    letters["V"] = vector_type(unsigned(_SIGNED[size]), width)
    letters["P"] = "uint" if width == 1 and size < 4 else letters["V"]

    def same(match: re.Match[str]) -> str:
        fn, args = match[1], match[2].split(", ")
        if width > 1:
            return f"{fn}({match[2]})"
        # Only the vector forms of a built-in agree among each other on every runtime.
        return f"{fn}({', '.join(f'({element}2)({a}, {a})' for a in args)}).x"

    def own(match: re.Match[str]) -> str:
        return f"cg_{match[1]}_{vector_type(match[2] or element, width)}("

    text = _OWN.sub(own, _SAME.sub(same, text))
    text = text.replace("ANY(", "(" if width == 1 else "any(")
    text = text.replace("BITS", str(8 * size)).replace("WIDTH", str(width))
    text = _STORE.sub(f"vstore{width}(\\1, 0, \\2)" if width > 1 else r"\2[0] = \1", text)
    text = _LOAD.sub(f"\\1 = vload{width}(0, \\2)" if width > 1 else r"\1 = \2[0]", text)
    # A number of the generic kind: 0.5f in float, 0.5 in double.
    text = _NUMBER.sub(lambda m: f"({letters['T']})({_number(m[1], element)})", text)
    text = _CONSTANT.sub(lambda m: f"({letters[m[1]]})(", text)
    text = _LETTER.sub(lambda m: f"{m[1] or ''}{letters[m[2]]}", text)
    return text.strip().replace("\n{\n", "\n{\n    #pragma OPENCL FP_CONTRACT OFF\n", 1) + "\n"


def _number(text: str, element: str) -> str:
    return re.sub(r"[\d.]+", r"\g<0>f", text) if element == "float" else text
