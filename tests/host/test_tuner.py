"""Choices as text, what is kept of them, and the tuner's dealings with its child process."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from clgrad import config, dtypes
from clgrad.bringup import tune, tuned
from clgrad.bringup.tuned import Measured
from clgrad.cli.tune import seconds
from clgrad.codegen import choice
from clgrad.codegen.choice import candidate_of, choose, text_of
from clgrad.codegen.conv import FAMILY as CONV
from clgrad.codegen.conv import lower_conv
from clgrad.codegen.matmul import FAMILY, lower_matmul
from clgrad.codegen.matmul_form import MatmulProblem
from clgrad.codegen.matmul_specs import PackSpec
from clgrad.errors import ClgradValueError, ClgradWarning
from clgrad.traits import PRESETS, preset

CPU = preset("cpu-avx512")
TEXTS = [
    "matmul 128x784x512 NT float32", "matmul 8x784x512 TT float32",
    "matmul 64*128x64x128 NN float16", "matmul 1x1024x1024 NN float64", "matmul 33x65x17 SS int32",
    "matmul 4x100000x4 TN bfloat16",
]  # fmt: skip

CONVOLUTIONS = [
    "conv forward 8x64x56x56 128x64x3x3 stride=2 padding=1 float32",
    "conv input 4x6x29x31 10x3x5x3 stride=2x1 padding=2x1 groups=2 float16",
    "conv weight 12x32x100 24x32x5 dilation=2 float64",
    "conv forward 2x20x5x9x9 12x20x1x3x3 padding=0x1x1 bfloat16",
    "conv forward 8x24x28x28 24x1x3x3 padding=1 groups=24 float32",
]


# ---- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*TEXTS, *CONVOLUTIONS])
def test_a_problem_is_its_text(text):
    family = choice.family_of(text)
    assert family is (CONV if text.startswith("conv") else FAMILY)
    problem = family.parse(text)
    assert family.describe(problem) == text


def test_a_convolution_is_described_where_operands_are_dense():
    problem = CONV.parse(CONVOLUTIONS[0])
    assert CONV.key(CONVOLUTIONS[0].replace("8x64x56", "11x64x56")) == CONV.key(CONVOLUTIONS[0])
    assert CONV.describe(replace(problem, a_strides=(0,) * 5)) is None
    assert CONV.describe(replace(problem, b_dtype=dtypes.float16)) is None
    assert CONV.describe(replace(problem, batch=0)) is None
    assert CONV.work(problem) == 2 * 8 * 128 * 28 * 28 * 64 * 9


def test_a_class_holds_sizes_of_like_kernels():
    key = FAMILY.key("matmul 64*128x784x512 NT float32")
    assert key == "matmul 64*128x768x512 NT float32"
    assert FAMILY.key("matmul 70*190x768x600 NT float32") == key
    assert FAMILY.key("matmul 64*128x784x512 NN float32") != key


def test_folded_batches_and_vectors_are_described_as_they_are_computed():
    shared = MatmulProblem(8, 32, 64, (4,), (512, 64, 1), (0, 32, 1), *[dtypes.float32] * 3)
    assert FAMILY.describe(shared) == "matmul 32x64x32 NN float32"
    vector = MatmulProblem(70, 1, 9, (), (9, 1), (1, 1), *[dtypes.float32] * 3)
    assert FAMILY.describe(vector) == "matmul 1x9x70 NT float32"
    assert FAMILY.describe(replace(shared, k=0)) is None
    assert FAMILY.describe(replace(shared, b_dtype=dtypes.float16)) is None


@pytest.mark.parametrize(
    "text",
    [
        "matmul 3x4 NN float32", "matmul 0x3x4 NN float32", "matmul 2x3x4 NN complex64", "mm",
        "conv forward 1x3x4x4 5x4x3x3 float32", "conv forward 1x3x2x2 5x3x3x3 float32",
        "conv backward 1x3x4x4 5x3x3x3 float32", "conv input 1x3x4x4 5x3x3x3 stride=1x2x3 float32",
        "conv input 1x3x4x4 5x3x3x3 speed=2 float32", "conv weight 1x3x4x4 5x3x3 float32",
        "conv weight 1x3x4x4 5x3x3x3 bool", "conv weight 1x3x4x4 5x3x3x3 stride=0 float32",
    ],
)  # fmt: skip
def test_what_is_no_problem_is_refused(text):
    with pytest.raises(ClgradValueError, match="tune: "):
        tune.classes([text])


def test_one_problem_of_each_class_is_tuned():
    texts = ["matmul 100x64x64 NN float32", "matmul 127x64x64 NN float32", *TEXTS]
    assert tune.classes(texts) == [texts[0], *TEXTS]


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("1.5m", 90), ("2s", 2), ("1h", 3600)])
def test_times_as_people_write_them(text, expected):
    assert seconds(text) == expected
    with pytest.raises(ClgradValueError, match="--budget"):
        seconds(f"{text} days")


# ---- candidates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("text", CONVOLUTIONS)
def test_every_candidate_lowers_a_convolution_and_the_awkward_ones(name, text):
    traits = preset(name)
    problem = CONV.parse(text)
    offered = CONV.candidates(problem, traits)
    if len(offered) > 1:
        assert candidate_of(CONV, problem, text_of(offered[1]), traits) == offered[1]
    assert lower_conv(problem, traits) == CONV.lower(problem, offered[0], traits)
    for candidate in offered:
        assert CONV.lower(problem, candidate, traits).launches
        for small in CONV.awkward(problem, candidate):
            assert CONV.describe(small) is not None
            assert CONV.work(small) <= CONV.work(problem)
            assert CONV.lower(small, candidate, traits).launches


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("text", TEXTS)
def test_every_candidate_lowers_its_problem_and_the_awkward_ones(name, text):
    traits = preset(name)
    problem = FAMILY.parse(text)
    offered = FAMILY.candidates(problem, traits)
    texts = [text_of(c) for c in offered]
    assert len(offered) > 3
    assert candidate_of(FAMILY, problem, texts[2], traits) == offered[2]
    assert lower_matmul(problem, traits) == FAMILY.lower(problem, offered[0], traits)
    for candidate in offered:
        for small in FAMILY.awkward(problem, candidate):
            assert FAMILY.work(small) <= FAMILY.work(problem)
            # the choice is one for the small problem, too: of its kind and within its limits
            kinds = {type(c) for c in FAMILY.candidates(small, traits)}
            assert type(candidate) in kinds
            limits = (
                {"rows": small.m, "columns": small.n} if type(candidate).__name__ == "Dot" else {}
            )
            assert all(getattr(candidate, k) <= v for k, v in limits.items())


@pytest.mark.parametrize("text", ["matmul 5x7x3 NT float32", "matmul 2*4x3x5 SS int16"])
def test_expected_values_are_the_product(text):
    problem = FAMILY.parse(text)
    arrays = FAMILY.operands(problem, np.random.default_rng(0))
    expected = FAMILY.expected(problem, arrays)
    a, b = (
        np.lib.stride_tricks.as_strided(x, shape, tuple(s * x.itemsize for s in strides))
        for x, shape, strides in (
            (arrays[0], (*problem.batch, problem.m, problem.k), problem.a_strides),
            (arrays[1], (*problem.batch, problem.k, problem.n), problem.b_strides),
        )
    )
    assert np.allclose(a.astype(np.float64) @ b.astype(np.float64), expected.values)
    assert expected.values.size == FAMILY.result(problem)[0]
    assert (expected.bound >= 0).all()


# ---- what was measured decides ------------------------------------------------------------------


def test_a_measured_choice_replaces_that_of_the_cost_model():
    text = "matmul 300x400x500 NN float32"
    problem = FAMILY.parse(text)
    packed = next(c for c in FAMILY.candidates(problem, CPU) if c.pack_b)
    traits = replace(CPU, tuned=((FAMILY.key(text), text_of(packed)),))
    assert choose(FAMILY, problem, CPU) is None
    assert choose(FAMILY, problem, traits) == packed
    assert not isinstance(lower_matmul(problem, CPU).launches[0].spec, PackSpec)
    assert isinstance(lower_matmul(problem, traits).launches[0].spec, PackSpec)
    # another class is not touched
    other = FAMILY.parse("matmul 300x400x500 TN float32")
    assert lower_matmul(other, traits) == lower_matmul(other, CPU)


@pytest.mark.parametrize("wanted", ["tile rows=999 columns=9 width=16 pack_a=0 pack_b=0", "", "x"])
def test_what_the_family_does_not_offer_is_passed_over(wanted):
    text = "matmul 300x400x500 NN float32"
    problem = FAMILY.parse(text)
    traits = replace(CPU, tuned=((FAMILY.key(text), wanted),))
    assert lower_matmul(problem, traits) == lower_matmul(problem, CPU)


def test_problems_are_noted_while_somebody_asks():
    problem = FAMILY.parse(TEXTS[0])
    noted = choice.note()
    try:
        lower_matmul(problem, CPU)
        lower_matmul(problem, CPU)
    finally:
        choice.forget()
    lower_matmul(problem, CPU)
    assert noted == {TEXTS[0]: 2}


# ---- files --------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path):
    with config.override(cache_dir=tmp_path, no_cache=False):
        yield SimpleNamespace(
            name="A Device (R)", platform_name="P", driver="1", key="0123456789abcdef", index=0,
            traits=CPU,
        )  # fmt: skip


ENTRY = Measured("tile rows=1", 1e-3, 2e-3)


def test_measurements_are_kept_by_device_as_readable_text(fake):
    assert tuned.load(fake) == {}
    path = tuned.store(fake, {"matmul b": ENTRY, "matmul a": ENTRY})
    assert path.name == "a-device-r-0123456789ab.json"
    content = json.loads(path.read_text())
    assert content["driver"] == "1"
    assert list(content["choices"]) == ["matmul a", "matmul b"]
    assert tuned.load(fake) == {"matmul a": ENTRY, "matmul b": ENTRY}
    assert tuned.table(fake) == (("matmul a", "tile rows=1"), ("matmul b", "tile rows=1"))
    assert ENTRY.gain == 2
    with config.override(no_cache=True):
        assert tuned.table(fake) == ()


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", '{"format": 2}', '{"format": 1, "key": "0123456789abcdef"}',
        '{"format": 1, "key": "0123456789abcdef", "choices": {"a": 1}}',
        '{"format": 1, "key": "0123456789abcdef", "choices": {"a": {"choice": "x", "seconds": 0}}}',
        '{"format": 1, "key": "other", "device": "another", "choices": {}}', "\x00\xff",
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_file_is_passed_over_with_a_warning(fake, text):
    path = tuned.path_of(fake)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="latin-1")
    with pytest.warns(ClgradWarning, match="is passed over"):
        assert tuned.load(fake) == {}
    # and is replaced by the next measurement
    tuned.store(fake, {"a": ENTRY})
    assert tuned.load(fake) == {"a": ENTRY}


def test_merging_takes_what_promises_more(fake, tmp_path):
    tuned.store(fake, {"a": ENTRY, "b": ENTRY})
    other = SimpleNamespace(**{**vars(fake), "driver": "2", "key": "fedcba9876543210"})
    better, worse = Measured("x", 1e-3, 3e-3), Measured("y", 1e-3, 1.5e-3)
    path = tuned.store(other, {"a": better, "b": worse, "c": worse})
    assert tuned.merge(fake, path) == 2
    assert tuned.load(fake) == {"a": better, "b": ENTRY, "c": worse}
    foreign = SimpleNamespace(**{**vars(fake), "name": "Another"})
    with pytest.raises(ClgradValueError, match=r"tune: .* is of 'A Device .*Expected 'Another'"):
        tuned.merge(foreign, path)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ClgradValueError, match="is not merged"):
        tuned.merge(fake, broken)


# ---- the child process --------------------------------------------------------------------------

CHILD = """
import json, sys, time
for line in sys.stdin:
    choice = json.loads(line)["choice"]
    if "rows=12" in choice: sys.exit(3)
    if "rows=8" in choice: time.sleep(60)
    if "rows=6" in choice: print(json.dumps({"error": "wrong by 3"}), flush=True); continue
    seconds = 0.5 if "rows=2 columns=4" in choice else 1.0
    print(json.dumps({"seconds": seconds}), flush=True)
"""


@pytest.fixture
def worker(fake):
    worker = tune.Worker(fake, [sys.executable, "-c", CHILD])
    yield worker
    worker.close()


def test_candidates_that_crash_hang_or_err_are_passed_over(worker):
    assert worker.measure("p", "tile rows=1", 20) == 1.0
    assert worker.measure("p", "tile rows=12", 20) == "ended its process"
    assert worker.measure("p", "tile rows=6", 20) == "wrong by 3"
    assert worker.measure("p", "tile rows=8", 0.2) == "took more than 0 s"
    assert worker.measure("p", "tile rows=2 columns=4", 20) == 0.5


def test_the_best_of_those_that_work_is_reported(fake, worker, monkeypatch):
    monkeypatch.setattr(tune, "_MOST_SECONDS", 0.5)
    shown: list[int] = []
    traits = replace(CPU, compute_units=1, vector_bytes=16)
    fake.traits = traits
    problem = "matmul 5x40x30 NN float32"  # no tile of 6 rows or more
    (report,) = tune.tune(fake, [problem], 30, lambda _, tried, __: shown.append(tried), worker)
    assert report.offered == report.tried == len(shown)
    assert report.failed == 0
    assert report.measured is not None
    assert "rows=2 columns=4" in report.measured.choice
    assert report.measured.gain == 2
    assert report.key == FAMILY.key(problem)
    assert report.work == 2 * 5 * 40 * 30


def test_a_gain_that_is_not_repeated_does_not_count(fake, monkeypatch):
    times = iter([1.0, 0.5, *[1.0] * 1000])

    class Noisy(tune.Worker):
        def measure(self, problem, choice, limit):
            return next(times)

    (report,) = tune.tune(fake, ["matmul 5x40x30 NN float32"], 30, lambda *_: None, Noisy(fake))
    assert report.measured is not None
    assert report.measured.gain == 1
    assert report.measured.choice == text_of(
        FAMILY.candidates(FAMILY.parse(report.problem), CPU)[0]
    )


def test_a_budget_ends_the_search(fake):
    class Never(tune.Worker):
        def measure(self, problem, choice, limit):
            raise AssertionError

    assert list(tune.tune(fake, TEXTS, 0, lambda *_: None, Never(fake))) == []
