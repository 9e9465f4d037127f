"""What all tests share: the devices, what CI insists on, and where kernels are cached.

Nothing here imports OpenCL before a test asks for the fixture `device`, so that `tests/host` runs
on machines without any.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Seeds are fixed, and no test may fail because a kernel had to be compiled first.
hypothesis.settings.register_profile("clgrad", derandomize=True, deadline=None)
hypothesis.settings.load_profile("clgrad")

# CI's demands on the suite are no settings of the library, which would warn about them.
REQUIRED = frozenset(filter(None, os.environ.pop("CLGRAD_REQUIRE", "").lower().split(",")))
os.environ.pop("CLGRAD_VENV", None)

# How to tell a runtime by the name of its platform.
RUNTIMES = {"pocl": "portable computing language", "intel": "intel"}
NO_DEVICE = "no OpenCL device is present. Hint: pip install 'clgrad[cpu]'"
MARKER = "clgrad_counters"


def _cache_folder() -> Path:
    """Return a folder that survives between runs, or one that does not where none can."""
    folder = Path(__file__).resolve().parent.parent / ".pytest_cache" / "clgrad"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="clgrad-tests-"))


# The home folder may not be writable, and tests must not fill the user's cache. PoCL's own cache
# does not bear several processes, hence one for each worker.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
_CACHE = _cache_folder()
os.environ.setdefault("CLGRAD_CACHE_DIR", str(_CACHE / "kernels"))
os.environ["POCL_CACHE_DIR"] = str(_CACHE / f"pocl-{_WORKER}")
os.environ["XDG_CACHE_HOME"] = str(_CACHE / "xdg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="test only devices whose name or platform contains NAME",
    )


def present_devices(config: pytest.Config) -> list[Any]:
    """Return the devices to test on, or none where OpenCL is missing altogether."""
    from clgrad.errors import DeviceError
    from clgrad.runtime import discovery

    try:
        found = list(discovery.devices())
    except DeviceError:
        return []
    wanted = [name.lower() for name in config.getoption("--device")]
    names = [f"{d.name} {d.platform_name}".lower() for d in found]
    return [
        d
        for d, name in zip(found, names, strict=True)
        if not wanted or any(w in name for w in wanted)
    ]


def device_id(device: Any) -> str:
    """Return a short name of a device's platform, unique by the device's index."""
    platform = device.platform_name.lower()
    for short, part in RUNTIMES.items():
        if part in platform:
            return f"{short}:{device.index}"
    return f"{platform.split()[0]}:{device.index}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes `device` once on each device present."""
    if "device" not in metafunc.fixturenames:
        return
    found: list[Any] = present_devices(metafunc.config)
    if not found:
        found = [pytest.param(None, marks=pytest.mark.skip(reason=NO_DEVICE), id="none")]
        metafunc.parametrize("device", found)
        return
    metafunc.parametrize("device", found, ids=[device_id(d) for d in found])


@pytest.fixture
def any_device(request: pytest.FixtureRequest) -> Any:
    """The first device present, for tests to which it does not matter which."""
    found = present_devices(request.config)
    if not found:
        pytest.skip(NO_DEVICE)
    return found[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skip what needs float64 where the device has none, which is an error that says so."""
    try:
        yield
    except Exception as error:
        device = getattr(item, "callspec", None) and item.callspec.params.get("device")
        if device is None or device.traits.fp64 or "has no float64" not in str(error):
            raise
        pytest.skip(f"{device.name} has no float64")


@pytest.fixture(scope="module", autouse=True)
def _kernels_of_one_file() -> Iterator[None]:
    """Keep compiled code no longer than a file of tests: all of it would be several GB."""
    yield
    pending = sys.modules.get("clgrad.graph.pending")
    if pending is not None:
        pending.drop_plans()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Stop at once where something is missing that CI demands."""
    missing = []
    for name in sorted(REQUIRED):
        if name in RUNTIMES:
            found = any(
                RUNTIMES[name] in d.platform_name.lower() for d in present_devices(session.config)
            )
        else:
            found = importlib.util.find_spec(name) is not None
        if not found:
            missing.append(name)
    if missing:
        raise pytest.UsageError(
            f"CLGRAD_REQUIRE: {', '.join(missing)} not found. "
            "Hint: pip install 'clgrad[cpu,test]' torch"
        )


# ---- the summary: what the kernels of this run have cost --------------------------------------

_totals = {"kernels_built": 0, "build_seconds": 0.0, "launches": 0, "disk_hits": 0}


def _add_counters(values: dict[str, Any]) -> None:
    for key in _totals:
        _totals[key] += values.get(key, 0)


def _own_counters() -> dict[str, Any]:
    profile = sys.modules.get("clgrad.runtime.profile")
    if profile is None:
        return {}
    return {key: getattr(profile.counters, key) for key in _totals}


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[MARKER] = _own_counters()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _add_counters(getattr(node, "workeroutput", {}).get(MARKER, {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    _add_counters(_own_counters())
    terminalreporter.write_line(
        f"clgrad: {_totals['kernels_built']} kernels built in {_totals['build_seconds']:.1f} s, "
        f"{_totals['disk_hits']} from disk, {_totals['launches']} launches"
    )
