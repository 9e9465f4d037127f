"""The cache on disk: whole entries or none, and no failure of it stops anything."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from clgrad import config
from clgrad.errors import ClgradWarning
from clgrad.runtime import cache


def test_what_is_stored_is_loaded(tmp_path: Path) -> None:
    disk = cache.DiskCache(tmp_path, 1 << 20)
    assert disk.load("programs", "ab12") is None
    disk.store("programs", "ab12", b"\x00payload\n")
    assert disk.load("programs", "ab12") == b"\x00payload\n"
    disk.store_json("drivers", "cd", {"a": [1, 2], "b": None})
    assert disk.load_json("drivers", "cd") == {"a": [1, 2], "b": None}
    disk.drop("programs", "ab12")
    assert disk.load("programs", "ab12") is None
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("damage", ["shorter", "changed", "empty", "foreign"])
def test_a_damaged_entry_warns_once_and_is_dropped(tmp_path: Path, damage: str) -> None:
    disk = cache.DiskCache(tmp_path, 1 << 20)
    disk.store("programs", "ab12", b"payload")
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    data = path.read_bytes()
    path.write_bytes(
        {"shorter": data[:-1], "changed": data[:-1] + b"x", "empty": b"", "foreign": b"x" * 99}[
            damage
        ]
    )
    with pytest.warns(ClgradWarning, match="is damaged and was dropped.*CLGRAD_CACHE_DIR"):
        assert disk.load("programs", "ab12") is None
    assert not path.exists()
    disk.store("programs", "ab12", b"payload")
    path.write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert disk.load("programs", "ab12") is None


def test_json_that_is_none_is_dropped(tmp_path: Path) -> None:
    disk = cache.DiskCache(tmp_path, 1 << 20)
    disk.store("drivers", "ab", b"{not json")
    assert disk.load_json("drivers", "ab") is None
    assert disk.load("drivers", "ab") is None


def test_a_folder_that_cannot_be_written_warns_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    disk = cache.DiskCache(blocked / "cache", 1 << 20)
    with pytest.warns(ClgradWarning, match="cannot be written.*compiled anew"):
        disk.store("programs", "ab12", b"payload")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        disk.store("programs", "cd34", b"payload")
        disk.drop("programs", "cd34")


def test_what_was_not_used_for_longest_is_dropped_first(tmp_path: Path) -> None:
    disk = cache.DiskCache(tmp_path, 5000)
    for number in range(10):
        disk.store("programs", f"{number:02d}", bytes(1000))
        (path,) = tmp_path.rglob(f"{number:02d}/{number:02d}")
        os.utime(path, (number, number))
    assert disk.load("programs", "00") is not None  # used now
    assert disk.prune() > 0
    kept = [number for number in range(10) if disk.load("programs", f"{number:02d}")]
    assert kept == [0, 8, 9]
    assert cache.DiskCache(tmp_path, 5000).prune() == 0


def test_info_and_clear(tmp_path: Path) -> None:
    with config.override(cache_dir=tmp_path, no_cache=False, cache_limit=1 << 20):
        disk = cache.disk()
        assert disk is not None
        assert disk is cache.disk()
        disk.store("programs", "ab", b"123")
        disk.store("kernels", "cd", b"456")
        info = cache.cache_info()
        assert info.path == tmp_path
        assert info.entries == {"programs": 1, "kernels": 1, "drivers": 0}
        assert cache.cache_clear() == sum(info.nbytes.values()) > 0
        assert sum(cache.cache_info().entries.values()) == 0


def test_no_cache_means_none(tmp_path: Path) -> None:
    with config.override(cache_dir=tmp_path, no_cache=True):
        assert cache.disk() is None
        assert cache.cache_info().path is None
        assert cache.cache_clear() == 0


def test_processes_that_live_and_those_that_do_not() -> None:
    assert cache.is_alive(os.getpid())
    assert not cache.is_alive(2**22 + 1)  # beyond the largest process number of Linux
    assert not cache.is_alive("none")
    assert not cache.is_alive(None)
