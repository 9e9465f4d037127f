"""Ask of every source file over 500 lines whether it has two reasons to exist.

Generated files say so in one of their first five lines and are exempt.
"""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT = 500
ROOTS = ("clgrad", "templates", "tests", "benchmarks", "examples", "ci")


def main() -> int:
    """Print each file that is too long; return how many there are, at most 1."""
    root = Path(__file__).resolve().parent.parent
    long = []
    for path in sorted(p for top in ROOTS for p in (root / top).rglob("*")):
        if path.suffix not in {".py", ".j2"}:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LIMIT and "generated" not in " ".join(lines[:5]).lower():
            long.append(f"{path.relative_to(root)}: {len(lines)} lines, the limit is {LIMIT}")
    print("\n".join(long) or f"every file has at most {LIMIT} lines")
    return bool(long)


if __name__ == "__main__":
    sys.exit(main())
