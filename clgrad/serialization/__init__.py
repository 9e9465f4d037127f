"""Saving to files and loading: tensors, state dictionaries, nested plain values.

Files are in the safetensors format, which other programs read; nothing in a file is ever executed.
The format is described in `docs/internals/serialization.md`.
"""

from __future__ import annotations

from clgrad.serialization.objects import load, save
from clgrad.serialization.safetensors import load_file, save_file

__all__ = ["load", "load_file", "save", "save_file"]
