"""The demo: what it prints, and that it learns."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

import clgrad
from clgrad.cli import demo, main


@pytest.fixture(autouse=True)
def default_device() -> Any:
    yield
    clgrad.set_default_device(None)


def test_it_reads_the_digits(device: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    status = main.main(["demo", "--device", device.id, "--epochs", "8", "--seed", "1"])
    printed = capsys.readouterr().out
    assert status == 0
    assert printed.startswith(f"device: {device.id} ")
    assert (
        len(re.findall(r"^epoch +\d+  loss \d+\.\d{4}  \d+\.\d\d s$", printed, re.MULTILINE)) == 8
    )
    found = re.search(r"^accuracy: (\d+\.\d) %\n\Z", printed, re.MULTILINE)
    assert found is not None, printed
    assert float(found[1]) >= 95


def test_the_same_seed_gives_the_same_losses(
    any_device: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    seen = []
    for _ in range(2):
        main.main(["demo", "--device", any_device.id, "--epochs", "1"])
        seen.append(re.findall(r"loss (\S+)|accuracy: (\S+)", capsys.readouterr().out))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        demo.load("digits_mlp.py").main([])


def test_an_example_that_is_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(clgrad.ClgradError, match=r"demo: nothing\.py is neither in"):
        demo.load("nothing.py")
