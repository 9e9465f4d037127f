"""Where in the user's program an op was called: noted cheaply, resolved only when shown.

A position is a code object and an instruction in it. That holds no locals alive, which a frame
would.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType

Position = tuple[CodeType, int]

_ROOT = str(Path(__file__).absolute().parent.parent) + os.sep


_OPTIM = f"{_ROOT}optim{os.sep}"
_STEP = 2
"""What `inside` says of an optimizer's file."""


class _Inside(dict[str, int]):
    """For each file name, whether it belongs to this package; a script that is run never does."""

    def __missing__(self, name: str) -> int:
        script = getattr(sys.modules.get("__main__"), "__file__", None)
        found = 0
        if name.startswith(_ROOT) and name != script:
            found = _STEP if name.startswith(_OPTIM) else 1
        self[name] = found
        return found


inside = _Inside()


def caller() -> Position | None:
    """Return where, outside of this package, the present call came from; about 0.2 µs."""
    frame = sys._getframe(1)
    while inside[frame.f_code.co_filename]:
        back = frame.f_back
        if back is None:
            return None
        frame = back
    return frame.f_code, frame.f_lasti


def is_own(frame: FrameType) -> bool:
    """Whether a frame is one of this package's."""
    return frame.f_code.co_filename.startswith(_ROOT)


class _Step(threading.local):
    """Where this thread's writes come from while an optimizer changes parameters, else None."""

    origin: tuple[Position | None, bool] | None = None


step = _Step()


def written_from() -> tuple[Position | None, bool]:
    """Return what `caller` does, and whether an optimizer is what it called."""
    if step.origin is not None:  # finding it takes 1.2 µs, and all of a step's writes have one
        return step.origin
    frame = sys._getframe(1)
    stepped = False
    while kind := inside[frame.f_code.co_filename]:
        if kind == _STEP:
            stepped = True
        back = frame.f_back
        if back is None:
            return None, stepped
        frame = back
    return (frame.f_code, frame.f_lasti), stepped


def stack() -> tuple[Position, ...]:
    """Return the positions of all calls outside of this package, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    while frame is not None:
        if not inside[frame.f_code.co_filename]:
            found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)


def stacklevel() -> int:
    """Return the `stacklevel` with which a warning from here points at the user's line."""
    frame = sys._getframe(1)
    level = 1
    while inside[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
        level += 1
    return level


def line_of(position: Position) -> tuple[str, int]:
    """Return file and line of a position."""
    code, instruction = position
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    return code.co_filename, line


def source_of(file: str, line: int) -> str:
    """Return the text of a line of the program, or an empty one where the file cannot be read."""
    return linecache.getline(file, line).strip()


def describe(position: Position | None) -> str:
    """Return `file.py:12, in train`, found only now that somebody wants to read it."""
    if position is None:
        return "an unknown place"
    file, line = line_of(position)
    return f"{file}:{line}, in {position[0].co_name}"


def traceback_of(positions: Sequence[Position]) -> str:
    """Return positions, innermost first, as Python prints a traceback: innermost last."""
    lines = []
    for position in reversed(positions):
        file, line = line_of(position)
        lines.append(f'  File "{file}", line {line}, in {position[0].co_name}\n')
        text = source_of(file, line)
        if text:
            lines.append(f"    {text}\n")
    return "".join(lines)
