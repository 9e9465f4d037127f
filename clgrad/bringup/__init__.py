"""Finds out what a device can do, and what its driver gets wrong, before anything relies on it.

`bring_up` runs at the first use of a device whose driver is new to this machine; later processes
read the result from disk. The runtime calls it by name.
"""

from __future__ import annotations

from clgrad.bringup.probe import bring_up

__all__ = ["bring_up"]
