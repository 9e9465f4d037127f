"""Where the loader is sent to look for runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clgrad import config
from clgrad.runtime import icd


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with a system folder of one runtime, and nothing else installed."""
    vendors = tmp_path / "vendors"
    vendors.mkdir()
    (vendors / "pocl.icd").write_text("libpocl.so.2\n")
    monkeypatch.setattr(icd, "SYSTEM_VENDORS", vendors)
    monkeypatch.setattr(icd, "_search", None)
    monkeypatch.setattr(icd, "find_intel", lambda: None)
    monkeypatch.setattr(icd, "_loads", lambda library: False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.prefix", str(tmp_path / "prefix"))
    monkeypatch.delenv("OCL_ICD_VENDORS", raising=False)
    with config.override(cache_dir=tmp_path / "cache", no_cache=False):
        yield tmp_path


def test_nothing_is_set_where_nothing_is_missing(machine: Path) -> None:
    search = icd.prepare()
    assert (search.vendors, search.set_by) == (None, "nobody")
    assert [file.library for file in search.files] == ["libpocl.so.2"]
    assert config.foreign("OCL_ICD_VENDORS") is None


def test_the_users_choice_stands(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icd, "find_intel", lambda: Path("/lib/libintelocl.so"))
    monkeypatch.setenv("OCL_ICD_VENDORS", "/my/vendors")
    assert icd.prepare() == icd.Search("/my/vendors", "user", ())
    assert config.foreign("OCL_ICD_VENDORS") == "/my/vendors"


def test_what_pip_installed_is_found_beside_the_systems(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(icd, "find_intel", lambda: Path("/lib/libintelocl.so"))
    monkeypatch.setenv("OCL_ICD_VENDORS", "")  # so that it is restored
    monkeypatch.delenv("OCL_ICD_VENDORS")
    search = icd.prepare()
    assert search.set_by == "clgrad"
    assert search.vendors == config.foreign("OCL_ICD_VENDORS")
    assert search.vendors is not None
    folder = Path(search.vendors)
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert texts == {
        "clgrad-intel-cpu.icd": "/lib/libintelocl.so",
        "pocl.icd": "libpocl.so.2",
    }
    assert icd.prepare() is search


def test_what_a_parent_process_set_is_found_anew(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(icd, "find_intel", lambda: Path("/lib/libintelocl.so"))
    monkeypatch.setenv("OCL_ICD_VENDORS", "/gone/clgrad-icd-0123456789ab")
    search = icd.prepare()
    assert search.set_by == "clgrad"
    assert search.vendors is not None
    assert Path(search.vendors).is_dir()


def test_what_the_system_registers_is_not_added(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "vendors" / "intel.icd").write_text("/usr/lib/libintelocl.so.2026")
    (machine / "vendors" / "nvidia.icd").write_text("libnvidia-opencl.so.1")
    monkeypatch.setattr(icd, "find_intel", lambda: Path("/lib/libintelocl.so"))
    monkeypatch.setattr(icd, "_loads", lambda library: True)
    assert icd.prepare().set_by == "nobody"


def test_nvidias_driver_in_a_container_is_found(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(icd, "_loads", lambda library: library == "libnvidia-opencl.so.1")
    monkeypatch.setenv("OCL_ICD_VENDORS", "")
    monkeypatch.delenv("OCL_ICD_VENDORS")
    search = icd.prepare()
    assert search.set_by == "clgrad"
    assert [file.library for file in search.files] == ["libnvidia-opencl.so.1", "libpocl.so.2"]


def test_placeholders_of_the_environment_are_left_out(machine: Path) -> None:
    folder = machine / "prefix" / "etc" / "OpenCL" / "vendors"
    folder.mkdir(parents=True)
    (folder / "stale.icd").write_text("/nowhere/libintelocl.so")
    (folder / "conda.icd").write_text("libpocl-conda.so")
    assert [file.name for file in icd.prepare().files] == ["pocl.icd", "conda.icd"]


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "cache").write_text("in the way")
    monkeypatch.setattr("tempfile.tempdir", str(machine))
    monkeypatch.setattr(icd, "find_intel", lambda: Path("/lib/libintelocl.so"))
    monkeypatch.setenv("OCL_ICD_VENDORS", "")
    monkeypatch.delenv("OCL_ICD_VENDORS")
    search = icd.prepare()
    assert search.vendors is not None
    assert Path(search.vendors).parent == machine
