"""Probing a device: its traits hold, known drivers are not probed again, faults are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clgrad import config
from clgrad.bringup import bring_up, probe, quirks
from clgrad.bringup.canaries import CANARIES
from clgrad.bringup.check import Check, run_checks
from clgrad.errors import ClgradValueError, ClgradWarning
from clgrad.runtime import cache
from clgrad.runtime.profile import counters
from clgrad.traits import DeviceTraits


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty cache on disk."""
    with config.override(cache_dir=tmp_path, no_cache=False):
        yield tmp_path


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe little, for tests of how and not of what."""
    monkeypatch.setattr(probe, "LANGUAGE", ())
    monkeypatch.setattr(probe, "FEATURES", tuple(c for c in probe.FEATURES if c.name == "fp64"))
    monkeypatch.setattr(
        probe, "CANARIES", tuple(c for c in CANARIES if c.name in ("scan", "matmul"))
    )


def _wrong(check: Check) -> Check:
    """Return `check` with something else expected of it."""

    def data() -> tuple[list[Any], Any]:
        inputs, expected = check.data()
        return inputs, np.full_like(expected, 77)

    return replace(check, data=data, accept=None)


@pytest.mark.parametrize("canary", CANARIES, ids=lambda check: check.name)
def test_canaries_are_right(device: Any, canary: Check) -> None:
    if canary.name in device.traits.disabled:
        pytest.skip(f"this driver is known to miscompute {canary.name}")
    results = run_checks(device, [canary])
    assert canary.passes(results[canary.name])
    assert not _wrong(canary).passes(results[canary.name]), "the canary would notice"


def test_names_are_unique() -> None:
    names = [check.name for check in (*probe.LANGUAGE, *probe.FEATURES, *CANARIES)]
    assert len(set(names)) == len(names)


def test_traits_are_probed_once_and_kept(device: Any, folder: Path) -> None:
    first = bring_up(device)
    before = counters.snapshot()
    assert bring_up(device) == first
    assert counters.programs_built == before["programs_built"]
    assert counters.launches == before["launches"]
    assert first.cl_std in ("CL1.2", "CL2.0", "CL3.0")
    assert first.is_cpu == (device.kind == "cpu")
    assert first.max_work_group >= 1
    assert (first.sub_group == "none") == (first.sub_group_size == 0)


def test_probed_features_can_be_used(device: Any) -> None:
    """Each optional feature that the traits claim compiles with the device's own options."""
    claimed = [
        check
        for check in probe.FEATURES
        if check.name in probe.FLAGS and getattr(device.traits, check.name)
    ]
    results = run_checks(device, claimed)
    for check in claimed:
        assert check.passes(results[check.name]), check.name


def test_a_failing_canary_is_told_and_disabled(
    device: Any, folder: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tuple(_wrong(c) if c.name == "scan" else c for c in probe.CANARIES)
    monkeypatch.setattr(probe, "CANARIES", broken)
    with pytest.warns(ClgradWarning, match="miscomputes .*scan"):
        traits = bring_up(device)
    assert "scan" in traits.disabled
    assert "scan" in bring_up(device).disabled, "it is remembered, and told once"


def test_a_check_that_ended_the_process_is_not_run_again(
    device: Any, folder: Path, brief: None
) -> None:
    journal = probe._Journal(device)
    journal.running("fp64")
    dead = 2**22 + 1
    disk = cache.disk()
    assert disk is not None
    state = disk.load_json("drivers", journal._key)
    disk.store_json("drivers", journal._key, {**state, "process": dead})
    with pytest.warns(ClgradWarning, match="ended the process while it was probed for fp64"):
        traits = bring_up(device)
    assert not traits.fp64
    assert not bring_up(device).fp64


def test_an_interrupted_probe_blames_nobody(
    device: Any, folder: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(probe, "run_checks", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bring_up(device)
    assert probe._Journal(device).deadly == []
    assert bring_up(device).fp64 == device.traits.fp64


def test_a_check_that_does_not_build_fails(device: Any) -> None:
    check = Check("nonsense", "() { this is no C }", CANARIES[0].data, "int")
    good = CANARIES[0]
    results = run_checks(device, [check, good])
    assert results["nonsense"] is None
    assert not check.passes(None)
    assert good.passes(results[good.name]) or good.name in device.traits.disabled


def test_every_quirk_can_be_applied() -> None:
    assert quirks.listed()
    for quirk in quirks.listed():
        assert quirk.reason
        assert quirk.source
        DeviceTraits().override(quirk.set)


def test_quirks_apply_where_all_conditions_hold() -> None:
    (quirk,) = quirks.parse(
        """
        [[quirk]]
        platform = "^Some"
        kind = "gpu"
        driver_from = "1.2"
        driver_before = "1.10"
        reason = "r"
        source = "s"
        set = { fp64 = false }
        """
    )
    assert quirk.matches("Something", "gpu", "1.2")
    assert quirk.matches("Something", "gpu", "v1.9.99")
    assert not quirk.matches("Something", "gpu", "1.10")
    assert not quirk.matches("Something", "gpu", "1.1.9")
    assert not quirk.matches("Something", "cpu", "1.5")
    assert not quirk.matches("Not Something", "gpu", "1.5")


@pytest.mark.parametrize("text", ["[[quirk]]\nset={}", "[[quirk]]\nreason='r'\nsurce='s'\nset={}"])
def test_a_quirk_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ClgradValueError, match="entry 1 cannot be read"):
        quirks.parse(text)


def test_quirks_override_what_was_probed(
    device: Any, folder: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    quirk = quirks.Quirk("r", "s", {"compute_units": 77, "disabled": ["scan"]})
    monkeypatch.setattr(quirks, "listed", lambda: (quirk,))
    traits = bring_up(device)
    assert (traits.compute_units, traits.disabled) == (77, ("scan",))
    with config.override(no_quirks=True):
        assert bring_up(device).compute_units != 77
