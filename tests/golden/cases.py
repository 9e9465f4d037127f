"""What is compared with `tests/golden/<preset>/<name>.txt`: dumps for two devices.

After a change that is meant, `python tests/golden/cases.py` writes them anew; the difference then
belongs to the commit, and is what its reviewer reads.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PRESETS = ("cpu-avx512", "gpu-32")
CASES = {
    "mul_broadcast": "mul --derivative --shape 64x128,128",
    "sigmoid_half": "sigmoid --derivative --dtype float16 --helpers",
    "sum_rows": "sum --derivative --set dim=-1",
    "sum_columns": "sum --set dim=0",
    "sum_split": "sum --shape 1048576",
    "argmax": "argmax --set dim=-1",
    "mm": "mm --shape 64x128,128x32",
    "mm_quantized": "--script tests/golden/programs/quantized.py",
    "conv": "--script tests/golden/programs/conv.py",
    "transpose": "transpose --derivative --shape 64x128",
    "gelu": "--script tests/golden/programs/gelu.py",
    "layer_norm": "--script tests/golden/programs/layer_norm.py",
    "checked": "--script tests/golden/programs/checked.py",
}


def path(name: str, preset: str) -> Path:
    """Return the file of a case."""
    return FOLDER / preset / f"{name}.txt"


def render(name: str, preset: str) -> str:
    """Return the dump of a case."""
    from clgrad.cli.main import main

    out = io.StringIO()
    before = Path.cwd()
    os.chdir(FOLDER.parents[1])  # lines of programs are shown from the current folder
    try:
        with contextlib.redirect_stdout(out):
            status = main(["dump", *CASES[name].split(), "--traits", preset])
    finally:
        os.chdir(before)
    assert status == 0
    return out.getvalue()


def update() -> None:
    """Write all files anew."""
    for preset in PRESETS:
        for name in CASES:
            path(name, preset).parent.mkdir(exist_ok=True)
            path(name, preset).write_text(render(name, preset), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, os.fspath(FOLDER.parents[1]))
    update()
