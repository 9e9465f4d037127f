"""Settings: how text becomes values, and how tests replace them."""

from __future__ import annotations

from pathlib import Path

import pytest

from clgrad import config
from clgrad.errors import ClgradValueError, ClgradWarning


def test_an_empty_environment_gives_the_defaults() -> None:
    assert config.read({}) == config.Config()
    assert config.read({"HOME": "/x", "PATH": "y"}) == config.Config()


def test_each_setting_is_read_from_its_variable() -> None:
    found = config.read(
        {
            "CLGRAD_DEVICE": " cl:1 ",
            "CLGRAD_EAGER": "1",
            "CLGRAD_DUMP": "kernels",
            "CLGRAD_DEBUG": "2",
            "CLGRAD_PROFILE": "yes",
            "CLGRAD_NO_CACHE": "on",
            "CLGRAD_CACHE_DIR": "/some/where",
            "CLGRAD_CACHE_LIMIT": "2G",
            "CLGRAD_MEMORY_LIMIT": "1.5M",
            "CLGRAD_NO_QUIRKS": "true",
        }
    )
    assert found == config.Config(
        device="cl:1",
        eager=True,
        dump="kernels",
        debug=2,
        profile=True,
        no_cache=True,
        cache_dir=Path("/some/where"),
        cache_limit=2 << 30,
        memory_limit=3 << 19,
        no_quirks=True,
    )


def test_empty_values_are_as_good_as_none() -> None:
    found = config.read({"CLGRAD_DEVICE": "", "CLGRAD_MEMORY_LIMIT": "", "CLGRAD_EAGER": ""})
    assert found.device is None
    assert found.memory_limit is None
    assert not found.eager


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("0", 0), ("4096", 4096), ("1k", 1024), ("2 MiB", 2 << 20), ("3GB", 3 << 30), ("0.5K", 512)],
)
def test_sizes(text: str, nbytes: int) -> None:
    assert config.parse_bytes(text) == nbytes


@pytest.mark.parametrize("text", ["", "many", "-1", "1X", "inf", "nan", "1e400"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ClgradValueError, match="is not a size"):
        config.parse_bytes(text)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CLGRAD_EAGER", "maybe"), ("CLGRAD_DEBUG", "high"), ("CLGRAD_CACHE_LIMIT", "all")],
)
def test_an_unreadable_value_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(ClgradValueError, match=f"'{value}'.*{variable}"):
        config.read({variable: value})


def test_an_unknown_variable_warns_and_lists_the_known_ones() -> None:
    with pytest.warns(ClgradWarning, match="CLGRAD_DEVCIE is not a setting.*CLGRAD_DEVICE"):
        config.read({"CLGRAD_DEVCIE": "gpu"})


def test_override_is_undone_also_after_an_error() -> None:
    before = config.get()

    def fail_inside() -> None:
        with config.override(eager=not before.eager):
            assert config.get().eager is not before.eager
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert config.get() == before


def test_override_refuses_what_is_no_setting() -> None:
    with pytest.raises(ClgradValueError, match="no setting 'eagre'"), config.override(eagre=True):
        pass


def test_the_cache_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert config.default_cache_dir() == Path("/cache/clgrad")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert config.default_cache_dir() == Path("/home/me/.cache/clgrad")
    monkeypatch.setattr("sys.platform", "darwin")
    assert config.default_cache_dir() == Path("/home/me/Library/Caches/clgrad")
