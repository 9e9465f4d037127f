"""Dumps of whole programs, each in a process of its own, on every device."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """\
import sys

import clgrad

x = clgrad.full((40, 50), 0.5, device=sys.argv[1], requires_grad=True)
for _ in range(3):
    y = (x * 2).sigmoid()  # forward
    y.sum().backward()  # backward
print(round(float(x.grad[3, 4]), 4), *sys.argv[2:])
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def ran(arguments, folder, **environment):
    """Return the output of a Python process in `folder`."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def check(folder, device):
    """Check a dump of `PROGRAM`: the index, the origins, and that each file builds by itself."""
    files = sorted(folder.glob("*.cl"))
    index = (folder / "index.md").read_text(encoding="utf-8")
    assert files
    assert index.count("](") == len(files)
    assert "sigmoid.dx" in index
    assert "program.py:7" in index
    assert "program.py:8" in index
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    whole = "\n".join(texts.values())
    assert "y = (x * 2).sigmoid()  # forward" in whole
    assert "y.sum().backward()  # backward" in whole
    launches = [int(n) for n in re.findall(r"^// cg_\w+: .* launched (\d+) ", whole, re.MULTILINE)]
    assert len(launches) == len(files)
    assert max(launches) >= 2
    from clgrad.runtime.opencl import cl

    for path in files:
        options = re.search(r"^// options  (.*)$", texts[path.name], re.MULTILINE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a build log that is not empty is no news
            built = cl.Program(device.context, texts[path.name]).build(options[1].split())
        assert path.stem.partition("_")[2] in built.kernel_names


def test_a_program_dumps_itself_where_the_environment_says_so(device, program, tmp_path):
    out = tmp_path / "kernels"
    done = ran([program, device.id], tmp_path, CLGRAD_DUMP=str(out))
    assert done.stdout == "1.1797\n"
    check(out, device)


def test_a_script_is_dumped_with_its_arguments(device, program, tmp_path):
    out = tmp_path / "kernels"
    command = ["-m", "clgrad.cli.main", "dump", "--script", program.name, "--out", out]
    done = ran([*command, device.id, "--", "one", "--two"], tmp_path)
    assert done.stdout == "1.1797 one --two\n"
    assert "kernels were written" in done.stderr
    check(out, device)


def test_an_op_is_dumped_for_a_present_device(device, tmp_path):
    command = ["-m", "clgrad.cli.main", "dump", "sigmoid", "--derivative", "--device", device.id]
    text = ran(command, tmp_path).stdout
    assert f"-cl-std={device.traits.cl_std}" in text
    assert "sigmoid.dx" in text


def test_a_dump_that_cannot_be_written_does_not_stop_the_program(any_device, program, tmp_path):
    done = ran([program, any_device.id], tmp_path, CLGRAD_DUMP=str(program / "folder"))
    assert done.stdout == "1.1797\n"
    assert done.stderr.count("cannot be written") == 1
