"""What `clgrad tune` measured, as a file that people read, exchange and may delete.

One file per device and driver in the folder `tuned` of the cache:

    {"format": 1, "device": "...", "platform": "...", "driver": "...", "key": "...",
     "choices": {"matmul 512x512x512 NT float32":
                     {"choice": "tile rows=12 ...", "seconds": 1.1e-3, "before": 1.3e-3}}}

Nothing needs it. A file that is damaged, or of another device, is passed over with a warning; what
it names is used only where the kernel family offers just that (`codegen.choice`).
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clgrad import config
from clgrad.errors import ClgradValueError, ClgradWarning
from clgrad.runtime.device import Device

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """One entry.

    Attributes:
        choice: the best candidate, as text.
        seconds: its time.
        before: the time of what the cost model chooses, measured beside it.
    """

    choice: str
    seconds: float
    before: float

    @property
    def gain(self) -> float:
        """How many times faster than before."""
        return self.before / self.seconds


def path_of(device: Device) -> Path:
    """Return where the measurements of a device are kept."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", device.name).strip("-").lower()[:40]
    return config.get().cache_dir / "tuned" / f"{name}-{device.key[:12]}.json"


def load(device: Device) -> dict[str, Measured]:
    """Return what is known about a device; nothing where no cache is kept on disk.

    Warns:
        ClgradWarning: the file is damaged, or of another device.
    """
    path = path_of(device)
    if config.get().no_cache or not path.exists():
        return {}
    try:
        content = read(path)
        if content.get("key") != device.key:
            raise ClgradValueError(f"it is of {content.get('device')}, {content.get('driver')}")
        return choices_of(content)
    except ClgradValueError as error:
        warnings.warn(
            f"tune: {path} is passed over: {error}. Hint: delete it, and run `clgrad tune` again.",
            ClgradWarning,
            stacklevel=4,
        )
        return {}


def read(path: Path) -> dict[str, Any]:
    """Return the content of a file.

    Raises:
        ClgradValueError: it cannot be read, or is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClgradValueError(f"it cannot be read ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ClgradValueError(f"it is no file of format {FORMAT}")
    return content


def choices_of(content: Mapping[str, Any]) -> dict[str, Measured]:
    """Return the entries of a content; raises `ClgradValueError` if one has not their form."""
    choices = content.get("choices")
    if not isinstance(choices, dict):
        raise ClgradValueError("it has no choices")
    return {key: _measured(key, entry) for key, entry in choices.items()}


def _measured(key: str, entry: Any) -> Measured:
    try:
        measured = Measured(str(entry["choice"]), float(entry["seconds"]), float(entry["before"]))
    except (TypeError, KeyError, ValueError) as error:
        raise ClgradValueError(f"its entry {key!r} is no measurement") from error
    if not min(measured.seconds, measured.before) > 0:
        raise ClgradValueError(f"its entry {key!r} is no measurement")
    return measured


def store(device: Device, choices: Mapping[str, Measured]) -> Path:
    """Replace what is known about a device; returns the file.

    Raises:
        ClgradValueError: it cannot be written.
    """
    path = path_of(device)
    content = {
        "format": FORMAT, "device": device.name, "platform": device.platform_name,
        "driver": device.driver, "key": device.key,
        "choices": {key: asdict(value) for key, value in sorted(choices.items())},
    }  # fmt: skip
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ClgradValueError(
            f"tune: {path} cannot be written ({error.strerror}). Hint: set CLGRAD_CACHE_DIR."
        ) from error
    return path


def merge(device: Device, path: Path) -> int:
    """Take the entries of somebody else's file that promise more; returns their number.

    The file must be of a device of the same name and platform; its driver may be another.

    Raises:
        ClgradValueError: the file is damaged or of another device.
    """
    try:
        content = read(path)
        entries = choices_of(content)
    except ClgradValueError as error:
        raise ClgradValueError(f"tune: {path} is not merged: {error}.") from error
    if (content.get("device"), content.get("platform")) != (device.name, device.platform_name):
        raise ClgradValueError(
            f"tune: {path} is of {content.get('device')!r} on {content.get('platform')!r}. "
            f"Expected {device.name!r} on {device.platform_name!r}. "
            "Hint: choose another device with --device."
        )
    known = load(device)
    better = {
        key: entry
        for key, entry in entries.items()
        if key not in known or entry.gain > known[key].gain
    }
    store(device, known | better)
    return len(better)


def table(device: Device) -> tuple[tuple[str, str], ...]:
    """Return (class of problems, choice) for the traits of a device."""
    return tuple(sorted((key, entry.choice) for key, entry in load(device).items()))
