"""Colours for OpenCL C on a terminal: comments, keywords, types, numbers.

A tokenizer by one regular expression, no parser: it need not be right about C, only never change
the text.
"""

from __future__ import annotations

import re

from clgrad.cli.terminal import is_coloured, style

_TYPE = (
    r"(?:u?(?:char|short|int|long)|float|double|half|bool)(?:2|3|4|8|16)?|void|size_t|ptrdiff_t"
    r"|cg_\w+_at_\w+|cg_unaligned_\w+"
)
_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<directive>^[ \t]*#[^\n]*)"
    r"|(?P<keyword>\b(?:__kernel|__global|__local|__constant|__private|__attribute__|const|static"
    r"|typedef|restrict|if|else|for|while|do|return|break|continue|struct)\b)"
    rf"|(?P<type>\b(?:{_TYPE})\b)"
    r"|(?P<number>\b(?:0[xX][0-9a-fA-F]+[uUlL]*|\d+\.?\d*(?:[eE][+-]?\d+)?[fFuUlL]*))",
    re.MULTILINE | re.DOTALL,
)
_STYLES = {
    "comment": "dim", "directive": "magenta", "keyword": "blue", "type": "green",
    "number": "yellow",
}  # fmt: skip


def highlight(source: str) -> str:
    """Return OpenCL C with colours, or as it is where nobody sees them."""
    if not is_coloured():
        return source
    return _TOKEN.sub(lambda m: _styled(m.group(), _STYLES[m.lastgroup or ""]), source)


def _styled(token: str, name: str) -> str:
    # each line by itself, so that a pager may start anywhere
    return "\n".join(style(line, name) if line else line for line in token.split("\n"))
