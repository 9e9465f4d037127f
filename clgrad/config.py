"""Settings from the environment: the only module that reads `os.environ`.

`get()` returns the settings as one frozen record, read at the first call. Tests and embedding
programs replace single values with `override`. Settings that a user changes while a program runs
(default device, default dtype, grad mode) are no settings but state, and live where they act.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from clgrad.errors import ClgradValueError, ClgradWarning

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"": 1, "b": 1, "k": _KIB, "m": _MIB, "g": _GIB}


def default_cache_dir() -> Path:
    """Return where the cache lives unless `CLGRAD_CACHE_DIR` says otherwise."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "clgrad"
    except RuntimeError:  # no home directory, as in some containers
        return Path(tempfile.gettempdir()) / "clgrad"


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of this process; each is the environment variable `CLGRAD_<NAME>`.

    Attributes:
        device: the device to start with, as `clgrad.device` takes it, or None.
        eager: run every op at once, for bisecting.
        dump: folder for the kernels of this program, with where each came from, or empty.
        debug: extra self-checks that cost time (1), and more of them (2).
        profile: record the device time of every launch.
        no_cache: keep nothing on disk and read nothing from there.
        cache_dir: folder of everything that clgrad keeps on disk.
        cache_limit: bytes that the cache may take on disk.
        memory_limit: bytes of device memory that a pool may reserve, or None.
        no_quirks: ignore the list of known driver faults.
    """

    device: str | None = None
    eager: bool = False
    dump: str = ""
    debug: int = 0
    profile: bool = False
    no_cache: bool = False
    cache_dir: Path = field(default_factory=default_cache_dir)
    cache_limit: int = 512 * _MIB
    memory_limit: int | None = None
    no_quirks: bool = False


def parse_bytes(text: str) -> int:
    """Return the number of bytes that `text` (`4096`, `512M`, `1.5 GiB`) stands for.

    Raises:
        ClgradValueError: `text` is not a number of bytes.
    """
    lowered = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = lowered[-1:] if lowered[-1:].isalpha() else ""
    try:
        value = float(lowered.removesuffix(unit)) * _UNITS[unit]
        if value < 0:
            raise ValueError
        return int(value)
    except (KeyError, ValueError, OverflowError):
        raise ClgradValueError(
            f"config: {text!r} is not a size. Expected bytes such as 4096, 512M or 2G."
        ) from None


def _flag(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("", "0", "no", "off", "false"):
        return False
    if lowered in ("1", "yes", "on", "true"):
        return True
    raise ClgradValueError(f"config: {text!r} is neither on nor off. Expected 0 or 1.")


def _level(text: str) -> int:
    try:
        return int(text or "0")
    except ValueError:
        raise ClgradValueError(
            f"config: {text!r} is not a level. Expected a whole number."
        ) from None


_READERS: dict[str, Any] = {
    "device": lambda text: text.strip() or None,
    "eager": _flag,
    "dump": lambda text: text.strip(),
    "debug": _level,
    "profile": _flag,
    "no_cache": _flag,
    "cache_dir": lambda text: Path(text).expanduser() if text else default_cache_dir(),
    "cache_limit": parse_bytes,
    "memory_limit": lambda text: parse_bytes(text) if text.strip() else None,
    "no_quirks": _flag,
}


def read(environment: Mapping[str, str]) -> Config:
    """Return the settings that `environment` holds.

    Warns:
        ClgradWarning: a variable `CLGRAD_…` that is no setting.

    Raises:
        ClgradValueError: a variable whose value cannot be read.
    """
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith("CLGRAD_"):
            continue
        name = variable[len("CLGRAD_") :].lower()
        reader = _READERS.get(name)
        if reader is None:
            known = ", ".join(f"CLGRAD_{key.upper()}" for key in _READERS)
            warnings.warn(
                f"config: {variable} is not a setting. Known are {known}.",
                ClgradWarning,
                stacklevel=2,
            )
            continue
        try:
            values[name] = reader(text)
        except ClgradValueError as error:
            raise ClgradValueError(f"{error} Hint: it stands in {variable}.") from None
    return Config(**values)


_current: Config | None = None
eager = False
"""`get().eager`, for those who ask at every op."""


def _enter(settings: Config | None) -> None:
    global _current, eager
    _current = settings
    eager = settings is not None and settings.eager


def get() -> Config:
    """Return the settings of this process, read from the environment at the first call."""
    if _current is None:
        _enter(read(os.environ))
    assert _current is not None
    return _current


def changed() -> dict[str, Any]:
    """Return the settings that differ from the defaults, by name."""
    current, default = get(), Config()
    return {
        entry.name: getattr(current, entry.name)
        for entry in fields(Config)
        if getattr(current, entry.name) != getattr(default, entry.name)
    }


@contextmanager
def override(**values: Any) -> Iterator[Config]:
    """Replace single settings for the duration of a `with` block, in all threads.

    Args:
        values: settings by their names in `Config`.

    Raises:
        ClgradValueError: a name that is no setting.
    """
    known = {f.name for f in fields(Config)}
    for name in values:
        if name not in known:
            raise ClgradValueError(
                f"config: there is no setting {name!r}. Expected one of {', '.join(sorted(known))}."
            )
    previous = get()
    changed = replace(previous, **values)
    _enter(changed)
    try:
        yield changed
    finally:
        _enter(previous)


def foreign(name: str) -> str | None:
    """Return an environment variable that belongs to someone else, such as a CL loader."""
    return os.environ.get(name)


def set_foreign(name: str, value: str) -> None:
    """Set an environment variable that someone else in this process will read."""
    os.environ[name] = value
