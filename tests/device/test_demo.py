"""The demo: what it prints, and that it learns."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.cli import demo, main


@pytest.fixture(autouse=True)
def default_device() -> Any:
    yield
    clgrad.set_default_device(None)


def test_it_reads_the_digits(
    device: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    out = tmp_path / "out"
    command = ["demo", "--device", device.id, "--epochs", "4", "--out", str(out)]
    assert main.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"device: {device.id} ")
    losses = re.findall(r"^epoch +\d+  loss (\d+\.\d{4})  \d+\.\d\d s$", printed, re.MULTILINE)
    assert len(losses) == 4
    assert float(losses[-1]) < float(losses[0])
    found = re.search(r"^accuracy: (\d+\.\d) %$", printed, re.MULTILINE)
    assert found is not None, printed
    assert float(found[1]) >= 96
    # a frozen base saves next to nothing, and half of the kernels are not launched
    costs = re.findall(r"(\w+) +saved for backward +([\d,]+) bytes, +(\d+) kernels", printed)
    (first, saved, launches), (second, less, fewer) = costs
    assert (first, second) == ("unfrozen", "frozen")
    assert int(less.replace(",", "")) * 20 < int(saved.replace(",", ""))
    assert int(fewer) * 3 <= int(launches) * 2
    learned = re.search(r"a new last layer alone: (\d+\.\d) %", printed)
    assert learned is not None
    assert float(learned[1]) >= 85
    index = (out / "kernels" / "index.md").read_text()
    assert re.match(r"# \d+ kernels", index)
    assert "conv" in index
    files = list((out / "kernels").glob("*.cl"))
    assert len(files) == int(index.split()[1])
    if importlib.util.find_spec("matplotlib") is not None:
        assert (out / "learning-curve.png").stat().st_size > 1000
        assert (out / "misread.png").stat().st_size > 1000


def test_the_same_seed_gives_the_same_losses(any_device: Any) -> None:
    pytest.importorskip("sklearn")
    example = demo.load("digits.py")
    clgrad.set_default_device(any_device)
    seen = []
    for _ in range(2):
        clgrad.manual_seed(3)
        train, _ = example.load_digits(np.random.default_rng(0))
        model = clgrad.nn.Sequential(example.build_base(), clgrad.nn.Linear(example.FEATURES, 10))
        trainer = example.Trainer(model, lr=0.05, epochs=1, batch=64, seed=1)
        seen.append(trainer.epoch(train.where(np.arange(192)), ""))
    assert seen[0] == seen[1]


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        demo.load("digits.py").main([])


def test_an_example_that_is_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(clgrad.ClgradError, match=r"demo: there is neither .*nothing\.py"):
        demo.load("nothing.py")
