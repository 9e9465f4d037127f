"""The command line: what it prints, and the status with which it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clgrad import config
from clgrad.cli import doctor, main
from clgrad.errors import DeviceError
from clgrad.runtime import cache, discovery, icd


def _run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    status = main.main(argv)
    output = capsys.readouterr().out
    assert "\x1b" not in output, "it is plain where nobody looks at it"
    return status, output


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no usable device."""
    left_out = [discovery.Excluded("Old GPU", "Some (OpenCL 1.1)", "it has OpenCL 1.1")]
    monkeypatch.setattr(discovery, "_found", ([], left_out))


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([command, "--help"])
    assert caught.value.code == 0
    assert f"usage: clgrad {command}" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["divices"])
    assert caught.value.code == 2
    assert "devices" in capsys.readouterr().err


def test_devices_are_listed(device: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, output = _run(capsys, "devices")
    assert status == 0
    assert f"{device.id}  {device.name}\n" in output
    assert device.driver in output
    assert f"cl std                    {device.traits.cl_std}" in output
    for entry in discovery.excluded():
        assert entry.reason in output


def test_devices_for_programs(device: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, output = _run(capsys, "devices", "--json")
    assert status == 0
    record = json.loads(output)["devices"][device.index]
    assert record["id"] == device.id
    assert record["traits"]["cl_std"] == device.traits.cl_std


def test_no_device_is_no_success(nothing: None, capsys: pytest.CaptureFixture[str]) -> None:
    status, output = _run(capsys, "devices")
    assert status == 1
    assert "Old GPU of Some (OpenCL 1.1): it has OpenCL 1.1" in output
    assert "clgrad doctor" in output


def test_the_doctor_runs_a_kernel_on_each_device(
    device: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, output = _run(capsys, "doctor")
    assert status == 0
    assert f"ok    {device.id} {device.name}" in output
    assert f"{len(discovery.devices())} device" in output


def test_the_doctor_says_what_to_type(nothing: None, capsys: pytest.CaptureFixture[str]) -> None:
    status, output = _run(capsys, "doctor")
    assert status == 1
    assert "Old GPU of Some (OpenCL 1.1) is left out: it has OpenCL 1.1" in output
    assert "try: pip install 'clgrad[cpu]'" in output


def test_the_doctor_tells_of_a_device_that_fails(
    any_device: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(device: Any) -> None:
        raise DeviceError("doctor: it is ill.")

    monkeypatch.setattr(doctor, "_run_kernel", fail)
    status, output = _run(capsys, "doctor")
    assert status == 1
    assert f"wrong {any_device.id} {any_device.name}: doctor: it is ill." in output


@pytest.mark.parametrize(
    ("library", "error", "remedy"),
    [
        ("/x/libintelocl.so", "libimf.so: cannot open shared object", "intel-cmplr-lib-rt"),
        ("libnvidia-opencl.so.1", "no such file", "NVIDIA_DRIVER_CAPABILITIES"),
        ("libother.so", "no such file", "reinstall the runtime"),
    ],
)
def test_a_runtime_that_does_not_load_has_a_remedy(
    library: str,
    error: str,
    remedy: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(icd, "load_error", lambda name: error)
    search = icd.Search("/v", "user", (icd.IcdFile("x.icd", library, "the system's /v/x.icd"),))
    doctor._check_search(search)
    output = capsys.readouterr().out
    assert f"wrong x.icd: {library} does not load: {error}" in output
    assert remedy in output


def test_a_library_that_is_missing_does_not_load() -> None:
    error = icd.load_error("libno-such-library.so")
    assert error is not None
    assert "libno-such-library.so" in error


def test_the_cache_is_shown_and_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with config.override(cache_dir=tmp_path, no_cache=False):
        disk = cache.disk()
        assert disk is not None
        disk.store("programs", "ab", bytes(2000))
        status, output = _run(capsys, "cache")
        assert status == 0
        assert str(tmp_path) in output
        assert "programs  1 entries, 2.0 KiB" in output
        assert "0 B were dropped" in _run(capsys, "cache", "prune")[1]
        assert "2.0 KiB were dropped" in _run(capsys, "cache", "clear")[1]
        assert "programs  0 entries" in _run(capsys, "cache")[1]
    with config.override(no_cache=True):
        assert "Nothing is kept" in _run(capsys, "cache")[1]


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with config.override(cache_dir=blocked / "cache", no_cache=False):
        doctor._check_cache()
    assert "cannot be written" in capsys.readouterr().out


def test_our_own_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise DeviceError("device: none.")

    monkeypatch.setattr(discovery, "devices", fail)
    assert main.main(["devices"]) == 1
    assert capsys.readouterr().err == "clgrad: device: none.\n"


def test_colours_are_for_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from clgrad.cli import terminal

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.style("x", "red") == "x"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert terminal.style("x", "red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.style("x", "red") == "x"
    assert os.environ["NO_COLOR"] == "1"


def test_a_runtime_older_than_the_cpu_has_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = discovery.Excluded("cpu", "PoCL", "it says: error: unknown target CPU 'generic'")
    monkeypatch.setattr(discovery, "excluded", lambda: [old])
    main.main(["doctor"])
    assert "apt install pocl-opencl-icd" in capsys.readouterr().out
