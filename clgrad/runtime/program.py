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
from clgrad.codegen.source import KernelSource, digest
from clgrad.errors import CompileError
from clgrad.runtime import cache
from clgrad.runtime.launch import Kernel
from clgrad.runtime.opencl import cl, describe, is_memory_error, raw
from clgrad.runtime.profile import counters
from clgrad.traits import DeviceTraits

if TYPE_CHECKING:
    from clgrad.runtime.device import Device

_KEY = 32  # hex digits of keys on disk
_EXCERPT = 4  # lines shown before and after the first error
_NO_CONTRACT = "#pragma OPENCL FP_CONTRACT OFF\n"
# `4:3:57: error: …` and `line 57: error: …`, or as PoCL writes it `error: path.cl:3:57: …`
_LINE_OF_ERROR = re.compile(
    r"(?:^|:|line )(?P<before>\d+)(?::\d+)?: *(?:fatal )?error|error: *\S+?:(?P<after>\d+):\d+:",
    re.IGNORECASE | re.MULTILINE,
)


def program_text(sources: Sequence[KernelSource], fp64: bool, fp16: bool) -> str:
    """Return one program of `sources`: what they all need, each helper once, the kernels.

    Contraction is off before each kernel (a pragma of one must not reach the next): the same
    expression has to give the same bits in every kernel.
    """
    parts = []
    if fp64:
        parts.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n")
    if fp16:
        parts.append("#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n")
    parts.append(_NO_CONTRACT)
    parts.extend(dict.fromkeys(helper for source in sources for helper in source.helpers))
    for source in sources:
        parts.append(_NO_CONTRACT)
        parts.append(source.source)
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def build_options(traits: DeviceTraits, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the build options of every kernel on a device, with a kernel's own after them."""
    options = [f"-cl-std={traits.cl_std}"]
    if traits.correctly_rounded_divide:
        options.append("-cl-fp32-correctly-rounded-divide-sqrt")
    return (*options, *extra)


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
            CompileError: it does not build.
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
            raise self.error(_kernel_names(text), describe(error)) from error
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
            CompileError: the driver compiles kernels when they are fetched, and failed.
        """
        try:
            return cl.Kernel(self._handle, name)
        except cl.Error as error:
            raise self.error([name], describe(error)) from error

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
        return self.error([name], cause)

    def error(self, names: Sequence[str], cause: str) -> CompileError:
        """Return an error that shows where the build of the kernels `names` failed."""
        first = _LINE_OF_ERROR.search(self.log)
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        lines = [
            f"build: {self.device.name} ({self.device.driver}) did not build {shown}: {cause}.",
            f"Options: {' '.join(self.options)}",
            f"Log: {self.log.strip() or 'empty'}",
        ]
        if first is not None:
            lines.append(_excerpt(self.text, int(first[first.lastgroup or 0])))
        lines.append(f"The whole source is in {_dump(self.text)}")
        return CompileError("\n".join(lines))


def _kernel_names(text: str) -> list[str]:
    return re.findall(r"\b(cg_\w+)\s*\(", "\n".join(re.findall(r"kernel\s+void[^{;]*", text)))


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
        """
        kernels = self._kernels
        try:
            return [kernels[source.name] for source in sources]
        except KeyError:
            pass
        # Before the lock: bring-up takes the two in this order too.
        traits = self._device.traits
        with self._lock:
            groups: dict[tuple[str, ...], list[KernelSource]] = {}
            for source in dict.fromkeys(sources):
                if source.name not in kernels:
                    groups.setdefault(source.options, []).append(source)
            for extra, group in groups.items():
                options = build_options(traits, extra)
                missing = self._from_disk(group, options)
                if missing:
                    self._build(missing, options)
        return [kernels[source.name] for source in sources]

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
                self._kernels[source.name] = Kernel(self._device, source, program)
            except CompileError:
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
        except (ValueError, KeyError, CompileError):
            disk.drop("programs", key)
            return None
        self._programs[key] = program
        return program

    def _build(self, sources: list[KernelSource], options: tuple[str, ...]) -> None:
        try:
            self._build_one(sources, options)
            return
        except CompileError:
            if len(sources) == 1:
                raise
        # One bad kernel must not take the others of the request with it, and only alone does it
        # show by name.
        failure: CompileError | None = None
        for source in sources:
            if source.name in self._kernels:
                continue
            try:
                self._build_one([source], options)
            except CompileError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _build_one(self, sources: list[KernelSource], options: tuple[str, ...]) -> None:
        traits = self._device.traits
        text = program_text(sources, traits.fp64, traits.fp16)
        program = Program(self._device, text, options)
        for source in sources:
            self._kernels[source.name] = Kernel(self._device, source, program)
        counters.kernels_built += len(sources)
        counters.programs_built += 1
        key = digest(self._device.key, *options, "", text, length=_KEY)
        self._programs[key] = program
        disk = cache.disk()
        if disk is None:
            return
        binary = program.binary() if traits.cache_binaries else None
        disk.store("programs", key, json.dumps({"text": text}).encode() + b"\n" + (binary or b""))
        for source in sources:
            disk.store("kernels", self._kernel_key(source, options), key.encode())
