"""Text for a terminal: coloured where someone looks at it, plain where a program reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from clgrad import config

_CODES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34",
    "magenta": "35",
}  # fmt: skip


def is_coloured() -> bool:
    """Return whether standard output shows colours; `NO_COLOR` says no."""
    if config.foreign("NO_COLOR") or config.foreign("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def style(text: str, name: str) -> str:
    """Return `text` in a style: `bold dim red green yellow blue magenta`."""
    return f"\x1b[{_CODES[name]}m{text}\x1b[0m" if is_coloured() else text


def heading(text: str) -> None:
    """Print the title of a section."""
    print(style(text, "bold"))


def good(text: str) -> None:
    """Print what is as it should be."""
    print(f"  {style('ok', 'green')}    {text}")


def bad(text: str, hint: str = "") -> None:
    """Print what is wrong, and what to type."""
    print(f"  {style('wrong', 'red')} {text}")
    if hint:
        print(f"        {style('try', 'yellow')}: {hint}")


def note(text: str) -> None:
    """Print what is worth knowing."""
    print(f"  {style('note', 'yellow')}  {text}")


def table(rows: Iterable[tuple[str, str]], indent: int = 2) -> None:
    """Print pairs in two columns."""
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        print(f"{'':{indent}}{style(f'{name:<{width}}', 'dim')}  {value}")
