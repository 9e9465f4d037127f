"""Lets the CL loader find runtimes that pip or a container installed without registering them.

The loader reads one folder of `.icd` files, each holding the path of a runtime's library. Two
runtimes are commonly installed but not in it: Intel's CPU runtime from pip (its `.icd` file holds a
path of the machine that built it) and NVIDIA's in containers (no file at all). For those a private
folder is written, with the system's own files beside them, and `OCL_ICD_VENDORS` points to it. The
variable is left alone where the user has set it. Nothing here imports pyopencl.
"""

from __future__ import annotations

import ctypes
import site
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from clgrad import config
from clgrad.codegen.source import digest

SYSTEM_VENDORS = Path("/etc/OpenCL/vendors")
_INTEL = "libintelocl.so"
_NVIDIA = "libnvidia-opencl.so.1"
_FOLDER = "clgrad-icd-"  # how the names of private folders begin


@dataclass(frozen=True, slots=True)
class IcdFile:
    """One registration of a runtime.

    Attributes:
        name: file name, ending with `.icd`.
        library: what the file says: a library's path, or a name for the dynamic linker.
        origin: where clgrad has it from, in words.
    """

    name: str
    library: str
    origin: str


@dataclass(frozen=True, slots=True)
class Search:
    """What was done so that the loader finds runtimes.

    Attributes:
        vendors: value of `OCL_ICD_VENDORS` when OpenCL was loaded, or None.
        set_by: `user`, `clgrad`, or `nobody`.
        files: the registrations in that folder, or in the system's where it is not set.
    """

    vendors: str | None
    set_by: str
    files: tuple[IcdFile, ...]


def _read_folder(folder: Path, origin: str) -> list[IcdFile]:
    files = []
    try:
        paths = sorted(folder.glob("*.icd"))
    except OSError:
        return []
    for path in paths:
        try:
            text = path.read_text(errors="replace").strip()
        except OSError:
            continue
        files.append(IcdFile(path.name, text, f"{origin} {path}"))
    return files


def find_intel() -> Path | None:
    """Return the library of Intel's CPU runtime that pip installed, or None."""
    for prefix in dict.fromkeys((sys.prefix, sys.base_prefix, site.getuserbase() or sys.prefix)):
        candidate = Path(prefix) / "lib" / _INTEL
        if candidate.exists():
            return candidate
    try:  # installed with --target or the like: ask the package for its files
        for file in metadata.files("intel-opencl-rt") or ():
            if file.name == _INTEL:
                candidate = Path(str(file.locate())).resolve()
                return candidate if candidate.exists() else None
    except metadata.PackageNotFoundError:
        pass
    return None


def load_error(library: str) -> str | None:
    """Return what the dynamic linker says against `library`, or None if it loads."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return None


def _loads(library: str) -> bool:
    return load_error(library) is None


def _missing(present: list[IcdFile]) -> list[IcdFile]:
    """Return registrations of runtimes that are installed but that no file in `present` names."""
    libraries = [Path(file.library).name for file in present]
    found = []
    if not any(name.startswith(_INTEL) for name in libraries):
        intel = find_intel()
        if intel is not None:
            found.append(IcdFile("clgrad-intel-cpu.icd", str(intel), "the package intel-opencl-rt"))
    if not any(name.startswith("libnvidia-opencl") for name in libraries) and _loads(_NVIDIA):
        found.append(IcdFile("clgrad-nvidia.icd", _NVIDIA, "the NVIDIA driver"))
    return found


def _system_files() -> list[IcdFile]:
    files = _read_folder(SYSTEM_VENDORS, "the system's")
    names = {file.name for file in files}
    private = Path(sys.prefix) / "etc" / "OpenCL" / "vendors"  # conda puts its runtimes here
    for file in _read_folder(private, "the environment's"):
        path = Path(file.library)
        # a placeholder path names a file that is not there (finding of the module docstring)
        if file.name not in names and (not path.is_absolute() or path.exists()):
            files.append(file)
    return files


def _write(files: list[IcdFile]) -> Path:
    """Write `files` to a folder of their own and return it.

    The folder's name is a digest of what is in it, so that processes of different environments do
    not write over one another's.
    """
    content = digest(*(part for file in files for part in (file.name, file.library)))
    name = f"{_FOLDER}{content}"
    bases = [Path(tempfile.gettempdir()) / name]
    settings = config.get()
    if not settings.no_cache:
        bases.insert(0, settings.cache_dir / "icd" / name)
    failure: OSError | None = None
    for folder in bases:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                path = folder / file.name
                if not path.exists() or path.read_text() != file.library:
                    temporary = folder / f"{file.name}.{id(file)}.tmp"
                    temporary.write_text(file.library)
                    temporary.replace(path)
            return folder
        except OSError as error:
            failure = error
    assert failure is not None
    raise failure


_search: Search | None = None


def prepare() -> Search:
    """Point the loader at every runtime that is installed; must run before OpenCL is first used.

    Returns:
        What was found and set. Later calls return the same record.
    """
    global _search
    if _search is not None:
        return _search
    chosen = config.foreign("OCL_ICD_VENDORS")
    # What a parent process set for itself is no choice of the user's, and may be gone by now.
    if chosen is not None and not Path(chosen).name.startswith(_FOLDER):
        path = Path(chosen)
        files = _read_folder(path, "OCL_ICD_VENDORS:") if path.is_dir() else []
        _search = Search(chosen, "user", tuple(files))
    elif not sys.platform.startswith("linux"):
        _search = Search(None, "nobody", ())
    else:
        files = _system_files()
        missing = _missing(files)
        if missing:
            try:
                folder = str(_write(missing + files))
            except OSError:
                _search = Search(None, "nobody", tuple(files))
                return _search
            config.set_foreign("OCL_ICD_VENDORS", folder)
            _search = Search(folder, "clgrad", tuple(missing + files))
        else:
            _search = Search(None, "nobody", tuple(files))
    return _search
