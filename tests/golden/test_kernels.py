"""The text of a handful of kernels for two devices, compared byte by byte."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("cases", Path(__file__).with_name("cases.py"))
cases = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cases)


@pytest.mark.parametrize("preset", cases.PRESETS)
@pytest.mark.parametrize("name", cases.CASES)
def test_kernels_are_what_they_were(name, preset):
    expected = cases.path(name, preset).read_text(encoding="utf-8")
    assert cases.render(name, preset) == expected, (
        "a generated kernel has changed; if that is meant: python tests/golden/cases.py"
    )


@pytest.mark.parametrize("preset", cases.PRESETS)
def test_no_golden_file_is_left_over(preset):
    found = {path.stem for path in (cases.FOLDER / preset).iterdir()}
    assert found == set(cases.CASES)
