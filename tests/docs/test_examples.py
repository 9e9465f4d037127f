"""Runs the Python blocks of the README and of the pages under docs, each file in one go.

A block that cannot run here has `<!-- not run: reason -->` on the line above it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    line: int
    code: str
    reason: str | None


def blocks(text: str) -> list[Block]:
    """Return the Python blocks of a page with the lines on which their code begins."""
    return [
        Block(text.count("\n", 0, m.start("code")) + 1, m["code"], m["reason"])
        for m in FENCE.finditer(text)
    ]


def test_blocks_are_found_with_their_lines() -> None:
    page = "# A\n\n```python\nx = 1\n```\n\n<!-- not run: needs a GPU -->\n```python\ny\n```\n"
    assert blocks(page) == [Block(4, "x = 1\n", None), Block(9, "y\n", "needs a GPU")]


RUNNING = [p for p in PAGES if any(b.reason is None for b in blocks(p.read_text("utf-8")))]


@pytest.mark.usefixtures("any_device", "capsys")
@pytest.mark.parametrize("page", RUNNING, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later blocks of a page see what earlier ones defined, as a reader would."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.reason is None:
            # keeps line numbers, so that a traceback points into the page
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            exec(code, names)
