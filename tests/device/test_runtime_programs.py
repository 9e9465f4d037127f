"""How kernels come to be: one build for all that are missing, the disk, and what a failure says."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clgrad import config
from clgrad.codegen.source import KernelSource, digest
from clgrad.errors import ClgradValueError, ClgradWarning, CompileError
from clgrad.runtime import cache
from clgrad.runtime.profile import counters
from clgrad.runtime.program import Program, ProgramCache, build_options, program_text
from clgrad.traits import DeviceTraits

HELPER = """\
static float cg_test_twice(const float x) {
    return 2.0f * x;
}
"""


def _source(number: int, salt: str = "") -> KernelSource:
    """Return a kernel that writes `2 * number`; `salt` makes it new to every cache."""
    body = f"    y[get_global_id(0)] = cg_test_twice({number}.0f); // {salt}\n"
    name = f"cg_test_twice_{digest(body)}"
    text = f"__kernel void {name}(__global float *y) {{\n{body}}}\n"
    return KernelSource(name, text, (HELPER,), args=("buffer",))


def _bad(salt: str = "") -> KernelSource:
    name = f"cg_test_bad_{digest(salt)}"
    text = (
        f"__kernel void {name}(__global float *y) {{\n    // {salt}\n    y[0] = missing_name;\n}}\n"
    )
    return KernelSource(name, text, args=("buffer",))


def _value(device: Any, kernel: Any) -> float:
    buffer, result = device.allocate(4), np.zeros(1, np.float32)
    kernel((buffer,), (1,))
    device.read(buffer, result)
    return float(result[0])


@pytest.fixture
def folder(tmp_path: Path, device: Any) -> Iterator[Path]:
    """An empty cache on disk, on a device whose bring-up is done."""
    assert device.traits
    with config.override(cache_dir=tmp_path, no_cache=False):
        yield tmp_path


def test_dropped_kernels_are_freed_and_come_back_from_disk(device: Any, folder: Path) -> None:
    sources = [_source(7, "dropped")]
    programs = ProgramCache(device)
    (kernel,) = programs.get(sources)
    programs.get([_source(8, "dropped")])

    def programs_with(text: str) -> int:
        return sum(type(p) is Program and text in p.text for p in gc.get_objects())

    assert programs_with("twice(8.0f)") == programs_with("twice(7.0f)") == 1
    before = counters.snapshot()
    programs.drop()
    assert programs_with("twice(8.0f)") == 0  # that of the kernel which is held stays
    assert programs_with("twice(7.0f)") == 1
    assert _value(device, kernel) == 14.0
    assert _value(device, programs.get(sources)[0]) == 14.0
    after = counters.snapshot()
    assert after["kernels_built"] == before["kernels_built"]
    assert after["disk_hits"] == before["disk_hits"] + 1


def test_what_is_missing_is_built_as_one_program(device: Any, folder: Path) -> None:
    programs = ProgramCache(device)
    before = counters.snapshot()
    sources = [_source(number) for number in range(3)]
    kernels = programs.get([*sources, sources[0]])
    assert counters.programs_built - before["programs_built"] == 1
    assert counters.kernels_built - before["kernels_built"] == 3
    assert counters.build_seconds > before["build_seconds"]
    assert kernels[0] is kernels[3]
    assert [_value(device, kernel) for kernel in kernels] == [0, 2, 4, 0]
    programs.get(sources)
    assert counters.programs_built - before["programs_built"] == 1


def test_options_part_programs(device: Any, folder: Path) -> None:
    plain = _source(1)
    name = "cg_test_option"
    text = f"__kernel void {name}(__global float *y) {{ y[0] = CG_TEST_VALUE; }}\n"
    defined = KernelSource(name, text, (), ("-DCG_TEST_VALUE=5.0f",), ("buffer",))
    before = counters.programs_built
    kernels = ProgramCache(device).get([plain, defined])
    assert counters.programs_built == before + 2
    assert [_value(device, kernel) for kernel in kernels] == [2, 5]


def test_another_process_takes_them_from_disk(device: Any, folder: Path) -> None:
    sources = [_source(number, "disk") for number in range(3)]
    ProgramCache(device).get(sources)
    later = ProgramCache(device)  # as a new process has it
    before = counters.snapshot()
    kernels = later.get(sources[:2])
    kernels += later.get(sources)
    assert counters.programs_built == before["programs_built"]
    assert counters.disk_hits - before["disk_hits"] == 3
    assert [_value(device, kernel) for kernel in kernels] == [0, 2, 0, 2, 4]


def test_the_disk_holds_binaries_where_the_device_gives_them(device: Any, folder: Path) -> None:
    ProgramCache(device).get([_source(9, "binary")])
    (path,) = (path for path in (folder / "programs").rglob("*") if path.is_file())
    assert b"cg_test_twice" in path.read_bytes()
    if device.traits.cache_binaries:
        assert path.stat().st_size > 1000


@pytest.mark.parametrize("kind", ["programs", "kernels"])
def test_a_damaged_cache_costs_a_build_and_a_warning(device: Any, folder: Path, kind: str) -> None:
    source = _source(7, "damage")
    ProgramCache(device).get([source])
    for path in (folder / kind).rglob("*"):
        if path.is_file():
            path.write_bytes(b"damage" + path.read_bytes()[6:])
    before = counters.programs_built
    with pytest.warns(ClgradWarning, match="is damaged"):
        (kernel,) = ProgramCache(device).get([source])
    assert counters.programs_built == before + 1
    assert _value(device, kernel) == 14


def test_a_binary_that_does_not_load_is_built_anew(device: Any, folder: Path) -> None:
    source = _source(6, "stale")
    ProgramCache(device).get([source])
    disk = cache.disk()
    assert disk is not None
    (path,) = (path for path in (folder / "programs").rglob("*") if path.is_file())
    entry = disk.load("programs", path.name)
    assert entry is not None
    disk.store("programs", path.name, b'{"text": "no kernel here"}\nno binary')
    before = counters.programs_built
    (kernel,) = ProgramCache(device).get([source])
    assert counters.programs_built == before + 1
    assert _value(device, kernel) == 12


def test_a_cache_that_cannot_be_written_is_done_without(device: Any, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with config.override(cache_dir=blocked / "cache", no_cache=False):
        with pytest.warns(ClgradWarning, match="cannot be"):
            (kernel,) = ProgramCache(device).get([_source(4)])
        assert _value(device, kernel) == 8
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ProgramCache(device).get([_source(5)])


def test_without_a_cache_nothing_is_written(device: Any, tmp_path: Path) -> None:
    with config.override(cache_dir=tmp_path, no_cache=True):
        (kernel,) = ProgramCache(device).get([_source(3)])
        assert _value(device, kernel) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_bad_kernel_is_named_and_leaves_the_others(device: Any, folder: Path) -> None:
    programs = ProgramCache(device)
    good, bad = [_source(1, "good"), _source(2, "good")], _bad("named")
    with pytest.raises(CompileError) as caught:
        programs.get([good[0], bad, good[1]])
    text = str(caught.value)
    first, *rest = text.splitlines()
    assert first.startswith(f"build: {device.name} ({device.driver}) did not build {bad.name}: ")
    assert f"Options: -cl-std={device.traits.cl_std}" in rest[0]
    assert "missing_name" in text
    (shown,) = (line for line in rest if line.startswith(">"))
    assert shown.endswith("    y[0] = missing_name;")
    dumped = Path(rest[-1].removeprefix("The whole source is in "))
    assert dumped.read_text().endswith(bad.source)
    before = counters.programs_built
    kernels = programs.get(good)
    assert counters.programs_built == before, "the good kernels were built with the bad one"
    assert [_value(device, kernel) for kernel in kernels] == [2, 4]


def test_a_name_that_only_linking_misses_is_a_build_failure(device: Any, folder: Path) -> None:
    name = "cg_test_link"
    text = (
        "float cg_test_nowhere(float);\n"
        f"__kernel void {name}(__global float *y) {{ y[0] = cg_test_nowhere(y[0]); }}\n"
    )
    with pytest.raises(CompileError, match=f"did not build {name}"):
        ProgramCache(device).get([KernelSource(name, text, args=("buffer",))])


def test_more_local_memory_than_there_is_is_a_build_failure(device: Any, folder: Path) -> None:
    size = device.traits.local_bytes // 4 + 1
    name = "cg_test_local"
    text = f"""\
__kernel void {name}(__global float *y) {{
    __local float part[{size}];
    part[get_local_id(0)] = y[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    y[get_global_id(0)] = part[{size - 1}];
}}
"""
    greedy = KernelSource(name, text, args=("buffer",))
    programs = ProgramCache(device)
    with pytest.raises(CompileError, match=f"did not build {name}: it takes .* local memory"):
        programs.get([_source(1, "beside"), greedy])
    assert _value(device, programs.get([_source(1, "beside")])[0]) == 2
    assert programs.attempt([greedy]) == [None]


def test_two_kernels_of_one_name_are_refused(device: Any, folder: Path) -> None:
    programs = ProgramCache(device)
    source = _source(1)
    programs.get([source])
    programs.get([replace(source)])
    with pytest.raises(ClgradValueError, match=f"two different kernels are called {source.name}"):
        programs.get([replace(source, options=("-DX=1",))])


def test_attempts_keep_nothing(device: Any, folder: Path) -> None:
    programs = ProgramCache(device)
    with config.override(cache_dir=folder / "new"):
        kernels = programs.attempt([_source(1, "try"), _bad("try"), _source(2, "try")])
        assert not (folder / "new").exists()
    assert kernels[1] is None
    assert kernels[0] is not None
    assert kernels[2] is not None
    assert [_value(device, kernels[0]), _value(device, kernels[2])] == [2, 4]


def test_threads_ask_for_the_same_kernels(device: Any, folder: Path) -> None:
    programs = ProgramCache(device)
    sources = [_source(number, "threads") for number in range(4)]
    values: list[list[float]] = []
    before = counters.programs_built

    def work() -> None:
        values.append([_value(device, kernel) for kernel in programs.get(sources)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == [[0, 2, 4, 6]] * 4
    assert counters.programs_built == before + 1


def test_a_program_has_each_helper_once_and_no_contraction() -> None:
    text = program_text([_source(1), _source(2)], fp64=True, fp16=False)
    assert text.count("static float cg_test_twice") == 1
    assert text.count("FP_CONTRACT OFF") == 3
    assert "cl_khr_fp64" in text
    assert "cl_khr_fp16" not in text


def test_a_kernel_may_ask_for_its_language() -> None:
    traits = DeviceTraits(cl_std="CL3.0", correctly_rounded_divide=True)
    rounded = "-cl-fp32-correctly-rounded-divide-sqrt"
    assert build_options(traits) == ("-cl-std=CL3.0", rounded)
    assert build_options(traits, ("-cl-std=CL1.2",)) == (rounded, "-cl-std=CL1.2")
