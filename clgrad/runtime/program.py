"""From kernel sources to kernels: found in memory, found on disk, or built.

All kernels that one request lacks are built as a single program, because a compiler's start costs
more than a kernel (12 kernels: 1.14 s apart, 0.48 s together). An index on disk says which program
holds a kernel, so that no combination is built twice. Where a device's binaries may not be stored,
the program's text is: rebuilding the very same text hits the driver's own cache.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clgrad import config
from clgrad.codegen.source import KernelSource, build_options, digest, program_text
from clgrad.errors import ClgradValueError, CompileError
from clgrad.runtime import cache
from clgrad.runtime.launch import Kernel
from clgrad.runtime.opencl import cl, describe, is_memory_error, raw
from clgrad.runtime.profile import counters
from clgrad.traits import DeviceTraits

if TYPE_CHECKING:
    from clgrad.runtime.device import Device

_KEY = 32  # hex digits of keys on disk
_EXCERPT = 4  # lines shown before and after the first error
# `4:3:57: error: …` and `line 57: error: …`, or as PoCL writes it `error: path.cl:3:57: …`
_LINE_OF_ERROR = re.compile(
    r"(?:^|:|line )(?P<before>\d+)(?::\d+)?: *(?:fatal )?error|error: *\S+?:(?P<after>\d+):\d+:",
    re.IGNORECASE | re.MULTILINE,
)


class BuildError(Exception):
    """A program that did not build; never leaves this floor.

    Args:
        program: what did not build, with its log.
        names: the kernels that are to blame, as far as known.
        cause: what the driver answered.
    """

    def __init__(self, program: Program, names: Sequence[str], cause: str) -> None:
        super().__init__(cause)
        self.program = program
        self.names = list(names)
        self.cause = cause

    def error(self) -> CompileError:
        """Return the error for the user; writes the source to a file that it names."""
        program, names = self.program, self.names
        first = _LINE_OF_ERROR.search(program.log)
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        device = program.device
        lines = [
            f"build: {device.name} ({device.driver}) did not build {shown}: {self.cause}.",
            f"Options: {' '.join(program.options)}",
            f"Log: {program.log.strip() or 'empty'}",
        ]
        if first is not None:
            lines.append(_excerpt(program.text, int(first[first.lastgroup or 0])))
        lines.append(f"The whole source is in {_dump(program.text)}")
        return CompileError("\n".join(lines))


class Program:
    """A built program.

    Attributes:
        device: where it runs.
        text: its source.
        options: the build options.
        log: what the compiler said.
    """

    __slots__ = ("_handle", "device", "log", "options", "text")

    def __init__(
        self, device: Device, text: str, options: tuple[str, ...], binary: bytes | None = None
    ) -> None:
        """Build `text`, or load `binary` that was built from it.

        Raises:
            BuildError: it does not build.
            OutOfMemoryError: the driver had no memory for it.
        """
        self.device = device
        self.text = text
        self.options = options
        self.log = ""
        start = time.perf_counter()
        try:
            if binary is None:
                self._handle = raw._Program(device.context, text)
            else:
                self._handle = raw._Program(device.context, [device.cl_device], [binary])
            self._handle._build(" ".join(options).encode(), [device.cl_device])
        except cl.Error as error:
            self._read_log()
            if is_memory_error(error) and not self.log.strip():
                raise device.pool.out_of_memory("building a program", describe(error)) from error
            raise BuildError(self, [], describe(error)) from error
        finally:
            counters.build_seconds += time.perf_counter() - start
        self._read_log()

    def _read_log(self) -> None:
        try:
            self.log = str(
                self._handle.get_build_info(self.device.cl_device, cl.program_build_info.LOG)
            )
        except (AttributeError, cl.Error, UnicodeDecodeError):
            self.log = ""  # the program was not even created, or the driver keeps no log

    def fetch(self, name: str) -> Any:
        """Return a new `cl.Kernel`, of one thread only.

        Raises:
            BuildError: the driver compiles kernels when they are fetched, and failed.
        """
        try:
            return cl.Kernel(self._handle, name)
        except cl.Error as error:
            raise BuildError(self, [name], describe(error)) from error

    def kernel(self, source: KernelSource) -> Kernel:
        """Return a kernel of this program.

        Raises:
            BuildError: as `fetch`, or the kernel takes more local memory than the device has,
                which some drivers find out at the launch by ending the process.
        """
        kernel = Kernel(self.device, source, self)
        available = int(self.device.cl_device.local_mem_size)
        if kernel.local_bytes > available:
            cause = f"it takes {kernel.local_bytes} bytes of local memory of {available}"
            raise BuildError(self, [source.name], cause)
        return kernel

    def binary(self) -> bytes | None:
        """Return the binary, or None where the driver gives none."""
        try:
            binaries: Any = self._handle.get_info(cl.program_info.BINARIES)
        except cl.Error:
            return None
        return bytes(binaries[0]) if binaries and binaries[0] else None

    def error_at_launch(self, name: str, cause: str) -> CompileError:
        """Return the error of a driver that compiles at the first launch."""
        self._read_log()
        return BuildError(self, [name], cause).error()


def _excerpt(text: str, line: int) -> str:
    lines = text.splitlines()
    first, last = max(1, line - _EXCERPT), min(len(lines), line + _EXCERPT)
    return "\n".join(
        f"{'>' if number == line else ' '} {number:4d} | {lines[number - 1]}"
        for number in range(first, last + 1)
    )


def _dump(text: str) -> str:
    """Write a source that failed to a file and return its path, or say why there is none."""
    settings = config.get()
    folder = Path(tempfile.gettempdir()) / "clgrad-failed"
    if not settings.no_cache:
        folder = settings.cache_dir / "failed"
    path = folder / f"{digest(text)}.cl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        return f"no file: {path} cannot be written ({error.strerror})"
    return str(path)


class ProgramCache:
    """The kernels of one device by name."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kernels: dict[str, Kernel] = {}
        self._programs: dict[str, Program] = {}
        self._lock = threading.RLock()

    def get(self, sources: Sequence[KernelSource]) -> list[Kernel]:
        """Return a kernel for each source, building at once all that are missing.

        Raises:
            CompileError: a kernel does not build; the others of the request do and are kept.
            ClgradValueError: two kernels have one name.
        """
        try:
            return [self._known(source) for source in sources]
        except KeyError:
            pass
        kernels = self._kernels
        # Before the lock: bring-up takes the two in this order too.
        traits = self._device.traits
        failures: list[BuildError] = []
        with self._lock:
            lacking = [source for source in sources if source.name not in kernels]
            for options, group in _by_options(lacking, traits).items():
                missing = self._from_disk(group, options)
                if missing:
                    failures += self._build(missing, options)
            if not failures:
                return [self._known(source) for source in sources]
        raise failures[0].error() from failures[0]

    def _known(self, source: KernelSource) -> Kernel:
        """Return the kernel that is in memory; raises `KeyError` where there is none."""
        kernel = self._kernels[source.name]
        if kernel.source is not source and kernel.source != source:
            raise ClgradValueError(
                f"build: two different kernels are called {source.name}. Expected names that end "
                "with a digest of all that differs, options included."
            )
        return kernel

    def attempt(self, sources: Sequence[KernelSource]) -> list[Kernel | None]:
        """Return a kernel for each source that builds, and None for the others.

        For kernels that may be beyond a device, such as probes: nothing of them is kept in memory
        or on disk.
        """
        built: dict[str, Kernel] = {}
        for options, group in _by_options(sources, self._device.traits).items():
            for part in (group, *([source] for source in group)):
                if all(source.name in built for source in part):
                    continue
                try:
                    program = self._compile(part, options)
                    built |= {source.name: program.kernel(source) for source in part}
                except BuildError:
                    continue
        return [built.get(source.name) for source in sources]

    def drop(self) -> None:
        """Let go of all kernels; one that somebody holds lives on, the disk keeps the others."""
        with self._lock:
            self._kernels.clear()
            self._programs.clear()

    def forget(self) -> None:
        """In a forked child: make the lock anew, whose holder may not exist there."""
        self._lock = threading.RLock()

    def _kernel_key(self, source: KernelSource, options: tuple[str, ...]) -> str:
        parts = (self._device.key, *options, "", *source.helpers, "", source.source)
        return digest(*parts, length=_KEY)

    def _from_disk(
        self, sources: list[KernelSource], options: tuple[str, ...]
    ) -> list[KernelSource]:
        """Take what the disk has; returns the sources that it lacks."""
        disk = cache.disk()
        if disk is None:
            return sources
        missing = []
        for source in sources:
            pointer = disk.load("kernels", self._kernel_key(source, options))
            program = self._load(disk, pointer.decode(), options) if pointer else None
            if program is None:
                missing.append(source)
                continue
            try:
                self._kernels[source.name] = program.kernel(source)
            except BuildError:
                missing.append(source)  # the entry is of no use; build it anew
                continue
            counters.disk_hits += 1
        return missing

    def _load(self, disk: cache.DiskCache, key: str, options: tuple[str, ...]) -> Program | None:
        program = self._programs.get(key)
        if program is not None:
            return program
        entry = disk.load("programs", key)
        if entry is None:
            return None
        head, _, binary = entry.partition(b"\n")
        try:
            text = str(json.loads(head)["text"])
            program = Program(self._device, text, options, binary or None)
        except (ValueError, KeyError, BuildError):
            disk.drop("programs", key)
            return None
        self._programs[key] = program
        return program

    def _build(self, sources: list[KernelSource], options: tuple[str, ...]) -> list[BuildError]:
        """Build together what builds together, the rest one by one; returns what fails alone.

        One bad kernel must not take the others of a request with it, and only alone does it show
        by name.
        """
        try:
            self._build_one(sources, options)
            return []
        except BuildError as failure:
            if len(sources) == 1:
                failure.names = [sources[0].name]
                return [failure]
        failures: list[BuildError] = []
        for source in sources:
            if source.name not in self._kernels:
                failures += self._build([source], options)
        return failures

    def _compile(self, sources: Sequence[KernelSource], options: tuple[str, ...]) -> Program:
        traits = self._device.traits
        program = Program(self._device, program_text(sources, traits.fp64, traits.fp16), options)
        counters.kernels_built += len(sources)
        counters.programs_built += 1
        return program

    def _build_one(self, sources: list[KernelSource], options: tuple[str, ...]) -> None:
        program = self._compile(sources, options)
        for source in sources:
            self._kernels[source.name] = program.kernel(source)
        key = digest(self._device.key, *options, "", program.text, length=_KEY)
        self._programs[key] = program
        disk = cache.disk()
        if disk is None:
            return
        binary = program.binary() if self._device.traits.cache_binaries else None
        head = json.dumps({"text": program.text}).encode()
        disk.store("programs", key, head + b"\n" + (binary or b""))
        for source in sources:
            disk.store("kernels", self._kernel_key(source, options), key.encode())


def _by_options(
    sources: Sequence[KernelSource], traits: DeviceTraits
) -> dict[tuple[str, ...], list[KernelSource]]:
    groups: dict[tuple[str, ...], list[KernelSource]] = {}
    for source in dict.fromkeys(sources):
        groups.setdefault(build_options(traits, source.options), []).append(source)
    return groups
