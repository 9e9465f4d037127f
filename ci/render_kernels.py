"""Render the kernels of a fixed list of calls, for devices that need not be there.

    PYTHONPATH=<checkout> python ci/render_kernels.py FOLDER [PRESET...]

Writes FOLDER/<preset>/<call>.txt. It knows of the package only its command `clgrad dump`, so that
`ci/kernel_diff` can run it on any two commits.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

from clgrad.cli.main import main
from clgrad.traits import PRESETS

# Beyond every op of the table by itself: what decides which variant of a kernel is generated.
VARIANTS = {
    "broadcast": "mul --derivative 2 --shape 64x128,128",
    "strided": "add --derivative --strided",
    "short": "sigmoid --derivative --shape 5",
    "zero_dim": "mul --derivative --shape (),64x128",
    "half": "tanh --derivative --dtype float16",
    "bfloat": "sigmoid --dtype bfloat16",
    "double": "exp --derivative --dtype float64",
    "integers": "add --dtype int32,int64",
    "bytes": "mul --dtype uint8",
    "sum_rows": "sum --derivative --set dim=-1",
    "sum_columns": "sum --derivative --set dim=0",
    "sum_middle": "sum --set dim=1 --shape 20x30x40",
    "sum_outer_and_inner": "sum --set dim=(0,2) --shape 20x30x40",
    "sum_split": "sum --shape 1048576",
    "sum_strided": "sum --set dim=0 --strided",
    "sum_half": "sum --set dim=-1 --dtype float16",
    "mean_bfloat": "mean --set dim=0 --dtype bfloat16",
    "argmax_rows": "argmax --set dim=-1",
    "argmax_columns": "argmax --set dim=0",
    "mm_large": "mm --derivative --shape 1024x1024,1024x1024",
    "mm_thin": "mm --shape 1x4096,4096x8",
    "mm_half": "mm --dtype float16",
    "mm_integers": "mm --dtype int32",
    "bmm_small": "bmm --derivative --shape 16x7x9,16x9x5",
    "wide_index": "exp --shape 70000x40000",
}


def calls() -> dict[str, list[str]]:
    """Return the arguments of `clgrad dump` for each call."""
    listed = io.StringIO()
    with contextlib.redirect_stdout(listed):
        main(["dump", "--list"])
    made = {name: [name, "--derivative"] for name in listed.getvalue().split()}
    return made | {name: text.split() for name, text in VARIANTS.items()}


def render(arguments: list[str], preset: str) -> str:
    """Return what the dump prints; where it fails, why."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["dump", *arguments, "--traits", preset])
        except Exception as error:  # an older commit may fail in ways of its own
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return out.getvalue() + err.getvalue()


def write(folder: Path, presets: list[str]) -> int:
    """Render all calls into `folder`; return their number."""
    made = calls()
    for preset in presets:
        (folder / preset).mkdir(parents=True, exist_ok=True)
        for name, arguments in made.items():
            text = render(arguments, preset)
            (folder / preset / f"{name}.txt").write_text(text, encoding="utf-8")
    return len(made) * len(presets)


if __name__ == "__main__":
    count = write(Path(sys.argv[1]), sys.argv[2:] or list(PRESETS))
    print(f"{count} dumps were written to {sys.argv[1]}.")
