"""The tuner on every device present: candidates are checked, measured, kept and used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import clgrad
from clgrad import config
from clgrad.bringup import tune, tuned
from clgrad.bringup.probe import bring_up
from clgrad.bringup.tune_worker import measure
from clgrad.cli.main import main
from clgrad.cli.tune import recorded
from clgrad.codegen import choice
from clgrad.codegen.choice import text_of
from clgrad.codegen.matmul import FAMILY, lower_matmul
from clgrad.errors import ClgradError

TEXT = "matmul 40x33x48 NN float32"


@pytest.fixture
def cache(tmp_path):
    with config.override(cache_dir=tmp_path, no_cache=False):
        yield tmp_path


def test_candidates_are_measured_in_a_child(device):
    worker = tune.Worker(device)
    try:
        candidates = FAMILY.candidates(FAMILY.parse(TEXT), device.traits)
        for candidate in candidates[:2]:
            found = worker.measure(TEXT, text_of(candidate), 120)
            assert isinstance(found, float)
            assert 0 < found < 10
        assert "is no candidate" in str(worker.measure(TEXT, "tile rows=77", 120))
    finally:
        worker.close()


def test_a_candidate_that_computes_something_else_is_refused(device, monkeypatch):
    """Checked on problems with edges: here a single element of a single one is off."""

    def off_by_one(problem, arrays):
        expected = FAMILY.expected(problem, arrays)
        expected.values.reshape(-1)[-1] += 1
        return expected

    first = text_of(FAMILY.candidates(FAMILY.parse(TEXT), device.traits)[0])
    assert measure(device, TEXT, first) > 0
    monkeypatch.setitem(choice._families, "matmul", replace(FAMILY, expected=off_by_one))
    with pytest.raises(ClgradError, match="wrong by 1 at matmul"):
        measure(device, TEXT, first)


def test_what_was_kept_is_used_and_right(device, cache):
    problem = FAMILY.parse(TEXT)
    wanted = FAMILY.candidates(problem, device.traits)[1]
    entry = tuned.Measured(text_of(wanted), 1e-3, 2e-3)
    tuned.store(device, {FAMILY.key(TEXT): entry})
    traits = bring_up(device)
    assert traits.tuned == ((FAMILY.key(TEXT), text_of(wanted)),)
    assert lower_matmul(problem, traits) == FAMILY.lower(problem, wanted, traits)
    assert lower_matmul(problem, device.traits) != lower_matmul(problem, traits)


def test_the_command_tunes_shows_and_forgets(device, cache, capsys):
    command = ["tune", "--device", device.id]
    assert main([*command, "--ops", TEXT, "--budget", "3s"]) == 0
    said = capsys.readouterr().out
    assert TEXT in said
    assert "are faster than before" in said
    assert main([*command, "--show"]) == 0
    assert "choices in" in capsys.readouterr().out
    (path,) = (cache / "tuned").iterdir()
    assert main([*command, "--merge", str(path)]) == 0
    assert "0 choices were taken over" in capsys.readouterr().out
    assert main([*command, "--forget"]) == 0
    assert not path.exists()
    assert main([*command, "--ops", "matmul 3x4"]) == 1
    assert "is no product" in capsys.readouterr().err


def test_a_script_says_what_to_tune(device, cache, tmp_path, capsys):
    script = tmp_path / "model.py"
    script.write_text(
        "import sys, clgrad\n"
        "x = clgrad.ones(24, 33)\n"
        "w = clgrad.ones(int(sys.argv[1]), 33)\n"
        "assert float((x @ w.mT)[0, 0]) == 33\n"
    )
    command = ["tune", "--device", device.id, "--budget", "2s", "--model", str(script)]
    assert main([*command, "--", "17"]) == 0
    assert "matmul 24x33x17 NT float32" in capsys.readouterr().out
    script.write_text("import clgrad\nassert clgrad.ones(3).sum().item() == 3\n")
    assert main(command) == 1
    assert "nothing that can be tuned" in capsys.readouterr().err
    assert np.allclose((clgrad.ones(2, 3) @ clgrad.ones(3, 2)).numpy(), 3)


def test_all_passes_of_convolutions_are_tuned(device, tmp_path):
    script = tmp_path / "block.py"
    script.write_text(
        "import clgrad\n"
        "x = clgrad.ones(2, 8, 9, 9, requires_grad=True)\n"
        "block = clgrad.nn.Sequential(\n"
        "    clgrad.nn.Conv2d(8, 12, 3, 2, 1), clgrad.nn.ReLU(), clgrad.nn.Conv2d(12, 8, 1))\n"
        "(block(x) + x[..., ::2, ::2]).square().sum().backward()\n"
        "assert x.grad.sum().item() != 0\n"
    )
    problems = ["2x8x9x9 12x8x3x3 stride=2 padding=1", "2x12x5x5 8x12x1x1"]
    passes = ("forward", "input", "weight")
    expected = {f"conv {name} {problem} float32" for name in passes for problem in problems}
    assert set(recorded(str(script), [], device.id)) == expected
