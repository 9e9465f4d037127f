"""What is kept on disk between processes: programs, and facts about drivers.

An entry is one file, written under a temporary name and renamed, so that readers never see half of
it and no lock is needed. Every entry starts with a checksum. A cache that cannot be read or written
costs time and nothing else: clgrad warns once and goes on without it. Entries are dropped in the
order of their last use when the folder grows past its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clgrad import config
from clgrad.errors import ClgradWarning

_MAGIC = b"clgrad1\n"
_CHECKSUM = 16
_PRUNE_EVERY = 64  # stores between two looks at the folder's size
_PRUNE_TO = 0.8  # of the limit, so that not every store prunes
KINDS = ("programs", "kernels", "drivers")
"""Folders of entries: programs, which program holds a kernel, probed facts of a driver."""


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """How full the cache is.

    Attributes:
        path: its folder, or None where nothing is kept on disk.
        limit: bytes that it may take.
        entries: number of entries by kind.
        nbytes: bytes by kind.
    """

    path: Path | None
    limit: int
    entries: dict[str, int]
    nbytes: dict[str, int]


class DiskCache:
    """Entries below `root`, each found by its kind and key."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit
        self._warned = False
        self._writable = True
        self._stores = 0
        self._temporary = 0
        self._lock = threading.Lock()

    def load(self, kind: str, key: str) -> bytes | None:
        """Return the entry's content, or None where there is none that is whole."""
        path = self._path(kind, key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"{path} cannot be read ({error.strerror})")
            return None
        head = len(_MAGIC) + _CHECKSUM
        payload = data[head:]
        if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : head] != _checksum(payload):
            self._warn(f"{path} is damaged and was dropped")
            self.drop(kind, key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # what was used last is dropped last
        return payload

    def store(self, kind: str, key: str, payload: bytes) -> None:
        """Keep `payload`; where that fails, warn once and go on."""
        if not self._writable:
            return
        path = self._path(kind, key)
        with self._lock:
            self._temporary += 1
            self._stores += 1
            number, look = self._temporary, self._stores % _PRUNE_EVERY == 1
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{number}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(_MAGIC + _checksum(payload) + payload)
            temporary.replace(path)
        except OSError as error:
            self._writable = False
            self._warn(f"{path} cannot be written ({error.strerror}); kernels are compiled anew")
            return
        if look:
            self.prune()

    def drop(self, kind: str, key: str) -> None:
        """Forget an entry."""
        with contextlib.suppress(OSError):
            self._path(kind, key).unlink(missing_ok=True)

    def load_json(self, kind: str, key: str) -> Any:
        """Return an entry that `store_json` made, or None."""
        payload = self.load(kind, key)
        if payload is None:
            return None
        try:
            return json.loads(payload)
        except ValueError:
            self.drop(kind, key)
            return None

    def store_json(self, kind: str, key: str, value: Any) -> None:
        """Keep a value made of dicts, lists, strings and numbers."""
        self.store(kind, key, json.dumps(value, sort_keys=True).encode())

    def prune(self) -> int:
        """Drop what was not used for longest until the limit holds; returns the bytes freed."""
        files = []
        for kind in KINDS:
            for path in _files(self.root / kind):
                try:
                    status = path.stat()
                except OSError:
                    continue  # another process dropped it
                files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        freed = 0
        if total > self.limit:
            for _, size, path in sorted(files, key=lambda entry: entry[0]):
                if total - freed <= self.limit * _PRUNE_TO:
                    break
                try:
                    path.unlink(missing_ok=True)
                except OSError:
                    continue
                freed += size
        return freed

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def _warn(self, fact: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"cache: {fact}. Hint: set CLGRAD_CACHE_DIR to another folder, or "
                "CLGRAD_NO_CACHE=1 to keep nothing on disk.",
                ClgradWarning,
                stacklevel=4,
            )


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()[:_CHECKSUM]


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.rglob("*") if path.is_file()]
    except OSError:
        return []


def is_alive(process: Any) -> bool:
    """Return whether a process number that was noted in an entry still runs here."""
    if sys.platform == "win32":
        return True  # there `os.kill` ends the process that it asks about
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, TypeError):
        return False
    except OSError:
        return True  # it is there, but is another user's
    return True


_caches: dict[Path, DiskCache] = {}


def disk() -> DiskCache | None:
    """Return the cache that the settings name, or None where nothing is kept on disk."""
    settings = config.get()
    if settings.no_cache:
        return None
    cache = _caches.get(settings.cache_dir)
    if cache is None or cache.limit != settings.cache_limit:
        cache = _caches.setdefault(
            settings.cache_dir, DiskCache(settings.cache_dir, settings.cache_limit)
        )
        cache.limit = settings.cache_limit
    return cache


def cache_info() -> CacheInfo:
    """Return how full the cache on disk is."""
    settings = config.get()
    entries, nbytes = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    cache = disk()
    if cache is None:
        return CacheInfo(None, settings.cache_limit, entries, nbytes)
    for kind in KINDS:
        for path in _files(cache.root / kind):
            try:
                nbytes[kind] += path.stat().st_size
                entries[kind] += 1
            except OSError:
                continue  # another process dropped it
    return CacheInfo(cache.root, cache.limit, entries, nbytes)


def cache_clear() -> int:
    """Drop everything that is kept on disk; returns how many bytes that were."""
    info = cache_info()
    if info.path is None:
        return 0
    for kind in KINDS:
        shutil.rmtree(info.path / kind, ignore_errors=True)
    return sum(info.nbytes.values()) - sum(cache_info().nbytes.values())
