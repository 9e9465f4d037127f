"""Probes what a device can do by compiling, running and checking a small kernel per feature.

Extension lists and feature macros are wrong often enough, in both directions, that nothing here
believes them. The result is kept on disk by driver, so that a known driver costs one small file. A
feature at which the process died last time counts as absent.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clgrad.bringup import quirks, tuned
from clgrad.bringup.canaries import CANARIES
from clgrad.bringup.check import Check, Data, run_checks
from clgrad.codegen.source import digest
from clgrad.errors import ClgradWarning
from clgrad.runtime import cache
from clgrad.runtime.device import Device
from clgrad.traits import DeviceTraits

_N = 64


def _floats(low: float, high: float, seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).uniform(low, high, _N).astype(np.float32)


def _fp64() -> Data:
    x = np.random.default_rng(0).uniform(1, 2, _N)
    return [x], x * x + 1.0 / 3.0


def _fp16() -> Data:
    x = _floats(-4, 4, 1).astype(np.float16)
    return [x.view(np.uint16)], (x * x + np.float16(0.5)).view(np.uint16)


def _atomics() -> Data:
    return [], np.array([_N * (_N + 1) // 2 * (1 << 33)], np.int64)


def _float_atomics() -> Data:
    return [], np.array([_N * (_N + 1) / 2], np.float32)


def _unaligned() -> Data:
    x = _floats(-1, 1, 2)
    y = np.zeros(_N, np.float32)
    y[3:35] = x[1:33] * np.float32(2)
    return [x], y


def _contraction() -> Data:
    x = (1 + np.random.default_rng(3).integers(1, 4096, _N) * 2.0**-23).astype(np.float32)
    wide = x.astype(np.float64)
    return [x], (wide * wide - 1).astype(np.float32)  # the product is exact in double


def _division() -> Data:
    a, b = _floats(-3, 3, 4), _floats(0.5, 7, 5)
    return [a, b], a / b + np.sqrt(b)


def _nothing() -> Data:
    return [], np.zeros(_N, np.int32)


def _sub_group_accepts(y: NDArray[Any]) -> bool:
    """Each work-item holds 1000 * the sum of ones over its sub-group + the sub-group's size."""
    size = int(y[0]) % 1000
    return 2 <= size <= _N and bool((y == size * 1000 + size).all())


def _all_equal(value: int, y: NDArray[Any]) -> bool:
    return bool((y == value).all())


_LEVELS = {"CL3.0": 300, "CL2.0": 200}  # CL1.2 needs no trial: without it there is no device

LANGUAGE: tuple[Check, ...] = tuple(
    Check(f"language_{number}", "() { y[get_global_id(0)] = __OPENCL_C_VERSION__; }", _nothing,
          "int", options=(f"-cl-std={level}",),
          accept=partial(_all_equal, number))
    for level, number in _LEVELS.items()
)  # fmt: skip

FEATURES: tuple[Check, ...] = (
    Check("fp64", """(__global const double *x) {
    const int i = get_global_id(0);
    y[i] = x[i] * x[i] + 1.0 / 3.0;
}""", _fp64, "double", "#pragma OPENCL EXTENSION cl_khr_fp64 : enable", tolerance=1e-15),
    Check("fp16", """(__global const half *x) {
    const int i = get_global_id(0);
    const half product = x[i] * x[i];
    ((__global half *)y)[i] = product + (half)0.5f;
}""", _fp16, "ushort", "#pragma OPENCL EXTENSION cl_khr_fp16 : enable"),
    Check("int64_atomics", """() {
    atom_add(y, (long)(get_global_id(0) + 1) << 33);
}""", _atomics, "long", "#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable"),
    Check("float_atomics", """() {
    atomic_fetch_add_explicit(y, (float)(get_global_id(0) + 1), memory_order_relaxed,
                              memory_scope_device);
}""", _float_atomics, "volatile atomic_float"),
    Check("unaligned_vectors", """(__global const float *x) {
    typedef float16 __attribute__((aligned(4))) loose;
    const __global loose *from = (const __global loose *)(x + 1);
    __global loose *to = (__global loose *)(y + 3);
    to[0] = from[0] * 2.0f;
    to[1] = from[1] * 2.0f;
}""", _unaligned, global_size=(1,)),
    Check("contract_by_pragma", """(__global const float *x) {
    #pragma OPENCL FP_CONTRACT ON
    const int i = get_global_id(0);
    const float minus = -1.0f;
    y[i] = x[i] * x[i] + minus;
}""", _contraction),
    Check("correctly_rounded_divide", """(__global const float *a, __global const float *b) {
    const int i = get_global_id(0);
    y[i] = a[i] / b[i] + sqrt(b[i]);
}""", _division, options=("-cl-fp32-correctly-rounded-divide-sqrt",)),
    Check("sub_group_khr", """() {
    const int sum = sub_group_reduce_add(1);
    y[get_global_id(0)] = 1000 * sum + (int)get_sub_group_size();
}""", _nothing, "int", local_size=(_N,), accept=_sub_group_accepts),
    Check("sub_group_intel", """() {
    int sum = 0;
    for (int i = 0; i < 16; i++) sum += intel_sub_group_shuffle(1, i);
    y[get_global_id(0)] = 1000 * sum + (int)get_sub_group_size();
}""", _nothing, "int", local_size=(_N,), accept=_sub_group_accepts,
          attributes="__attribute__((intel_reqd_sub_group_size(16))) "),
)  # fmt: skip
"""A check for each optional feature, named after the trait that it decides."""

FLAGS = ("fp64", "fp16", "int64_atomics", "float_atomics", "unaligned_vectors",
          "contract_by_pragma", "correctly_rounded_divide")  # fmt: skip


class _Journal:
    """What is known about a driver, on disk: its traits, or the check that is being run.

    A check that ends the process leaves its name behind, and is not run again.
    """

    def __init__(self, device: Device) -> None:
        texts = [check.source().source for check in (*LANGUAGE, *FEATURES, *CANARIES)]
        names = [entry.name for entry in fields(DeviceTraits)]
        self._disk = cache.disk()
        self._key = "traits-" + digest(device.key, *texts, "", *names, length=32)
        state = self._disk.load_json("drivers", self._key) if self._disk else None
        self._state: dict[str, Any] = state if isinstance(state, dict) else {}
        self.deadly: list[str] = list(self._state.get("deadly", []))
        running, process = self._state.get("running"), self._state.get("process")
        if running and not cache.is_alive(process):
            self.deadly += str(running).removeprefix("build:").split(",")
            warnings.warn(
                f"bringup: {device.name} ended the process while it was probed for {running}; "
                "what depends on it is switched off there. Hint: if it was ended from outside, "
                "`clgrad cache clear` has it probed again.",
                ClgradWarning,
                stacklevel=2,
            )

    def traits(self) -> dict[str, Any] | None:
        """Return the traits found by an earlier process, or None."""
        traits = self._state.get("traits")
        return traits if isinstance(traits, dict) else None

    def running(self, name: str) -> None:
        """Note that a check is about to be run."""
        self._store({"running": name, "process": os.getpid(), "deadly": self.deadly})

    def done(self, traits: DeviceTraits) -> None:
        """Keep the result."""
        self._store({"traits": asdict(traits), "deadly": self.deadly})

    def interrupted(self) -> None:
        """Note that probing ended early, through no fault of the driver."""
        self._store({"deadly": self.deadly})

    def harmless(self, checks: tuple[Check, ...]) -> list[Check]:
        """Return the checks that have not ended a process before."""
        return [check for check in checks if check.name not in self.deadly]

    def _store(self, state: dict[str, Any]) -> None:
        if self._disk is not None:
            self._disk.store_json("drivers", self._key, state)


def bring_up(device: Device) -> DeviceTraits:
    """Return the traits of a device: probed, or as an earlier process probed them.

    Warns:
        ClgradWarning: a canary failed, so that kernels of its kind are switched off.
    """
    journal = _Journal(device)
    known = journal.traits()
    queried = device.traits  # within bring-up: what the driver says
    if known is None:
        try:
            traits = _probe(device, queried, journal)
        except BaseException:
            journal.interrupted()
            raise
        journal.done(traits)
        if traits.disabled:
            warnings.warn(
                f"bringup: {device.name} ({device.driver}) miscomputes "
                f"{', '.join(traits.disabled)}; kernels of that kind are not used "
                "there. Hint: another version of its driver may be correct.",
                ClgradWarning,
                stacklevel=3,
            )
    else:
        traits = queried.override(known)
    for quirk in quirks.of(device):
        traits = traits.override(quirk.set)
    return replace(traits, tuned=tuned.table(device))


def _probe(device: Device, queried: DeviceTraits, journal: _Journal) -> DeviceTraits:
    """Run every check and return what follows from the results."""
    results = run_checks(device, journal.harmless(LANGUAGE), journal.running)
    passed = {check.name for check in LANGUAGE if check.passes(results.get(check.name))}
    levels = [level for level, number in _LEVELS.items() if f"language_{number}" in passed]
    traits = replace(queried, cl_std=levels[0] if levels else "CL1.2")
    device.assume(traits)
    features = run_checks(device, journal.harmless(FEATURES), journal.running)
    held = {check.name: check.passes(features.get(check.name)) for check in FEATURES}
    values: dict[str, Any] = {name: held.get(name, False) for name in FLAGS}
    values["cache_binaries"] = True  # one that does not load is built anew; see also the quirks
    for kind in ("intel", "khr"):
        found = features.get(f"sub_group_{kind}")
        if held.get(f"sub_group_{kind}") and found is not None:
            values |= {"sub_group": kind, "sub_group_size": int(found[0]) % 1000}
            break
    traits = replace(traits, **values)
    device.assume(traits)
    canaries = run_checks(device, journal.harmless(CANARIES), journal.running)
    failed = [c.name for c in CANARIES if not c.passes(canaries.get(c.name))]
    return replace(traits, disabled=tuple(failed))
