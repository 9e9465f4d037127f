"""Loads through windows: zeros around an operand, or its other end (see `clgrad.windowed`).

Along dims that are not the lanes' own, a whole vector is inside or outside. Along the lanes' dim
most vectors are, too, and are loaded as ever; one that a border crosses is put together lane by
lane. What lies outside is never read.

        first          end
    0 0 0 ├──────────────┤ 0 0 0        in: 0 outside
    ├──────────────┬─────────────┤      turn: from `at` on, `jump` elements further back
                   at
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clgrad.codegen.loop_spec import STRIDED, UNIT, Access
from clgrad.expr import load_conversion

if TYPE_CHECKING:
    from clgrad.codegen.loop_body import LoopText


def parameters(access: Access, label: str) -> list[str]:
    """Return the names of the arguments of an access's windows."""
    names = {"in": ("first", "end"), "turn": ("at", "jump")}
    return [
        f"{label}_{part}{d}"
        for d, window in enumerate(access.windows)
        if window is not None
        for part in names[window]
    ]


def load(
    text: LoopText, label: str, access: Access, pointer: str, address: str, width: int
) -> list[str]:
    """Return the lines that declare `label` and load it."""
    assert access.dtype is not None
    dtype, lane = access.dtype, text.lane
    scalar = width == 1
    inside = []
    for d, window in enumerate(access.windows):
        if window is None or (d == lane and not scalar):
            continue
        if window == "in":
            inside.append(f"c{d} >= {pointer}_first{d} && c{d} < {pointer}_end{d}")
        else:
            address += f" - (c{d} >= {pointer}_at{d} ? {pointer}_jump{d} : 0)"
    condition = " && ".join(inside)
    if scalar:
        value = load_conversion(dtype, 1, f"{pointer}[{address}]")
        if condition:
            value = f"{condition} ? {value} : 0"
        return [f"const {dtype.register} {label} = {value};"]
    register = f"{dtype.register}{width}"
    window = access.windows[lane]
    c, last = f"c{lane}", f"c{lane} + {width - 1}"
    step = {UNIT: "{k}", STRIDED: f"{{k}} * {pointer}_s{lane}"}.get(access.pattern[lane], "0")
    places = [f"at + {step.format(k=k)}" for k in range(width)]
    first, end = f"{pointer}_first{lane}", f"{pointer}_end{lane}"
    turn, jump = f"{pointer}_at{lane}", f"{pointer}_jump{lane}"

    def put(raw: str) -> str:
        return f"{label} = {load_conversion(dtype, width, raw)};"

    def together(back: str = "") -> str:
        if access.pattern[lane] == UNIT:
            return put(text.vector_load(dtype.cl, width, f"{pointer} + at{back}"))
        return put(f"({dtype.cl}{width})({', '.join(f'{pointer}[{p}{back}]' for p in places)})")

    def apart(items: list[str]) -> str:
        return put(f"({dtype.cl}{width})({', '.join(items)})")

    lines = [f"{register} {label};", f"{{ const {text.index} at = {address};"]
    if window == "in":
        every = [*inside, f"{c} >= {first} && {last} < {end}"]
        some = [*inside, f"{last} >= {first} && {c} < {end}"]
        items = [
            f"{c} + {k} >= {first} && {c} + {k} < {end} ? {pointer}[{p}] : ({dtype.cl})0"
            for k, p in enumerate(places)
        ]
        lines += [
            f"  if ({' && '.join(every)}) {together()}",
            f"  else if ({' && '.join(some)}) {apart(items)}",
            f"  else {label} = ({register})(0); }}",
        ]
    elif window == "turn":
        items = [
            f"{pointer}[{p} - ({c} + {k} >= {turn} ? {jump} : 0)]" for k, p in enumerate(places)
        ]
        there = [
            f"if ({last} < {turn}) {together()}",
            f"else if ({c} >= {turn}) {together(f' - {jump}')}",
            f"else {apart(items)}",
        ]
        if condition:
            lines += [f"  if (!({condition})) {label} = ({register})(0);"]
            there[0] = f"else {there[0]}"
        lines += [*(f"  {line}" for line in there), "}"]
    else:
        lines += [f"  if ({condition or 1}) {together()}", f"  else {label} = ({register})(0); }}"]
    return lines
