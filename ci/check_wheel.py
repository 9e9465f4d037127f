"""Build the wheel and check that it holds every file of the folders below, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def build(root: Path, folder: Path) -> Path:
    """Build the wheel of `root` into `folder` without touching the network."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(root)], check=True)
    (wheel,) = folder.glob("clgrad-*.whl")
    return wheel


def expected(root: Path) -> set[str]:
    """Return the names that the wheel must hold beside its metadata."""
    names = set()
    for folder in ("clgrad", "templates", "examples", "benchmarks"):
        prefix = Path("clgrad" if folder == "clgrad" else f"clgrad/{folder}")
        for path in (root / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                names.add((prefix / path.relative_to(root / folder)).as_posix())
    return names


def main() -> int:
    """Compare the wheel with the checkout; return 1 where they differ."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        wheel = zipfile.ZipFile(build(root, Path(folder)))
        with wheel:
            held = wheel.namelist()
    names = {n for n in held if ".dist-info/" not in n}
    metadata = {n.rpartition("/")[2] for n in held if ".dist-info/" in n}
    wanted = expected(root)
    wanted |= {"clgrad/templates/pointwise.cl.j2", "clgrad/py.typed", "clgrad/cli/main.py"}
    faults = [f"missing: {n}" for n in sorted(wanted - names)]
    faults += [f"should not be there: {n}" for n in sorted(names - wanted)]
    faults += [
        f"missing metadata: {n}" for n in ("entry_points.txt", "LICENSE") if n not in metadata
    ]
    print("\n".join(faults) or f"the wheel holds all {len(names)} files")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
