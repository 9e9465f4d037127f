"""Schedules of profilers, against PyTorch's."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from clgrad.profiler import ProfilerAction, record_function, schedule
from clgrad.profiler.ranges import labels

CASES: list[dict[str, int]] = [
    {"wait": 0, "warmup": 0, "active": 1},
    {"wait": 1, "warmup": 1, "active": 2},
    {"wait": 2, "warmup": 0, "active": 3, "repeat": 2},
    {"wait": 1, "warmup": 2, "active": 1, "repeat": 1, "skip_first": 3},
    {"wait": 2, "warmup": 1, "active": 1, "skip_first": 1, "skip_first_wait": 1},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_steps_are_those_of_pytorch(case: dict[str, int]) -> None:
    torch = pytest.importorskip("torch")
    ours = schedule(**case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no warm-up
        theirs = torch.profiler.schedule(**case)
    assert [ours(k).name for k in range(30)] == [theirs(k).name for k in range(30)]


def test_nothing_to_record_is_an_error() -> None:
    with pytest.raises(ValueError, match="active of 1 or more"):
        schedule(wait=1, warmup=1, active=0)
    with pytest.raises(ValueError, match="no negative number"):
        schedule(wait=-1, warmup=1, active=1)
    assert [action.value for action in ProfilerAction] == [0, 1, 2, 3]


def test_ranges_nest_and_end_with_errors() -> None:
    @record_function("inner")
    def inner() -> Any:
        return labels()

    with record_function("outer"):
        assert inner() == ("outer", "inner")
        with pytest.raises(KeyError), record_function("failing"):
            raise KeyError
        assert labels() == ("outer",)
    assert labels() == ()
