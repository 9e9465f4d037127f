"""The list of known driver faults, `quirks.toml`, and which of its entries a device meets.

The only place where names of vendors decide anything; everything else asks the traits.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from clgrad import config
from clgrad.errors import ClgradValueError
from clgrad.runtime.device import Device

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

QUIRKS_FILE = Path(__file__).with_name("quirks.toml")


@dataclass(frozen=True, slots=True)
class Quirk:
    """One entry: conditions, of which all must hold, and the traits that follow.

    Attributes:
        reason: what goes wrong.
        source: where that is known from.
        set: traits by name.
        platform: regular expression searched in the platform's name; empty matches all.
        kind: kind of device, or empty.
        driver_from: first driver version, inclusive, or empty.
        driver_before: last driver version, exclusive, or empty.
    """

    reason: str
    source: str
    set: dict[str, Any] = field(hash=False)
    platform: str = ""
    kind: str = ""
    driver_from: str = ""
    driver_before: str = ""

    def matches(self, platform: str, kind: str, driver: str) -> bool:
        """Return whether a device with these properties is meant."""
        if self.platform and not re.search(self.platform, platform):
            return False
        if self.kind and self.kind != kind:
            return False
        version = version_key(driver)
        if self.driver_from and version < version_key(self.driver_from):
            return False
        return not (self.driver_before and version >= version_key(self.driver_before))


def version_key(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, in order, for comparison."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def parse(text: str) -> tuple[Quirk, ...]:
    """Return the entries of a quirks file.

    Raises:
        ClgradValueError: an entry lacks its reason or source, or has a field that is none.
    """
    entries = tomllib.loads(text).get("quirk", [])
    quirks = []
    for number, entry in enumerate(entries, 1):
        try:
            quirks.append(Quirk(**entry))
        except TypeError as error:
            raise ClgradValueError(f"quirks: entry {number} cannot be read: {error}.") from None
    return tuple(quirks)


@cache
def listed() -> tuple[Quirk, ...]:
    """Return the entries of `quirks.toml`."""
    return parse(QUIRKS_FILE.read_text(encoding="utf-8"))


def of(device: Device) -> list[Quirk]:
    """Return the entries that apply to a device, in order; none if the settings say so."""
    if config.get().no_quirks:
        return []
    return [
        quirk
        for quirk in listed()
        if quirk.matches(device.platform_name, device.kind, device.driver)
    ]
