"""Traffic, launches, threads and processes on each device."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Any

import numpy as np
import pytest

from clgrad.codegen.source import KernelSource
from clgrad.errors import (
    ClgradTypeError,
    ClgradValueError,
    CompileError,
    DeviceError,
    OutOfMemoryError,
)
from clgrad.runtime.profile import counters

AXPY = KernelSource(
    "cg_test_axpy",
    """\
__kernel void cg_test_axpy(__global const float *x, __global float *y, const int n, const float a) {
    const int i = get_global_id(0);
    if (i < n) y[i] += a * x[i];
}
""",
    args=("buffer", "buffer", "i", "f"),
)
# One parameter of each type that a scalar may have.
SCALARS = "bBhHiIlLfd"
C_TYPES = {"b": "char", "B": "uchar", "h": "short", "H": "ushort", "i": "int", "I": "uint",
           "l": "long", "L": "ulong", "f": "float", "d": "double"}  # fmt: skip
VALUES: dict[str, int | float] = {
    "b": -128, "B": 255, "h": -32768, "H": 65535, "i": -(2**31), "I": 2**32 - 1,
    "l": -(2**53), "L": 2**53, "f": 0.5, "d": 1e100,
}  # fmt: skip


def _upload(device: Any, array: np.ndarray[Any, Any]) -> Any:
    buffer = device.allocate(array.nbytes)
    device.write(buffer, array)
    return buffer


def _download(device: Any, buffer: Any, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result = np.empty_like(like)
    device.read(buffer, result)
    return result


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_what_is_written_is_read(device: Any, size: int) -> None:
    data = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
    buffer = _upload(device, data)
    assert np.array_equal(_download(device, buffer, data), data)


@pytest.mark.parametrize("size", [100, 1 << 19])
def test_a_write_has_copied_when_it_returns(device: Any, size: int) -> None:
    buffer = device.allocate(size * 4)
    data = np.ones(size, np.float32)
    for _ in range(100):  # more than are staged at a time
        device.write(buffer, data)
    device.write(buffer, data)
    data[:] = 7
    assert (_download(device, buffer, data) == 1).all()


def test_strided_arrays_are_written_as_they_look(device: Any) -> None:
    data = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-1]
    buffer = _upload(device, data)
    assert np.array_equal(_download(device, buffer, np.empty((2, 6), np.float32)), data)


def test_offsets_are_in_bytes(device: Any) -> None:
    buffer = _upload(device, np.zeros(10, np.int32))
    device.write(buffer, np.array([5, 6], np.int32), offset=8)
    result = np.empty(3, np.int32)
    device.read(buffer, result, offset=8)
    assert result.tolist() == [5, 6, 0]


def test_copies_and_fills(device: Any) -> None:
    source = _upload(device, np.arange(8, dtype=np.int32))
    target = device.allocate(40)
    device.fill(target, np.int32(-1))
    device.copy(source, target, 12, source_offset=4, target_offset=8)
    device.fill(target, np.int16(3), offset=32, nbytes=4)
    expected = [-1, -1, 1, 2, 3, -1, -1, -1, 0x00030003, -1]
    assert _download(device, target, np.empty(10, np.int32)).tolist() == expected


@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8", "c16"])
def test_patterns_of_each_size(device: Any, dtype: str) -> None:
    like = np.empty(33, dtype)
    buffer = device.allocate(like.nbytes)
    device.fill(buffer, np.array(3, dtype))
    assert (_download(device, buffer, like) == 3).all()


def test_nothing_at_all_moves(device: Any) -> None:
    buffer = device.allocate(0)
    nothing = np.empty(0, np.float32)
    device.write(buffer, nothing)
    device.read(buffer, nothing)
    device.fill(buffer, np.float32(1))
    device.copy(buffer, buffer, 0)


def test_ranges_outside_a_buffer_are_refused(device: Any) -> None:
    buffer, other = device.allocate(16), device.allocate(16)
    data = np.zeros(4, np.float32)
    for call in (
        lambda: device.write(buffer, data, offset=4),
        lambda: device.read(buffer, data, offset=-4),
        lambda: device.read(buffer, np.zeros(5, np.float32)),
        lambda: device.copy(buffer, other, 12, target_offset=8),
        lambda: device.fill(buffer, np.float32(0), offset=8, nbytes=12),
    ):
        with pytest.raises(ClgradValueError, match="not within a buffer of 16 bytes"):
            call()
    with pytest.raises(ClgradValueError, match="no whole number of 8-byte patterns"):
        device.fill(buffer, np.float64(0), nbytes=12)
    with pytest.raises(ClgradValueError, match="not C-contiguous and writable"):
        device.read(buffer, np.zeros((2, 4), np.float32)[:, ::2])


def test_a_kernel_runs_in_order_with_everything_else(device: Any) -> None:
    (kernel,) = device.kernels([AXPY])
    x = np.linspace(-1, 1, 100, dtype=np.float32)
    source, target = _upload(device, x), _upload(device, np.zeros_like(x))
    before = counters.launches
    for _ in range(10):
        kernel((source, target, 100, 0.5), (128,))
    assert counters.launches == before + 10
    assert np.allclose(_download(device, target, x), 5 * x, atol=1e-6)
    kernel((source, target, 50, -5), (64,), (16,))
    assert np.allclose(_download(device, target, x)[:50], 0, atol=1e-6)
    kernel((source, target, 0, 1.0), (0,))  # nothing to do is no error


def test_scalars_of_each_type_arrive(device: Any) -> None:
    chars = SCALARS if device.traits.fp64 else SCALARS.replace("d", "")
    result = "double" if device.traits.fp64 else "float"
    parameters = ", ".join(f"const {C_TYPES[c]} {c}{i}" for i, c in enumerate(chars))
    body = " ".join(f"y[{i}] = ({result}){c}{i};" for i, c in enumerate(chars))
    name = f"cg_test_scalars_{chars}"
    text = f"__kernel void {name}(__global {result} *y, {parameters}) {{ {body} }}\n"
    (kernel,) = device.kernels([KernelSource(name, text, args=("buffer", *chars))])
    like = np.empty(len(chars), np.float64 if device.traits.fp64 else np.float32)
    buffer = device.allocate(like.nbytes)
    values = [VALUES[c] for c in chars]
    kernel((buffer, *values), (1,))
    expected = np.array(values, np.float64).astype(like.dtype)
    assert np.array_equal(_download(device, buffer, like), expected)


def test_arguments_that_do_not_fit_are_named(device: Any) -> None:
    (kernel,) = device.kernels([AXPY])
    buffer = device.allocate(16)
    for args in (
        (buffer, buffer, 1.5, 2.0),
        (buffer, buffer, "1", 2.0),
        (buffer, buffer, 1),
        (buffer, 3, 4, 5.0),
    ):
        with pytest.raises(ClgradTypeError, match=r"axpy: launched with .*Expected \(buffer"):
            kernel(args, (1,))
    wrong = KernelSource("cg_test_axpy_short", AXPY.source.replace("_axpy", "_axpy_short"))
    with pytest.raises(ClgradTypeError, match="has 4 parameters and its source declares 0"):
        device.kernels([wrong])


def test_a_group_that_is_too_large_is_refused(device: Any) -> None:
    (kernel,) = device.kernels([AXPY])
    assert kernel.max_work_group >= 1
    buffer = device.allocate(16)
    size = device.traits.max_work_group * 2
    with pytest.raises(DeviceError, match=r"cg_test_axpy: .* refused a launch over"):
        kernel((buffer, buffer, 4, 1.0), (size,), (size,))
    kernel((buffer, buffer, 4, 1.0), (64,))
    device.synchronize()


def test_threads_launch_the_same_kernel(device: Any) -> None:
    (kernel,) = device.kernels([AXPY])
    failures: list[Any] = []

    def work(factor: int) -> None:
        try:
            x = np.full(1000, factor, np.float32)
            source, target = _upload(device, x), _upload(device, np.zeros_like(x))
            for _ in range(50):
                kernel((source, target, 1000, 1.0), (1024,))
            if not (_download(device, target, x) == 50 * factor).all():
                failures.append(factor)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(factor,)) for factor in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_exhausted_memory_is_told_and_survived(device: Any) -> None:
    pool = device.pool
    before = pool.limit
    pool.empty_cache()
    try:
        pool.limit = pool.stats()["reserved.current"] + (1 << 20)
        held = device.allocate(1 << 19, "held")
        with pytest.raises(OutOfMemoryError, match=r"no room for 1\.0 MiB for more .*held"):
            device.allocate(1 << 20, "more")
        del held
        assert device.allocate(1 << 20).nbytes == 1 << 20
    finally:
        pool.limit = before


def test_more_than_the_device_has_is_told(device: Any) -> None:
    with pytest.raises(OutOfMemoryError, match="driver refused it"):
        device.allocate(1 << 50)


def _driver_says(code: str) -> Exception:
    """Return the error that a driver gives with this status."""
    import pyopencl as cl

    record = cl._cl._ErrorRecord("test", getattr(cl.status_code, code), "clEnqueueNDRangeKernel")
    kind = cl.MemoryError if "RESOURCES" in code or "MEM" in code else cl.RuntimeError
    return kind(record)


@pytest.fixture
def flaky(device: Any) -> Any:
    """A kernel of its own, and a list of errors to give at the next launches."""
    from clgrad.runtime.launch import Kernel

    (kernel,) = device.kernels([AXPY])
    twin = Kernel(device, AXPY, kernel.program)
    errors: list[Exception] = []
    enqueue = twin._enqueue

    def fail_first(*args: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return enqueue(*args)

    twin._enqueue = fail_first
    return twin, errors


@pytest.mark.parametrize("code", ["MEM_OBJECT_ALLOCATION_FAILURE", "OUT_OF_RESOURCES"])
def test_a_launch_without_memory_is_tried_again(device: Any, flaky: Any, code: str) -> None:
    kernel, errors = flaky
    x = np.ones(16, np.float32)
    source, target = _upload(device, x), _upload(device, x)
    del [device.allocate(1 << 12) for _ in range(3)][:]
    errors.append(_driver_says(code))
    kernel((source, target, 16, 2.0), (16,))
    assert (_download(device, target, x) == 3).all()
    stats = device.pool.stats()
    assert stats["reserved.current"] == stats["allocated.current"], "the cache was given back"
    errors.extend([_driver_says(code), _driver_says(code)])
    with pytest.raises(OutOfMemoryError, match=f"launching cg_test_axpy .*{code}"):
        kernel((source, target, 16, 2.0), (16,))
    kernel((source, target, 16, 2.0), (16,))
    assert (_download(device, target, x) == 5).all()


def test_a_driver_that_compiles_at_launch_may_fail_there(device: Any, flaky: Any) -> None:
    kernel, errors = flaky
    buffer = device.allocate(64)
    errors.append(_driver_says("BUILD_PROGRAM_FAILURE"))
    with pytest.raises(CompileError, match=r"did not build cg_test_axpy: .*BUILD_PROGRAM_FAILURE"):
        kernel((buffer, buffer, 1, 1.0), (1,))


def test_memory_of_the_outside_can_be_used(device: Any) -> None:
    inner = device.allocate(64)
    outer = device.wrap(inner.handle)
    assert outer.is_external
    assert not inner.is_external
    assert outer.nbytes == 64
    device.write(outer, np.arange(4, dtype=np.int32))
    assert _download(device, inner, np.empty(4, np.int32)).tolist() == [0, 1, 2, 3]


def test_launches_are_timed_on_demand(device: Any) -> None:
    (kernel,) = device.kernels([AXPY])
    buffer, other = device.allocate(4000), device.allocate(4000)
    assert device.launch_times() == []
    device.profile(True)
    try:
        kernel((buffer, other, 1000, 1.0), (1024,))
        kernel((buffer, other, 10, 1.0), (1024,))
        times = device.launch_times()
        assert [entry.kernel for entry in times] == ["cg_test_axpy"] * 2
        assert all(entry.ended >= entry.started and entry.seconds >= 0 for entry in times)
        assert device.launch_times() == []
    finally:
        device.profile(False)
    kernel((buffer, other, 1000, 1.0), (1024,))
    assert device.launch_times() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_is_told_to_spawn(device: Any) -> None:
    (kernel,) = device.kernels([AXPY])
    buffer = device.allocate(64)
    device.synchronize()

    def child(pipe: Any) -> None:
        told = []
        for use in (
            lambda: device.allocate(1 << 16),
            lambda: device.write(buffer, np.zeros(4, np.float32)),
            lambda: device.synchronize(),
            lambda: kernel((buffer, buffer, 1, 1.0), (1,)),
            lambda: device.kernels([KernelSource("cg_test_fork", "", (), (), ())]),
        ):
            try:
                use()
                told.append("nothing")
            except BaseException as error:
                told.append(f"{type(error).__name__}: {error}")
        pipe.send(told)
        os._exit(0)

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(there,))
    process.start()
    assert here.poll(30), "the child hangs"
    told = here.recv()
    process.join(30)
    for text in told:
        assert text.startswith("DeviceError")
        assert "spawn" in text
