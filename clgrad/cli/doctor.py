"""`clgrad doctor`: goes the way from the loader to a kernel's result, and says where it breaks.

Each step prints what is as it should be and what is not, with what to type. Nothing is changed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from clgrad import config
from clgrad.cli import cache as cache_command
from clgrad.cli.main import version
from clgrad.cli.terminal import bad, good, heading, note, table
from clgrad.codegen.source import KernelSource, digest
from clgrad.errors import ClgradError
from clgrad.runtime import cache, discovery, icd

_PACKAGES = ("pyopencl", "numpy", "jinja2", "pocl-binary-distribution", "intel-opencl-rt",
             "intel-cmplr-lib-rt")  # fmt: skip
_INTEL_LIBRARIES = ("libimf", "libsvml", "libirng", "libintlc")
_NO_RUNTIME = "pip install 'clgrad[cpu]' for a runtime on any CPU"


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser("doctor", help="find out what is wrong and what to type")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at each step; the status is 1 if no device can be used."""
    heading("versions")
    table(_versions())
    search = icd.prepare()
    heading("runtimes that the OpenCL loader is told about")
    _check_search(search)
    heading("devices")
    working = _check_devices()
    _check_hardware()
    heading("cache")
    _check_cache()
    print()
    if working:
        print(f"{working} device{'s' if working > 1 else ''} can be used.")
        return 0
    print("No device can be used. The first `try` above is the place to start.")
    return 1


def _versions() -> list[tuple[str, str]]:
    rows = [
        ("clgrad", version()),
        ("Python", f"{platform.python_version()} at {sys.executable}"),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
    ]
    for package in _PACKAGES:
        try:
            rows.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            rows.append((package, "not installed"))
    settings = [f"CLGRAD_{name.upper()}={value}" for name, value in config.changed().items()]
    return [*rows, ("settings", " ".join(settings) or "defaults")]


def _check_search(search: icd.Search) -> None:
    if search.vendors is None:
        note(f"the loader looks where it was built to look, usually {icd.SYSTEM_VENDORS}")
    else:
        note(f"OCL_ICD_VENDORS={search.vendors}, set by {search.set_by}")
    for file in search.files:
        error = icd.load_error(file.library)
        if error is None:
            good(f"{file.name}: {file.library}")
        else:
            bad(f"{file.name}: {file.library} does not load: {error}", _remedy(file, error))
    if not search.files:
        note("there are no .icd files; pyopencl's wheels bring PoCL along without one")


def _remedy(file: icd.IcdFile, error: str) -> str:
    if any(library in error for library in _INTEL_LIBRARIES):
        return "pip install intel-cmplr-lib-rt"
    if "nvidia" in file.library:
        return "in a container: start it with NVIDIA_DRIVER_CAPABILITIES=compute,utility"
    return f"reinstall the runtime, or remove its registration ({file.origin})"


def remedy_for_device(reason: str) -> str:
    """Return what to type when a device is left out for `reason`, or nothing."""
    if "unknown target CPU" in reason:  # the wheel's PoCL has an LLVM that is older than the CPU
        return (
            "a PoCL that knows this CPU: apt install pocl-opencl-icd, or conda install -c "
            "conda-forge pocl; or Intel's runtime: pip install intel-opencl-rt intel-cmplr-lib-rt"
        )
    return ""


def _check_devices() -> int:
    working = 0
    for entry in discovery.excluded():
        bad(
            f"{entry.name} of {entry.platform} is left out: {entry.reason}",
            remedy_for_device(entry.reason),
        )
    for device in discovery.devices():
        start = time.perf_counter()
        try:
            disabled = device.traits.disabled
            _run_kernel(device)
        except ClgradError as error:
            bad(f"{device.id} {device.name}: {error}")
            continue
        seconds = time.perf_counter() - start
        working += 1
        good(
            f"{device.id} {device.name} ({device.platform_name}): built and ran in {seconds:.2f} s"
        )
        if disabled:
            note(f"its driver miscomputes {', '.join(disabled)}; such kernels are avoided")
    if not working:
        bad("there is no usable device", _NO_RUNTIME)
    return working


def _run_kernel(device: Any) -> None:
    """Build and run a kernel that no cache can hold; raises `ClgradError` if it is wrong."""
    salt = str(time.time_ns())
    name = f"cg_doctor_{digest(salt)}"
    text = f"__kernel void {name}(__global int *y) {{ y[get_global_id(0)] = get_global_id(0); }}\n"
    with config.override(no_cache=True):
        (kernel,) = device.kernels([KernelSource(name, text, args=("buffer",))])
    result = np.zeros(256, np.int32)
    buffer = device.allocate(result.nbytes)
    kernel((buffer,), (256,))
    device.read(buffer, result)
    if not np.array_equal(result, np.arange(256)):
        raise ClgradError(f"doctor: {device.name} computed {result[:8].tolist()} for 0 to 7.")


def _check_hardware() -> None:
    """Look for GPUs that the kernel sees and OpenCL does not."""
    if any(device.kind == "gpu" for device in discovery.devices()):
        return
    if Path("/dev/nvidia0").exists():
        bad(
            "an NVIDIA GPU is present, and no OpenCL driver for it",
            "install the driver's OpenCL library (Debian: nvidia-opencl-icd; containers: "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility)",
        )
    nodes = sorted(Path("/dev/dri").glob("renderD*"))
    if not nodes:
        return
    if not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        bad(f"{nodes[0]} may not be opened by this user", "sudo usermod -aG render,video $USER")
        return
    bad(
        "a GPU is present, and no OpenCL driver for it",
        "install its vendor's (Intel: intel-opencl-icd; AMD: rocm-opencl-runtime; "
        "others: mesa-opencl-icd)",
    )


def _check_cache() -> None:
    info = cache.cache_info()
    if info.path is None:
        note("nothing is kept on disk: CLGRAD_NO_CACHE is set")
        return
    trial = info.path / f"doctor-{os.getpid()}"
    try:
        info.path.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        bad(
            f"{info.path} cannot be written: {error.strerror}",
            "export CLGRAD_CACHE_DIR=/tmp/clgrad",
        )
        return
    for name, value in cache_command.rows(info):
        good(f"{name} {value}")
