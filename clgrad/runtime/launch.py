"""One compiled kernel and how it is enqueued.

Enqueueing is the most frequent thing clgrad does, so its path is short: the `cl.Kernel` of this
thread, all buffers set in one call, all scalars in another, one enqueue. With undeclared NumPy
scalars, or with a kernel fetched anew, the same costs 45 to 360 us; here it is 3 to 4 us (Intel's
CPU runtime, two buffers and four scalars).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from clgrad.codegen.source import KernelSource
from clgrad.errors import ClgradError, ClgradTypeError, DeviceError
from clgrad.runtime.opencl import cl, describe, is_build_error, is_memory_error, raw
from clgrad.runtime.profile import counters

if TYPE_CHECKING:
    from clgrad.runtime.device import Device
    from clgrad.runtime.program import Program

BUFFER = "buffer"
Args = tuple[Any, ...]
Size = tuple[int, ...]

# By kind and size: the C types that pyopencl packs itself, in a call for all scalars at once.
_PACKED = {("i", 1): "b", ("u", 1): "B", ("i", 2): "h", ("u", 2): "H", ("i", 4): "i",
           ("u", 4): "I", ("f", 4): "f", ("f", 8): "d", ("b", 1): "B"}  # fmt: skip
if struct.calcsize("l") == 8:  # not so on Windows, where 64-bit integers go the longer way
    _PACKED |= {("i", 8): "l", ("u", 8): "L"}


@cache
def _enqueuer(args: tuple[str, ...]) -> Callable[..., Any]:
    """Return a function that sets arguments of these types and enqueues.

    It is written out as source, once per signature, because a loop over the arguments costs as
    much as the driver's own share of a launch.
    """
    buffers, packed, other = [], [], []
    for index, kind in enumerate(args):
        if kind == BUFFER:
            buffers.append(f"{index}, a[{index}].handle")
            continue
        dtype = np.dtype(kind)
        char = _PACKED.get((dtype.kind, dtype.itemsize))
        if char is not None:
            packed.append(f"{index}, b{char!r}, a[{index}]")
        else:
            other.append(f"{index}, pack({dtype.char!r}, a[{index}])")
    lines = [
        "def enqueue(kernel, queue, a, global_size, local_size):",
        f"    if len(a) != {len(args)}:",
        "        raise TypeError(f'{len(a)} arguments')",
    ]
    for method, parts in (
        ("_set_arg_multi", buffers),
        ("_set_arg_buf_pack_multi", packed),
        ("_set_arg_buf_multi", other),
    ):
        if parts:
            lines.append(f"    kernel.{method}(({', '.join(parts)},))")
    # a local size, an offset, events to wait for, no multiplication, an empty range is fine
    lines.append("    return nd_range(queue, kernel, global_size, local_size,")
    lines.append("                    None, None, False, True)")
    scope: dict[str, Any] = {"nd_range": raw.enqueue_nd_range_kernel, "pack": struct.pack}
    exec("\n".join(lines), scope)
    enqueue: Callable[..., Any] = scope["enqueue"]
    return enqueue


def _fitted(arg: Any, kind: str) -> Any:
    """Return an argument as its parameter holds it: integers wrap, floats become infinite.

    Numbers nearly always fit, so they are only looked at when a launch has failed.
    """
    if kind == BUFFER or not isinstance(arg, bool | int | float):
        return arg
    dtype = np.dtype(kind)
    with np.errstate(over="ignore"):
        if dtype.kind == "f":
            return float(dtype.type(arg))
        if isinstance(arg, float):
            return arg
        bits = 8 * dtype.itemsize
        return int(np.array(int(arg) % (1 << bits), f"u{dtype.itemsize}").astype(dtype))


class Kernel:
    """A kernel of a program; calling it enqueues a launch on the device's queue.

    Attributes:
        name: name of the kernel function.
        source: what it was built from.
        device: where it runs.
        program: the program that holds it.
    """

    __slots__ = ("_enqueue", "_of_thread", "device", "name", "program", "source")

    def __init__(self, device: Device, source: KernelSource, program: Program) -> None:
        self.device = device
        self.source = source
        self.name = source.name
        self.program = program
        self._enqueue = _enqueuer(source.args)
        self._of_thread = threading.local()
        declared = len(source.args)
        found = self._fetch().num_args
        if found != declared:
            raise ClgradTypeError(
                f"{self.name}: the kernel has {found} parameters and its source declares "
                f"{declared}. Expected KernelSource.args to name each."
            )

    @property
    def max_work_group(self) -> int:
        """The largest work-group with which this kernel can run on its device."""
        return self._info(cl.kernel_work_group_info.WORK_GROUP_SIZE)

    @property
    def local_bytes(self) -> int:
        """Bytes of local memory that a work-group of this kernel takes."""
        return self._info(cl.kernel_work_group_info.LOCAL_MEM_SIZE)

    def _info(self, query: cl.kernel_work_group_info) -> int:
        return int(self._fetch().get_work_group_info(query, self.device.cl_device))

    def _fetch(self) -> Any:
        """Return the `cl.Kernel` of this thread; it holds its arguments, so it is not shared."""
        try:
            return self._of_thread.kernel
        except AttributeError:
            kernel = self._of_thread.kernel = self.program.fetch(self.name)
            return kernel

    def __call__(self, args: Args, global_size: Size, local_size: Size | None = None) -> None:
        """Enqueue one launch.

        Args:
            args: a `Buffer` or a Python number for each parameter, in order.
            global_size: work-items in each of one to three dimensions.
            local_size: work-items of one group, or None to let the driver choose.

        Raises:
            ClgradTypeError: arguments that do not fit the parameters.
            OutOfMemoryError: the driver found at launch that memory is exhausted.
            CompileError: the driver compiles at the first launch, and failed.
            DeviceError: the driver refused the launch.
        """
        device = self.device
        try:
            try:
                kernel = self._of_thread.kernel
            except AttributeError:
                kernel = self._fetch()
            event = self._enqueue(kernel, device.queue, args, global_size, local_size)
        except Exception as error:
            event = self._recover(error, args, global_size, local_size)
        counters.launches += 1
        if device.events is not None:
            device.events.append((self.name, event))

    def _recover(
        self, error: Exception, args: Args, global_size: Size, local_size: Size | None
    ) -> Any:
        """Retry a launch that failed for want of memory; raise what any other failure means."""
        from clgrad.runtime.program import BuildError

        if isinstance(error, ClgradError):
            raise error
        if isinstance(error, BuildError):
            raise error.error() from error
        self.device.check_process()
        if is_memory_error(error):
            self.device.pool.relieve()
            try:
                return self._enqueue(
                    self._fetch(), self.device.queue, args, global_size, local_size
                )
            except cl.Error as second:
                if not is_memory_error(second):
                    raise self._failure(second, global_size, local_size) from second
                raise self.device.pool.out_of_memory(
                    f"launching {self.name}", describe(second)
                ) from second
        if is_build_error(error):
            raise self.program.error_at_launch(self.name, describe(error)) from error
        if isinstance(error, cl.Error) and error.code != cl.status_code.INVALID_ARG_VALUE:
            raise self._failure(error, global_size, local_size) from error
        kinds = self.source.args
        fitted = tuple([_fitted(a, kind) for a, kind in zip(args, kinds, strict=False)])
        if len(args) == len(kinds) and fitted != tuple(args):
            return self._enqueue(self._fetch(), self.device.queue, fitted, global_size, local_size)
        raise self._misfit(args, error) from error

    def _failure(self, error: Exception, global_size: Size, local_size: Size | None) -> DeviceError:
        return DeviceError(
            f"{self.name}: {self.device.name} refused a launch over {global_size} work-items in "
            f"groups of {local_size}: {describe(error)}. The largest group that this kernel takes "
            f"is {self.max_work_group}."
        )

    def _misfit(self, args: Args, error: Exception) -> ClgradTypeError:
        given = ", ".join(type(a).__name__ if hasattr(a, "handle") else repr(a) for a in args)
        return ClgradTypeError(
            f"{self.name}: launched with ({given}), which does not fit: {describe(error)}. "
            f"Expected ({', '.join(self.source.args)})."
        )

    def __repr__(self) -> str:
        return f"<Kernel {self.name} on {self.device.name}>"
