"""Finds out what a device can do, and what its driver gets wrong, before anything relies on it.

`bring_up` runs at the first use of a device whose driver is new to this machine; later processes
read the result from disk. Importing this package tells the runtime about it.
"""

from __future__ import annotations

from clgrad.bringup.probe import bring_up
from clgrad.runtime import discovery

discovery.register_bring_up(bring_up)

__all__ = ["bring_up"]
