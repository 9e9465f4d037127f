"""Which devices are found, how they are chosen, and what is said when they are not."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from clgrad import config
from clgrad.errors import DeviceError
from clgrad.runtime import discovery

ROOT = Path(__file__).parents[2]


def _run(code: str, **environment: str) -> Any:
    """Run `code` in a process of its own and return the JSON that it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_devices_are_numbered_in_order(device: Any) -> None:
    found = discovery.devices()
    assert [entry.index for entry in found] == list(range(len(found)))
    order = {"gpu": 0, "accelerator": 1, "cpu": 2}
    ranks = [order[entry.kind] for entry in found]
    assert ranks == sorted(ranks)
    assert discovery.devices()[device.index] is device
    assert len({id(entry) for entry in found}) == len(found) == len(set(found))


def test_each_way_to_choose_a_device(device: Any) -> None:
    first_of_kind = next(entry for entry in discovery.devices() if entry.kind == device.kind)
    assert discovery.device(device) is device
    assert discovery.device(device.index) is device
    assert discovery.device(f"cl:{device.index}") is device
    assert discovery.device(device.id) is device
    assert discovery.device(device.kind) is first_of_kind
    assert discovery.device(f"{device.kind}:0") is first_of_kind
    assert discovery.device(f" {device.kind.upper()} ") is first_of_kind
    by_name = discovery.device(device.name.lower())
    assert device.name in f"{by_name.name} {by_name.platform_name}"
    assert discovery.device(device.platform_name[2:-2]).platform_name == device.platform_name


def test_copies_of_a_device_are_the_device(device: Any) -> None:
    for make in (copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))):
        assert make(device) is device


def test_the_default_is_the_first_or_what_the_settings_say(device: Any) -> None:
    with config.override(device=None):
        assert discovery.device() is discovery.devices()[0]
    with config.override(device=device.id):
        assert discovery.device() is device


@pytest.mark.parametrize("spec", ["cl:99", "cl:x", "cl:-1", 99, -1, "no such name", "", "cpu:99"])
def test_a_device_that_is_not_there_lists_those_that_are(device: Any, spec: Any) -> None:
    with pytest.raises(DeviceError) as caught:
        discovery.device(spec)
    text = str(caught.value)
    assert text.startswith(f"device: there is no {spec!r}. Expected one of: ")
    assert f"{device.id} {device.name} ({device.platform_name})" in text


def test_cuda_is_pointed_to_gpu(device: Any) -> None:
    with pytest.raises(DeviceError, match="ask for 'gpu'"):
        discovery.device("cuda:0")


def test_what_is_left_out_has_a_reason(device: Any) -> None:
    for entry in discovery.excluded():
        assert entry.name
        assert entry.platform
        assert entry.reason
        assert not any(
            entry.name == d.name and entry.platform == f"{d.platform_name} ({d.platform_version})"
            for d in discovery.devices()
        )


def test_importing_loads_no_opencl() -> None:
    code = (
        "import json, sys, clgrad.runtime, clgrad.runtime.discovery\n"
        "print(json.dumps('pyopencl' in sys.modules))"
    )
    assert _run(code) is False


def test_the_order_is_the_same_in_every_process(device: Any) -> None:
    code = (
        "import json\n"
        "from clgrad.runtime import discovery\n"
        "print(json.dumps([[d.id, d.name, d.driver] for d in discovery.devices()]))"
    )
    here = [[entry.id, entry.name, entry.driver] for entry in discovery.devices()]
    assert _run(code) == here


def test_a_machine_without_opencl_is_told_what_to_type(tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "sys.modules['pyopencl'] = None\n"
        "from clgrad.errors import DeviceError\n"
        "from clgrad.runtime import discovery\n"
        "try:\n"
        "    discovery.device()\n"
        "except DeviceError as error:\n"
        "    print(json.dumps([len(discovery.devices()), str(error)]))"
    )
    count, text = _run(code)
    assert count == 0
    assert text.startswith("device: no OpenCL device can be used on this machine.")
    assert "pip install 'clgrad[cpu]'" in text


def test_a_driver_whose_compiler_died_is_left_out(
    tmp_path: Path, any_device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clgrad.runtime.device import driver_key

    def interrupt(cl_device: Any) -> str | None:
        raise KeyboardInterrupt

    cl_device = any_device.cl_device
    with config.override(cache_dir=tmp_path, no_cache=False):
        assert discovery._trial(cl_device) is None
        disk = discovery.cache.disk()
        assert disk is not None
        key = f"trial-{driver_key(cl_device)}"
        assert disk.load_json("drivers", key)["reason"] is None
        disk.store_json("drivers", key, {"reason": "it is ill", "time": time.time()})
        assert discovery._trial(cl_device) == "it is ill"
        disk.store_json("drivers", key, {"reason": "it was ill", "time": time.time() - 1e5})
        assert discovery._trial(cl_device) is None
        disk.store_json("drivers", key, {"trying": 2**22 + 1})
        reason = discovery._trial(cl_device)
        assert reason is not None
        assert "ended the process" in reason
        disk.drop("drivers", key)
        with monkeypatch.context() as patch:
            patch.setattr(discovery, "_run_trial", interrupt)
            with pytest.raises(KeyboardInterrupt):
                discovery._trial(cl_device)
        assert disk.load("drivers", key) is None
        disk.store_json("drivers", key, {"trying": os.getpid()})
        assert discovery._trial(cl_device) is None, "another process that still runs is no death"
