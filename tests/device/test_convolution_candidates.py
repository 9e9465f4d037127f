"""What the tuner may choose for a convolution, against sums in float64 on shapes with edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clgrad.bringup.trial import Trial
from clgrad.codegen.choice import text_of
from clgrad.codegen.conv import FAMILY, lower_conv
from clgrad.codegen.conv_choice import Channels

TEXTS = [
    "conv forward 3x24x15x17 40x24x3x3 padding=1 float32",
    "conv forward 2x6x29x31 10x3x5x3 stride=2x1 padding=2x1 groups=2 float32",
    "conv input 3x24x15x17 40x24x3x3 stride=2 padding=1 float32",
    "conv input 2x3x21x33 20x3x5x5 padding=2 float32",
    "conv weight 3x40x15x17 40x40x3x3 stride=2 padding=1 float32",
    "conv weight 9x6x16x18 16x6x5x5 float32",
    "conv input 2x9x31x34 9x1x3x3 stride=2 padding=1 groups=9 float32",
    "conv forward 2x5x40 7x5x3 dilation=2 float16",
    "conv weight 2x8x5x9x9 12x8x2x3x3 float32",
]


def check(device: Any, text: str, traits: Any, step: int) -> None:
    """Run each `step`-th candidate on one of the awkward problems that belong to it."""
    problem = FAMILY.parse(text)
    offered = FAMILY.candidates(problem, traits)
    assert len(offered) > step
    for k, choice in list(enumerate(offered))[::step]:
        check_one(device, FAMILY.awkward(problem, choice)[k % 3], choice, traits)


def check_one(device: Any, problem: Any, choice: Any, traits: Any) -> None:
    """Run a candidate."""
    arrays = FAMILY.operands(problem, np.random.default_rng(0))
    lowered = FAMILY.lower(problem, choice, traits)
    trial = Trial(device, lowered, arrays, *FAMILY.result(problem))
    excess = trial.excess(FAMILY.expected(problem, arrays))
    assert excess <= 0, f"{text_of(choice)} is off by {excess} at {FAMILY.describe(problem)}"


@pytest.mark.parametrize("text", TEXTS)
def test_tiles_of_cpus(device: Any, text: str) -> None:
    check(device, text, replace(device.traits, is_cpu=True), 7)


@pytest.mark.parametrize("text", [TEXTS[0], TEXTS[2], TEXTS[4], TEXTS[8]])
def test_tiles_of_gpus(device: Any, text: str) -> None:
    check(device, text, replace(device.traits, is_cpu=False, max_work_group=256), 9)


def test_what_was_measured_is_used(device: Any) -> None:
    text = TEXTS[0]
    problem = FAMILY.parse(text)
    wanted = Channels(4, 2)
    traits = replace(device.traits, is_cpu=True, tuned=((FAMILY.key(text), text_of(wanted)),))
    assert lower_conv(problem, traits) == FAMILY.lower(problem, wanted, traits)
    assert lower_conv(problem, traits) != lower_conv(problem, replace(traits, tuned=()))
