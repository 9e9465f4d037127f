"""One OpenCL device: its queue, its memory, its kernels, and traffic with the host.

Context and queue are made when first needed. The queue runs in order, so nothing above has to wait
for anything but results.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clgrad import config
from clgrad.codegen.source import KernelSource, digest
from clgrad.errors import ClgradValueError, DeviceError
from clgrad.runtime import discovery
from clgrad.runtime.buffer import Buffer
from clgrad.runtime.launch import Kernel
from clgrad.runtime.memory import MemoryPool
from clgrad.runtime.opencl import cl, describe, is_memory_error
from clgrad.runtime.profile import LaunchTime, counters, read_events
from clgrad.runtime.program import ProgramCache
from clgrad.traits import DeviceTraits

# Up to this size a write copies the data on the host and does not wait for the queue. Where the
# device is the host's own CPU, the copy soon costs more than the wait for an idle queue (64 KiB:
# 25 us against 9 us on Intel's CPU runtime).
_STAGED = {"cpu": 1 << 14, "gpu": 1 << 20, "accelerator": 1 << 20}
# Of a device's memory, what the pool takes before it gives back what it caches.
_SHARE = {"cpu": 0.5, "gpu": 0.9, "accelerator": 0.9}
_STAGED_ENTRIES = 64
_EVENTS = 1 << 16  # launches whose times are held until someone asks
Events = deque[tuple[str, Any]]

# Part of every key on disk: raised when what is stored, or how programs are put together, changes.
_FORMAT = "1"

# In a forked child: what the parent had opened. It is kept, because releasing it there may hang.
_left_behind: list[Any] = []
_opened_here: weakref.WeakSet[Device] = weakref.WeakSet()


def _after_fork() -> None:
    for device in list(_opened_here):
        device.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def opened() -> list[Device]:
    """Return the devices that this process has opened, by their numbers."""
    return sorted(_opened_here, key=lambda device: device.index)


BringUp = Callable[["Device"], DeviceTraits]


def kind_of(cl_device: Any) -> str:
    """Return `cpu`, `gpu` or `accelerator`."""
    if cl_device.type & cl.device_type.GPU:
        return "gpu"
    return "cpu" if cl_device.type & cl.device_type.CPU else "accelerator"


def queried_traits(cl_device: Any) -> DeviceTraits:
    """Return what the driver says about a device; optional features count as absent."""
    is_cpu = kind_of(cl_device) == "cpu"
    max_work_group = int(cl_device.max_work_group_size)
    return DeviceTraits(
        is_cpu=is_cpu,
        vector_bytes=max(1, int(cl_device.native_vector_width_float)) * 4 if is_cpu else 16,
        compute_units=int(cl_device.max_compute_units),
        max_work_group=max_work_group,
        preferred_work_group=min(64 if is_cpu else 256, max_work_group),
        local_bytes=int(cl_device.local_mem_size),
        local_is_real=not is_cpu and cl_device.local_mem_type == cl.device_local_mem_type.LOCAL,
        max_allocation=int(cl_device.max_mem_alloc_size),
        max_parameter_bytes=int(cl_device.max_parameter_size),
        address_alignment=int(cl_device.mem_base_addr_align) // 8,
        vector_math=is_cpu,
    )


class Device:
    """One device, compared and hashed by identity.

    Attributes:
        index: its number in `discovery.devices()`.
        name: name of the device, as the driver gives it.
        platform_name: name of its platform.
        platform_version: version of its platform.
        driver: version of its driver.
        kind: `cpu`, `gpu` or `accelerator`.
        key: digest of what a compiled kernel depends on.
        pool: its memory.
        cl_device: the pyopencl device.
        events: (kernel name, event) of each launch while profiling, else None; transfers are named
            by their kind and bytes, as in `copy 4096`.
    """

    def __init__(self, index: int, cl_device: Any, bring_up: BringUp | None = None) -> None:
        self.index = index
        self.cl_device = cl_device
        self.name = str(cl_device.name).strip()
        self.platform_name = str(cl_device.platform.name).strip()
        self.platform_version = str(cl_device.platform.version).strip()
        self.driver = str(cl_device.driver_version).strip()
        self.kind = kind_of(cl_device)
        self.key = driver_key(cl_device)
        self.events: Events | None = Events(maxlen=_EVENTS) if config.get().profile else None
        self._bring_up = bring_up
        self._probing = False
        self._assumed = queried_traits(cl_device)
        self._traits: DeviceTraits | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._opened: tuple[Any, Any] | None = None
        self._programs = ProgramCache(self)
        self._staged: deque[tuple[Any, NDArray[Any]]] = deque()
        soft_limit = int(int(cl_device.global_mem_size) * _SHARE[self.kind])
        self.pool = MemoryPool(
            self.name, self._create, is_memory_error, self.synchronize, soft_limit
        )

    @property
    def id(self) -> str:
        """The name by which users choose it, such as `cl:0`."""
        return f"cl:{self.index}"

    def __reduce__(self) -> Any:
        """Copy and pickle by name: the same device here, the one of that name elsewhere."""
        return discovery.device, (self.id,)

    @property
    def type(self) -> str:
        """The same as `kind`: what programs for PyTorch ask a device."""
        return self.kind

    @property
    def traits(self) -> DeviceTraits:
        """What was probed to work; found out at the first use."""
        traits = self._traits
        if traits is not None:
            return traits
        with self._lock:
            if self._traits is None:
                if self._bring_up is None or self._probing:
                    # Without a prober, or for the prober's own kernels, what the driver says.
                    return self._assumed
                self._probing = True
                try:
                    self._traits = self._bring_up(self)
                finally:
                    self._probing = False
            return self._traits

    def assume(self, traits: DeviceTraits) -> None:
        """Set what holds until bring-up is done: it runs under what it found so far."""
        self._assumed = traits

    def impersonate(self, traits: DeviceTraits) -> None:
        """Have these traits from now on: tests play other devices so."""
        with self._lock:
            self._assumed = self._traits = traits

    # The two are plain attributes after the first use, which a launch reads 10 times faster than
    # a property.
    @cached_property
    def context(self) -> Any:
        """The `cl.Context` of this device alone."""
        return self._open()[0]

    @cached_property
    def queue(self) -> Any:
        """The in-order `cl.CommandQueue` on which everything runs."""
        return self._open()[1]

    def _open(self) -> tuple[Any, Any]:
        with self._lock:
            if self._opened is None:
                self.check_process()
                try:
                    context = cl.Context([self.cl_device])
                    self._opened = (context, self._new_queue(context))
                    _opened_here.add(self)
                except cl.Error as error:
                    raise DeviceError(
                        f"device: {self.name} cannot be opened: {describe(error)}. "
                        "Hint: run `clgrad doctor`."
                    ) from error
            return self._opened

    def _new_queue(self, context: Any) -> Any:
        if self.events is None:
            return cl.CommandQueue(context, self.cl_device)
        profiling = cl.command_queue_properties.PROFILING_ENABLE
        return cl.CommandQueue(context, self.cl_device, properties=profiling)

    def _create(self, size: int) -> Any:
        return cl.Buffer(self.context, cl.mem_flags.READ_WRITE, size)

    def forget(self) -> None:
        """In a forked child: drop what cannot be used there, so that every use says so.

        That costs a launch nothing, unlike asking for the process at each. Locks are made anew,
        because threads that held them do not exist in the child.
        """
        _left_behind.append((self._opened, self._staged, self.events))
        _left_behind.append(self.pool.forget())
        self._opened = None
        self.__dict__.pop("context", None)
        self.__dict__.pop("queue", None)
        self._staged = deque()
        self._lock = threading.RLock()
        self._programs.forget()

    def check_process(self) -> None:
        """Raise `DeviceError` in a process that was forked from the one that opened the device."""
        if os.getpid() != self._pid:
            raise DeviceError(
                f"device: {self.name} was opened in process {self._pid} and is used in its fork "
                f"{os.getpid()}; OpenCL does not survive a fork. Hint: start processes with "
                "multiprocessing.get_context('spawn'), or use clgrad only in the children."
            )

    def allocate(self, nbytes: int, tag: str | None = None) -> Buffer:
        """Return memory of `nbytes` bytes with any content; 0 is allowed.

        Args:
            nbytes: how many bytes.
            tag: what it is for, shown when memory runs out.

        Raises:
            OutOfMemoryError: the device has no room, also after trimming the pool.
        """
        return self.pool.allocate(nbytes, tag)

    def allocate_all(self, sizes: Sequence[int]) -> list[Buffer]:
        """Do `allocate` for each of some sizes."""
        return self.pool.allocate_all(sizes)

    def wrap(self, handle: Any) -> Buffer:
        """Return a `Buffer` over a `cl.Buffer` that belongs to the outside.

        Raises:
            DeviceError: it belongs to another context than this device's.
        """
        if handle.context != self.context:
            raise DeviceError(
                f"device: the buffer is of another context than {self.name}'s. Expected one made "
                "with clgrad.device(...).context."
            )
        return Buffer(handle, int(handle.size))

    def write(self, buffer: Buffer, array: NDArray[Any], offset: int = 0) -> None:
        """Copy `array` to `buffer` at byte `offset`; the array may change when this returns.

        Raises:
            ClgradValueError: it does not fit.
            DeviceError: the driver refused.
        """
        data = np.ascontiguousarray(array)
        self._check_range("write", buffer, data.nbytes, offset)
        if data.nbytes == 0:
            return
        staged = data.nbytes <= _STAGED[self.kind]
        try:
            if staged:
                if np.may_share_memory(data, array):
                    data = data.copy()
                event = cl.enqueue_copy(
                    self.queue, buffer.handle, data, dst_offset=offset, is_blocking=False
                )
                self._keep(event, data)
            else:
                event = cl.enqueue_copy(
                    self.queue, buffer.handle, data, dst_offset=offset, is_blocking=True
                )
        except cl.Error as error:
            raise self._failure("write", error) from error
        counters.bytes_written += data.nbytes
        self._note(f"write {data.nbytes}", event)

    def _note(self, what: str, event: Any) -> None:
        """While profiling, keep the event of a transfer: its kind and its bytes."""
        if self.events is not None:
            self.events.append((what, event))

    def _keep(self, event: Any, data: NDArray[Any]) -> None:
        """Hold what the queue still reads; the oldest is done first, as the queue is in order."""
        staged = self._staged
        staged.append((event, data))
        while len(staged) > _STAGED_ENTRIES:
            staged.popleft()[0].wait()

    def read(self, buffer: Buffer, array: NDArray[Any], offset: int = 0) -> None:
        """Fill `array` from `buffer` at byte `offset`; returns when it is there.

        Raises:
            ClgradValueError: the array is not contiguous and writable, or is larger than what is
                there.
            DeviceError: a kernel before it failed, or the driver refused.
        """
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ClgradValueError(
                "read: the target is not C-contiguous and writable. Expected np.empty(...)."
            )
        self._check_range("read", buffer, array.nbytes, offset)
        if array.nbytes == 0:
            return
        try:
            event = cl.enqueue_copy(
                self.queue, array, buffer.handle, src_offset=offset, is_blocking=True
            )
        except cl.Error as error:
            raise self._failure("read", error) from error
        self._staged.clear()
        counters.bytes_read += array.nbytes
        self._note(f"read {array.nbytes}", event)

    def copy(
        self,
        source: Buffer,
        target: Buffer,
        nbytes: int,
        source_offset: int = 0,
        target_offset: int = 0,
    ) -> None:
        """Copy bytes between two buffers of this device that do not overlap.

        Raises:
            ClgradValueError: the range is not in both.
            DeviceError: the driver refused.
        """
        self._check_range("copy", source, nbytes, source_offset)
        self._check_range("copy", target, nbytes, target_offset)
        if nbytes == 0:
            return
        try:
            event = cl.enqueue_copy(
                self.queue,
                target.handle,
                source.handle,
                byte_count=nbytes,
                src_offset=source_offset,
                dst_offset=target_offset,
            )
        except cl.Error as error:
            raise self._failure("copy", error) from error
        self._note(f"copy {2 * nbytes}", event)

    def fill(
        self, buffer: Buffer, pattern: Any, offset: int = 0, nbytes: int | None = None
    ) -> None:
        """Repeat `pattern` over a range of `buffer`.

        Args:
            buffer: the target.
            pattern: a NumPy scalar or 0-d array of 1, 2, 4, 8 or 16 bytes.
            offset: first byte; a multiple of the pattern's size.
            nbytes: how many bytes, a multiple of the pattern's size; to the end if None.

        Raises:
            ClgradValueError: the range is not in the buffer, or does not fit the pattern.
            DeviceError: the driver refused.
        """
        value = np.asarray(pattern).reshape(1)
        count = buffer.nbytes - offset if nbytes is None else nbytes
        self._check_range("fill", buffer, count, offset)
        if offset % value.nbytes or count % value.nbytes:
            raise ClgradValueError(
                f"fill: {count} bytes from byte {offset} are no whole number of {value.nbytes}-byte"
                " patterns."
            )
        if count == 0:
            return
        try:
            event = cl.enqueue_fill_buffer(self.queue, buffer.handle, value, offset, count)
        except cl.Error as error:
            raise self._failure("fill", error) from error
        self._note(f"fill {count}", event)

    def kernels(self, sources: Sequence[KernelSource]) -> list[Kernel]:
        """Return a kernel for each source: from memory, from disk, or built together.

        Raises:
            CompileError: one does not build; the others are kept.
        """
        return self._programs.get(sources)

    def attempt(self, sources: Sequence[KernelSource]) -> list[Kernel | None]:
        """Return a kernel for each source, or None for one that does not build; keeps none."""
        return self._programs.attempt(sources)

    def drop_kernels(self) -> None:
        """Let go of all kernels in memory: a driver takes up to 3 MB for each."""
        self._programs.drop()

    def synchronize(self) -> None:
        """Wait until everything that was enqueued is done.

        Raises:
            DeviceError: something that was enqueued failed.
        """
        try:
            self.queue.finish()
        except cl.Error as error:
            raise self._failure("synchronize", error) from error
        self._staged.clear()

    def flush(self) -> None:
        """Hand everything that was enqueued to the device, without waiting."""
        try:
            self.queue.flush()
        except cl.Error as error:
            raise self._failure("flush", error) from error

    def profile(self, enabled: bool) -> None:
        """Start or stop recording the device time of every launch; drops what was recorded."""
        with self._lock:
            if enabled == (self.events is not None):
                if enabled:
                    self.events = Events(maxlen=_EVENTS)
                return
            self.synchronize()
            self.events = Events(maxlen=_EVENTS) if enabled else None
            context = self.context
            self._opened = (context, self._new_queue(context))
            self.queue = self._opened[1]

    def launch_times(self) -> list[LaunchTime]:
        """Return the times of the launches since the last call; empty unless profiling."""
        events = self.events
        if not events:
            return []
        self.events = Events(maxlen=_EVENTS)
        return read_events(events)

    def _check_range(self, op: str, buffer: Buffer, nbytes: int, offset: int) -> None:
        if offset < 0 or nbytes < 0 or offset + nbytes > buffer.nbytes:
            raise ClgradValueError(
                f"{op}: {nbytes} bytes from byte {offset} are not within a buffer of "
                f"{buffer.nbytes} bytes."
            )

    def _failure(self, op: str, error: Exception) -> Exception:
        try:
            self.check_process()
        except DeviceError as forked:
            return forked
        if is_memory_error(error):
            return self.pool.out_of_memory(op, describe(error))
        return DeviceError(
            f"{op}: {self.name} failed: {describe(error)}. A kernel enqueued before may be the "
            "cause. Hint: run with CLGRAD_EAGER=1 to see which."
        )

    def __repr__(self) -> str:
        return f"<Device {self.id} {self.name!r} on {self.platform_name}>"


def driver_key(cl_device: Any) -> str:
    """Return a digest of what a program built for `cl_device` depends on, besides its source."""
    return digest(
        str(cl_device.name),
        str(cl_device.driver_version),
        str(cl_device.version),
        str(cl_device.platform.name),
        str(cl_device.platform.version),
        _FORMAT,
        length=32,
    )
