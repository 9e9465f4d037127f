"""Signal processing: windows."""

from __future__ import annotations

from clgrad.signal import windows

__all__ = ["windows"]
